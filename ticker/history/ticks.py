"""Answers questions for trades and quotes: ranges of the streams, a page at a time, in the order of their numbers."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from ticker.history import cursor as cursors
from ticker.history.candle_query import Position
from ticker.store.tick_stream import ENTRIES_PER_READ, Entry, Kind, TickSource

MS_MAX = 10**13


class Id(NamedTuple):
    """A stream id. Ids only rise, also over epochs, where numbers may begin anew."""

    ms: int
    seq: int


@dataclass(frozen=True, slots=True)
class TickQuery:
    """What is asked: a range [start, end) on the ticks' times, in microseconds; None where it is open."""

    kind: Kind
    symbol: str
    start: int | None = None
    end: int | None = None
    limit: int = 500
    descending: bool = False
    cursor: str | None = None

    @property
    def identity(self) -> str:
        """What stays the same from page to page."""
        return repr(replace(self, cursor=None, limit=0))


@dataclass(frozen=True, slots=True)
class TickPage:
    """One page of stream entries; `position` only where the page reaches the live edge."""

    entries: list[Entry]
    next: str | None
    position: Position | None


class TickHistory:
    """Reads the streams by time.

    Ids only rise, so a tick that came late stands behind ticks with later times: at most `late_ms` behind, since later
    ones are refused. A range is therefore read up to that much further than its end.
    """

    def __init__(self, reader: TickSource, late_ms: int) -> None:
        self._reader = reader
        self._late_ms = late_ms

    async def page(self, query: TickQuery) -> TickPage:
        """One page. Without `start` the newest ticks before `end`, and `next` leads to older ones; else from `start` on."""
        (tip,) = await self._reader.tips(query.kind, [query.symbol])
        if query.start is None:
            entries, more = await self._backward(query)
            edge = Id(0, 0)
        else:
            entries, more, edge = await self._forward(query, Id(tip.end.ms, tip.end.seq))
        at_edge = query.cursor is None and query.end is None and (query.start is None or not more)
        # Ticks that came while the page was read are in it.
        newest = Id(tip.end.ms, tip.end.seq)
        if tip.epoch is not None:
            newest = max([newest, *(Id(entry.ms, entry.seq) for entry in entries[-1:])])
        position = Position(tip.epoch, newest.seq) if at_edge else None
        next_page = None
        if more and entries:
            place = entries[0] if query.start is None else entries[-1]
            next_page = cursors.write(query.identity, [place.ms, place.seq, *edge])
        if query.descending:
            entries.reverse()
        return TickPage(entries, next_page, position)

    def _last_id(self, end: int) -> str:
        """Up to where ticks of a range that ends here may stand."""
        return str(min(max(end, 0) // 1000 + self._late_ms, MS_MAX))

    async def _backward(self, query: TickQuery) -> tuple[list[Entry], bool]:
        """The newest entries before the end or the cursor, in order, and whether there are older ones."""
        last = "+" if query.end is None else self._last_id(query.end)
        if query.cursor is not None:
            ms, seq, _, _ = cursors.read(query.identity, query.cursor, (int, int, int, int))
            last = f"({ms}-{seq}"
        found: list[Entry] = []
        while len(found) <= query.limit:
            page = await self._reader.read(query.kind, query.symbol, "-", last, newest=True)
            found += [entry for entry in page if query.end is None or entry.time < query.end]
            if len(page) < ENTRIES_PER_READ:
                break
            last = f"({page[-1].ms}-{page[-1].seq}"
        return found[: query.limit][::-1], len(found) > query.limit

    async def _forward(self, query: TickQuery, newest: Id) -> tuple[list[Entry], bool, Id]:
        """The oldest entries from the start or the cursor on, whether there are more, and the last id that counts."""
        assert query.start is not None
        # A date long ago is a number below all ids, of which a stream knows none.
        first = str(max(query.start, 0) // 1000)
        last = "+" if query.end is None else self._last_id(query.end)
        edge = newest
        if query.cursor is not None:
            ms, seq, *rest = cursors.read(query.identity, query.cursor, (int, int, int, int))
            edge = Id(*rest)
            first = f"({ms}-{seq}"
        found: list[Entry] = []
        while len(found) <= query.limit:
            page = await self._reader.read(query.kind, query.symbol, first, last)
            found += [
                entry
                for entry in page
                if (entry.ms, entry.seq) <= edge
                and query.start <= entry.time
                and (query.end is None or entry.time < query.end)
            ]
            if len(page) < ENTRIES_PER_READ:
                break
            first = f"({page[-1].ms}-{page[-1].seq}"
        return found[: query.limit], len(found) > query.limit, edge
