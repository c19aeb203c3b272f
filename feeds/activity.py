"""How much a simulated market moves, by time of day and day of week: the clock by which its variance passes.

Volatility is highest at the open, falls until midday and rises again into the close (Wood, McInish, Ord 1985; Andersen,
Bollerslev 1997); nights are quiet, weekends more so (French, Roll 1986). The clock knows the usual session of a market
and nothing of its holidays: a calendar that grows longer must not move a price.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

import numpy as np

from feeds.market import Market
from feeds.random_numbers import Counters, Flags, Floats
from feeds.trading_hours import FOREVER_US, TradingHours

DAY_S = 86_400
MINUTE_S = 60
MINUTES = DAY_S // MINUTE_S
SECOND_US = 1_000_000

BLOCK_DAYS = 128
BLOCK_S = BLOCK_DAYS * DAY_S

NIGHT_SHARE = 0.2
"""Of a day's variance outside its session: somewhat less than between a real close and the next open."""
QUIET_DAY = 0.1
"""What a day without trading moves, in days with it."""

OPEN_EXTRA, CLOSE_EXTRA = 6.0, 2.0
"""How much more variance passes at the open and the close than at midday: 2.6 and 1.7 times the volatility."""
DECAY = 0.06
"""The part of a session in which the rush of its ends falls to 37 %: 23 minutes of 6.5 hours."""

WEEKDAY_SHARE_MIN = 0.1
"""A weekday with less than this part of the sessions of the busiest one has only special sessions."""
DAYS_OF_WEEK = 7


@dataclass(frozen=True, slots=True)
class UsualSession:
    """When a market usually trades: local time of its open and length in seconds, on these days (0 is Monday)."""

    opens_s: int
    length_s: int
    weekdays: frozenset[int]


EVERY_DAY = UsualSession(34_200, 23_400, frozenset(range(DAYS_OF_WEEK)))
"""09:30 to 16:00 every day: a market that never closes has its busy hours too."""


