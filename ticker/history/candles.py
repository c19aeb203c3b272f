"""Answers questions for candles: any interval, any range, a page at a time, with the position they stand for."""

from collections.abc import Awaitable
from zoneinfo import ZoneInfo

from redis.asyncio import Redis

from ticker.candles.builder import CandleBuilder
from ticker.candles.interval import INTERVALS, Interval, bounds
from ticker.history import cursor as cursors
from ticker.history.candle_query import CandlePage, CandleQuery, Range
from ticker.history.candle_span import Span, SpanReader, ceiling
from ticker.history.filled_candles import FilledCandles
from ticker.store.candle_store import TIME_MAX, CandleSource


class CandleHistory:
    """Pages of candles, and builders that go on where stored ones end."""

    def __init__(self, client: Redis, reader: CandleSource, zone: ZoneInfo, grace_us: int, lateness_us: int) -> None:
        self._zone = zone
        self._grace_us = grace_us
        self._lateness_us = lateness_us
        self._spans = SpanReader(client, reader, zone, grace_us)
        self._filled = FilledCandles(reader, self._spans, zone)

    async def page(self, query: CandleQuery, feed: str) -> CandlePage:
        """One page. Without `start` the newest candles before `end`, and `next` leads to older ones; else from `start` on."""
        place = Range.of(query)
        if query.fill == "previous":
            return await self._filled.page(query, feed, place)
        backward = query.start is None
        span = await self._spans.read(query, feed, place.start, place.high, backward=backward)
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
            span.position(shown) if at_edge else None,
            self._rests_on(query, span, place),
        )

    def _rests_on(self, query: CandleQuery, span: Span, place: Range) -> tuple[int, int] | None:
        """The stored candles that a page rests on, where all that could be in it is closed."""
        high = place.high
        if (
            span.final < len(span.candles)
            or not span.known
            or high > self._spans.oldest_open(query.interval, span.known)[0]
        ):
            return None
        # That there are older ones, which `next` tells, rests on the oldest there is.
        return 0 if query.start is None else place.start, ceiling(query.interval, high, self._zone)

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
            edge = self._spans.oldest_open(query.interval, span.clock)[query.forming]
        after = int(times[last]) if last < len(times) else int(times[-1]) + 1
        return cursors.write(query.identity, [after, edge])

    def clock(self, feed: str) -> Awaitable[int]:
        """The feed's clock."""
        return self._spans.clock(feed)

    async def builder(self, symbol: str, interval: Interval, feed: str) -> tuple[CandleBuilder, Span]:
        """A builder with all candles of the interval that can still change, and what it was made from.

        The span goes back at least to the newest candle there is.
        """
        clock = await self._spans.clock(feed)
        base = INTERVALS[interval.base]
        newest, oldest_open = await self._spans.edge(symbol, base)
        # Before its first heartbeat a feed has no clock.
        since = min((clock or newest) - self._lateness_us - self._grace_us, newest, oldest_open)
        since = bounds(interval, max(since, 0), self._zone)[0]
        query = CandleQuery(symbol, interval, start=since, limit=TIME_MAX, forming=True)
        span = await self._spans.read(query, feed, since, TIME_MAX, backward=False)
        builder = CandleBuilder(interval, self._zone, self._grace_us, self._lateness_us)
        rows = span.candles.rows()
        builder.load(rows[: span.final], closed=True)
        builder.load(rows[span.final :], closed=False)
        return builder, span
