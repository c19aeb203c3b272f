"""Answers questions for candles: any interval, any range, a page at a time, with the position they stand for."""

from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

import numpy as np
from redis.asyncio import Redis

from ticker.candles.builder import CandleBuilder
from ticker.candles.candle import NO_TRADE, Candle, Candles
from ticker.candles.interval import INTERVALS, Interval, bounds
from ticker.candles.rollup import roll_up
from ticker.history import cursor as cursors
from ticker.store import keys
from ticker.store.candle_store import TIME_MAX, CandleSource, StoredCandles
from ticker.store.connection import answers

CHUNKS_A_PAGE = 16
"""Of candles that are sent again to somebody who was away."""


@dataclass(frozen=True, slots=True)
class CandleQuery:
    """What is asked: a range [start, end) on the candles' open times, in microseconds; None where it is open."""

    symbol: str
    interval: Interval
    start: int | None = None
    end: int | None = None
    limit: int = 500
    descending: bool = False
    forming: bool = False
    cursor: str | None = None

    @property
    def identity(self) -> str:
        """What stays the same from page to page."""
        return repr(replace(self, cursor=None, limit=0))


@dataclass(frozen=True, slots=True)
class Position:
    """Everything up to `seq` and nothing after."""

    epoch: str | None
    seq: int


@dataclass(frozen=True, slots=True)
class CandlePage:
    """One page of candles, each with whether it is final; `position` only where the page reaches the live edge."""

    candles: list[tuple[Candle, bool]]
    next: str | None
    position: Position | None


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


@dataclass(frozen=True, slots=True)
class Touched:
    """The open time of the oldest candle concerned, if not of an older one, and the last trade whose candles are gone."""

    time: int
    missing: int
    """0 where none are."""


@dataclass(frozen=True, slots=True)
class ClosedPage:
    """Closed candles with everything up to the trade `seq`, and where those behind them begin, if there are any."""

    candles: Candles
    seq: int
    next: int | None


