"""When a market is busy: the clock of its variance, and the rate of its ticks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.activity import (
    BLOCK_DAYS,
    BLOCK_S,
    DAY_S,
    EVERY_DAY,
    NIGHT_SHARE,
    QUIET_DAY,
    SECOND_US,
    ActivityClock,
    TickRate,
    UsualSession,
    session_shape,
    session_shape_until,
    usual_session,
)
from feeds.market import Market
from feeds.trading_hours import ALWAYS, TradingHours

NEW_YORK, TOKYO, SYDNEY = ZoneInfo("America/New_York"), ZoneInfo("Asia/Tokyo"), ZoneInfo("Australia/Sydney")


def us(*parts, zone=UTC):
    return round(datetime(*parts, tzinfo=zone).timestamp()) * SECOND_US


def sessions(zone, *spans, first=(2025, 1, 1), days=730, closed=(), early=()):
    """Spans of local (hour, minute) on weekdays, but for some days; on early days they end at 13:00."""
    found = []
    for number in range(days):
        day = datetime(*first, tzinfo=UTC) + timedelta(number)
        if day.weekday() >= 5 or (day.month, day.day) in closed:
            continue
        for begin, end in spans:
            end = (13, 0) if (day.month, day.day) in early else end
            found.append(
                (us(day.year, day.month, day.day, *begin, zone=zone), us(day.year, day.month, day.day, *end, zone=zone))
            )
    return TradingHours(found)


WEEKDAYS = frozenset(range(5))
DAY_SESSION = ((9, 30), (16, 0))
XNYS = Market(NEW_YORK, sessions(NEW_YORK, DAY_SESSION, closed={(12, 25), (7, 4)}, early={(11, 28), (12, 24)}))


def passed(clock, begin_us, end_us):
    """How far the clock goes, for times in one block."""
    seconds = np.array([begin_us, end_us]) // SECOND_US
    begin, end = clock.reading(int(seconds[0]) // BLOCK_S, seconds)
    return end - begin


def test_the_usual_session_is_the_commonest_in_local_time():
    """Clock changes, holidays and early closes do not count."""
    assert usual_session(XNYS) == UsualSession(9 * 3600 + 1800, 6 * 3600 + 1800, WEEKDAYS)


def test_the_parts_of_a_session_with_a_lunch_break_are_one():
    hours = sessions(TOKYO, ((9, 0), (11, 30)), ((12, 30), (15, 30)))
    assert usual_session(Market(TOKYO, hours)) == UsualSession(9 * 3600, 6 * 3600 + 1800, WEEKDAYS)


@pytest.mark.parametrize("hours", [ALWAYS, TradingHours([]), TradingHours([(0, 120 * 3600 * SECOND_US)])])
def test_a_market_without_sessions_has_busy_hours_every_day(hours):
    """It never closes, or never opens, or only for the weekend."""
    assert usual_session(Market(NEW_YORK, hours)) == EVERY_DAY


def test_a_special_session_on_a_saturday_does_not_make_saturdays_busy():
    spans = XNYS.hours.between(us(2025, 1, 1), us(2026, 1, 1))
    special = (us(2026, 2, 7, 14), us(2026, 2, 7, 15))
    assert usual_session(Market(NEW_YORK, TradingHours([*spans, special]))).weekdays == WEEKDAYS


def test_a_longer_calendar_does_not_move_the_clock():
    """Else the prices of all of a block of days would change when the calendar of another year is known."""
    shorter = sessions(NEW_YORK, DAY_SESSION, days=400)
    seconds = np.arange(us(2026, 1, 5), us(2026, 1, 20), 3_600 * SECOND_US) // SECOND_US
    block = int(seconds[0]) // BLOCK_S
    clocks = ActivityClock(XNYS), ActivityClock(Market(NEW_YORK, shorter))
    assert clocks[0].reading(block, seconds).tolist() == clocks[1].reading(block, seconds).tolist()


@pytest.mark.parametrize(("month", "utc_open"), [(1, 14), (7, 13)])
def test_the_session_has_most_of_a_day_in_summer_and_winter(month, utc_open):
    """09:30 in New York is 14:30 UTC in winter and 13:30 in summer."""
    clock = ActivityClock(XNYS)
    opened = us(2026, month, 14, utc_open, 30)
    closed = opened + 23_400 * SECOND_US
    assert passed(clock, opened, closed) == pytest.approx(1 - NIGHT_SHARE, rel=1e-4)
    assert passed(clock, opened, opened + 24 * 3600 * SECOND_US) == pytest.approx(1, rel=1e-4)
    half_hours = [passed(clock, opened + n * 1800 * SECOND_US, opened + (n + 1) * 1800 * SECOND_US) for n in range(13)]
    assert half_hours[0] > 2 * half_hours[6] < half_hours[12] * 1.8 < half_hours[0] * 1.8
    night = passed(clock, closed, closed + 1800 * SECOND_US)
    assert night < half_hours[6] / 5


def test_a_weekend_is_quiet():
    """As its variance is on real markets, which is less than that of one night."""
    clock = ActivityClock(XNYS)
    saturday, sunday = us(2026, 1, 10, zone=NEW_YORK), us(2026, 1, 11, zone=NEW_YORK)
    assert passed(clock, saturday, sunday) == pytest.approx(QUIET_DAY, rel=1e-6)
    assert ActivityClock(Market()).mean_day == 1
    assert clock.mean_day == pytest.approx((5 + 2 * QUIET_DAY) / 7)


def test_the_clock_knows_its_usual_session():
    """From the open to before the close, of weekdays, holidays too; in Sydney it goes over midnight of UTC."""
    opened, closed = us(2026, 12, 25, 9, 30, zone=NEW_YORK), us(2026, 12, 25, 16, zone=NEW_YORK)
    seconds = np.array([opened, closed, us(2026, 12, 26, 12, zone=NEW_YORK)]) // SECOND_US
    asked = np.concatenate((seconds[:2] - 1, seconds))
    assert ActivityClock(XNYS).in_session(asked).tolist() == [False, True, True, False, False]
    clock = ActivityClock(Market(SYDNEY, sessions(SYDNEY, ((10, 0), (16, 0)))))
    hours = us(2026, 1, 13) // SECOND_US + 3600 * np.arange(-2, 6)
    assert clock.in_session(hours).tolist() == [False, True, True, True, True, True, True, False]


@pytest.mark.parametrize("market", [Market(), XNYS, Market(SYDNEY, sessions(SYDNEY, ((10, 0), (16, 0))))])
def test_the_clock_always_moves_on(market):
    """Every second of a block of days, also where a session goes over midnight of UTC."""
    clock = ActivityClock(market)
    block = us(2026, 3, 1) // SECOND_US // BLOCK_S
    seconds = block * BLOCK_S + np.arange(0, BLOCK_S + 1, 61)
    seconds[-1] = (block + 1) * BLOCK_S
    reading = clock.reading(block, seconds)
    assert reading[0] == 0
    assert (np.diff(reading) > 0).all()
    assert reading[-1] == pytest.approx(BLOCK_DAYS * clock.mean_day, rel=0.02)


@given(st.integers(0, BLOCK_DAYS - 1), st.floats(0, 1, exclude_max=True))
def test_the_second_of_a_part_is_when_the_part_has_passed(day, part):
    """To a second of the day."""
    block = 160
    second = int(CLOCK.second_at(block, np.array([day]), np.array([part]))[0])
    assert 0 <= second < DAY_S
    seconds = block * BLOCK_S + day * DAY_S + np.array([0, second, second + 1, DAY_S])
    begin, before, after, end = CLOCK.reading(block, seconds)
    assert before <= begin + part * (end - begin) + 1e-9
    assert after >= begin + part * (end - begin) - 1e-9


CLOCK = ActivityClock(XNYS)


@pytest.mark.parametrize("extras", [(0, 0), (1.5, 1), (6, 2)])
def test_a_session_is_average_on_average(extras):
    """The integral is that of the curve, and 1 in all."""
    middle = (np.arange(100_000) + 0.5) / 100_000
    shape = session_shape(middle, *extras)
    assert shape.mean() == pytest.approx(1, abs=1e-6)
    until = session_shape_until(np.array([-1, 0, 0.25, 0.5, 1, 2]), *extras)
    assert until.tolist() == pytest.approx([0, 0, shape[:25_000].mean() / 4, shape[:50_000].mean() / 2, 1, 1], abs=1e-6)


def test_ticks_are_even_where_trading_is():
    """A market that never closes has as many at any time."""
    for hours in (ALWAYS, TradingHours([(0, 120 * 3600 * SECOND_US)])):
        rate = TickRate(hours)
        assert [rate.at(hour * 3600 * SECOND_US) for hour in range(0, 120, 7)] == [1.0] * 18
        assert np.diff(rate.until(np.arange(3, 100) * SECOND_US)).tolist() == pytest.approx([1.0] * 96)


def test_ticks_are_most_at_the_open_and_the_close_of_a_session():
    """And none outside, not in the lunch break either."""
    rate = TickRate(TradingHours([(us(2026, 1, 5, 9), us(2026, 1, 5, 11)), (us(2026, 1, 5, 12), us(2026, 1, 5, 15))]))
    assert rate.at(us(2026, 1, 5, 9) - 1) == rate.at(us(2026, 1, 5, 11)) == rate.at(us(2026, 1, 5, 15)) == 0
    assert rate.at(us(2026, 1, 5, 9)) > 2 * rate.at(us(2026, 1, 5, 10))
    assert rate.at(us(2026, 1, 5, 15) - 1) > 1.5 * rate.at(us(2026, 1, 5, 13, 30))
    times = np.arange(us(2026, 1, 5, 8), us(2026, 1, 5, 16) + 1, 60 * SECOND_US)
    minutes = np.diff(rate.until(times))
    assert minutes[60:180].sum() == pytest.approx(2 * 3600)
    assert minutes[240:420].sum() == pytest.approx(3 * 3600)
    assert minutes.sum() == pytest.approx(5 * 3600)
    middles = [60 * rate.at(int(time) + 30 * SECOND_US) for time in times[:-1]]
    assert minutes.tolist() == pytest.approx(middles, rel=1e-3)
