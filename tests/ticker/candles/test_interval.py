from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker.candles.interval import (
    DAY,
    HOUR,
    INTERVALS,
    MINUTE,
    SECOND,
    STORED,
    bounds,
    midnight,
    open_times,
)

NEW_YORK = ZoneInfo("America/New_York")
ZONES = {
    name: ZoneInfo(name)
    for name in (
        "UTC",
        "America/New_York",
        "America/St_Johns",
        "America/Havana",
        "Africa/Cairo",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Antarctica/Casey",
        "Pacific/Apia",
        "Pacific/Kiritimati",
    )
}
TIMES = st.integers(10**14, 4 * 10**15)
"""Microseconds of 1973 to 2096."""

FIXED = [interval for interval in INTERVALS.values() if not interval.by_calendar]
BY_CALENDAR = [interval for interval in INTERVALS.values() if interval.by_calendar]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


def test_the_intervals_are_those_of_the_contract():
    """In rising order, each with the width that its name says."""
    assert list(INTERVALS) == ["1s", "5s", "15s", "30s", "1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"]
    units = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
    for name, interval in INTERVALS.items():
        assert interval.name == name
        assert interval.width == int(name[:-1]) * units[name[-1]]


def test_every_interval_is_made_of_a_stored_one_that_parts_it():
    """`1s`, `1m` and `1d` are stored; the others are whole multiples of theirs."""
    assert [interval.name for interval in STORED] == ["1s", "1m", "1d"]
    for interval in INTERVALS.values():
        base = INTERVALS[interval.base]
        assert base.stored
        assert base.by_calendar == interval.by_calendar
        assert interval.width % base.width == 0


@given(st.sampled_from(list(INTERVALS.values())), st.sampled_from(list(ZONES.values())), TIMES)
def test_bounds_contain_their_time_and_know_themselves(interval, zone, time):
    """So that open <= time < end: the open time opens its own candle, the last microsecond is in it, the end opens the next."""
    opened, end = bounds(interval, time, zone)
    assert opened <= time < end
    assert bounds(interval, opened, zone) == (opened, end)
    assert bounds(interval, end - 1, zone) == (opened, end)
    assert bounds(interval, end, zone)[0] == end


@given(st.sampled_from(FIXED), st.sampled_from(list(ZONES.values())), TIMES)
def test_up_to_four_hours_candles_begin_at_utc_multiples(interval, zone, time):
    """The time zone of the market has no say, not even one that is 45 minutes off."""
    opened, end = bounds(interval, time, zone)
    assert opened % interval.width == 0
    assert end - opened == interval.width


@given(st.sampled_from(BY_CALENDAR), TIMES)
def test_days_and_weeks_begin_at_midnight_of_the_market(interval, time):
    """Weeks on a Monday."""
    opened, end = (
        datetime.fromtimestamp(edge // SECOND, UTC).astimezone(NEW_YORK) for edge in bounds(interval, time, NEW_YORK)
    )
    for edge in (opened, end):
        assert (edge.hour, edge.minute, edge.second) == (0, 0, 0)
        assert interval.name == "1d" or edge.weekday() == 0
    assert (end.date() - opened.date()).days == (7 if interval.name == "1w" else 1)


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-07", 24), ("2026-03-08", 23), ("2026-03-09", 24), ("2026-11-01", 25)]
)
def test_a_day_at_a_clock_change_has_23_or_25_hours(day, hours):
    """In New York the clocks change on a Sunday at two in the morning."""
    opened = midnight(date.fromisoformat(day), NEW_YORK)
    assert bounds(INTERVALS["1d"], opened + 12 * HOUR, NEW_YORK) == (opened, opened + hours * HOUR)


@pytest.mark.parametrize(
    ("monday", "hours"), [("2026-03-02", 167), ("2026-03-09", 168), ("2026-10-26", 169), ("2026-11-02", 168)]
)
def test_a_week_at_a_clock_change_has_an_hour_less_or_more(monday, hours):
    """The Sunday at its end makes the difference."""
    opened = midnight(date.fromisoformat(monday), NEW_YORK)
    assert bounds(INTERVALS["1w"], opened, NEW_YORK) == (opened, opened + hours * HOUR)


