"""Small candles into large ones: the one rule by which every interval that is not stored is made."""

from zoneinfo import ZoneInfo

import numpy as np

from ticker.candles.candle import FIELDS, TRILLION, Candles
from ticker.candles.interval import Interval, open_times


def roll_up(candles: Candles, interval: Interval, zone: ZoneInfo) -> Candles:
    """Candles of `interval` from all the smaller ones in it; exact, since the small ones part the time of the large.

    `origin` becomes the largest of the parts: a candle is `ticks` only if all of it is.
    """
    if not len(candles):
        return candles
    opens = open_times(interval, candles.time, zone)
    first = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1])))
    last = np.concatenate((first[1:], [len(candles)])) - 1
    column = candles.column
    rest = np.add.reduceat(column("rest"), first)
    made = {
        "time": opens[first],
        "open": column("open")[first],
        "high": np.maximum.reduceat(column("high"), first),
        "low": np.minimum.reduceat(column("low"), first),
        "close": column("close")[last],
        "volume": np.add.reduceat(column("volume"), first),
        "units": np.add.reduceat(column("units"), first) + rest // TRILLION,
        "rest": rest % TRILLION,
        "trades": np.add.reduceat(column("trades"), first),
        "first_seq": np.minimum.reduceat(column("first_seq"), first),
        "seq": np.maximum.reduceat(column("seq"), first),
        "open_time": column("open_time")[first],
        "close_time": column("close_time")[last],
        "origin": np.maximum.reduceat(column("origin"), first),
    }
    return Candles(np.array([made[field] for field in FIELDS], np.int64))
