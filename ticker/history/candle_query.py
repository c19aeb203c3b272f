"""What is asked for candles, and what a page of them answers."""

from dataclasses import dataclass, replace

from ticker.candles.candle import Candle, Candles
from ticker.candles.interval import Interval
from ticker.history import cursor as cursors
from ticker.history.choices import Fill
from ticker.store.candle_store import TIME_MAX


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
