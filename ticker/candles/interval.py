"""The intervals of candles, with the rule that says in which candle a moment lies.

`1s` to `4h` begin at multiples of their width since the Unix epoch, UTC. `1d` begins at midnight and `1w` at Monday's
midnight in the market's time zone, so that they are 23 or 25 hours (or an hour more or less) long at a clock change.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """One interval: its name, its width in microseconds (of an ordinary day or week) and the stored one it is made of."""

    name: str
    width: int
    base: str

    @property
    def by_calendar(self) -> bool:
        """True where midnights of the market's time zone bound it."""
        return self.width >= DAY

    @property
    def stored(self) -> bool:
        """True where candles of this interval are kept themselves; all others are rolled up from `base`."""
        return self.name == self.base


INTERVALS = {
    interval.name: interval
    for interval in (
        Interval("1s", SECOND, "1s"),
        Interval("5s", 5 * SECOND, "1s"),
        Interval("15s", 15 * SECOND, "1s"),
        Interval("30s", 30 * SECOND, "1s"),
        Interval("1m", MINUTE, "1m"),
        Interval("5m", 5 * MINUTE, "1m"),
        Interval("15m", 15 * MINUTE, "1m"),
        Interval("30m", 30 * MINUTE, "1m"),
        Interval("1h", HOUR, "1m"),
        Interval("4h", 4 * HOUR, "1m"),
        Interval("1d", DAY, "1d"),
        Interval("1w", 7 * DAY, "1d"),
    )
}

STORED = tuple(interval for interval in INTERVALS.values() if interval.stored)


def bounds(interval: Interval, time: int, zone: ZoneInfo) -> tuple[int, int]:
    """The open time and the end of the candle in which `time` lies: open <= time < end."""
    if not interval.by_calendar:
        opened = time - time % interval.width
        return opened, opened + interval.width
    day = datetime.fromtimestamp(time // SECOND, UTC).astimezone(zone).date()
    days = interval.width // DAY
    if days > 1:
        day -= timedelta(days=day.weekday())
    opened, end = midnight(day, zone), midnight(day + timedelta(days=days), zone)
    if time >= end:
        # The clock was set back over midnight: it shows the old day again, but the new one has begun.
        return end, midnight(day + timedelta(days=2 * days), zone)
    return opened, end


def midnight(day: date, zone: ZoneInfo) -> int:
    """The first moment of a day in a time zone, in microseconds since the Unix epoch."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * SECOND


def open_times(interval: Interval, times: Times, zone: ZoneInfo) -> Times:
    """`bounds(...)[0]` of many times at once; `times` must rise."""
    if not interval.by_calendar or not len(times):
        return times - times % interval.width
    opens: list[int] = []
    edge, last = bounds(interval, int(times[0]), zone)[0], int(times[-1])
    while edge <= last:
        opens.append(edge)
        edge = bounds(interval, edge, zone)[1]
    starts = np.array(opens, np.int64)
    return starts[np.searchsorted(starts, times, side="right") - 1]
