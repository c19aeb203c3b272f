"""Jumps: as often and as large as they should be, and taken back over their block of days."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.activity import BLOCK_DAYS, BLOCK_S, DAY_S, ActivityClock
from feeds.jumps import SIZE, JumpPaths
from feeds.market import Market

PER_S = 16
CLOCK = ActivityClock(Market())
BLOCK = 159
BEGIN = BLOCK * BLOCK_S * PER_S


def paths(names, chance=0.125):
    return JumpPaths(7, names, np.full(len(names), chance), CLOCK, PER_S)


NAMES = [str(number) for number in range(200)]
MANY = paths(NAMES)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(10**9), 10**11), min_size=1, max_size=20, unique=True).map(sorted))
def test_an_instant_has_one_value_in_any_company(asked):
    """Alone or with others, to the last bit."""
    together = MANY.at(np.array(asked))
    for column, instant in enumerate(asked):
        assert paths(NAMES[5:6]).at(np.array([instant])).tolist() == together[5:6, column : column + 1].tolist()


def test_jumps_are_as_many_and_as_large_as_they_should_be():
    """Double-exponential: the mean size is the deviation by the square root of two."""
    moves = np.diff(MANY.at(BEGIN + np.arange(0, BLOCK_DAYS * DAY_S * PER_S, 60 * PER_S)), axis=1)
    jumped = np.abs(moves) > 0.01
    # Of the smallest, as many as exp(-0.01 / 0.25) leaves are not seen; two in a minute count as one.
    assert jumped.sum() == pytest.approx(200 * BLOCK_DAYS * 0.125 * np.exp(-0.01 / SIZE), rel=0.05)
    sizes = moves[jumped]
    assert np.abs(sizes).mean() == pytest.approx(SIZE + 0.01, rel=0.06)
    assert sizes.std() == pytest.approx(SIZE * 2**0.5, rel=0.1)
    assert (sizes > 0).mean() == pytest.approx(0.5, abs=0.03)


def test_jumps_are_taken_back_by_the_end_of_their_block():
    """Evenly: in a day, by less than a tenth of the deviation of a day."""
    ends = MANY.at(np.array([BEGIN - 1, BEGIN, BEGIN + BLOCK_S * PER_S]))
    assert np.abs(ends).max() < 1e-6
    instants = BEGIN + np.arange(0, 30 * DAY_S * PER_S, DAY_S * PER_S // 4)
    quiet = np.abs(np.diff(MANY.at(instants), axis=1))
    assert np.median(quiet) < 0.1 / 4


def test_a_jump_happens_in_an_instant():
    """Between two sixteenths of a second, mostly in the session."""
    path = paths(["1"], chance=1.0)
    day = BEGIN + np.arange(DAY_S) * PER_S
    (second,) = np.flatnonzero(np.abs(np.diff(path.at(day)[0])) > 0.001)
    within = np.diff(path.at(day[second] + np.arange(PER_S + 1))[0])
    assert np.count_nonzero(np.abs(within) > 0.001) == 1


def test_most_jumps_are_in_the_session():
    """They follow the activity of the market, which the session has four fifths of."""
    moves = np.abs(np.diff(MANY.at(BEGIN + np.arange(0, BLOCK_DAYS * DAY_S, 1800) * PER_S), axis=1)) > 0.02
    by_half_hour = np.pad(moves.sum(axis=0), (0, 1)).reshape(BLOCK_DAYS, 48).sum(axis=0)
    assert by_half_hour[19:32].sum() / by_half_hour.sum() == pytest.approx(0.8, abs=0.03)


def test_without_a_chance_nothing_jumps():
    assert paths(["1"], chance=0.0).at(BEGIN + np.arange(0, 10**9, 10**6)).tolist() == [[0.0] * 1000]