@pytest.mark.parametrize(
    ("time", "opened"),
    [
        ("2026-11-20T04:59:59Z", "2026-11-19T05:00:00Z"),
        ("2026-11-20T05:00:00Z", "2026-11-20T05:00:00Z"),
        ("2026-07-20T03:59:59Z", "2026-07-19T04:00:00Z"),
        ("2026-07-20T04:00:00Z", "2026-07-20T04:00:00Z"),
    ],
)
def test_a_day_in_new_york_begins_at_four_or_five_in_the_morning_utc(time, opened):
    """By summer and winter time."""
    assert bounds(INTERVALS["1d"], at(time), NEW_YORK)[0] == at(opened)


def test_sunday_is_the_last_day_of_a_week():
    """A minute before Monday belongs to the Monday six days earlier."""
    assert bounds(INTERVALS["1w"], at("2026-11-23T04:59:00Z"), NEW_YORK)[0] == at("2026-11-16T05:00:00Z")


@pytest.mark.parametrize(
    ("zone", "day", "begins"),
    [
        # Clocks that are set forward at midnight: the day begins at one.
        ("America/Havana", "2026-03-08", "2026-03-08T05:00:00Z"),
        # Clocks set back from one to midnight: the day begins at the first of the two.
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00Z"),
        # A day that did not happen.
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"),
    ],
)
def test_a_day_begins_with_its_first_moment(zone, day, begins):
    """Also where midnight comes twice or not at all."""
    assert midnight(date.fromisoformat(day), ZONES[zone]) == at(begins)


@pytest.mark.parametrize("seconds", [-3600, -61, -60, -1, 0, 1, 1800, 3539, 3540, 3600, 7200])
def test_clocks_set_back_over_midnight_do_not_bring_the_old_day_back(seconds):
    """In St John's of 2010 a minute of Sunday was followed by another hour of Saturday: it counts as Sunday."""
    zone = ZONES["America/St_Johns"]
    sunday = midnight(date(2010, 11, 7), zone)
    time = sunday + seconds * SECOND
    opened, end = bounds(INTERVALS["1d"], time, zone)
    assert opened <= time < end
    assert (opened == sunday) == (seconds >= 0)
    assert bounds(INTERVALS["1d"], sunday + 20 * HOUR, zone) == (sunday, sunday + 25 * HOUR)


@given(
    st.sampled_from(list(INTERVALS.values())),
    st.sampled_from(list(ZONES.values())),
    st.integers(10**14, 2 * 10**15),
    st.lists(st.integers(0, 40 * DAY), max_size=30),
)
def test_many_open_times_at_once_are_those_of_one_by_one(interval, zone, first, gaps):
    """`open_times` is `bounds` for a whole column of rising times."""
    times = np.cumsum(np.array([first, *gaps], np.int64))
    assert open_times(interval, times, zone).tolist() == [bounds(interval, t, zone)[0] for t in times.tolist()]


@pytest.mark.parametrize("interval", INTERVALS.values(), ids=str)
def test_no_times_have_no_open_times(interval):
    """An empty column stays one."""
    assert open_times(interval, np.array([], np.int64), NEW_YORK).tolist() == []


@pytest.mark.parametrize("interval", BY_CALENDAR, ids=str)
def test_open_times_agree_around_every_edge_of_a_year(interval):
    """On the microsecond, with both clock changes."""
    edge, end = at("2026-01-01T05:00:00Z"), at("2027-01-01T05:00:00Z")
    times = []
    while edge < end:
        edge = bounds(interval, edge, NEW_YORK)[1]
        times += [edge - 1, edge, edge + 1]
    found = open_times(interval, np.array(times, np.int64), NEW_YORK).tolist()
    assert found == [bounds(interval, time, NEW_YORK)[0] for time in times]
    assert len(set(found)) == len(times) // 3 + 1
