"""Starts processes that end with us, keeps what they say, and speaks with those that take orders."""

import ctypes
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
REPOSITORY = PACKAGE.parents[2]
PR_SET_PDEATHSIG = 1
POLL_S = 0.02
STOP_S = 10.0
PORTS = 20_000, 32_000
"""Below those that the kernel gives out."""
ANSWER_S = 60.0


class NotMet(Exception):
    """What was waited for has not come in time, or a process has ended that was to live."""


def free_port() -> int:
    """A port that nobody uses now, and that the kernel gives to no outgoing connection before it is used."""
    while True:
        port = random.SystemRandom().randrange(*PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(what: str, met: Callable[[], object], timeout_s: float = 20.0) -> float:
    """Look again and again; how long it took. Raises `NotMet`."""
    began_s = time.monotonic()
    while not met():
        if time.monotonic() - began_s > timeout_s:
            raise NotMet(f"not within {timeout_s:g} s: {what}")
        time.sleep(POLL_S)
    return time.monotonic() - began_s


def _end_with_us() -> Callable[[], None] | None:
    """Before the child becomes another program, on Linux: whatever ends us, ends it."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))


class Process:
    """A program that is started, killed, and started again."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = list(command)
        self._folder = folder
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its number, while it runs."""
        assert self._process
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, from the beginning."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TICKER_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=inherited | {"PYTHONPATH": f"{PACKAGE.parent}:{self._folder}"} | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_us(),
            )

    def send(self, number: int) -> None:
        """Send it a signal."""
        if self.alive:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """As by `kill -9`."""
        self.send(signal.SIGKILL)
        if self._process:
            self._process.wait()

    def stop(self) -> None:
        """In order, or else not."""
        if self._process is None:
            return
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def check(self) -> None:
        """Raise `NotMet` where it has ended by itself."""
        if not self.alive:
            raise NotMet(f"{self.name} has ended: {self.last_words()}")

    def last_words(self) -> str:
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""


def python(*arguments: str) -> list[str]:
    """The command of one of our own programs."""
    return [sys.executable, *arguments]


class Helper:
    """A program of ours that takes a line of orders and answers with one; it ends with its input."""

    def __init__(self, module: str, settings: Mapping[str, Any], log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                python("-m", module),
                env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=_end_with_us(),
            )
        self._write(settings)

    def ask(self, order: str, timeout_s: float = ANSWER_S, **more: Any) -> Any:
        """Give an order, wait for its answer."""
        self._write({"do": order} | more)
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], timeout_s)[0]:
            raise NotMet(f"no answer to {order!r} within {timeout_s:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise NotMet(f"{order!r} was not answered: {self._log.read_text()[-1500:]}")
        return json.loads(line)

    def stop(self) -> None:
        """Close its input."""
        try:
            self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise NotMet(f"it has ended: {self._log.read_text()[-1500:]}") from error
