"""Collects what files have of the outages of the live record, as candles. Pure."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from ticker.archive.layout import CANDLES
from ticker.candles.candle import Candles
from ticker.candles.interval import INTERVALS, Interval, bounds
from ticker.importing.counting import Count
from ticker.importing.folding import candles_of, folded, in_order
from ticker.importing.rows import Row, TickRow

S1 = INTERVALS["1s"]
STEP_S = {"1s": 3_600, "1m": 86_400, "1d": 86_400 * 365}
"""What is changed in one step: little enough that the writer of the symbol, who must not write meanwhile, seldom does."""


@dataclass(frozen=True, slots=True)
class Missed:
    """What files have of the outages of one kind and symbol."""

    kind: str
    symbol: str
    base: Interval
    candles: Candles

    @property
    def steps(self) -> Iterator[Candles]:
        """In parts, each of which is added whole or not at all."""
        number = self.candles.time // (STEP_S[self.base.name] * 1_000_000)
        for one in np.unique(number).tolist():
            yield Candles(self.candles.data[:, number == one])


class MissedRows:
    """Those of all files; `outages`: for each symbol the times, in order, in which its live record may miss something."""

    def __init__(self, outages: Mapping[str, Sequence[tuple[int, int]]], zone: ZoneInfo) -> None:
        self._outages = outages
        self._zone = zone
        self._parts: dict[tuple[str, str], list[Candles]] = {}

    def take(self, kind: str, symbol: str, rows: Sequence[Row], count: Count) -> None:
        """Rows of a day of the live record, in order of time: those that lie in an outage are kept."""
        inside = [row for row in rows if self._is_missed(kind, row)]
        count.overlap += len(rows) - len(inside)
        if kind == "quotes":
            count.no_place += len(inside)
        elif kind == "trades" and inside:
            ticks = [row for row in inside if isinstance(row, TickRow)]
            self._parts.setdefault((kind, symbol), []).append(folded(ticks, self._zone)[S1])
        elif inside:
            candles = candles_of(inside)
            count.overlap += len(inside) - len(candles)
            self._parts.setdefault((kind, symbol), []).append(candles)

    @property
    def found(self) -> list[Missed]:
        """All of them."""
        return [
            Missed(kind, symbol, CANDLES.get(kind, S1), in_order(parts))
            for (kind, symbol), parts in sorted(self._parts.items())
        ]

    def _is_missed(self, kind: str, row: Row) -> bool:
        """Whether all of a row lies in an outage."""
        end = bounds(CANDLES[kind], row.time, self._zone)[1] if kind in CANDLES else row.time + 1
        times = self._outages.get(row.symbol, ())
        number = bisect_right(times, row.time, key=lambda one: one[0])
        return number > 0 and end <= times[number - 1][1]
