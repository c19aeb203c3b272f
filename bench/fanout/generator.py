"""The load generator: built from `load/` on first use, driven by lines over its pipes."""

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import rig

SOURCES = Path(__file__).parent / "load"
CACHE = Path(__file__).parents[2] / "build" / "fanout"
"""What is built or installed for these measurements; `make clean` removes it."""

SUBSCRIBE = '{"op":"subscribe","id":1,"channel":"trades","snapshot":false,"symbols":['
SUBSCRIBE_CANDLES = '{"op":"subscribe","id":1,"channel":"candles","interval":"1m","snapshot":false,"symbols":['


@dataclass(frozen=True, slots=True)
class Load:
    """Who connects and wants what."""

    clients: int = 500
    per_client: int = 1
    symbols: int = 1
    stalled: int = 0
    """The last so many never read once they are subscribed."""
    measured: int = -1
    """Latency is that of the first so many; -1: of all."""
    head: str = SUBSCRIBE
    tail: str = "]}"

    @property
    def share(self) -> float:
        """How many clients get a tick, on average; exact for ticks in whole rounds over all symbols."""
        return (self.clients - self.stalled) * self.per_client / self.symbols


def build() -> Path:
    """The generator's program, built where its sources have changed."""
    sources = sorted(SOURCES.iterdir())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    program = CACHE / f"wsload-{digest}"
    if not program.exists():
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise SystemExit("the load generator needs a C compiler: no cc and no gcc on the PATH")
        CACHE.mkdir(parents=True, exist_ok=True)
        files = [str(path) for path in sources if path.suffix == ".c"]
        subprocess.run([compiler, "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", str(program), *files], check=True)
    return program


class Generator:
    """Clients of one server, all of them subscribed."""

    def __init__(self, port: int, path: str, load: Load, cores: frozenset[int]) -> None:
        options = {
            "port": port,
            "path": path,
            "clients": load.clients,
            "symbols": load.symbols,
            "per-client": load.per_client,
            "stalled": load.stalled,
            "measured": load.measured,
            "head": load.head,
            "tail": load.tail,
        }
        command = [str(build()), *(f"--{name}={value}" for name, value in options.items())]
        with rig.pinned(cores):
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )

    def __enter__(self) -> Self:
        try:
            self._line()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def begin(self) -> None:
        """Count anew, what is checked over the whole run excepted."""
        self._send("begin")

    def report(self) -> dict[str, Any]:
        """What was counted since the last `begin`."""
        self._send("report")
        return self._line()

    def _send(self, command: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout
        assert self.process.stderr
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator gave up: {self.process.stderr.read().strip()[-300:]}")
        row: dict[str, Any] = json.loads(line)
        return row

    def _end(self) -> None:
        """It ends with its input."""
        try:
            self.process.communicate(timeout=rig.STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
