"""Reads ranges of history page by page, so that what comes out is one answer with one position."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from ticker.client.checks import check_symbol
from ticker.client.errors import Misuse
from ticker.client.records import Position, position
from ticker.client.rest import Rest
from ticker.client.shapes import Raw

PAGE_ROWS = 10_000
"""The most that a gateway gives at once (`limits.page_rows`); one that gives less says so, and is asked for less."""
NEWEST_ROWS = 500
"""How many of the newest rows there are where neither `start` nor `limit` says."""

Moment = int | str | datetime | date | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long answer has come: `rows` so far, and `share` of the range from 0 to 1, None where that is not known."""

    rows: int
    share: float | None


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Range:
    """What is asked for: rows of `kind` from `start` up to before `end`, at most `limit`."""

    kind: str
    symbol: str
    start: str | None
    end: str | None
    limit: int | None
    more: dict[str, str]

    @property
    def path(self) -> str:
        """Where it is asked for."""
        return f"/v1/{self.kind}/{self.symbol}"

    def query(self, rows: int) -> dict[str, str]:
        """The parameters of a page of so many rows."""
        given = {"start": self.start, "end": self.end, "limit": str(rows)}
        return self.more | {name: value for name, value in given.items() if value is not None}


def range_of(
    kind: str, symbol: str, start: Moment, end: Moment, limit: int | None, more: dict[str, str] | None = None
) -> Range:
    """A range from what the caller gives."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise Misuse(f"limit is {limit!r}; expected a whole number from 1")
    if start is None and limit is None:
        limit = NEWEST_ROWS
    check_symbol(symbol)
    return Range(kind, symbol, moment(start, "start"), moment(end, "end"), limit, more or {})


def moment(given: Moment, name: str) -> str | None:
    """A time as a gateway reads it: microseconds, RFC 3339, or a date, which is its midnight in the market's time zone."""
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise Misuse(
                f"{name} {given.isoformat()} has no time zone; expected one that does, such as datetime.now(UTC)"
            )
        return given.isoformat()
    if isinstance(given, date):
        return given.isoformat()
    if isinstance(given, bool) or not isinstance(given, int):
        raise Misuse(f"{name} is {given!r}; expected microseconds since 1970, a datetime, a date or a text")
    return str(given)


async def read(rest: Rest, asked: Range, page_rows: int, progress: OnProgress | None) -> tuple[Raw, Position | None]:
    """All rows of the range in order of time, oldest first, and the position where they reach the present."""
    if asked.start is None:
        return await _backward(rest, asked, page_rows, progress)
    return await _forward(rest, asked, page_rows, progress)


async def _backward(
    rest: Rest, asked: Range, page_rows: int, progress: OnProgress | None
) -> tuple[Raw, Position | None]:
    """The newest rows: the first page has the position, the others lead back from it."""
    assert asked.limit is not None
    parts: list[Raw] = []
    count, at = 0, None
    async for page in rest.pages(asked.path, asked.query(min(asked.limit, page_rows))):
        if not parts:
            at = _position(page)
        rows = page[asked.kind][-(asked.limit - count) :]
        parts.append(rows)
        count += len(rows)
        if progress:
            progress(Progress(count, count / asked.limit))
        if count >= asked.limit:
            break
    return [row for rows in reversed(parts) for row in rows], at


async def _forward(
    rest: Rest, asked: Range, page_rows: int, progress: OnProgress | None
) -> tuple[Raw, Position | None]:
    """Rows from `start` on.

    Only a first page has a position, and further pages hold nothing that came after it was made. So where more than one
    may be needed, the position is asked for before: every row up to it is on the pages, and those beyond are left out.
    """
    before = None
    if asked.limit is None or asked.limit > page_rows:
        newest = Range(asked.kind, asked.symbol, None, asked.end, 1, asked.more)
        before = _position(await rest.get(newest.path, newest.query(1)))
    rows: Raw = []
    pages, at, whole = 0, None, False
    async for page in rest.pages(asked.path, asked.query(min(asked.limit or page_rows, page_rows))):
        pages += 1
        at, whole = _position(page), page["next"] is None
        rows += page[asked.kind]
        if progress:
            progress(Progress(len(rows), _share(asked, rows)))
        if asked.limit is not None and len(rows) >= asked.limit:
            whole = whole and len(rows) == asked.limit
            del rows[asked.limit :]
            break
    if pages == 1 or not whole or before is None:
        return rows, at if pages == 1 else None
    return _up_to(rows, before), before


def _up_to(rows: Raw, at: Position) -> Raw:
    """Without ticks that came after the position; candles that trades have touched since stand as they are."""
    while rows and rows[-1].get("seq", 0) > at.seq:
        rows.pop()
    return rows


def _share(asked: Range, rows: Raw) -> float | None:
    """How much of the range lies behind the newest row."""
    if asked.limit is not None:
        return min(1.0, len(rows) / asked.limit)
    times = [text for text in (asked.start, asked.end) if text is not None and text.isdecimal()]
    if len(times) < 2 or not rows:
        return None
    start, end = map(int, times)
    return min(1.0, max(0.0, (int(rows[-1]["time"]) - start) / max(1, end - start)))


def _position(page: dict[str, Any]) -> Position | None:
    return None if page["position"] is None else position(page["position"])
