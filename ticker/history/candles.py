"""Answers questions for candles: any interval, any range, a page at a time, with the position they stand for."""

from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

import numpy as np
from redis.asyncio import Redis

from feeds.feed import CLOCK_END
from ticker.candles.builder import CandleBuilder
from ticker.candles.candle import NO_TRADE, Candle, Candles
from ticker.candles.interval import INTERVALS, Interval, bounds
from ticker.candles.rollup import roll_up
from ticker.history import cursor as cursors
from ticker.history.choices import Fill
from ticker.history.fill import filled, grid, grid_before
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
    fill: Fill = "none"

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
    """One page; `position` only where it reaches the live edge."""

    rows: Candles
    """In rising order of time."""
    final: int
    """The first `final` of them are closed."""
    descending: bool
    next: str | None
    position: Position | None
    rests_on: tuple[int, int] | None
    """Where nothing that is still open can change the page: the open times of the stored candles that it rests on."""

    @property
    def candles(self) -> list[tuple[Candle, bool]]:
        """The candles in the order asked for, each with whether it is final."""
        rows = [(row, i < self.final) for i, row in enumerate(self.rows.rows())]
        return rows[::-1] if self.descending else rows


@dataclass(frozen=True, slots=True)
class Range:
    """What of a query's range is left behind its cursor: [start, end) on open times, but nothing from `until` on."""

    start: int
    end: int
    until: int = TIME_MAX
    """What closes after the first page was asked for stays out of the pages behind it."""

    @property
    def high(self) -> int:
        """Where it ends."""
        return min(self.end, self.until)

    @classmethod
    def of(cls, query: CandleQuery) -> "Range":
        """Raises `BadRequest` for a cursor that does not go with the query."""
        start, end = query.start or 0, TIME_MAX if query.end is None else query.end
        if query.cursor is None:
            return cls(start, end)
        at, until = cursors.read(query.identity, query.cursor, (int, int))
        return cls(start, min(end, at), until) if query.start is None else cls(max(start, at), end, until)


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
        place = Range.of(query)
        if query.fill == "previous":
            return await self._filled_page(query, feed, place)
        backward = query.start is None
        span = await self._gather(query, feed, place.start, place.high, backward=backward)
        shown = len(span.candles) if query.forming else span.final
        first, last = (max(0, shown - query.limit), shown) if backward else (0, min(shown, query.limit))
        # Only a first page can reach the edge where the live messages begin.
        reaches = query.cursor is None and (query.end is None or query.end > span.clock)
        at_edge = reaches and last == shown and (span.complete or backward)
        return CandlePage(
            span.candles.part(first, last),
            max(min(span.final, last) - first, 0),
            query.descending,
            self._next(query, span, first, last, shown, place.until, backward=backward),
            self._position(span, shown) if at_edge else None,
            self._rests_on(query, span, place),
        )

    def _rests_on(self, query: CandleQuery, span: Span, place: Range) -> tuple[int, int] | None:
        """The stored candles that a page rests on, where all that could be in it is closed."""
        high = place.high
        if span.final < len(span.candles) or not span.known or high > self._open_from(query.interval, span.known):
            return None
        # That there are older ones, which `next` tells, rests on the oldest there is.
        return 0 if query.start is None else place.start, self._ceiling(query.interval, high)

    def _open_from(self, interval: Interval, clock: int) -> int:
        """The open time of the oldest candle that is not closed at this feed clock."""
        return bounds(interval, clock - self._grace_us, self._zone)[0]

    async def _filled_page(self, query: CandleQuery, feed: str, place: Range) -> CandlePage:
        """The same with a candle for every closed interval since the first trade; forming ones are where they are."""
        backward = query.start is None
        known = await self.clock(feed)
        edge = await self._filled_until(query, known)
        high = min(place.high, edge)
        high = self._ceiling(query.interval, high) if high > 0 else 0
        # The rows of the page: open times from `low` on, and whether there are more of them behind the page.
        low = grid_before(query.interval, high, query.limit, self._zone) if backward else place.start
        previous, low = await self._before(query, max(low, self._ceiling(query.interval, place.start)), high)
        opens = grid(query.interval, low, high, query.limit + 1, self._zone)
        more = previous is not None and low > place.start if backward else len(opens) > query.limit
        opens = opens[: query.limit]
        reaches = query.cursor is None and (query.end is None or query.end > known) and (backward or not more)
        top = place.high if backward or not more else int(opens[-1]) + 1
        span = await self._gather(replace(query, limit=TIME_MAX), feed, low, top, backward=False)
        closed = int(np.searchsorted(span.candles.time, high))
        rows = filled(span.candles.part(0, closed), opens, previous or 0) if len(opens) else Candles.of(())
        shown = closed
        if query.forming and not (more and not backward):
            shown = len(span.candles)
            rows = Candles.joined([rows, span.candles.part(closed, shown)])
        final = len(opens) + max(min(span.final, shown) - closed, 0)
        first, last = (max(0, len(rows) - query.limit), len(rows)) if backward else (0, min(len(rows), query.limit))
        rests = None
        if known and place.high <= edge and span.final == len(span.candles):
            rests = (0, high)
        return CandlePage(
            rows.part(first, last),
            max(min(final, last) - first, 0),
            query.descending,
            self._next_filled(query, rows, (first, last), place, known, more=more),
            self._position(span, shown) if reaches and last == len(rows) else None,
            rests,
        )

    def _next_filled(
        self, query: CandleQuery, rows: Candles, cut: tuple[int, int], place: Range, known: int, *, more: bool
    ) -> str | None:
        """The cursor of the page behind a filled one, where there is one."""
        first, last = cut
        if query.start is None:
            more |= first > 0
            return (
                cursors.write(query.identity, [int(rows.time[first]), place.until]) if more and last > first else None
            )
        if not more and last == len(rows):
            return None
        until = place.until
        if until == TIME_MAX:
            until = bounds(query.interval, known - self._grace_us, self._zone)[query.forming]
        after = int(rows.time[last]) if last < len(rows) else int(rows.time[-1]) + 1
        return cursors.write(query.identity, [after, until])

    async def _filled_until(self, query: CandleQuery, known: int) -> int:
        """The open time before which all is closed; of a record that has ended, the end of its last candle."""
        if known < CLOCK_END:
            return self._open_from(query.interval, known) if known else 0
        newest, _ = await self._edge(query.symbol, INTERVALS[query.interval.base])
        return bounds(query.interval, newest, self._zone)[1] if newest else 0

    async def _before(self, query: CandleQuery, low: int, high: int) -> tuple[int | None, int]:
        """The close before `low`; without one, None and the open time of the first candle before `high`, or `high`."""
        base = INTERVALS[query.interval.base]
        older = await self._reader.read(query.symbol, base, 0, low, newest=True, chunks=1)
        if len(older.closed):
            return int(older.closed.column("close")[-1]), low
        newer = await self._reader.read(query.symbol, base, low, high, newest=False, chunks=1)
        if not len(newer.closed):
            return None, high
        return None, bounds(query.interval, int(newer.closed.time[0]), self._zone)[0]

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
        edge = until
        if until == TIME_MAX:
            edge = bounds(query.interval, span.clock - self._grace_us, self._zone)[query.forming]
        after = int(times[last]) if last < len(times) else int(times[-1]) + 1
        return cursors.write(query.identity, [after, edge])

    async def _gather(self, query: CandleQuery, feed: str, start: int, end: int, *, backward: bool) -> Span:
        """Read as many stored candles as the page takes, a block at a time, and roll them up."""
        base = INTERVALS[query.interval.base]
        # Only candles that open in the range count, so a stored one belongs if the large one around it does.
        low = start if start == 0 else self._ceiling(query.interval, start)
        high = end if end >= TIME_MAX else self._ceiling(query.interval, end)
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
        rolled = roll_up(_joined(closed, unclosed), interval, self._zone)
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

    def _position(self, span: Span, shown: int) -> Position:
        """What the first `shown` candles stand for: all trades, or those before the first in the ones left out."""
        seq = span.seq
        if shown < len(span.candles):
            seq = min(seq, int(span.candles.column("first_seq")[shown:].min()) - 1)
        return Position(span.epoch, seq)

    async def clock(self, feed: str) -> int:
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
        clock = await self.clock(feed)
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
        return ClosedPage(rolled, after)

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
