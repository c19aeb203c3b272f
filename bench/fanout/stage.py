"""One server with its store and its clients, and what it does at a rate: the unit that every experiment repeats."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rig

from fanout.contenders import Contender, Server
from fanout.generator import Generator, Load
from fanout.store import Store

P99_LIMIT_MS = 50.0
ARRIVED_SHARE = 0.97
GENERATOR_SHARE = 0.8
"""Of its core: a generator that is busier may be what is measured."""
STEP_MS = 20.0
TAIL_S = 0.3
SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What one server did at one rate of published ticks."""

    server: str
    rate: float
    due_per_s: float
    delivered_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    cpu_us: float
    """Of the server, for each delivered message."""
    server_cpu: float
    generator_cpu: float
    store_cpu: float
    publisher_cpu: float
    publisher_late_ms: float
    bytes_per_s: float
    delivered: int
    skipped: int
    lost: int
    """By the numbers of the ticks, over the whole run."""
    repeated: int
    reordered: int
    bad_frames: int
    closed: int

    @property
    def holds(self) -> bool:
        """Whether the server keeps up with the rate."""
        arrived = self.delivered_per_s * (1 + self.skipped / max(self.delivered, 1))
        return self.p99_ms < P99_LIMIT_MS and arrived >= ARRIVED_SHARE * self.due_per_s and not self.closed

    @property
    def rig_is_limit(self) -> bool:
        """Whether the generator, and not the server, may have set the limit."""
        return self.generator_cpu >= GENERATOR_SHARE


class Publishing:
    """The publisher, at work."""

    def __init__(self, store: Store, symbols: int, rate: float, seconds: float, cores: frozenset[int]) -> None:
        arguments = [str(value) for value in (store.port, symbols, rate, seconds, STEP_MS)]
        with rig.pinned(cores):
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("publisher.py")), *arguments],
                stdout=subprocess.PIPE,
                text=True,
            )
        self._line()

    def result(self) -> dict[str, Any]:
        """Wait for its end: what it published."""
        try:
            return self._line()
        finally:
            self._process.wait()

    def stop(self) -> None:
        """End it where it has not ended."""
        self._process.kill()
        self._process.communicate()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the publisher failed: see above")
        row: dict[str, Any] = json.loads(line)
        return row


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs."""

    contender: Contender
    load: Load
    store: Store
    server: Server
    generator: Generator
    cores: rig.Cores

    @contextmanager
    def publishing(self, rate: float, seconds: float) -> Iterator[Publishing]:
        """Publish at this rate."""
        publisher = Publishing(self.store, self.load.symbols, rate, seconds, self.cores.others)
        try:
            yield publisher
        finally:
            publisher.stop()

    def settled(self, due: float) -> dict[str, Any]:
        """The report once all that is due has come, or nothing more comes."""
        report, came = self.generator.report(), time.monotonic()
        while report["all_ticks"] < due and time.monotonic() - came < SETTLE_S:
            time.sleep(0.1)
            before, report = report, self.generator.report()
            if report["all_ticks"] > before["all_ticks"]:
                came = time.monotonic()
        return report

    def measure(self, rate: float, seconds: float, warm_s: float) -> Sample:
        """Publish at this rate for a while, and look at it once it runs evenly. Once a stage: numbers begin at 1."""
        program = self.server.program
        with self.publishing(rate, warm_s + seconds + TAIL_S) as publisher:
            time.sleep(warm_s)
            self.generator.begin()
            cpu_s, store_s = program.cpu_s(), self.store.cpu_s()
            time.sleep(seconds)
            cpu_s, store_s = program.cpu_s() - cpu_s, self.store.cpu_s() - store_s
            report = self.generator.report()
            published = publisher.result()
        sample = self._sample(rate, report, published, cpu_s, store_s)
        if not sample.holds or sample.skipped:
            # What has piled up, or gave way to newer ticks, is not lost.
            return sample
        due = round(published["published"] * self.load.share)
        report = self.settled(due)
        lost = max(report["lost"], due - report["all_ticks"])
        return replace(sample, lost=lost, repeated=report["repeated"], reordered=report["reordered"])

    def _sample(
        self, rate: float, report: dict[str, Any], published: dict[str, Any], cpu_s: float, store_s: float
    ) -> Sample:
        took = report["seconds"]
        return Sample(
            server=self.contender.name,
            rate=rate,
            due_per_s=rate * self.load.share,
            delivered_per_s=report["ticks"] / took,
            p50_ms=report["p50_ms"],
            p99_ms=report["p99_ms"],
            p999_ms=report["p999_ms"],
            max_ms=report["max_ms"],
            cpu_us=1e6 * cpu_s / max(report["ticks"], 1),
            server_cpu=cpu_s / took,
            generator_cpu=report["cpu"],
            store_cpu=store_s / took,
            publisher_cpu=published["cpu"],
            publisher_late_ms=published["late_ms"],
            bytes_per_s=report["bytes"] / took,
            delivered=report["ticks"],
            skipped=report["skipped"],
            lost=report["lost"],
            repeated=report["repeated"],
            reordered=report["reordered"],
            bad_frames=report["bad"],
            closed=report["closed"],
        )


@contextmanager
def serving(
    contender: Contender, symbols: int, cores: rig.Cores, channel: str = "trades"
) -> Iterator[tuple[Store, Server]]:
    """A fresh store and a fresh server; nothing is carried over from one to the next."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(Path(folder), symbols, cores.others) as store,
        Server(contender, store.port, channel, cores.server, Path(folder)) as server,
    ):
        yield store, server


@contextmanager
def stage(contender: Contender, load: Load, cores: rig.Cores) -> Iterator[Stage]:
    """The same with all its clients."""
    with (
        serving(contender, load.symbols, cores) as (store, server),
        Generator(server.port, contender.path, load, cores.generator) as generator,
    ):
        yield Stage(contender, load, store, server, generator, cores)
