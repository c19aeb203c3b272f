"""When an exchange trades, from its calendar; the only user of exchange_calendars.

That library brings pandas with it, and importing it takes a good part of a second: it is left alone until a calendar is
asked for.
"""

from datetime import UTC, datetime
from functools import lru_cache

from feeds.trading_hours import ALWAYS, TradingHours
from ticker.config import Config
from ticker.errors import ConfigError

FIRST_YEAR = 2015
"""Made-up history does not reach further back."""
YEARS_AHEAD = 20
"""Longer than any process runs, so that nothing is renewed; it takes 0.1 s more than a single year."""


def feed_hours(config: Config, now_us: int) -> dict[str, TradingHours]:
    """The trading hours of each feed, by its name. Raises `ConfigError` where a feed keeps sessions that there are not."""
    kept = ALWAYS
    if any(feed.trading_hours == "sessions" for feed in config.feeds):
        name = config.market.calendar
        kept = sessions(name, datetime.fromtimestamp(now_us // 1_000_000, UTC).year)
        if kept.next_change(now_us) is None:
            raise ConfigError(
                f"market.calendar: no later session of {name!r} is known; update the package exchange_calendars"
            )
    return {feed.name: kept if feed.trading_hours == "sessions" else ALWAYS for feed in config.feeds}


def sessions(name: str, year: int) -> TradingHours:
    """The sessions of a calendar such as XNYS, from years back to years after this one, or as far as it is known.

    A session with a lunch break is two spans, and sessions without a pause between them are one. Raises `ConfigError` for a
    name that there is not.
    """
    import exchange_calendars

    names = exchange_calendars.get_calendar_names()
    if name not in names:
        raise ConfigError(f"market.calendar: {name!r} is no exchange calendar; allowed: {', '.join(names)}")
    return _sessions(name, year + YEARS_AHEAD)


@lru_cache(maxsize=2)
def _sessions(name: str, last_year: int) -> TradingHours:
    import exchange_calendars

    known = exchange_calendars.get_calendar(name)
    first, last = known.bound_min(), known.bound_max()
    start, end = f"{FIRST_YEAR}-01-01", f"{last_year}-12-31"
    calendar = exchange_calendars.get_calendar(
        name,
        start if first is None else max(start, str(first.date())),
        end if last is None else min(end, str(last.date())),
    )
    columns = (calendar.opens_nanos, calendar.break_starts_nanos, calendar.break_ends_nanos, calendar.closes_nanos)
    spans: list[tuple[int, int]] = []
    for opens, pauses, resumes, closes in zip(*((column // 1000).tolist() for column in columns), strict=True):
        # A session without a break has times before all times in these columns.
        for opened, closed in [(opens, pauses), (resumes, closes)] if pauses > opens else [(opens, closes)]:
            if spans and opened <= spans[-1][1]:
                opened = spans.pop()[0]
            spans.append((opened, closed))
    return TradingHours(spans)
