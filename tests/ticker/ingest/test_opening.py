"""Opening and closing by a clock in the test's hands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.trading_hours import ALWAYS, TradingHours
from ticker.ingest.opening import ENDS_SOON_US, Opening

SECOND = 1_000_000
LATENESS = 60 * SECOND
FRIDAY, CLOSE = 1_795_789_800 * SECOND, 1_795_802_400 * SECOND
"""The half session of 2026-11-27 in New York: 14:30 to 18:00 UTC."""
MONDAY = 1_796_049_000 * SECOND
HOURS = TradingHours([(FRIDAY, CLOSE), (MONDAY, MONDAY + 23_400 * SECOND)])


def at(now: int, hours: TradingHours = HOURS) -> Opening:
    """One that has begun and looked at this time."""
    opening = Opening("XNYS", hours, now, LATENESS)
    opening.look(now)
    return opening


def test_it_opens_and_closes_at_the_very_moments():
    """Open is the first moment of a session, close the first after it."""
    opening = at(FRIDAY - 1)
    assert not opening.is_open
    for now, is_open in ((FRIDAY, True), (CLOSE - 1, True), (CLOSE, False), (MONDAY, True)):
        opening.look(now)
        assert opening.is_open == is_open


def test_each_change_is_told_once():
    """And how it is at the beginning."""
    opening = Opening("XNYS", HOURS, FRIDAY - 1, LATENESS)
    told = [opening.look(now) for now in (FRIDAY - 1, FRIDAY, FRIDAY + 1, CLOSE - 1, CLOSE, CLOSE + 1, MONDAY)]
    assert told == [
        "XNYS closed until 2026-11-27 14:30Z",
        "XNYS open until 2026-11-27 18:00Z",
        None,
        None,
        "XNYS closed until 2026-11-30 14:30Z",
        None,
        "XNYS open until 2026-11-30 21:00Z",
    ]


def test_a_closed_feed_has_its_next_open_as_the_reason():
    """That is no trouble."""
    assert at(CLOSE).closed == ("closed", "XNYS opens 2026-11-30 14:30Z")


def test_after_the_close_there_is_one_more_poll_for_the_last_moment():
    """However late the clock was looked at; it is repeated until the feed has given everything."""
    opening = at(CLOSE - 5)
    assert opening.poll_time(CLOSE - 5) == CLOSE - 5
    opening.polled(CLOSE - 5)
    late = CLOSE + 3600 * SECOND
    opening.look(late)
    assert opening.poll_time(late) == opening.poll_time(late) == CLOSE - 1
    opening.polled(CLOSE - 1)
    assert opening.poll_time(late) is None


def test_a_poll_at_the_very_last_moment_is_the_last():
    """Nothing is left to be asked for."""
    opening = at(CLOSE - 1)
    opening.polled(CLOSE - 1)
    opening.look(CLOSE)
    assert opening.poll_time(CLOSE) is None


@pytest.mark.parametrize(("after", "last"), [(0, CLOSE - 1), (LATENESS - 1, CLOSE - 1), (LATENESS, None)])
def test_one_that_begins_soon_after_a_close_polls_for_the_session_that_ended(after, last):
    """As long as its ticks would not be too late anyway."""
    assert at(CLOSE + after).poll_time(CLOSE + after) == last


def test_a_clock_set_back_over_the_close_opens_again():
    """And the same session closes once more."""
    opening = at(CLOSE + SECOND)
    opening.polled(CLOSE - 1)
    opening.look(CLOSE - 10)
    assert opening.poll_time(CLOSE - 10) == CLOSE - 10
    opening.look(CLOSE)
    assert opening.poll_time(CLOSE) == CLOSE - 1


def test_a_clock_set_forward_over_the_weekend_goes_on_at_once():
    """What was not polled of Friday is not caught up."""
    opening = at(CLOSE - 10)
    assert opening.look(MONDAY + 10) is None
    assert opening.poll_time(MONDAY + 10) == MONDAY + 10


def test_a_clock_set_back_into_the_weekend_polls_nothing():
    """The last moment of the session that it was in has not come yet."""
    opening = at(MONDAY + 10)
    opening.look(CLOSE + 2 * LATENESS)
    assert opening.poll_time(CLOSE + 2 * LATENESS) is None


EDGES = st.lists(st.integers(0, 300), unique=True, min_size=2, max_size=8).map(sorted)


@given(EDGES, st.lists(st.tuples(st.integers(-5, 305), st.booleans()), min_size=1, max_size=20))
def test_wherever_the_clock_is_set_only_open_moments_that_have_come_are_polled(edges, steps):
    """And whenever it is open, so is the feed."""
    hours = TradingHours(zip(edges[::2], edges[1::2], strict=False))
    opening = Opening("X", hours, steps[0][0], 20)
    for now, gives_all in steps:
        opening.look(now)
        until = opening.poll_time(now)
        assert opening.is_open == hours.is_open(now)
        assert until == now or not opening.is_open
        if until is not None:
            assert until <= now
            assert hours.is_open(until)
            if gives_all:
                opening.polled(until)
                assert opening.is_open or opening.poll_time(now) is None


def test_one_that_never_closes_has_nothing_to_tell():
    """Whatever the time."""
    opening = Opening("XNYS", ALWAYS, FRIDAY, LATENESS)
    assert [opening.look(now) for now in (FRIDAY, CLOSE, MONDAY)] == [None, None, None]
    assert opening.is_open
    assert opening.poll_time(CLOSE) == CLOSE


def test_a_calendar_that_has_come_to_its_end_is_a_failure():
    """Nobody knows when the market opens, and only an update helps."""
    opening = at(MONDAY)
    end = MONDAY + 23_400 * SECOND
    told = opening.look(end)
    assert told == "XNYS closed, and no later session is known; update the package exchange_calendars"
    assert opening.closed == ("failed", told)
    assert opening.poll_time(end) == end - 1


def test_the_end_of_a_calendar_is_seen_a_month_ahead():
    """Time enough to update."""
    end = MONDAY + 23_400 * SECOND
    assert at(FRIDAY).ends_soon(end - ENDS_SOON_US)
    assert not at(FRIDAY).ends_soon(end - ENDS_SOON_US - 1)
