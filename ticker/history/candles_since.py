"""Finds the candles that trades behind a number have touched, and reads those that are closed, for whoever was away."""

from zoneinfo import ZoneInfo

import numpy as np

from ticker.candles.candle import NO_TRADE, Candles
from ticker.candles.interval import INTERVALS, bounds
from ticker.candles.rollup import roll_up
from ticker.candles.since import Begin, PastPage
from ticker.history.candle_span import ceiling, in_order
from ticker.store.candle_store import TIME_MAX, CandleSource

CHUNKS_A_PAGE = 16
"""Of candles that are sent again to somebody who was away."""


class CandlesSince:
    """Reads what is stored from its newest candle back."""

    def __init__(self, reader: CandleSource, zone: ZoneInfo, lateness_us: int, ahead_us: int) -> None:
        self._reader = reader
        self._zone = zone
        self.reach_us = lateness_us + ahead_us
        """How far back in time a trade may lie behind those that have lower numbers: one is refused where it is later than
        `lateness_us` behind the feed clock, and that is never more than `ahead_us` behind the newest trade."""

    async def begin(self, symbol: str, interval: str, seq: int) -> Begin:
        """How far back candles may go that trades behind the number `seq` have touched.

        The newest candle without one of these trades bounds how far they reach.
        """
        wanted = INTERVALS[interval]
        base, end, oldest, first = INTERVALS[wanted.base], TIME_MAX, TIME_MAX, NO_TRADE
        while True:
            block = await self._reader.read(symbol, base, 0, end, newest=True, chunks=CHUNKS_A_PAGE)
            candles = in_order(block.closed, Candles.of(block.open) if end == TIME_MAX else Candles.of(()))
            seqs = candles.column("seq")
            before = np.flatnonzero((seqs > 0) & (seqs <= seq))
            if len(before):
                since = int(candles.time[before[-1]]) - self.reach_us
                return Begin(bounds(wanted, max(since, 0), self._zone)[0], 0)
            traded = np.flatnonzero(seqs > 0)
            if len(traded):
                oldest = int(candles.time[traded[0]])
                first = min(first, int(candles.column("first_seq")[traded].min()))
            if block.complete or not len(block.closed) or len(traded) < len(candles):
                opened = bounds(wanted, oldest, self._zone)[0] if oldest < TIME_MAX else TIME_MAX
                return Begin(opened, first - 1 if NO_TRADE > first > seq + 1 else 0)
            end = int(block.closed.time[0])

    async def closed(self, symbol: str, interval: str, start: int, end: int) -> PastPage:
        """Candles with start <= time < end of which all parts are closed, as many as are read at once."""
        wanted = INTERVALS[interval]
        base = INTERVALS[wanted.base]
        block = await self._reader.read(
            symbol, base, start, ceiling(wanted, end, self._zone), newest=False, chunks=CHUNKS_A_PAGE
        )
        rolled = roll_up(block.closed, wanted, self._zone)
        after = None
        if not block.complete and len(rolled) > 1:
            # The last one may have lost a part of itself to what was not read.
            after = int(rolled.time[-1])
            rolled = rolled.part(0, len(rolled) - 1)
        return PastPage(rolled.rows(), after)
