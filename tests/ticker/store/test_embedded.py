"""The embedded server starts, keeps its data, ends when told to, and says what is wrong."""

import os
import shutil
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from embedded_parent import client_of, guards_of, is_free, newest_aof, open_files, script_in_place
from redis.exceptions import ConnectionError as RedisConnectionError

from ticker.errors import ConfigError, StoreError
from ticker.store import embedded
from ticker.store.embedded import EmbeddedServer
from ticker.store.guard import Guard


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
        block_until(lambda: not guards_of(server.port))

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
        block_until(lambda: not guards_of(server.port))
        server.start()
        assert server.is_running()


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
        silent = EmbeddedServer(folder, port, binary=script_in_place(folder, "exec sleep 60"), guard=guard)
        with pytest.raises(StoreError, match=r"has not answered for 0\.1 s; see .*valkey\.log"):
            silent.start()
        assert is_free(folder)

    def test_a_server_that_ends_without_a_word_is_told(self, folder: Path, port: int, guard: Guard) -> None:
        """There is a line even where the log is empty."""
        with pytest.raises(StoreError, match=r"exit code 3.*it left no word"):
            EmbeddedServer(folder, port, binary=script_in_place(folder, "exit 3"), guard=guard).start()
        with pytest.raises(StoreError, match="SIGKILL"):
            EmbeddedServer(folder, port, binary=script_in_place(folder, "kill -9 $$"), guard=guard).start()

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