def usual_session(market: Market) -> UsualSession:
    """The commonest open and length of a market's sessions; `EVERY_DAY` where they are longer than days, or none."""
    sessions: dict[date, tuple[datetime, int]] = {}
    for opened_us, closed_us in market.hours.between(-FOREVER_US, FOREVER_US):
        if closed_us - opened_us >= DAY_S * SECOND_US:
            return EVERY_DAY
        opened = datetime.fromtimestamp(opened_us // SECOND_US, UTC).astimezone(market.zone)
        # The parts of a session with a lunch break share their day, and the open is that of the first.
        first, _ = sessions.get(opened.date(), (opened, 0))
        sessions[opened.date()] = first, closed_us // SECOND_US - int(first.timestamp())
    if not sessions:
        return EVERY_DAY
    common = Counter((_seconds(opened), length_s) for opened, length_s in sessions.values())
    (opens_s, length_s), _ = common.most_common(1)[0]
    days = Counter(day.weekday() for day in sessions)
    enough = WEEKDAY_SHARE_MIN * max(days.values())
    return UsualSession(opens_s, length_s, frozenset(day for day, count in days.items() if count >= enough))


def _seconds(moment: datetime) -> int:
    return (moment.hour * 60 + moment.minute) * 60 + moment.second


Pattern = tuple[tuple[int, int, bool], ...]
"""Local days that meet a day of UTC, in seconds from its midnight: when they begin, when they open, whether they trade."""


class ActivityClock:
    """Passes one unit a day, fast when the market is busy. Only differences within a block of days mean anything."""

    def __init__(self, market: Market) -> None:
        self._zone = market.zone
        self._session = usual_session(market)
        self._pattern_table = lru_cache(maxsize=64)(self._make_table)
        self._block = lru_cache(maxsize=8)(self._make_block)

    @property
    def mean_day(self) -> float:
        """What passes on an average day."""
        trading = len(self._session.weekdays) / DAYS_OF_WEEK
        return trading + (1 - trading) * QUIET_DAY

    @property
    def session_rate(self) -> float:
        """What passes in a second of an average session: the yardstick for what is busy."""
        return (1 - NIGHT_SHARE) / self._session.length_s

    def reading(self, block: int, seconds: Counters) -> Floats:
        """What has passed from the beginning of a block of days to these seconds in it."""
        before, tables, which = self._block(block)
        day, rest = np.divmod(seconds - block * BLOCK_S, DAY_S)
        minute, part = np.divmod(rest, MINUTE_S)
        table = which[day]
        left = tables[table, minute]
        passed: Floats = before[day] + left + (tables[table, minute + 1] - left) * (part / MINUTE_S)
        return passed

    def in_session(self, seconds: Counters) -> Flags:
        """Which of these seconds lie in the usual session of their day."""
        days, which = np.unique(seconds // DAY_S, return_inverse=True)
        inside = np.zeros(len(seconds), np.bool_)
        opens = np.array([[opened for _, opened, _ in self._pattern(int(day))] for day in days]).reshape(-1, 3)
        trades = np.array([[does for _, _, does in self._pattern(int(day))] for day in days]).reshape(-1, 3)
        for local in range(opens.shape[1]):
            passed = seconds % DAY_S - opens[which, local]
            inside |= trades[which, local] & (passed >= 0) & (passed < self._session.length_s)
        return inside

    def second_at(self, block: int, days: Counters, parts: Floats) -> Counters:
        """The second of each of these days, counted in their block, at which a part (0 to 1) of its activity is over."""
        _, tables, which = self._block(block)
        minutes = np.empty(days.shape, np.int64)
        for number, table in enumerate(tables):
            here = which[days] == number
            minutes[here] = np.searchsorted(table, parts[here] * table[-1], side="right") - 1
        table = which[days]
        left, right = tables[table, minutes], tables[table, minutes + 1]
        within = (parts * tables[table, -1] - left) / (right - left)
        second: Counters = minutes * MINUTE_S + np.minimum(within * MINUTE_S, MINUTE_S - 1).astype(np.int64)
        return second

    def _make_block(self, block: int) -> tuple[Floats, Floats, Counters]:
        """What passed before each day of a block, the different days there are in it, and which each one is."""
        patterns = [self._pattern(day) for day in range(block * BLOCK_DAYS, (block + 1) * BLOCK_DAYS)]
        different = list(dict.fromkeys(patterns))
        tables = np.stack([self._pattern_table(pattern) for pattern in different])
        which = np.array([different.index(pattern) for pattern in patterns])
        before = np.concatenate(([0.0], np.cumsum(tables[which, -1])))
        # The end of the block is read as the first moment of one day more.
        which = np.append(which, 0)
        return before, tables, which

    def _pattern(self, day: int) -> Pattern:
        around = date(1970, 1, 1) + timedelta(day)
        found = []
        for local in (around - timedelta(1), around, around + timedelta(1)):
            midnight = datetime.combine(local, time(), self._zone)
            wall = datetime.combine(local, time()) + timedelta(seconds=self._session.opens_s)
            begins, opens = (
                int(moment.timestamp()) - day * DAY_S for moment in (midnight, wall.replace(tzinfo=self._zone))
            )
            found.append((begins, opens, local.weekday() in self._session.weekdays))
        return tuple(found)

    def _make_table(self, pattern: Pattern) -> Floats:
        """What has passed of a day of UTC at each of its minutes, and at its end."""
        middle = (np.arange(MINUTES) + 0.5) * MINUTE_S
        rate = np.zeros(MINUTES)
        for begins, _, trades in pattern:
            rate[middle >= begins] = (NIGHT_SHARE / (DAY_S - self._session.length_s)) if trades else QUIET_DAY / DAY_S
        for _, opens, trades in pattern:
            part = (middle - opens) / self._session.length_s
            inside = (part >= 0) & (part < 1) & trades
            rate[inside] = self.session_rate * session_shape(part[inside], OPEN_EXTRA, CLOSE_EXTRA)
        return np.concatenate(([0.0], np.cumsum(rate * MINUTE_S)))


def session_shape(part: Floats, open_extra: float, close_extra: float) -> Floats:
    """A curve over a session (0 at its open, 1 at its close) that is high at both ends and 1 on average."""
    rush = open_extra * np.exp(-part / DECAY) + close_extra * np.exp((part - 1) / DECAY)
    shape: Floats = (1 + rush) / _mean_shape(open_extra, close_extra)
    return shape


def session_shape_until(part: Floats, open_extra: float, close_extra: float) -> Floats:
    """The integral of `session_shape` from the open: 0 before it, 1 after the close."""
    part = np.clip(part, 0.0, 1.0)
    rush = open_extra * (1 - np.exp(-part / DECAY)) + close_extra * (np.exp((part - 1) / DECAY) - np.exp(-1 / DECAY))
    until: Floats = (part + DECAY * rush) / _mean_shape(open_extra, close_extra)
    return until


def _mean_shape(open_extra: float, close_extra: float) -> float:
    return float(1 + (open_extra + close_extra) * DECAY * (1 - np.exp(-1 / DECAY)))


RATE_OPEN_EXTRA, RATE_CLOSE_EXTRA = 1.5, 1.0
"""How many more ticks there are at the open and the close than at midday: 2.5 and 2 times as many."""
RATE_MAX = 1 + RATE_OPEN_EXTRA
"""No second has more than so many times the average."""


class TickRate:
    """How many ticks there are at a time, as a multiple of the average over trading hours.

    Each session has the average that was asked for. One of a day or longer is even: ticks are as many at any time.
    """

    def __init__(self, hours: TradingHours) -> None:
        self._hours = hours

    def at(self, time_us: int) -> float:
        """The multiple at one moment; 0 where there is no trading."""
        for opened, closed in self._sessions(time_us, time_us + 1):
            if opened <= time_us < closed:
                if closed - opened >= DAY_S * SECOND_US:
                    return 1.0
                part = np.array((time_us - opened) / (closed - opened))
                return float(session_shape(part, RATE_OPEN_EXTRA, RATE_CLOSE_EXTRA))
        return 0.0

    def until(self, times_us: Counters) -> Floats:
        """The seconds of average trading up to each of these rising times; only their differences mean anything."""
        total = np.zeros(len(times_us))
        for opened, closed in self._sessions(int(times_us[0]), int(times_us[-1]) + 1):
            length_s = (closed - opened) / SECOND_US
            part = (times_us - opened) / (closed - opened)
            if length_s >= DAY_S:
                total += length_s * np.clip(part, 0.0, 1.0)
            else:
                total += length_s * session_shape_until(part, RATE_OPEN_EXTRA, RATE_CLOSE_EXTRA)
        return total

    def _sessions(self, start_us: int, end_us: int) -> Sequence[tuple[int, int]]:
        """The spans that meet a stretch of time, whole, or cut to a day or more."""
        return self._hours.between(start_us - DAY_S * SECOND_US, end_us + DAY_S * SECOND_US)
