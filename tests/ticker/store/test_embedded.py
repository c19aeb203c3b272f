"""The embedded server starts, keeps its data, has its folder to itself, and ends with the process that started it."""

import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from ticker.errors import ConfigError, StoreError
from ticker.store import embedded
from ticker.store.embedded import EmbeddedServer, Guard, last_words

GUARDS = [Guard.PIPE, *([Guard.DEATH_SIGNAL] if sys.platform == "linux" else [])]

# A process of its own that starts a server, tells its pid, and does nothing more: no handlers, no stop().
PARENT = """
import json, signal, sys
from pathlib import Path
from ticker.errors import TickerError
from ticker.store.embedded import EmbeddedServer, Guard
folder, port, guard = sys.argv[1:]
server = EmbeddedServer(Path(folder), int(port), guard=Guard[guard])
try:
    server.start()
except TickerError as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
    sys.exit(2)
print(json.dumps({"pid": server.pid}), flush=True)
while True:
    signal.pause()
"""


class Parent:
    """A process that runs an embedded server."""

    def __init__(self, folder: Path, port: int, guard: Guard) -> None:
        command = [sys.executable, "-c", PARENT, str(folder), str(port), guard.name]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=Path(embedded.__file__).parents[2]
        )

    def said(self) -> dict[str, object]:
        """What it printed; waits for it."""
        assert self.process.stdout
        told: dict[str, object] = json.loads(self.process.stdout.readline())
        return told

    def server_pid(self) -> int:
        pid = self.said()["pid"]
        assert isinstance(pid, int)
        return pid

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(10)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()


@pytest.fixture(params=GUARDS, ids=lambda guard: guard.name)
def guard(request: pytest.FixtureRequest) -> Guard:
    kind: Guard = request.param
    return kind


@pytest.fixture
def port(free_port: Callable[[], int]) -> int:
    return free_port()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is not there yet, with a name that wants quoting."""
    return tmp_path / "ticker's data, größer" / "redis"


@pytest.fixture
def server(folder: Path, port: int, guard: Guard) -> Iterator[EmbeddedServer]:
    made = EmbeddedServer(folder, port, guard=guard)
    yield made
    made.stop()


@pytest.fixture
def start_parent() -> Iterator[Callable[[Path, int, Guard], Parent]]:
    parents: list[Parent] = []

    def start(folder: Path, port: int, guard: Guard) -> Parent:
        parents.append(Parent(folder, port, guard))
        return parents[-1]

    yield start
    for parent in parents:
        parent.close()


def client_of(server: EmbeddedServer) -> Redis:
    return Redis.from_url(server.url, protocol=2, retry=None)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet reaped by init does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def is_free(folder: Path) -> bool:
    """Whether the server's lock can be had."""
    with (folder / "server.lock").open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


def newest_aof(folder: Path) -> Path:
    return next((folder / "appendonlydir").glob("*.incr.aof"))


