"""Sessions of real exchanges, on days that are known."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest

from feeds.trading_hours import ALWAYS, TradingHours
from ticker import calendar
from ticker.config import Config
from ticker.errors import ConfigError

NEW_YORK, HONG_KONG = ZoneInfo("America/New_York"), ZoneInfo("Asia/Hong_Kong")


def local_spans(name: str, day: str, zone: ZoneInfo) -> str:
    """The spans of one local day, as a clock there shows them."""
    begin = datetime.fromisoformat(day).replace(tzinfo=zone)
    bounds = [int(moment.timestamp()) * 1_000_000 for moment in (begin, begin + timedelta(days=1))]
    spans = calendar.sessions(name, 2026).between(*bounds)
    shown = [[datetime.fromtimestamp(edge / 1e6, zone).strftime("%H:%M:%S") for edge in span] for span in spans]
    return " ".join(f"{opened}-{closed}" for opened, closed in shown)


REGULAR, HALF = "09:30:00-16:00:00", "09:30:00-13:00:00"


@pytest.mark.parametrize(
    ("day", "spans"),
    [
        ("2026-11-25", REGULAR),
        ("2026-11-26", ""),  # Thanksgiving
        ("2026-11-27", HALF),
        ("2026-11-28", ""),  # a Saturday
        ("2026-12-24", HALF),
        ("2026-12-25", ""),
        ("2026-07-03", ""),  # Independence Day, observed
        ("2024-12-25", ""),
        ("2024-07-03", HALF),
        ("2025-01-09", ""),  # a day of mourning, which no rule gives
    ],
)
def test_new_york_has_its_holidays_and_half_days(day, spans):
    """Open is 09:30, close 16:00, or 13:00."""
    assert local_spans("XNYS", day, NEW_YORK) == spans


@pytest.mark.parametrize(
    ("day", "opens_utc"),
    [("2026-03-06", 14.5), ("2026-03-09", 13.5), ("2026-10-30", 13.5), ("2026-11-02", 14.5)],
)
def test_a_session_keeps_its_local_hours_when_the_clocks_change(day, opens_utc):
    """In UTC it moves by an hour, in either direction."""
    assert local_spans("XNYS", day, NEW_YORK) == REGULAR
    opened = int((datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=opens_utc)).timestamp()) * 1_000_000
    hours = calendar.sessions("XNYS", 2026)
    assert hours.is_open(opened)
    assert not hours.is_open(opened - 1)


@pytest.mark.parametrize(
    ("day", "spans"),
    [
        ("2026-11-25", "09:30:00-12:00:00 13:00:00-16:00:00"),
        ("2026-12-24", "09:30:00-12:00:00"),  # closes for Christmas before lunch is over
        ("2026-12-25", ""),
    ],
)
def test_a_lunch_break_parts_a_session(day, spans):
    """Hong Kong pauses from 12:00 to 13:00, and not at all on a half day."""
    assert local_spans("XHKG", day, HONG_KONG) == spans


def test_sessions_that_touch_are_one():
    """Those of Chicago's futures close at the moment at which the next opens."""
    hours = calendar.sessions("CMES", 2026)
    monday, saturday = (int(datetime(2026, 11, day, 12, tzinfo=UTC).timestamp()) * 1_000_000 for day in (16, 21))
    assert hours.is_open(monday)
    assert not hours.is_open(saturday)
    closes = hours.next_change(monday)
    assert closes is not None
    assert datetime.fromtimestamp(closes / 1e6, ZoneInfo("America/Chicago")).strftime("%A %H:%M") == "Friday 17:00"


def test_an_alias_has_the_sessions_of_what_it_stands_for():
    """The Nasdaq keeps New York's hours."""
    assert local_spans("XNAS", "2026-11-27", NEW_YORK) == HALF


def edges(hours: TradingHours) -> tuple[date, date]:
    spans = hours.between(0, 1 << 53)
    first, last = (datetime.fromtimestamp(edge / 1e6, UTC).date() for edge in (spans[0][0], spans[-1][1]))
    return first, last


