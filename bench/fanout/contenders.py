"""The servers that are measured: ticker, started as users start it, and its peers, each a small program in `peers/`."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import common
import httpx
import rig

from fanout.generator import CACHE

PEERS = Path(__file__).parent / "peers"
READY_S = 30.0
INSTALL_S = 300.0
METRIC_S = 1.0


class Missing(Exception):
    """A server that cannot be measured here, and why."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One server: how it is started, and where its WebSocket is."""

    name: str
    what: str
    command: Callable[[int, int, str], Sequence[str]]
    """From the store's port, its own port, and the kind of channel that it relays."""
    path: str = "/"
    ready: Callable[[int], bool] = lambda port: True


def _ticker(store: int, port: int, channel: str) -> Sequence[str]:
    installed = Path(sys.executable).with_name("ticker")
    program = [str(installed)] if installed.exists() else [sys.executable, "-m", "ticker"]
    return [*program, "serve", "--redis-url", f"redis://127.0.0.1:{store}", "--port", str(port)]


def _ticker_ready(port: int) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/readyz").is_success
    return False


def _python(file: str) -> Callable[[int, int, str], Sequence[str]]:
    return lambda store, port, channel: [sys.executable, str(PEERS / file), str(store), str(port), channel]


def _node(store: int, port: int, channel: str) -> Sequence[str]:
    """Its packages are installed by their lock file when it is first needed, outside of the repository's own files."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing("no node and npm on the PATH")
    folder = CACHE / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for source in (PEERS / "node").iterdir():
        if source.is_file():
            shutil.copy(source, folder)
    installed = folder / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (PEERS / "node" / "package-lock.json").stat().st_mtime:
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if done.returncode:
            raise Missing(f"npm ci: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return [node, str(folder / "server.mjs"), str(store), str(port), channel]


OURS = "ticker"
CONTENDERS = {
    one.name: one
    for one in (
        Contender(OURS, "`ticker serve`", _ticker, "/v1/stream", _ticker_ready),
        Contender("starlette", "starlette + uvicorn, `await send_text` for each", _python("starlette_hub.py")),
        Contender("websockets", "`websockets.broadcast`", _python("websockets_hub.py")),
        Contender("picows", "picows (Cython)", _python("picows_hub.py")),
        Contender("node", "Node, `ws` and `ioredis`", _node),
        Contender("socketify", "socketify (uWebSockets, C++)", _python("socketify_hub.py")),
    )
}


class Server:
    """One contender, serving on a core of its own."""

    def __init__(self, contender: Contender, store: int, channel: str, cores: frozenset[int], folder: Path) -> None:
        self.contender = contender
        self.port = common.free_port()
        try:
            command = contender.command(store, self.port, channel)
        except subprocess.SubprocessError as error:
            raise Missing(str(error)) from error
        self.program = rig.Program(command, cores, folder)

    def __enter__(self) -> "Server":
        try:
            self._wait()
        except BaseException:
            self.program.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.program.stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_S
        try:
            rig.wait_port(self.port, self.program, READY_S)
        except RuntimeError as error:
            raise Missing(f"it does not start: {error}") from error
        while not self.contender.ready(self.port):
            if time.monotonic() > deadline:
                raise Missing(f"it is not ready after {READY_S:g} s: {self.program.last_words()}")
            time.sleep(0.05)

    def metric(self, name: str, label: str) -> float:
        """The sum of a metric of ticker's own over the rows that have the label; 0 while it is too busy to say."""
        try:
            rows = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=METRIC_S).text.splitlines()
        except httpx.HTTPError:
            return 0.0
        return sum(float(row.rpartition(" ")[2]) for row in rows if row.startswith(f"{name}{{") and label in row)