class TestRunning:
    def test_it_answers_once_start_returns(self, server: EmbeddedServer) -> None:
        """start() returns when PING gets PONG from the server that we started."""
        server.start()
        with client_of(server) as client:
            assert client.ping()
            assert client.info("server")["process_id"] == server.pid
        assert server.is_running()

    def test_it_starts_fast(self, server: EmbeddedServer) -> None:
        """On an empty folder it is ready in a fraction of a second (under 0.3 s on an idle machine)."""
        began = time.monotonic()
        server.start()
        assert time.monotonic() - began < 3

    def test_it_never_forgets_on_purpose(self, server: EmbeddedServer) -> None:
        """It appends to a file, flushed every second, takes no other snapshots, evicts nothing, and is local."""
        server.start()
        expected = {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-use-rdb-preamble": "yes",
            "aof-load-truncated": "yes",
            "save": "",
            "bind": "127.0.0.1",
            "maxmemory-policy": "noeviction",
        }
        with client_of(server) as client:
            assert client.config_get(*expected) == expected

    def test_its_folder_is_private(self, server: EmbeddedServer) -> None:
        """Nobody else may look into the folder that it makes, or into any file in it; the log is one of them."""
        server.start()
        assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
        for path in server.data_dir.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        assert "Ready to accept connections" in server.log_path.read_text()

    def test_data_survives_a_restart(self, server: EmbeddedServer) -> None:
        """What was written before stop() is there after the next start()."""
        server.start()
        with client_of(server) as client:
            client.xadd("trades:{AAPL}", {"price": "189.23"}, id="5-1")
        server.stop()
        server.start()
        with client_of(server) as client:
            assert client.xrange("trades:{AAPL}") == [(b"5-1", {b"price": b"189.23"})]

    def test_it_is_found_from_another_folder(self, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relative folder is the one it was when the server was made."""
        monkeypatch.chdir(tmp_path)
        server = EmbeddedServer(Path("data"), port)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        with server:
            assert (tmp_path / "data" / "appendonlydir").is_dir()

    def test_ctrl_c_does_not_reach_it(self, server: EmbeddedServer) -> None:
        """It is in a session of its own, so the terminal's signals pass it by."""
        server.start()
        assert server.pid
        assert os.getsid(server.pid) != os.getsid(0)

    def test_a_large_log_is_put_aside(self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """The log does not grow for ever."""
        server.start()
        server.stop()
        monkeypatch.setattr(embedded, "LOG_BYTES_MAX", 10)
        server.start()
        assert server.log_path.with_suffix(".log.old").exists()
        assert server.log_path.read_text().count("Ready to accept connections") == 1


class TestEnding:
    def test_stop_leaves_nothing(self, server: EmbeddedServer, guard: Guard, block_until: Callable[..., None]) -> None:
        """No process, no zombie, no open file, and the folder free."""
        before = open_files()
        server.start()
        pid = server.pid
        assert pid
        server.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert server.pid is None
        assert not server.is_running()
        assert open_files() == before
        assert is_free(server.data_dir)
        block_until(lambda: not _guards_of(server.port))

    def test_stop_may_be_repeated(self, server: EmbeddedServer) -> None:
        """stop() before start(), and twice after it, does nothing."""
        server.stop()
        server.start()
        server.stop()
        server.stop()

    def test_a_server_that_hangs_is_killed(self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """stop() waits for a while, then it kills."""
        monkeypatch.setattr(embedded, "STOP_TIMEOUT_S", 0.05)
        server.start()
        assert server.pid
        os.kill(server.pid, signal.SIGSTOP)
        server.stop()
        assert is_free(server.data_dir)

    def test_a_server_that_died_is_noticed(self, server: EmbeddedServer, block_until: Callable[..., None]) -> None:
        """is_running() turns false, nothing is left behind, and start() works again."""
        before = open_files()
        server.start()
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
        block_until(lambda: not server.is_running())
        assert open_files() == before
        block_until(lambda: not _guards_of(server.port))
        server.start()
        assert server.is_running()

    @pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"])
    def test_it_ends_with_its_parent(
        self,
        folder: Path,
        port: int,
        guard: Guard,
        number: str,
        start_parent: Callable[[Path, int, Guard], Parent],
        block_until: Callable[..., None],
    ) -> None:
        """Whatever signal ends the process that started it, kill -9 included."""
        parent = start_parent(folder, port, guard)
        pid = parent.server_pid()
        assert is_alive(pid)
        parent.end(signal.Signals[number])
        block_until(lambda: not is_alive(pid))
        block_until(lambda: is_free(folder))
        block_until(lambda: not _guards_of(port))
        # It was asked to end, not cut off.
        assert "Received SIGTERM" in (folder / "valkey.log").read_text()

    def test_nothing_acknowledged_is_lost_by_kill_9_of_both(
        self,
        folder: Path,
        port: int,
        guard: Guard,
        start_parent: Callable[[Path, int, Guard], Parent],
    ) -> None:
        """Parent and server are killed at the same time; each write that was answered is there afterwards."""
        parent = start_parent(folder, port, guard)
        pid = parent.server_pid()
        server = EmbeddedServer(folder, port, guard=guard)
        with client_of(server) as client:
            for number in range(1, 1001):
                client.xadd("s", {"n": number}, id=f"{number}-1")
        os.kill(pid, signal.SIGKILL)
        parent.end(signal.SIGKILL)
        with server, client_of(server) as client:
            assert client.xlen("s") == 1000


class TestFolder:
    def test_a_folder_in_use_is_refused_at_once(
        self,
        folder: Path,
        port: int,
        guard: Guard,
        free_port: Callable[[], int],
        start_parent: Callable[[Path, int, Guard], Parent],
    ) -> None:
        """One line names the folder, who holds it, and what to do; the first server goes on."""
        parent = start_parent(folder, port, guard)
        pid = parent.server_pid()
        began = time.monotonic()
        with pytest.raises(ConfigError) as refused:
            EmbeddedServer(folder, free_port(), guard=guard).start()
        assert time.monotonic() - began < 2
        line = str(refused.value)
        assert str(folder) in line
        assert f"process {parent.process.pid}" in line
        assert "redis.data_dir" in line
        assert "\n" not in line
        assert is_alive(pid)

    def test_the_same_process_cannot_have_it_twice(self, server: EmbeddedServer, free_port: Callable[[], int]) -> None:
        """Two servers in one process are refused like two processes are."""
        before = open_files()
        with server:
            with pytest.raises(ConfigError, match=f"process {os.getpid()};"):
                EmbeddedServer(server.data_dir, free_port()).start()
            assert server.is_running()
        assert open_files() == before

    def test_a_folder_whose_server_died_still_belongs_to_its_owner(
        self, server: EmbeddedServer, free_port: Callable[[], int]
    ) -> None:
        """Until its owner lets it go, nobody slips in between."""
        server.start()
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(ConfigError, match="in use by process"):
            EmbeddedServer(server.data_dir, free_port()).start()

    def test_of_many_who_start_at_once_one_gets_it(
        self,
        folder: Path,
        guard: Guard,
        free_port: Callable[[], int],
        start_parent: Callable[[Path, int, Guard], Parent],
    ) -> None:
        """Two servers on one record can never be."""
        parents = [start_parent(folder, free_port(), guard) for _ in range(4)]
        said = [parent.said() for parent in parents]
        assert sum("pid" in one for one in said) == 1, said
        assert all("pid" in one or "in use by" in str(one["error"]) for one in said), said

    def test_it_starts_right_after_kill_9(
        self,
        folder: Path,
        port: int,
        guard: Guard,
        start_parent: Callable[[Path, int, Guard], Parent],
    ) -> None:
        """On the same folder and port, with what was written, though the old server has just been told to end."""
        for round_ in range(5):
            parent = start_parent(folder, port, guard)
            parent.server_pid()
            server = EmbeddedServer(folder, port, guard=guard)
            with client_of(server) as client:
                client.rpush("rounds", round_)
            parent.end(signal.SIGKILL)
            with server, client_of(server) as client:
                assert client.llen("rounds") == round_ + 1

    def test_an_old_server_is_waited_for(
        self,
        folder: Path,
        port: int,
        guard: Guard,
        start_parent: Callable[[Path, int, Guard], Parent],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Where the server of a killed parent does not end, the line names it; once it does, the start goes through."""
        parent = start_parent(folder, port, guard)
        pid = parent.server_pid()
        os.kill(pid, signal.SIGSTOP)
        parent.end(signal.SIGKILL)
        server = EmbeddedServer(folder, port, guard=guard)
        try:
            with monkeypatch.context() as patched:
                patched.setattr(embedded, "OLD_SERVER_TIMEOUT_S", 0.1)
                with pytest.raises(ConfigError, match=f"process {pid}, the server of an earlier run") as refused:
                    server.start()
            assert str(folder) in str(refused.value)
            assert is_alive(pid)
            timer = threading.Timer(0.2, os.kill, (pid, signal.SIGCONT))
            timer.start()
            with server:
                assert server.pid != pid
            timer.join()
        finally:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_may_not_be_written_is_refused(self, tmp_path: Path, port: int) -> None:
        """One line names it."""
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
        with pytest.raises(ConfigError, match=r"locked.*Permission denied"):
            EmbeddedServer(locked, port).start()

    def test_a_file_in_place_of_the_folder_is_refused(self, tmp_path: Path, port: int) -> None:
        """One line names it."""
        file = tmp_path / "file"
        file.write_text("")
        with pytest.raises(ConfigError, match=r"redis\.data_dir: .*/file cannot be used: File exists"):
            EmbeddedServer(file, port).start()
        with pytest.raises(ConfigError, match=r"redis\.data_dir: .*/file/data cannot be used: Not a directory"):
            EmbeddedServer(file / "data", port).start()


class TestFailing:
    def test_a_taken_port_is_refused(self, server: EmbeddedServer) -> None:
        """One line names the port and the setting; nothing is left behind."""
        before = open_files()
        with socket.socket() as other:
            other.bind(("127.0.0.1", server.port))
            other.listen()
            with pytest.raises(ConfigError, match=rf"port {server.port} .*redis\.port"):
                server.start()
        assert open_files() == before
        assert is_free(server.data_dir)
        assert not server.is_running()

    def test_a_port_that_is_taken_in_the_last_moment_is_refused(
        self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where the server is the one to find out, the line is the same."""
        monkeypatch.setattr(embedded, "_check_port", lambda port: None)
        with socket.socket() as other:
            other.bind(("127.0.0.1", server.port))
            other.listen()
            with pytest.raises(ConfigError, match=rf"port {server.port} .*redis\.port"):
                server.start()
        assert is_free(server.data_dir)

    def test_another_server_on_the_port_is_not_taken_for_ours(
        self, server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Though it answers PING with PONG."""
        monkeypatch.setattr(embedded, "_check_port", lambda port: None)
        with EmbeddedServer(tmp_path / "other", server.port), pytest.raises(ConfigError, match=r"redis\.port"):
            server.start()

    def test_a_record_cut_off_by_a_crash_is_loaded(self, server: EmbeddedServer) -> None:
        """The half-written last command is dropped, all before it is kept."""
        with server, client_of(server) as client:
            client.set("kept", "1")
        with newest_aof(server.data_dir).open("ab") as file:
            file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nlost\r\n$10\r\nabc")
        with server, client_of(server) as client:
            assert client.keys() == [b"kept"]

    def test_a_broken_record_is_told(self, server: EmbeddedServer) -> None:
        """A server that ends while starting says why, and where to read on; nothing is left behind, or lost."""
        with server, client_of(server) as client:
            client.set("kept", "1")
        aof = newest_aof(server.data_dir)
        good = aof.read_bytes()
        aof.write_bytes(good + b"garbage\r\n")
        before = open_files()
        with pytest.raises(StoreError) as failed:
            server.start()
        line = str(failed.value)
        assert "exit code 1" in line
        assert "Bad file format reading the append only file" in line
        assert str(server.log_path) in line
        assert "\n" not in line
        assert open_files() == before
        assert is_free(server.data_dir)
        aof.write_bytes(good)
        with server, client_of(server) as client:
            assert client.get("kept") == b"1"

    def test_a_server_that_never_answers_is_given_up(
        self, folder: Path, port: int, guard: Guard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a while without a word it is ended."""
        monkeypatch.setattr(embedded, "START_TIMEOUT_S", 0.1)
        silent = EmbeddedServer(folder, port, binary=_script(folder, "exec sleep 60"), guard=guard)
        with pytest.raises(StoreError, match=r"has not answered for 0\.1 s; see .*valkey\.log"):
            silent.start()
        assert is_free(folder)

    def test_a_server_that_ends_without_a_word_is_told(self, folder: Path, port: int, guard: Guard) -> None:
        """There is a line even where the log is empty."""
        with pytest.raises(StoreError, match=r"exit code 3.*it left no word"):
            EmbeddedServer(folder, port, binary=_script(folder, "exit 3"), guard=guard).start()
        with pytest.raises(StoreError, match="SIGKILL"):
            EmbeddedServer(folder, port, binary=_script(folder, "kill -9 $$"), guard=guard).start()

    def test_a_missing_binary_is_told(self, folder: Path, port: int, guard: Guard) -> None:
        """Whether the shell or the kernel finds that out."""
        before = open_files()
        with pytest.raises(StoreError, match="no-such-server"):
            EmbeddedServer(folder, port, binary=folder / "no-such-server", guard=guard).start()
        assert open_files() == before

    def test_a_long_load_is_waited_for(self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that says it is loading is not given up, however long that takes."""
        states = iter([embedded._State.LOADING] * 30)
        ask = embedded._ask
        monkeypatch.setattr(embedded, "START_TIMEOUT_S", 0.1)
        monkeypatch.setattr(embedded, "_ask", lambda port, pid: next(states, None) or ask(port, pid))
        began = time.monotonic()
        server.start()
        assert time.monotonic() - began > 0.1
        assert next(states, None) is None

    def test_it_is_started_once(self, server: EmbeddedServer) -> None:
        """start() of a running server is a mistake in the program."""
        with server, pytest.raises(RuntimeError, match="started before"):
            server.start()

    def test_it_is_started_in_the_main_thread(self, server: EmbeddedServer) -> None:
        """The kernel would end it with any other thread that starts it."""
        caught: list[BaseException] = []

        def start() -> None:
            try:
                server.start()
            except RuntimeError as error:
                caught.append(error)

        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        assert "main thread" in str(caught[0])

    def test_it_starts_where_there_are_threads(self, server: EmbeddedServer) -> None:
        """Python warns of fork() in a process with threads, and warnings are errors here."""
        done = threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        try:
            server.start()
        finally:
            done.set()
            thread.join()


class TestLastWords:
    def test_warnings_come_first(self) -> None:
        """The last two warnings tell why; what a server says at every start does not."""
        text = (
            "7:M 24 Nov 2026 02:31:17.529 # WARNING Memory overcommit must be enabled! And so on.\n"
            "7:M 24 Nov 2026 02:31:17.609 # first\n"
            "7:M 24 Nov 2026 02:31:17.609 # second\n"
            "7:M 24 Nov 2026 02:31:17.610 * Running mode=standalone, port=26379.\n"
            "7:M 24 Nov 2026 02:31:17.610 # third\n"
        )
        assert last_words(text) == "second; third"

    def test_bare_lines_come_next(self) -> None:
        """A server that does not like its options has no log yet."""
        assert last_words("\n*** FATAL ***\n>>> 'nonsense'\nBad directive\n") == ">>> 'nonsense'; Bad directive"

    def test_any_line_is_better_than_none(self) -> None:
        """Where nothing warns, the last lines stand in."""
        assert last_words("7:M 24 Nov 2026 02:31:17.610 * Server initialized\n") == "Server initialized"
        assert last_words("") == ""


class TestBinary:
    def test_a_system_without_one_is_told(self, folder: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a binary for this machine, the line says what to set instead."""
        monkeypatch.setattr("platform.machine", lambda: "sparc64")
        with pytest.raises(ConfigError, match=r"sparc64.* URL of a Redis"):
            EmbeddedServer(folder, port).start()

    def test_redis_fits_too(self, folder: Path, port: int, guard: Guard) -> None:
        """The tests run a Redis in the same way."""
        binary = shutil.which(os.environ.get("TICKER_TEST_REDIS_SERVER", "redis-server"))
        if binary is None:
            pytest.skip("no redis-server")
        with EmbeddedServer(folder, port, binary=Path(binary), guard=guard) as server, client_of(server) as client:
            assert client.ping()
        with pytest.raises(RedisConnectionError), client_of(server) as client:
            client.ping()


def _script(folder: Path, line: str) -> Path:
    """A program in place of the server."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    script = folder / "server.sh"
    script.write_text(f"#!/bin/sh\n{line}\n")
    script.chmod(0o700)
    return script


def _guards_of(port: int) -> list[str]:
    """The shells that watch over a server on this port."""
    listed = subprocess.run(["ps", "-A", "-o", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f"--port {port} " in line and not line.startswith("Z")]
