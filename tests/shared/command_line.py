"""`ticker` commands in processes of their own, and what the tests of a running service look at."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

DEADLINE_S = 15.0
FAST = {"type": "simulated", "symbols": ["AAPL", "MSFT", "IBM"], "ticks_per_s": 20, "trading_hours": "always"}


class Command:
    """`ticker` with arguments, in a folder of its own."""

    def __init__(self, folder: Path, *args: str, **environment: str) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("TICKER_")}
        self.stderr = folder / f"stderr-{time.monotonic_ns()}"
        with self.stderr.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ticker", *args],
                cwd=folder,
                env=environ | {"PYTHONUNBUFFERED": "1"} | environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def line(self, beginning: str) -> str:
        """Read what it prints up to the line that begins like this; where it ends first, its errors are the failure."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(beginning):
                return line.rstrip("\n")
        pytest.fail(f"ended without a line {beginning!r}: {self.errors()}")

    def errors(self) -> str:
        return self.stderr.read_text()

    def end(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 5.0) -> int:
        """Its exit code after this signal; what it still prints is read, lest it wait for us."""
        self.process.send_signal(number)
        self.process.communicate(timeout=timeout_s)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


class Folder:
    """A working folder with a config.yaml, and the processes that run in it; all of them end with the test."""

    def __init__(self, path: Path, free_port: Callable[[], int]) -> None:
        self.path = path
        self.port, self.redis_port = free_port(), free_port()
        self.config: dict[str, Any] = {
            "redis": {"port": self.redis_port, "data_dir": str(path / "data")},
            "server": {"port": self.port},
            "feeds": [FAST],
            "candles": {"publish_ms": 50},
        }
        self._stack = ExitStack()

    def start(self, *args: str, **environment: str) -> Command:
        """Start `ticker` with the configuration as it is now."""
        (self.path / "config.yaml").write_text(yaml.safe_dump(self.config))
        command = Command(self.path, *args, **environment)
        self._stack.callback(command.close)
        return command

    def serve(self, *args: str) -> tuple[Command, str]:
        """The same for a command that serves; its URL."""
        command = self.start(*args)
        return command, command.line("page").split()[1].rstrip("/")

    def run(self, *args: str, **environment: str) -> tuple[int, str, str]:
        """Run to the end: exit code, output, errors."""
        command = self.start(*args, **environment)
        output, _ = command.process.communicate(timeout=DEADLINE_S)
        return command.process.returncode, output, command.errors()

    def close(self) -> None:
        self._stack.close()


@contextmanager
def stream(url: str, query: str = "") -> Iterator[ClientConnection]:
    """A WebSocket that was welcomed."""
    with connect(f"{url.replace('http', 'ws')}/v1/stream{query}", proxy=None, close_timeout=1) as socket:
        assert json.loads(socket.recv(DEADLINE_S))["type"] == "welcome"
        yield socket


def messages(socket: ClientConnection, until: Callable[[dict[str, Any]], bool]) -> list[tuple[str, dict[str, Any]]]:
    """Texts and what they say, up to and with the first that `until` accepts."""
    deadline, found = time.monotonic() + DEADLINE_S, []
    while True:
        text = socket.recv(max(deadline - time.monotonic(), 0.01))
        found.append((text, json.loads(text)))
        if until(found[-1][1]):
            return found


def close_code(socket: ClientConnection) -> int | None:
    """Read until the server closes; with which code."""
    try:
        while True:
            socket.recv(DEADLINE_S)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def servers_in(folder: Path) -> list[int]:
    """Processes that work in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def has_trades(url: str, symbol: str = "AAPL") -> Callable[[], bool]:
    """Whether there are any yet."""
    return lambda: bool(httpx.get(f"{url}/v1/trades/{symbol}").json()["trades"])


def answers(url: str) -> bool:
    """Whether it says how it is, ready or not."""
    try:
        return httpx.get(f"{url}/readyz").status_code in (200, 503)
    except httpx.HTTPError:
        return False


@contextmanager
def socket_on(port: int) -> Iterator[socket.socket]:
    """Take a port."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield taken


def one_line(code: int, output: str, errors: str) -> str:
    """What a mistake of the caller's must look like."""
    assert code == 2
    assert output == ""
    assert "Traceback" not in errors
    lines = errors.splitlines()
    assert len(lines) == 1, errors
    return lines[0]
