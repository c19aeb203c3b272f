"""The record of one candle, as a named tuple and as columns of many.

`Candle` is for folding trades one by one, `Candles` for reading, rolling up and storing many: a two-dimensional array
of int64 with one row a field, in the order of `Candle`'s fields. The exact sum of price x size does not fit 64 bits, so
it is split into whole currency units and a rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

MILLION = 1_000_000
"""Prices and sizes are counted in millionths."""
TRILLION = MILLION * MILLION
"""Sums of price x size are counted in millionths of millionths."""
NO_TRADE = (1 << 53) - 1
"""`first_seq` of a candle without a trade of the record: later than any number."""


class Origin(IntEnum):
    """Where a candle comes from: folded from ticks, made up by the simulator, or imported."""

    TICKS = 0
    HISTORY = 1
    IMPORT = 2


class Candle(NamedTuple):
    """The trades with `time` <= trade time < the candle's end.

    `open` is the price of the trade with the smallest (time, seq), at `open_time`; `close` that of the largest, at
    `close_time`. `first_seq` and `seq` are the smallest and largest sequence number in it. `units` and `rest` are the
    sum of price x size: units * TRILLION + rest, 0 <= rest < TRILLION. What was not folded from ticks has `first_seq`
    `NO_TRADE` and `seq` 0, so that the smallest and largest number of candles joined are those of the trades in them.
    """

    time: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    units: int
    rest: int
    trades: int
    first_seq: int
    seq: int
    open_time: int
    close_time: int
    origin: int = Origin.TICKS

    @property
    def vwap(self) -> int | None:
        """The volume-weighted average price in millionths, rounded half to even; None at volume 0."""
        return vwap(self.units, self.rest, self.volume)


FIELDS = Candle._fields
PLAIN_MAX = 1 << 50
"""Of an average price in millionths that floating point finds to within a few units."""
VOLUME_MAX = 1 << 59
"""Of a volume in millionths with which what is left over is known exactly from its last 64 bits."""


def vwap(units: int, rest: int, volume: int) -> int | None:
    """Sum of price x size over volume, in millionths, rounded half to even; None at volume 0."""
    if not volume:
        return None
    whole, left = divmod(units * TRILLION + rest, volume)
    if 2 * left > volume or (2 * left == volume and whole & 1):
        whole += 1
    return whole


def vwaps(candles: "Candles") -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """`vwap` of many at once, and where there is one.

    Floating point finds each to within a few units; how far off it is follows exactly from 64-bit integers that wrap
    around, since what is left over is small. What is too large for that is divided one by one.
    """
    units, rest, volume = (candles.column(name) for name in ("units", "rest", "volume"))
    known = volume > 0
    by = np.where(known, volume, 1)
    near = (units + rest / TRILLION) / by * TRILLION
    plain = (np.abs(near) < PLAIN_MAX) & (by < VOLUME_MAX)
    found = np.where(plain, near, 0).astype(np.int64)
    with np.errstate(over="ignore"):
        left = units * TRILLION + rest - found * by
    found += left // by
    left %= by
    found += (2 * left > by) | ((2 * left == by) & (found & 1 == 1))
    for i in np.flatnonzero(known & ~plain).tolist():
        found[i] = vwap(int(units[i]), int(rest[i]), int(volume[i])) or 0
    return np.where(known, found, 0), known


@dataclass(frozen=True, slots=True)
class Candles:
    """Many candles of one symbol and interval, in rising order of time: `data[field, i]`."""

    data: npt.NDArray[np.int64]

    @classmethod
    def of(cls, candles: Iterable[Candle]) -> "Candles":
        """The columns of the given rows."""
        rows = np.array(list(candles), np.int64).reshape(-1, len(FIELDS))
        return cls(np.ascontiguousarray(rows.T))

    @classmethod
    def joined(cls, parts: Sequence["Candles"]) -> "Candles":
        """Several runs of candles, one behind the other."""
        return cls(np.concatenate([part.data for part in parts], axis=1)) if parts else cls.of(())

    def __len__(self) -> int:
        return int(self.data.shape[1])

    def column(self, field: str) -> npt.NDArray[np.int64]:
        """One field of every candle."""
        column: npt.NDArray[np.int64] = self.data[FIELDS.index(field)]
        return column

    @property
    def time(self) -> npt.NDArray[np.int64]:
        """The open times."""
        return self.column("time")

    def rows(self) -> list[Candle]:
        """The same as records."""
        return [Candle._make(row) for row in self.data.T.tolist()]

    def between(self, start: int, end: int) -> "Candles":
        """Those with start <= time < end."""
        first, last = np.searchsorted(self.time, (start, end))
        return self.part(int(first), int(last))

    def part(self, first: int, last: int) -> "Candles":
        """Those at positions first <= i < last."""
        return Candles(self.data[:, first:last])


def merge(old: Candles, new: Candles) -> Candles:
    """Both, in order of time; where both have a candle, the new one."""
    if not len(old) or not len(new) or old.data[0, -1] < new.data[0, 0]:
        # Nearly always: a candle that has closed comes behind all others.
        return Candles.joined((old, new))
    kept = old.data[:, ~np.isin(old.time, new.time)]
    both = np.concatenate((kept, new.data), axis=1)
    return Candles(both[:, np.argsort(both[0], kind="stable")])
