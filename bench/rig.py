"""A machine shared out to what is measured and what measures it: cores, and programs whose time and memory are read."""

import os
import platform
import random
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
STOP_S = 5.0


def machine() -> str:
    """What was measured on, in a line."""
    model = "unknown processor"
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"{platform.machine()}, {os.cpu_count()} cores ({model}), {platform.system()} {platform.release()}"


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core does what: the server under test has one for itself, and so has the generator where there are three."""

    server: frozenset[int]
    generator: frozenset[int]
    others: frozenset[int]

    @classmethod
    def of_machine(cls) -> "Cores":
        """Share out the cores that this process may use."""
        if not hasattr(os, "sched_getaffinity"):
            raise SystemExit(f"this measurement needs Linux: it pins processes to cores; found {platform.system()}")
        all_of_them = sorted(os.sched_getaffinity(0))
        if len(all_of_them) < 2:
            raise SystemExit("this measurement needs two cores: one for the server alone, one for everything else")
        server, generator, *others = ({core} for core in all_of_them)
        return cls(frozenset(server), frozenset(generator), frozenset[int]().union(*others) or frozenset(generator))

    @property
    def shared(self) -> bool:
        """Whether the generator has the store and the publisher beside it."""
        return self.generator == self.others


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """What is started in this block runs on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Program:
    """A program in a process group of its own, on given cores, with its output in a file; ends with the block."""

    def __init__(
        self, command: Sequence[str], cores: frozenset[int], folder: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = folder / f"{Path(command[0]).name}-{random.getrandbits(32):08x}.log"
        # In a folder without config.yaml, and without settings in the environment: everything at its default.
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TICKER_")}
        with self.log.open("wb") as log, pinned(cores):
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=clean | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, and whatever it has started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
                return

    def last_words(self) -> str:
        """The last line that it has printed."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it printed nothing"

    def cpu_s(self) -> float:
        """User and system time of all its processes so far."""
        return sum(int(stat[11]) + int(stat[12]) for stat in _stats(self.process.pid)) * TICK_S

    def memory_kib(self) -> int:
        """Resident memory of all its processes."""
        return sum(int(stat[21]) for stat in _stats(self.process.pid)) * PAGE_KIB


def raise_file_limit() -> None:
    """As many open files as we may have, here and in what we start."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _stats(group: int) -> Iterator[list[str]]:
    """/proc/PID/stat from the state on, of every process in the group."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                yield fields


def cpu_s_of(pid: int) -> float:
    """User and system time of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def wait_port(port: int, program: Program, seconds: float = 30.0, every_s: float = 0.02) -> None:
    """Until something listens; raises RuntimeError where the program ends before, with its last words."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if program.process.poll() is not None:
            raise RuntimeError(program.last_words())
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(every_s)
    raise RuntimeError(f"it does not listen after {seconds:g} s: {program.last_words()}")