class CandleHistory:
    """Reads stored candles and rolls them up."""

    def __init__(
        self,
        client: Redis,
        reader: CandleSource,
        zone: ZoneInfo,
        grace_us: int,
        lateness_us: int,
        ahead_us: int = 60_000_000,
    ) -> None:
        self._client = client
        self._reader = reader
        self._zone = zone
        self._grace_us = grace_us
        self._lateness_us = lateness_us
        self._ahead_us = ahead_us

    async def page(self, query: CandleQuery, feed: str) -> CandlePage:
        """One page. Without `start` the newest candles before `end`, and `next` leads to older ones; else from `start` on."""
        backward = query.start is None
        start, end = query.start or 0, TIME_MAX if query.end is None else query.end
        until = TIME_MAX
        if query.cursor is not None:
            at, until = cursors.read(query.identity, query.cursor, (int, int))
            start, end = (start, min(end, at)) if backward else (max(start, at), end)
        span = await self._gather(query, feed, start, min(end, until), backward=backward)
        shown = len(span.candles) if query.forming else span.final
        first, last = (max(0, shown - query.limit), shown) if backward else (0, min(shown, query.limit))
        rows = [(row, i < span.final) for i, row in enumerate(span.candles.part(first, last).rows(), first)]
        # Only a first page can reach the edge where the live messages begin.
        reaches = query.cursor is None and (query.end is None or query.end > span.clock)
        at_edge = reaches and last == shown and (span.complete or backward)
        next_page = self._next(query, span, first, last, shown, until, backward=backward)
        if query.descending:
            rows.reverse()
        return CandlePage(rows, next_page, self._position(query, span) if at_edge else None)

    def _next(
        self, query: CandleQuery, span: Span, first: int, last: int, shown: int, until: int, *, backward: bool
    ) -> str | None:
        """The cursor of the page behind this one, where there is one."""
        times = span.candles.time
        if backward:
            more = first > 0 or not span.complete
            return cursors.write(query.identity, [int(times[first]), until]) if more and last > first else None
        if last >= shown and span.complete:
            return None
        # What closes after the first page was asked for stays out of the pages behind it.
        edge = (
            until
            if until != TIME_MAX
            else bounds(query.interval, span.clock - self._grace_us, self._zone)[query.forming]
        )
        after = int(times[last]) if last < len(times) else int(times[-1]) + 1
        return cursors.write(query.identity, [after, edge])

    async def _gather(self, query: CandleQuery, feed: str, start: int, end: int, *, backward: bool) -> Span:
        """Read as many stored candles as the page takes, a block at a time, and roll them up."""
        base = INTERVALS[query.interval.base]
        # Only candles that open in the range count, so a stored one belongs if the large one around it does.
        low = start if start == 0 else self._ceiling(query.interval, start)
        high = end if end >= TIME_MAX else self._ceiling(query.interval, end)
        clock = await self._clock(feed)
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
        closed = Candles.joined([block.closed for block in ordered])
        # The edge is read with the newest block; when going forward that is the last one, and only if all was read.
        edge = first_read if backward else blocks[-1]
        unclosed = Candles.of(edge.open) if backward or complete else Candles.of(())
        if len(closed):
            clock = max(clock, bounds(INTERVALS[interval.base], int(closed.time[-1]), self._zone)[1] + self._grace_us)
        rolled = roll_up(_joined(closed, unclosed), interval, self._zone)
        if backward and not complete and len(rolled):
            # The oldest large candle may have lost a part of itself to the blocks that were not read.
            rolled = rolled.part(1, len(rolled))
        elif not complete and len(rolled):
            rolled = rolled.part(0, len(rolled) - 1)
        rolled = rolled.between(*limits)
        final = self._final(interval, rolled, unclosed, clock)
        return Span(rolled, final, complete, edge.epoch, edge.trades.seq, clock)

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

    def _position(self, query: CandleQuery, span: Span) -> Position:
        """What the page stands for: all trades, or, where forming candles are left out, those before the first in them."""
        seq = span.seq
        if not query.forming and span.final < len(span.candles):
            seq = min(seq, int(span.candles.column("first_seq")[span.final :].min()) - 1)
        return Position(span.epoch, seq)

    async def _clock(self, feed: str) -> int:
        """The feed's clock: read before the candles, so that all it has closed is in them."""
        with answers("candles"):
            return int(await self._client.hget(keys.CLOCKS, feed) or 0)

    def _ceiling(self, interval: Interval, time: int) -> int:
        """The first open time of a candle at or after `time`."""
        opened, end = bounds(interval, time, self._zone)
        return opened if opened == time else end

    async def builder(self, symbol: str, interval: Interval, feed: str) -> tuple[CandleBuilder, Span]:
        """A builder with all candles of the interval that can still change, and what it was made from.

        The span goes back at least to the newest candle there is.
        """
        clock = await self._clock(feed)
        base = INTERVALS[interval.base]
        newest, oldest_open = await self._edge(symbol, base)
        # Before its first heartbeat a feed has no clock.
        since = min((clock or newest) - self._lateness_us - self._grace_us, newest, oldest_open)
        since = bounds(interval, max(since, 0), self._zone)[0]
        query = CandleQuery(symbol, interval, start=since, limit=TIME_MAX, forming=True)
        span = await self._gather(query, feed, since, TIME_MAX, backward=False)
        builder = CandleBuilder(interval, self._zone, self._grace_us, self._lateness_us)
        rows = span.candles.rows()
        builder.load(rows[: span.final], closed=True)
        builder.load(rows[span.final :], closed=False)
        return builder, span

    async def touched_since(self, symbol: str, interval: Interval, seq: int) -> Touched:
        """How far back candles may go that trades behind the number `seq` have touched.

        A trade is refused where it is later than `lateness_us` behind the feed clock, and that is never more than
        `ahead_us` behind the newest trade: so the newest candle without one of these trades bounds how far they reach.
        """
        base, end, oldest, first = INTERVALS[interval.base], TIME_MAX, TIME_MAX, NO_TRADE
        while True:
            block = await self._reader.read(symbol, base, 0, end, newest=True, chunks=CHUNKS_A_PAGE)
            candles = _joined(block.closed, Candles.of(block.open) if end == TIME_MAX else Candles.of(()))
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
            symbol, base, start, self._ceiling(interval, end), newest=False, chunks=CHUNKS_A_PAGE
        )
        rolled = roll_up(block.closed, interval, self._zone)
        after = None
        if not block.complete and len(rolled) > 1:
            # The last one may have lost a part of itself to what was not read.
            after = int(rolled.time[-1])
            rolled = rolled.part(0, len(rolled) - 1)
        return ClosedPage(rolled, block.trades.seq, after)

    async def _edge(self, symbol: str, base: Interval) -> tuple[int, int]:
        """The open times of the newest stored candle, closed or not (0: none), and of the oldest that is not closed."""
        edge = await self._reader.read(symbol, base, TIME_MAX, TIME_MAX, newest=True)
        tail = await self._reader.tail(symbol, base, TIME_MAX)
        unclosed = [candle.time for candle in edge.open]
        newest = max(unclosed + [int(chunk.time[-1]) for chunk in tail], default=0)
        return newest, min(unclosed, default=newest)


def _joined(closed: Candles, unclosed: Candles) -> Candles:
    """Closed and forming candles in order of time: a late trade may have opened one among the closed."""
    both = np.concatenate((closed.data, unclosed.data), axis=1)
    return Candles(both[:, np.argsort(both[0], kind="stable")])
