"""Reads stored candles of a range, a block at a time, and rolls them up to the interval that is wanted."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
from redis.asyncio import Redis

from ticker.candles.candle import Candles
from ticker.candles.interval import INTERVALS, Interval, bounds
from ticker.candles.rollup import roll_up
from ticker.history.candle_query import CandleQuery, Position
from ticker.store import keys
from ticker.store.candle_store import TIME_MAX, CandleSource, StoredCandles
from ticker.store.connection import answers


@dataclass(frozen=True, slots=True)
class Span:
    """Candles of the wanted interval at one moment: `final` says of each whether it is closed."""

    candles: Candles
    final: int
    """The first `final` ones are closed; those behind are forming."""
    complete: bool
    """Nothing in the range was left out."""
    epoch: str | None
    seq: int
    clock: int
    known: int
    """The clock as the store has it; `clock` may be ahead of it, by what closed candles tell."""

    def position(self, shown: int) -> Position:
        """What the first `shown` candles stand for: all trades, or those before the first in the ones left out."""
        seq = self.seq
        if shown < len(self.candles):
            seq = min(seq, int(self.candles.column("first_seq")[shown:].min()) - 1)
        return Position(self.epoch, seq)


class SpanReader:
    """Reads spans, and what tells where they end: the feed's clock, and the newest candles there are."""

    def __init__(self, client: Redis, reader: CandleSource, zone: ZoneInfo, grace_us: int) -> None:
        self._client = client
        self._reader = reader
        self._zone = zone
        self._grace_us = grace_us

    async def clock(self, feed: str) -> int:
        """The feed's clock: read before the candles, so that all it has closed is in them."""
        with answers("candles"):
            return int(await self._client.hget(keys.CLOCKS, feed) or 0)

    async def edge(self, symbol: str, base: Interval) -> tuple[int, int]:
        """The open times of the newest stored candle, closed or not (0: none), and of the oldest that is not closed."""
        edge = await self._reader.read(symbol, base, TIME_MAX, TIME_MAX, newest=True)
        tail = await self._reader.tail(symbol, base, TIME_MAX)
        unclosed = [candle.time for candle in edge.open]
        newest = max(unclosed + [int(chunk.time[-1]) for chunk in tail], default=0)
        return newest, min(unclosed, default=newest)

    def oldest_open(self, interval: Interval, clock: int) -> tuple[int, int]:
        """The open time and the end of the oldest candle that is not closed at this feed clock."""
        return bounds(interval, clock - self._grace_us, self._zone)

    async def read(self, query: CandleQuery, feed: str, start: int, end: int, *, backward: bool) -> Span:
        """Read as many stored candles as the page takes, a block at a time, and roll them up."""
        base = INTERVALS[query.interval.base]
        # Only candles that open in the range count, so a stored one belongs if the large one around it does.
        low = start if start == 0 else ceiling(query.interval, start, self._zone)
        high = end if end >= TIME_MAX else ceiling(query.interval, end, self._zone)
        clock = await self.clock(feed)
        blocks: list[StoredCandles] = []
        while low < high:
            block = await self._reader.read(query.symbol, base, low, high, newest=backward)
            blocks.append(block)
            if block.complete or not len(block.closed):
                break
            if self._buckets(query.interval, blocks) > query.limit + 1:
                break
            if backward:
                high = int(block.closed.time[0])
            else:
                low = int(block.closed.time[-1]) + 1
        if not blocks:
            blocks.append(await self._reader.read(query.symbol, base, TIME_MAX, TIME_MAX, newest=True))
        return self._span(query.interval, blocks, clock, (start, end), backward=backward)

    def _buckets(self, interval: Interval, blocks: list[StoredCandles]) -> int:
        """About how many candles of the interval the blocks make: never more than they do."""
        if interval.stored:
            return sum(len(block.closed) for block in blocks)
        return sum(len(np.unique(block.closed.time // interval.width)) - 1 for block in blocks)

    def _span(
        self, interval: Interval, blocks: list[StoredCandles], clock: int, limits: tuple[int, int], *, backward: bool
    ) -> Span:
        first_read, complete = blocks[0], blocks[-1].complete
        ordered = blocks[::-1] if backward else blocks
        known = clock
        closed = Candles.joined([block.closed for block in ordered])
        # The edge is read with the newest block; when going forward that is the last one, and only if all was read.
        edge = first_read if backward else blocks[-1]
        unclosed = Candles.of(edge.open) if backward or complete else Candles.of(())
        if len(closed):
            clock = max(clock, bounds(INTERVALS[interval.base], int(closed.time[-1]), self._zone)[1] + self._grace_us)
        rolled = roll_up(in_order(closed, unclosed), interval, self._zone)
        if backward and not complete and len(rolled):
            # The oldest large candle may have lost a part of itself to the blocks that were not read.
            rolled = rolled.part(1, len(rolled))
        elif not complete and len(rolled):
            rolled = rolled.part(0, len(rolled) - 1)
        rolled = rolled.between(*limits)
        final = self._final(interval, rolled, unclosed, clock)
        return Span(rolled, final, complete, edge.epoch, edge.trades.seq, clock, known)

    def _final(self, interval: Interval, rolled: Candles, unclosed: Candles, clock: int) -> int:
        """How many of the candles, from the oldest, are closed at this feed clock."""
        count = len(rolled)
        oldest_open = int(unclosed.time[0]) if len(unclosed) else TIME_MAX
        while count:
            opened = int(rolled.time[count - 1])
            end = bounds(interval, opened, self._zone)[1]
            if end + self._grace_us <= clock and end <= oldest_open:
                break
            count -= 1
        return count


def ceiling(interval: Interval, time: int, zone: ZoneInfo) -> int:
    """The first open time of a candle at or after `time`."""
    opened, end = bounds(interval, time, zone)
    return opened if opened == time else end


def in_order(closed: Candles, unclosed: Candles) -> Candles:
    """Closed and forming candles in order of time: a late trade may have opened one among the closed."""
    both = np.concatenate((closed.data, unclosed.data), axis=1)
    return Candles(both[:, np.argsort(both[0], kind="stable")])
