"""Finds the candles that trades behind a number have touched, and reads those that are closed, for whoever was away."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from ticker.candles.candle import NO_TRADE, Candles
from ticker.candles.interval import INTERVALS, Interval, bounds
from ticker.candles.rollup import roll_up
from ticker.history.candle_span import ceiling, in_order
from ticker.store.candle_store import TIME_MAX, CandleSource

CHUNKS_A_PAGE = 16
"""Of candles that are sent again to somebody who was away."""


@dataclass(frozen=True, slots=True)
class Touched:
    """The open time of the oldest candle concerned, if not of an older one, and the last trade whose candles are gone."""

    time: int
    missing: int
    """0 where none are."""


@dataclass(frozen=True, slots=True)
class ClosedPage:
    """Closed candles, and where those behind them begin, if there are any."""

    candles: Candles
    next: int | None


class CandlesSince:
    """Reads what is stored from its newest candle back."""

    def __init__(self, reader: CandleSource, zone: ZoneInfo, lateness_us: int, ahead_us: int) -> None:
        self._reader = reader
        self._zone = zone
        self._lateness_us = lateness_us
        self._ahead_us = ahead_us

    async def touched_since(self, symbol: str, interval: Interval, seq: int) -> Touched:
        """How far back candles may go that trades behind the number `seq` have touched.

        A trade is refused where it is later than `lateness_us` behind the feed clock, and that is never more than
        `ahead_us` behind the newest trade: so the newest candle without one of these trades bounds how far they reach.
        """
        base, end, oldest, first = INTERVALS[interval.base], TIME_MAX, TIME_MAX, NO_TRADE
        while True:
            block = await self._reader.read(symbol, base, 0, end, newest=True, chunks=CHUNKS_A_PAGE)
            candles = in_order(block.closed, Candles.of(block.open) if end == TIME_MAX else Candles.of(()))
            seqs = candles.column("seq")
            before = np.flatnonzero((seqs > 0) & (seqs <= seq))
            if len(before):
                since = int(candles.time[before[-1]]) - self._lateness_us - self._ahead_us
                return Touched(bounds(interval, max(since, 0), self._zone)[0], 0)
            traded = np.flatnonzero(seqs > 0)
            if len(traded):
                oldest = int(candles.time[traded[0]])
                first = min(first, int(candles.column("first_seq")[traded].min()))
            if block.complete or not len(block.closed) or len(traded) < len(candles):
                opened = bounds(interval, oldest, self._zone)[0] if oldest < TIME_MAX else TIME_MAX
                return Touched(opened, first - 1 if NO_TRADE > first > seq + 1 else 0)
            end = int(block.closed.time[0])

    async def closed(self, symbol: str, interval: Interval, start: int, end: int) -> ClosedPage:
        """Candles with start <= time < end of which all parts are closed, as many as are read at once."""
        base = INTERVALS[interval.base]
        block = await self._reader.read(
            symbol, base, start, ceiling(interval, end, self._zone), newest=False, chunks=CHUNKS_A_PAGE
        )
        rolled = roll_up(block.closed, interval, self._zone)
        after = None
        if not block.complete and len(rolled) > 1:
            # The last one may have lost a part of itself to what was not read.
            after = int(rolled.time[-1])
            rolled = rolled.part(0, len(rolled) - 1)
        return ClosedPage(rolled, after)
