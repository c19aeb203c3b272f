import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.pace import FAR, Pace

NOW = 1_760_000_000_000_000
T = 1381132800000000


def begun(speed):
    pace = Pace(speed)
    pace.begin(NOW)
    return pace


@pytest.mark.parametrize(("speed", "later"), [(1.0, 1_000), (10.0, 10_000), (0.5, 500)])
def test_rows_are_due_as_far_from_the_first_as_recorded_divided_by_speed(speed, later):
    """A millisecond after the beginning."""
    pace = begun(speed)
    assert pace.due_until(T, NOW) == T
    assert pace.due_until(T, NOW + 1_000) == T + later
    assert pace.due_at(T + later, NOW + 9_000) == NOW + 1_000


def test_without_speed_everything_is_due_now():
    """As fast as it is asked for."""
    pace = begun(None)
    assert pace.due_until(T, NOW) == FAR
    assert pace.due_at(T + 5, NOW + 7) == NOW + 7
    assert pace.lasts(1_000_000) == 0


def test_before_its_beginning_nothing_is_due():
    """Neither between two laps nor when the clock was set back."""
    assert begun(1.0).due_until(T, NOW - 1) < T


def test_a_row_that_was_not_asked_for_is_due_at_the_beginning():
    """Rows that are made up for set no pace."""
    assert begun(2.0).due_at(T + 1_000, NOW + 50) == NOW


def test_a_delay_is_allowed_up_to_a_limit():
    """Beyond it, the next row is due now and the others follow as recorded."""
    pace = begun(1.0)
    assert pace.due_until(T, NOW) == T
    pace.allow_delay(T + 10, NOW + 1_010, 1_000)
    assert pace.due_at(T + 10, NOW) == NOW + 10
    pace.allow_delay(T + 10, NOW + 1_011, 1_000)
    assert pace.due_at(T + 10, NOW) == NOW + 1_011
    assert pace.due_at(T + 15, NOW) == NOW + 1_016


@given(st.floats(1e-300, 1e300), st.integers(0, 10**15), st.integers(0, 10**15))
def test_any_speed_gives_times_that_agree(speed, elapsed, spacing):
    """A row that is due now was due no later than now, however fast or slow."""
    pace = begun(speed)
    due_until = pace.due_until(T, NOW + elapsed)
    if T + spacing <= due_until:
        assert NOW <= pace.due_at(T + spacing, NOW + elapsed) <= NOW + elapsed
