"""Paths in multifractal time: pure functions of seed, name and second, with the variance that the clock gives them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.activity import BLOCK_DAYS, BLOCK_S, DAY_S, ActivityClock
from feeds.cascade import MEMORY_BLOCKS, REVERSION, CascadePaths, middles
from feeds.market import Market

NOW_S = 1_760_000_000
CLOCK = ActivityClock(Market())
NAMES = ["market", "A", "B"]
PATHS = CascadePaths(7, NAMES, CLOCK)
MANY = CascadePaths(7, ["market", *(str(number) for number in range(300))], CLOCK)

seconds = st.integers(-(10**8), 4 * 10**9)


@settings(max_examples=30, deadline=None)
@given(st.lists(seconds, min_size=1, max_size=20, unique=True).map(sorted))
def test_a_second_has_one_position_in_any_company(asked):
    """Alone or with others, of times or of names: the same to the last bit."""
    together = PATHS.at(np.array(asked))
    fewer = CascadePaths(7, ["market", "B"], CLOCK)
    for column, second in enumerate(asked):
        alone = fewer.at(np.array([second]))
        assert alone.position[:, 0].tolist() == together.position[[0, 2], column].tolist()
        assert alone.elapsed[:, 0].tolist() == together.elapsed[[0, 2], column].tolist()


@settings(max_examples=30, deadline=None)
@given(seconds)
def test_all_seconds_around_agree_with_one(second):
    """What is shared on the way changes nothing, across the end of a block neither."""
    for first in (second, second // BLOCK_S * BLOCK_S - 2):
        near = np.arange(first, first + 5)
        assert PATHS.at(near).position[:, 2].tolist() == PATHS.at(near[2:3]).position[:, 0].tolist()


@given(st.integers(0, BLOCK_S - 1))
def test_halving_meets_whole_days_and_minutes_and_ends_at_seconds(second):
    """After 24 halvings an interval is one second long."""
    start, stop = np.array([0]), np.array([BLOCK_S])
    for halving in range(24):
        middle = middles(start, stop)
        assert (start < middle < stop) or stop - start == 1
        assert halving >= 7 or middle % DAY_S == 0
        assert halving >= 17 or stop - start <= 60 or middle % 60 == 0
        start, stop = (middle, stop) if second >= middle else (start, middle)
    assert (start, stop) == (second, second + 1)


def test_trading_time_rises_and_is_an_average_day_a_day():
    """Whatever the cascade does, a block of days has its variance."""
    first = NOW_S // BLOCK_S * BLOCK_S
    walk = PATHS.at(np.arange(first, first + 2 * BLOCK_S + 1, 600))
    assert (np.diff(walk.elapsed, axis=1) > 0).all()
    assert np.diff(walk.elapsed[:, :: BLOCK_S // 600]) == pytest.approx(np.full((3, 2), BLOCK_DAYS), rel=1e-9)


@pytest.mark.parametrize("length_s", [1, 60, 3_600, DAY_S, 16 * DAY_S])
def test_moves_have_the_variance_of_their_trading_time(length_s):
    """Divided by it, they are standard normal numbers, which is how a mixture of normals is made."""
    walk = MANY.at(NOW_S // BLOCK_S * BLOCK_S + np.arange(0, min(60 * length_s, BLOCK_S), length_s))
    moves = np.diff(walk.position, axis=1) / np.sqrt(np.diff(walk.elapsed, axis=1))
    # The ends of a block are a little further apart than the variance in it.
    assert moves.std() == pytest.approx(1, abs=0.05)
    assert (moves**4).mean() / (moves**2).mean() ** 2 == pytest.approx(3, abs=0.25)


def test_volatility_is_partly_common():
    """The days that are nervous for one path are so for the others more often than not."""
    walk = MANY.at(NOW_S // BLOCK_S * BLOCK_S + np.arange(0, BLOCK_S, DAY_S))
    spent = np.log(np.diff(walk.elapsed, axis=1))
    between = np.corrcoef(spent)[np.triu_indices(len(spent), 1)]
    # Two paths share 0.7 squared of the weights; the logarithm of their sums less than that.
    assert 0.3 < between.mean() < 0.6


def test_ends_of_blocks_revert_to_zero():
    """An autoregression of the first order, around 0."""
    ends = MANY.at(np.arange(200) * BLOCK_S).position[1:]
    assert abs(ends.mean()) < 0.1 * ends.std()
    assert ends.std() == pytest.approx((BLOCK_DAYS / (1 - REVERSION**2)) ** 0.5, rel=0.03)
    assert np.mean(ends[:, 1:] * ends[:, :-1]) / np.mean(ends**2) == pytest.approx(REVERSION, abs=0.03)


def test_the_cut_of_the_autoregression_is_small():
    """What a block older than the memory would still count for."""
    assert REVERSION**MEMORY_BLOCKS < 0.01
