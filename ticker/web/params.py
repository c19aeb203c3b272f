"""Reads the parameters of a REST request: each becomes a value or an error that says what was found and what is allowed."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from ticker.candles.interval import INTERVALS, Interval, midnight
from ticker.errors import BadRequest
from ticker.web.operations import Operation, Parameter

SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-]{0,15}")
SYMBOL_RULE = "1 to 16 of A-Z 0-9 . - beginning with a letter or digit"
DIGITS = re.compile(r"-?[0-9]+")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+\- ][0-9]{2}:[0-5][0-9])?"
)
TIME_MIN, TIME_MAX = 10**14, 10**16
TIME_RULE = "microseconds since 1970, RFC 3339 with an offset (2026-11-20T14:30:00Z), or a date (2026-11-20)"


class Params:
    """The query of one request; every parameter is asked for once, what nobody knows is refused at the beginning."""

    def __init__(self, query: Sequence[tuple[str, str]], operation: Operation) -> None:
        self._operation = operation
        self._given: dict[str, str] = {}
        known = operation.parameters
        for name, value in query:
            if name not in known:
                raise BadRequest(f"unknown parameter {name!r}; allowed: {', '.join(sorted(known))}", name)
            if name in self._given:
                raise BadRequest(f"{name!r} is given twice", name)
            self._given[name] = value
        for name, parameter in known.items():
            if parameter.required and not self._given.get(name):
                raise BadRequest(f"{name!r} is needed: {parameter.description}", name)

    def text(self, name: str) -> str | None:
        """As it is, None where it is not given."""
        return self._given.get(name)

    def choice(self, name: str) -> str:
        """One of several words, as the table has them."""
        parameter: Parameter = self._operation.parameter(name)
        value = self._given.get(name, parameter.default)
        if value is None or value not in parameter.allowed:
            text = f"{name} {value!r} is not known; allowed: {', '.join(parameter.allowed)}"
            raise BadRequest(text, name, parameter.code)
        return value

    def flag(self, name: str) -> bool:
        """`true` or `false`."""
        return self.choice(name) == "true"

    def interval(self) -> Interval:
        """A candle interval; `1m` where none is given."""
        return INTERVALS[self.choice("interval")]

    def cursors(self, symbols: Sequence[str]) -> dict[str, str]:
        """`cursor=A:x,B:y`: the place of each of these symbols that has one."""
        value = self._given.get("cursor")
        found: dict[str, str] = {}
        for part in value.split(",") if value is not None else ():
            symbol, colon, place = part.partition(":")
            if not colon or symbol not in symbols or symbol in found:
                text = f"{part[:40]!r} is no place of a symbol; expected SYMBOL:NEXT once for each of `symbols`"
                raise BadRequest(text, "cursor")
            found[symbol] = place
        return found

    def limit(self, default: int, most: int) -> int:
        """How many rows."""
        value = self._given.get("limit", str(default))
        if not DIGITS.fullmatch(value) or not 1 <= int(value[:9]) <= most or len(value) > 9:
            raise BadRequest(f"limit {value!r} is not allowed; expected a whole number from 1 to {most}", "limit")
        return int(value)

    def range(self, zone: ZoneInfo) -> tuple[int | None, int | None]:
        """`start` and `end`, in microseconds."""
        start, end = self.time("start", zone), self.time("end", zone)
        if start is not None and end is not None and start > end:
            raise BadRequest(f"start {start} lies after end {end}", "start")
        return start, end

    def time(self, name: str, zone: ZoneInfo) -> int | None:
        """A moment, in microseconds; a date is its midnight in the market's time zone."""
        value = self._given.get(name)
        return None if value is None else parse_time(value, name, zone)

    def symbols(self, known: Mapping[str, object]) -> tuple[list[str], list[str]]:
        """`symbols=A,B` or `*`: those that are known, and those that are not."""
        value = self._given["symbols"]
        names = list(known) if value == "*" else list(dict.fromkeys(value.split(",")))
        for name in names:
            check_symbol(name, "symbols")
        return [name for name in names if name in known], [name for name in names if name not in known]


def parse_time(value: str, name: str, zone: ZoneInfo) -> int:
    """A moment in microseconds from any of the forms of `TIME_RULE`."""
    if DIGITS.fullmatch(value):
        if not (len(value) <= 17 and TIME_MIN <= int(value) < TIME_MAX):
            unit = "seconds" if len(value) <= 11 else "milliseconds" if len(value) <= 14 else "nanoseconds"
            raise BadRequest(f"{name} {value!r} looks like {unit}; expected {TIME_RULE}", name)
        return int(value)
    try:
        if DATE.fullmatch(value):
            return _within_reach(midnight(date.fromisoformat(value), zone))
        if found := MOMENT.fullmatch(value):
            if not found[2]:
                raise BadRequest(f"{name} {value!r} has no offset; add Z or +00:00", name)
            # In a query string a plus sign arrives as a space.
            text = value[: found.start(2)].upper() + found[2].replace(" ", "+").upper()
            moment = datetime.fromisoformat(text)
            return _within_reach(int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond)
    except (ValueError, OverflowError):
        pass
    raise BadRequest(f"{name} {value!r} is no time; expected {TIME_RULE}", name)


def _within_reach(time: int) -> int:
    """The nearest time that the store and the calendar can deal with; nothing has happened before or after."""
    return min(max(time, 0), TIME_MAX)


def check_symbol(name: str, parameter: str = "symbol") -> str:
    """A symbol that could be one."""
    if not SYMBOL.fullmatch(name):
        raise BadRequest(f"{name[:40]!r} is no symbol; expected {SYMBOL_RULE}", parameter)
    return name


def asks_for_more(limit: str | None, most: int) -> bool:
    """Whether a `limit` is a number, and larger than allowed."""
    if limit is None or not DIGITS.fullmatch(limit) or limit.startswith("-"):
        return False
    return len(limit) > 9 or int(limit) > most
