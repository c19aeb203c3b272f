"""Where each file of the archive lies: folders by kind, symbol and day, names by what is in them.

A name tells all that a reader must know before it opens the file, so that the archive needs no manifest that could be
wrong, and writing the same rows again makes the same file. Pure.

    trades/symbol=AAPL/date=2026-11-20/0001.k3x9ab.1795166400000-1.1795169999000-17999.parquet
    candles_1m/symbol=AAPL/date=2026-11-20/1795166400000000-1795252740000000.1440.parquet
    candles_1d/symbol=AAPL/year=2026/1767330000000000-1795237200000000.224.parquet
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from ticker.candles.interval import INTERVALS, SECOND, STORED, Times, open_times
from ticker.store.tick_stream import KINDS as TICK_KINDS

CANDLES = {f"candles_{interval.name}": interval for interval in STORED}
KINDS = (*TICK_KINDS, *CANDLES)
IMPORT = "import"
"""In place of an epoch: these ticks were never live."""

DAY = INTERVALS["1d"]
TICK_NAME = re.compile(r"([0-9]{4,9})\.([a-z0-9]{1,16})\.([0-9]+)-([0-9]+)\.([0-9]+)-([0-9]+)\.parquet")
CANDLE_NAME = re.compile(r"([0-9]+)-([0-9]+)\.([0-9]+)(?:\.([0-9]+))?\.parquet")
FOLDER = re.compile(r"([a-z0-9_]+)/symbol=([A-Z0-9][A-Z0-9.\-]{0,15})/(?:date|year)=([0-9\-]{4,10})/([^/]+)")


class Place(NamedTuple):
    """Where a row stands among those of its kind and symbol: a tick's stream id, or a candle's open time and 0."""

    at: int
    seq: int = 0


FIRST, END = Place(0), Place(1 << 62)


@dataclass(frozen=True, slots=True)
class File:
    """One file: whose rows it holds, and its first and last row.

    `generation` counts the epochs of a symbol as the archive has met them, 1, 2, 3; 0 is what was imported.
    """

    kind: str
    symbol: str
    period: str
    """The day in the market's time zone, or the year, of which all its rows are."""
    first: Place
    last: Place
    generation: int = 0
    epoch: str = ""
    candles: int = 0
    """How many, as there may be none for a time."""
    revision: int = 0
    """How often candles of this time were changed after they had been written: no file is ever written over by another."""

    @property
    def name(self) -> str:
        """Without its folder."""
        if self.kind in CANDLES:
            revision = f".{self.revision}" if self.revision else ""
            return f"{self.first.at}-{self.last.at}.{self.candles}{revision}.parquet"
        return (
            f"{self.generation:04d}.{self.epoch}.{self.first.at}-{self.first.seq}"
            f".{self.last.at}-{self.last.seq}.parquet"
        )

    @property
    def path(self) -> str:
        """Within the archive."""
        return f"{folder(self.kind, self.symbol, self.period)}/{self.name}"

    @property
    def rows(self) -> int:
        """How many there are, as the name tells."""
        return self.candles if self.kind in CANDLES else self.last.seq - self.first.seq + 1


def symbol_folder(kind: str, symbol: str) -> str:
    """Where all files of one kind and symbol lie."""
    return f"{kind}/symbol={symbol}"


def folder(kind: str, symbol: str, period: str) -> str:
    """Where the files of one period lie: key=value, as Hive has it, which all readers of Parquet know."""
    return f"{symbol_folder(kind, symbol)}/{'year' if kind == 'candles_1d' else 'date'}={period}"


def parse(path: str) -> File | None:
    """The file of a path; None where the archive has not written it."""
    found = FOLDER.fullmatch(path)
    if not found or found[1] not in KINDS:
        return None
    kind, symbol, period, name = found.groups()
    if kind in CANDLES:
        told = CANDLE_NAME.fullmatch(name)
        if told is None:
            return None
        ends = Place(int(told[1])), Place(int(told[2]))
        return File(kind, symbol, period, *ends, candles=int(told[3]), revision=int(told[4] or 0))
    if told := TICK_NAME.fullmatch(name):
        first, last = Place(int(told[3]), int(told[4])), Place(int(told[5]), int(told[6]))
        return File(kind, symbol, period, first, last, int(told[1]), told[2])
    return None


def symbol_of(name: str) -> str | None:
    """The symbol of a folder `symbol=AAPL`; None for another."""
    key, _, symbol = name.partition("=")
    return symbol if key == "symbol" and symbol else None


def period_of(kind: str, opened: int, zone: ZoneInfo) -> str:
    """The period of a day that opens at this moment."""
    day = datetime.fromtimestamp(opened // SECOND, UTC).astimezone(zone).date()
    return str(day.year) if kind == "candles_1d" else day.isoformat()


def cut(kind: str, times: Times, zone: ZoneInfo) -> list[tuple[str, int, int]]:
    """Rows with rising times by period: its name, and the first and the end of its rows."""
    if not len(times):
        return []
    opens = open_times(DAY, times, zone)
    starts = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1])))
    parts: list[tuple[str, int, int]] = []
    for first, end in zip(starts.tolist(), [*starts[1:].tolist(), len(times)], strict=True):
        period = period_of(kind, int(opens[first]), zone)
        if parts and parts[-1][0] == period:
            parts[-1] = (period, parts[-1][1], end)
        else:
            parts.append((period, first, end))
    return parts


@dataclass(frozen=True, slots=True)
class Stretch:
    """The rows of one file that count: low <= place < high."""

    file: File
    low: Place
    high: Place


def stretches(files: Iterable[File]) -> list[Stretch]:
    """What of the files counts, in order of places, no row twice.

    A newer generation stands for the older ones from its first row on. Within one, where files overlap (a run that was
    repeated, a compaction that was interrupted), the longer one counts.
    """
    ordered = sorted(files, key=lambda file: (-file.generation, *_longest_first(file)))
    found: list[Stretch] = []
    limit, limit_next, generation, reached = END, END, -1, FIRST
    for file in ordered:
        if file.generation != generation:
            generation, reached, limit = file.generation, FIRST, limit_next
        low, high = max(file.first, reached), min(Place(file.last.at, file.last.seq + 1), limit)
        limit_next = min(limit_next, file.first)
        if low < high:
            found.append(Stretch(file, low, high))
            reached = high
    return sorted(found, key=lambda stretch: stretch.low)


def superseded(files: Sequence[File]) -> list[File]:
    """Those all of whose rows another file of the same generation has too."""
    gone: list[File] = []
    reached, generation = FIRST, -1
    for file in sorted(files, key=lambda file: (file.generation, *_longest_first(file))):
        if file.generation != generation:
            generation, reached = file.generation, FIRST
        if file.last < reached:
            gone.append(file)
        reached = max(reached, Place(file.last.at, file.last.seq + 1))
    return gone


def _longest_first(file: File) -> tuple[Place, Place, int, int]:
    """Order by the first row; of files that begin alike the one that reaches furthest, has most rows, was changed last."""
    return file.first, Place(-file.last.at, -file.last.seq), -file.rows, -file.revision