def test_the_sessions_reach_far_both_ways():
    """From the first of 2015 to the last in 20 years, whenever in the year it is asked."""
    assert edges(calendar.sessions("XNYS", 2026)) == (date(2015, 1, 2), date(2046, 12, 31))


def test_a_calendar_with_bounds_reaches_as_far_as_it_is_known():
    """Shanghai announces its holidays a year ahead, Saudi Arabia's begin late in the library."""
    last = exchange_calendars.get_calendar("XSHG").bound_max()
    assert edges(calendar.sessions("XSHG", 2026))[1] == last.date()
    assert edges(calendar.sessions("XSAU", 2026)) == (date(2021, 1, 3), date(2029, 12, 31))


def test_a_year_later_nothing_that_was_known_has_changed():
    """What was made up by these hours stays as it is."""
    before, after = (calendar.sessions("XNYS", year).between(0, 1 << 53) for year in (2026, 2027))
    assert after[: len(before)] == before
    assert len(after) > len(before)


@pytest.mark.parametrize(
    "name",
    ["ASEX", "XBEL", "XBSE", "XCYS", "XTAE", "XKRX", "XBOM", "XTKS", "XSES", "XLON", "us_futures", "24/5", "24/7"],
)
def test_calendars_of_every_sort_can_be_had(name):
    """The first five need the pandas that is asked for in pyproject.toml; others have bounds, breaks, or never close."""
    hours = calendar.sessions(name, 2026)
    first, last = edges(hours)
    assert first.year <= 2021
    assert last >= date(2026, 12, 29)
    spans = hours.between(0, 1 << 53)
    assert all(opened % 60_000_000 == closed % 60_000_000 == 0 for opened, closed in spans)


@pytest.mark.parametrize("name", ["XXXX", "xnys", "", "NewYork", "../x"])
def test_an_unknown_name_is_refused_with_those_that_are_known(name):
    """Aliases too, in one line."""
    with pytest.raises(ConfigError) as caught:
        calendar.sessions(name, 2026)
    said = str(caught.value)
    assert said.startswith(f"market.calendar: {name!r} is no exchange calendar; allowed: 24/5, 24/7, AIXK, ")
    assert {"XNYS", "XNAS", "XLON", "XTKS"} <= set(said.partition("allowed: ")[2].split(", "))
    assert "\n" not in said


def test_nothing_of_the_library_is_imported_before_it_is_asked_for():
    """Half a second that nobody should wait for who keeps no sessions."""
    code = "import sys, ticker.calendar, ticker.cli; sys.exit('pandas' in sys.modules or 'exchange_calendars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def config(*trading_hours: str, name: str = "XNYS") -> Config:
    feeds = [{"type": "simulated", "name": f"f{i}", "trading_hours": kept} for i, kept in enumerate(trading_hours)]
    return Config.model_validate({"feeds": feeds, "market": {"calendar": name}})


NOW = 1_795_700_000_000_000
"""2026-11-26."""


def test_each_feed_has_its_own_hours():
    """Always, or those of the market; they are read once for all."""
    hours = calendar.feed_hours(config("sessions", "always", "sessions"), NOW)
    assert hours == {"f0": calendar.sessions("XNYS", 2026), "f1": ALWAYS, "f2": hours["f0"]}


def test_a_calendar_of_which_nothing_more_is_known_is_refused():
    """A feed that never opens would look like one that is only closed."""
    last = exchange_calendars.get_calendar("XSHG").bound_max()
    after = int((last + timedelta(days=1)).timestamp()) * 1_000_000
    with pytest.raises(ConfigError, match="no later session of 'XSHG' is known; update the package exchange_calendars"):
        calendar.feed_hours(config("sessions", name="XSHG"), after)
    assert calendar.feed_hours(config("always", name="XSHG"), after) == {"f0": ALWAYS}


def test_a_calendar_that_no_feed_keeps_is_not_read():
    """Its name may be anything."""
    assert calendar.feed_hours(config("always", name="XXXX"), NOW) == {"f0": ALWAYS}
