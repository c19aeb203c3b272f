"""Values of imported files as exact numbers and times; nothing is rounded and nothing guessed. Pure."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from feeds.listings import check_symbol
from ticker.candles.interval import midnight
from ticker.codec import MILLIONTHS_MAX, TEXT_MAX

MILLION = 1_000_000
TIME_MIN, TIME_MAX = 0, 10**16
UNITS_PER_S = {"s": 1, "ms": 1_000, "us": MILLION, "ns": 1_000 * MILLION}
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
NUMBER_TEXT_MAX = 40
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Timing:
    """How the times of a file are meant."""

    unit: str
    """Of plain numbers: s, ms, us or ns."""
    zone: ZoneInfo | None
    """Of times without an offset; None refuses these."""
    market: ZoneInfo
    """A date is its midnight here."""


def number(value: object, column: str, *, sum_of_many: bool = False) -> int:
    """Millionths of a text, decimal, integer or floating-point number; raises `ValueError`."""
    text = str(value).strip() if value is not None else ""
    if isinstance(value, bool) or len(text) > NUMBER_TEXT_MAX or not NUMBER.fullmatch(text):
        raise ValueError(f"{column} {_shown(value)}: expected a number")
    try:
        scaled = Decimal(text).scaleb(6)
    except InvalidOperation:
        raise ValueError(f"{column} {_shown(value)}: expected a number") from None
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{column} {_shown(value)}: expected at most 6 decimals")
    most = 1 << 60 if sum_of_many else MILLIONTHS_MAX
    if abs(scaled) >= most:
        raise ValueError(f"{column} {_shown(value)}: expected less than {most // MILLION}")
    return int(scaled)


def size(value: object, column: str, *, sum_of_many: bool = False) -> int:
    """The same, from 0 on."""
    found = number(value, column, sum_of_many=sum_of_many)
    if found < 0:
        raise ValueError(f"{column} {_shown(value)}: expected 0 or more")
    return found


def count(value: object, column: str) -> int:
    """A whole number from 0 on."""
    found = size(value, column, sum_of_many=True)
    if found % MILLION:
        raise ValueError(f"{column} {_shown(value)}: expected a whole number")
    return found // MILLION


def text(value: object, column: str) -> str | None:
    """An optional text; nothing is None."""
    found = "" if value is None else str(value)
    if len(found) > TEXT_MAX or not found.isprintable():
        raise ValueError(f"{column} {_shown(value)}: expected at most {TEXT_MAX} printable characters")
    return found or None


def symbol(value: object) -> str:
    """A symbol that could be one."""
    found = "" if value is None else str(value)
    check_symbol(found)
    return found


def time(value: object, timing: Timing) -> int:
    """Microseconds of a number in the file's unit, of a date, or of an ISO 8601 text; raises `ValueError`."""
    found = _time(value, timing)
    if not TIME_MIN <= found < TIME_MAX:
        raise ValueError(f"time {_shown(value)}: expected from 1970 to 2286, with numbers in {timing.unit}")
    return found


def _time(value: object, timing: Timing) -> int:
    if isinstance(value, datetime):
        return _moment(value, value, timing)
    if isinstance(value, date):
        return midnight(value, timing.market)
    shown = "" if value is None else str(value).strip()
    if len(shown) <= NUMBER_TEXT_MAX and re.fullmatch(r"[0-9]+(\.[0-9]+)?", shown):
        scaled = Decimal(shown) * MILLION / UNITS_PER_S[timing.unit]
        if scaled != scaled.to_integral_value():
            raise ValueError(f"time {_shown(value)}: expected whole microseconds")
        return int(scaled)
    try:
        if DATE.fullmatch(shown):
            return midnight(date.fromisoformat(shown), timing.market)
        return _moment(datetime.fromisoformat(shown), value, timing)
    except (ValueError, OverflowError) as error:
        if "offset" in str(error):
            raise
        raise ValueError(f"time {_shown(value)}: expected a number of {timing.unit}, a date, or ISO 8601") from None


def _moment(moment: datetime, value: object, timing: Timing) -> int:
    if moment.tzinfo is None:
        if timing.zone is None:
            raise ValueError(f"time {_shown(value)}: expected an offset such as Z or +00:00; or say --time-zone")
        moment = moment.replace(tzinfo=timing.zone)
    return int(moment.replace(microsecond=0).timestamp()) * MILLION + moment.microsecond


def _shown(value: object) -> str:
    shown = "" if value is None else str(value)
    return repr(shown if len(shown) <= NUMBER_TEXT_MAX else shown[:NUMBER_TEXT_MAX] + "...")
