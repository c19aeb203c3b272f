"""The table of what was done and what was found, for the terminal and for the documentation."""

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ledger.book import Count
from ledger.processes import REPOSITORY
from ledger.scenario import Outcome

HEAD = ("fault", "times", "deliveries", *(count.value for count in Count), "announced", "whole again")


def row(outcome: Outcome) -> tuple[str, ...]:
    """One line of the table."""
    if outcome.skipped:
        return (outcome.name, f"skipped: {outcome.skipped}", *[""] * (len(HEAD) - 2))
    times = sum(outcome.done.values())
    if outcome.report is None:
        return (outcome.name, str(times), "failed", *[""] * (len(HEAD) - 3))
    counts = outcome.report.counts
    found = (str(counts[count]) for count in Count)
    announced = f"{outcome.report.announced:,}"
    return (
        outcome.name,
        str(times),
        f"{outcome.report.deliveries:,}",
        *found,
        announced,
        f"{outcome.recovery_s:.1f} s",
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """All of them in Markdown, with their sum."""
    rows = [row(outcome) for outcome in outcomes]
    reports = [outcome.report for outcome in outcomes if outcome.report]
    total = (
        "**all**",
        f"**{sum(sum(outcome.done.values()) for outcome in outcomes):,}**",
        f"**{sum(report.deliveries for report in reports):,}**",
        *(f"**{sum(report.counts[count] for report in reports)}**" for count in Count),
        f"**{sum(report.announced for report in reports):,}**",
        f"**{max((outcome.recovery_s for outcome in outcomes), default=0):.1f} s**",
    )
    lines = [HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *rows, total]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def page(outcomes: Sequence[Outcome], seed: int) -> str:
    """The table with when and where it was made."""
    reports = [outcome.report for outcome in outcomes if outcome.report]
    said = [
        f"{datetime.now(UTC):%Y-%m-%d}, {_version()}, {machine()}, seed {seed}: "
        f"{sum(report.ticks for report in reports):,} ticks, {sum(report.candles for report in reports):,} candles recomputed, "
        f"{sum(outcome.kills for outcome in outcomes)} processes killed, {sum(outcome.resumed for outcome in outcomes):,} "
        f"subscriptions resumed, in {sum(outcome.took_s for outcome in outcomes) / 60:.0f} minutes.",
        "",
        table(outcomes),
    ]
    return "\n".join(said)


def failures(outcomes: Iterable[Outcome]) -> str:
    """What went wrong, and where the books of it are."""
    lines = []
    for outcome in outcomes:
        if outcome.passed:
            continue
        lines.append(f"{outcome.name} (seed {outcome.seed}): {outcome.failure or 'the books do not agree'}")
        lines.append(f"  kept in {outcome.folder}")
        breaches = outcome.report.breaches if outcome.report else []
        lines += [f"  {b.kind}: {b.client}, {'/'.join(b.topic)}: {b.what[:300]}" for b in breaches[:12]]
        if len(breaches) > 12:
            lines.append(f"  and {len(breaches) - 12} more")
    return "\n".join(lines)


def machine() -> str:
    """What it was done on, in a few words."""
    model = "unknown processor"
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"{os.cpu_count()} cores ({model}), {platform.system()} {platform.release()}, Python {platform.python_version()}"


def _version() -> str:
    with suppress(OSError, subprocess.CalledProcessError):
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        return f"version {found.stdout.strip()}"
    return "unknown version"
