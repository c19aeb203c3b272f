"""Candles for intervals in which nothing was traded: they repeat the close before."""

from zoneinfo import ZoneInfo

import numpy as np

from ticker.candles.candle import FIELDS, NO_TRADE, Candles, Origin
from ticker.candles.interval import Interval, Times, bounds


def grid(interval: Interval, first: int, end: int, most: int, zone: ZoneInfo) -> Times:
    """The open times from `first`, which is one, to before `end`: the first `most` of them."""
    if not interval.by_calendar:
        count = max(min(-(-(end - first) // interval.width), most), 0)
        return first + interval.width * np.arange(count, dtype=np.int64)
    opens: list[int] = []
    while first < end and len(opens) < most:
        opens.append(first)
        first = bounds(interval, first, zone)[1]
    return np.array(opens, np.int64)


def grid_before(interval: Interval, end: int, most: int, zone: ZoneInfo) -> int:
    """The open time from which `most` candles come before `end`, which is an open time; not before 1970."""
    if not interval.by_calendar:
        return max(end - most * interval.width, 0)
    while most and end > 0:
        end = bounds(interval, end - 1, zone)[0]
        most -= 1
    return max(end, 0)


def filled(candles: Candles, opens: Times, previous: int) -> Candles:
    """A candle for each open time: the one that there is, or one without trades at the close before.

    `opens` rise and contain the candles' times; `previous` is the close before all of them, in millionths.
    """
    places = np.searchsorted(opens, candles.time)
    data = np.zeros((len(FIELDS), len(opens)), np.int64)
    last = np.full(len(opens), -1, np.int64)
    last[places] = np.arange(len(candles))
    last = np.maximum.accumulate(last)
    closes = np.concatenate((candles.column("close"), [previous]))
    for name in ("open", "high", "low", "close"):
        data[FIELDS.index(name)] = closes[last]
    for name in ("time", "open_time", "close_time"):
        data[FIELDS.index(name)] = opens
    data[FIELDS.index("first_seq")] = NO_TRADE
    data[FIELDS.index("origin")] = Origin.TICKS
    data[:, places] = candles.data
    return Candles(data)
