"""The HTTP load generator: built from `http_load.c` on first use; one call is one measurement."""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rig

SOURCE = Path(__file__).with_name("http_load.c")
CACHE = Path(__file__).parents[1] / "build" / "history"
"""What is built for these measurements; `make clean` removes it."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much, and for how long; `rate` 0: as much as the server answers."""

    clients: int = 32
    warm_s: float = 0.5
    seconds: float = 3.0
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What one measurement gave."""

    all: int
    """Answers, with those of the time before it was measured."""
    answers: int
    per_s: float
    bytes: int
    not_modified: int
    refused: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu: float
    """Of the generator: a share of its core."""


def build() -> Path:
    """The generator's program, built where its source has changed."""
    program = CACHE / f"http_load-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise SystemExit("the load generator needs a C compiler: no cc and no gcc on the PATH")
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", str(program), str(SOURCE)], check=True)
    return program


def request(target: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a GET, with the headers that a program sends."""
    given = {"Host": "127.0.0.1", "User-Agent": "http_load", "Accept": "*/*"} | dict(headers or {})
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode()


def measure(port: int, requests: Sequence[bytes], load: Load, cores: frozenset[int]) -> Measured:
    """Ask these in turn; raises RuntimeError where the server does not answer as it should."""
    with tempfile.NamedTemporaryFile() as file, rig.pinned(cores):
        file.write(b"".join([one + b"\0" for one in requests]))
        file.flush()
        given = (port, load.clients, load.warm_s, load.seconds, load.rate, file.name)
        done = subprocess.run([str(build()), *map(str, given)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator gave up: {done.stderr.strip()[-300:]}")
    found = Measured(**json.loads(done.stdout))
    if found.refused or not found.answers:
        raise RuntimeError(f"{found.refused} of {found.answers} answers were neither 200 nor 304")
    return found
