"""What an experiment says: markdown tables, remarks, and the raw numbers that they were made from."""

import json
import platform
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

import rig

from fanout.stage import GENERATOR_SHARE, STEP_MS, Sample

PACKAGES = ("ticker", "uvicorn", "uvloop", "starlette", "websockets", "picows", "socketify", "redis", "hiredis")
LATE_MS = 25.0
"""A publisher that is later than this measures itself."""


@dataclass(slots=True)
class Findings:
    """Of one experiment."""

    title: str
    tables: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Servers that could not be measured."""

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> None:
        """One more table."""
        lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
        self.tables.append("\n".join([f"{caption}\n"] * bool(caption) + lines))

    def add(self, sample: Sample, **more: Any) -> None:
        """Keep a sample, and say where it must not be believed."""
        self.raw.append(more | asdict(sample))
        where = f"{sample.server} at {sample.rate:g} ticks/s"
        if sample.rig_is_limit:
            share = f"{sample.generator_cpu:.0%} of its core, {GENERATOR_SHARE:.0%} and more"
            self.remark(f"**The generator may be the limit**: {where} ({share}).")
        if sample.publisher_late_ms > LATE_MS:
            self.remark(f"The publisher was up to {sample.publisher_late_ms:.0f} ms late: {where}.")
        if wrong := {
            name: n for name in ("lost", "repeated", "reordered", "bad_frames") if (n := getattr(sample, name))
        }:
            self.remark(f"**Not delivered as it should be**: {where}: {wrong}.")

    def missing(self, server: str, why: object) -> None:
        """A server that could not be measured."""
        self.absent.append(server)
        self.raw.append({"server": server, "missing": str(why)})
        self.remark(f"{server} is missing: {why}")

    def remark(self, text: str) -> None:
        """Something to know about the numbers; once."""
        if text not in self.remarks:
            self.remarks.append(text)

    def text(self) -> str:
        """All of it, as markdown."""
        raw = "\n".join(json.dumps(row) for row in self.raw)
        remarks = "\n".join(f"- {text}" for text in self.remarks)
        return "\n\n".join([f"### {self.title}", *self.tables, *([remarks] if remarks else []), f"```\n{raw}\n```"])


def heading(store: str, cores: rig.Cores) -> str:
    """When, where and with what: numbers mean nothing without."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    beside = "with the store and the publisher" if cores.shared else "alone"
    return (
        f"{time.strftime('%Y-%m-%d')}, {rig.machine()}, Python {platform.python_version()}, {store}, {', '.join(found)}. "
        f"The server has one core for itself; the load generator is on another, {beside}. "
        f"Ticks are published every {STEP_MS:g} ms."
    )


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, and from where to where."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):,.{digits}f}"
    low, high = f"{min(values):,.{digits}f}", f"{max(values):,.{digits}f}"
    return middle if low == high else f"{middle} ({low} to {high})"


def ratio(ours: float, theirs: float) -> str:
    """How many times theirs ours is."""
    return f"{ours / theirs:.3g}" if theirs else "-"
