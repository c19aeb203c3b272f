"""Candles made in the plainest way that there is, with nothing of the service in it: to compare with what REST says."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ledger.produced import millionths

SECOND_US = 1_000_000
SECONDS = {
    "1s": 1,
    "5s": 5,
    "15s": 15,
    "30s": 30,
    "1m": 60,
    "5m": 300,
    "15m": 900,
    "30m": 1_800,
    "1h": 3_600,
    "4h": 14_400,
}
DAYS = {"1d": 1, "1w": 7}
INTERVALS = (*SECONDS, *DAYS)


class Print(NamedTuple):
    """A trade as the record has it: price and size in millionths."""

    seq: int
    time: int
    price: int
    size: int


class Bar(NamedTuple):
    """A candle, in millionths."""

    time: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    trades: int
    vwap: int | None


def made_of(prints: Iterable[Print], interval: str, zone: ZoneInfo) -> dict[int, tuple[Bar, int]]:
    """Every candle by its time, with the number of the last trade in it."""
    groups: dict[int, list[Print]] = {}
    for one in prints:
        groups.setdefault(opened(one.time, interval, zone), []).append(one)
    return {time: (_bar(time, group), max(one.seq for one in group)) for time, group in groups.items()}


def opened(time: int, interval: str, zone: ZoneInfo) -> int:
    """The time of the candle in which a moment lies."""
    if interval in SECONDS:
        width = SECONDS[interval] * SECOND_US
        return time // width * width
    day = datetime.fromtimestamp(time // SECOND_US, UTC).astimezone(zone).date()
    if DAYS[interval] == 7:
        day -= timedelta(days=day.weekday())
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * SECOND_US


def shown(row: Mapping[str, Any]) -> Bar:
    """A candle of an answer whose numbers were read as texts; raises `ValueError` where one has more than six decimals."""
    vwap = None if row["vwap"] is None else _exact(row["vwap"])
    high, low, close, volume = (_exact(row[name]) for name in ("high", "low", "close", "volume"))
    return Bar(int(row["time"]), _exact(row["open"]), high, low, close, volume, int(row["trades"]), vwap)


def _exact(text: str) -> int:
    value = millionths(text)
    if value is None:
        raise ValueError(f"{text} is no number of at most six decimals")
    return value


def _bar(time: int, group: list[Print]) -> Bar:
    in_order = sorted(group, key=lambda one: (one.time, one.seq))
    prices = [one.price for one in group]
    volume = sum(one.size for one in group)
    notional = sum(one.price * one.size for one in group)
    # Python rounds a fraction half to even, as the contract does.
    vwap = round(Fraction(notional, volume)) if volume else None
    return Bar(time, in_order[0].price, max(prices), min(prices), in_order[-1].price, volume, len(group), vwap)
