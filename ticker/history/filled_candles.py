"""Pages of candles without holes: one for every closed interval since the first trade."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np

from feeds.feed import CLOCK_END
from ticker.candles.candle import Candles
from ticker.candles.interval import INTERVALS, bounds
from ticker.history import cursor as cursors
from ticker.history.candle_query import CandlePage, CandleQuery, Range
from ticker.history.candle_span import SpanReader, ceiling
from ticker.history.fill import filled, grid, grid_before
from ticker.store.candle_store import TIME_MAX, CandleSource


class FilledCandles:
    """Reads spans and fills them."""

    def __init__(self, reader: CandleSource, spans: SpanReader, zone: ZoneInfo) -> None:
        self._reader = reader
        self._spans = spans
        self._zone = zone

    async def page(self, query: CandleQuery, feed: str, place: Range) -> CandlePage:
        """One page behind the cursor; forming candles are where they are."""
        backward = query.start is None
        known = await self._spans.clock(feed)
        edge = await self._filled_until(query, known)
        high = min(place.high, edge)
        high = ceiling(query.interval, high, self._zone) if high > 0 else 0
        # The rows of the page: open times from `low` on, and whether there are more of them behind the page.
        low = grid_before(query.interval, high, query.limit, self._zone) if backward else place.start
        previous, low = await self._before(query, max(low, ceiling(query.interval, place.start, self._zone)), high)
        opens = grid(query.interval, low, high, query.limit + 1, self._zone)
        more = previous is not None and low > place.start if backward else len(opens) > query.limit
        opens = opens[: query.limit]
        reaches = query.cursor is None and (query.end is None or query.end > known) and (backward or not more)
        top = place.high if backward or not more else int(opens[-1]) + 1
        span = await self._spans.read(replace(query, limit=TIME_MAX), feed, low, top, backward=False)
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
            self._next(query, rows, (first, last), place, known, more=more),
            span.position(shown) if reaches and last == len(rows) else None,
            rests,
        )

    def _next(
        self, query: CandleQuery, rows: Candles, cut: tuple[int, int], place: Range, known: int, *, more: bool
    ) -> str | None:
        """The cursor of the page behind this one, where there is one."""
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
            until = self._spans.oldest_open(query.interval, known)[query.forming]
        after = int(rows.time[last]) if last < len(rows) else int(rows.time[-1]) + 1
        return cursors.write(query.identity, [after, until])

    async def _filled_until(self, query: CandleQuery, known: int) -> int:
        """The open time before which all is closed; of a record that has ended, the end of its last candle."""
        if known < CLOCK_END:
            return self._spans.oldest_open(query.interval, known)[0] if known else 0
        newest, _ = await self._spans.edge(query.symbol, INTERVALS[query.interval.base])
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
