"""Prices at any instant: pure functions of seed, symbol and time, made of market, sector and own paths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.activity import DAY_S, ActivityClock
from feeds.listings import profiles
from feeds.market import Market
from feeds.price_path import CELL_US, CELLS, TRADING_DAYS, PricePath

NOW_S = 1_760_000_000
SECOND_US = 1_000_000
SOME = profiles(3)
CLOCK = ActivityClock(Market())
PATH = PricePath(7, SOME, CLOCK)
SIGMA = np.array([profile.volatility for profile in SOME]) / TRADING_DAYS**0.5

seconds = st.integers(-(10**8), 4 * 10**9)
times = st.integers(-(10**14), 4 * 10**15)


def price_at(path, *times_us):
    return path.at(np.array(times_us, dtype=np.int64))


@settings(max_examples=30, deadline=None)
@given(st.lists(times, min_size=1, max_size=20), st.randoms())
def test_an_instant_has_one_price_however_it_is_asked_for(asked, random):
    """One by one, together, in another order, from another path object: the same to the last bit."""
    together = price_at(PATH, *asked)
    for column, time in enumerate(asked):
        assert price_at(PATH, time)[:, 0].tolist() == together[:, column].tolist()
    order = random.sample(range(len(asked)), len(asked))
    again = price_at(PricePath(7, SOME, CLOCK), *[asked[place] for place in order])
    assert again.tolist() == together[:, order].tolist()


@settings(max_examples=20, deadline=None)
@given(seconds, st.integers(1, 60))
def test_a_symbol_has_the_same_prices_in_any_company(second, count):
    """Which other symbols are simulated changes nothing, not even by rounding."""
    many, alone = PricePath(7, profiles(count), CLOCK), PricePath(7, profiles(count)[-1:], CLOCK)
    asked = np.array([second])
    assert many.corners(asked)[-1].tolist() == alone.corners(asked)[0].tolist()
    assert many.second(second).moves[-1].tolist() == alone.second(second).moves[0].tolist()
    assert many.second(second).activity[-1] == alone.second(second).activity[0]


@settings(max_examples=30, deadline=None)
@given(seconds)
def test_a_second_is_the_same_alone_and_among_others(second):
    """Live ticks and history follow one path."""
    corners = PATH.corners(np.array([second]))[:, 0]
    assert PATH.second(second).corners.tolist() == corners.tolist()
    sampled = PATH.sampled(np.array([second - 7, second]))
    assert np.exp(sampled.log_price[:, 1]).tolist() == corners[:, 0].tolist()


@settings(max_examples=30, deadline=None)
@given(seconds)
def test_each_second_begins_where_the_one_before_ended(second):
    """Also at midnight, where other halvings begin."""
    for start in (second, second // DAY_S * DAY_S - 1):
        corners = PATH.corners(np.array([start, start + 1]))
        assert corners[:, 0, CELLS].tolist() == corners[:, 1, 0].tolist()


@settings(max_examples=50, deadline=None)
@given(times)
def test_prices_are_positive_numbers_near_their_base(time):
    """Mean reversion keeps a price within a few of its standard deviations, a hundred years away too."""
    ratio = price_at(PATH, time)[:, 0] / [profile.price for profile in SOME]
    assert np.isfinite(ratio).all()
    assert (ratio > 0.15).all()
    assert (ratio < 7).all()


def test_the_path_runs_straight_between_corners():
    """Halfway between two corners the price is halfway between theirs."""
    start = NOW_S * SECOND_US + 3 * CELL_US
    before, half, after = price_at(PATH, start, start + CELL_US // 2, start + CELL_US)[0]
    assert half == pytest.approx((before + after) / 2, rel=1e-12)
    assert before != after


def test_another_seed_is_another_market():
    """Moves of one symbol under different seeds do not correlate; those of two symbols do, by their factors."""
    asked = NOW_S + 600 * np.arange(4000)
    moves = np.diff(PATH.sampled(asked).log_price)
    other = np.diff(PricePath(8, SOME, CLOCK).sampled(asked).log_price)
    assert abs(np.corrcoef(moves[0], other[0])[0, 1]) < 0.1
    assert np.corrcoef(moves[0], moves[1])[0, 1] > 0.2


def test_moves_within_a_second_are_those_of_brownian_motion():
    """In deviations of their second: a variance of 1, no correlation with the move before."""
    moves = np.array([PATH.second(second).moves for second in range(NOW_S, NOW_S + 3000)])
    assert (moves**2).mean(axis=(0, 2)) == pytest.approx(np.ones(3), rel=0.04)
    signed = np.diff(np.log(PATH.corners(np.arange(NOW_S, NOW_S + 3000))), axis=2)
    for row in signed:
        assert abs(np.corrcoef(row[:, 1:].ravel(), row[:, :-1].ravel())[0, 1]) < 0.03


def test_trading_time_is_that_of_a_trading_day():
    """What the profile says of a year, in as many days, day and night and weekends alike."""
    days = NOW_S // DAY_S * DAY_S + DAY_S * np.arange(-2 * 128, 6 * 128)
    sampled = PATH.sampled(days)
    assert np.diff(sampled.elapsed).mean() == pytest.approx(1, rel=0.02)
    moves = np.diff(sampled.log_price)
    assert moves.std(axis=1) == pytest.approx(SIGMA, rel=0.15)


def test_activity_is_one_in_an_average_session():
    """The square of it, over many sessions; at night it is about a third."""
    day = np.arange(150 * 128, 156 * 128)[:, np.newaxis] * DAY_S
    opened, closed, night = (PATH.sampled((day + at).ravel()).elapsed for at in (34_200, 57_600, 72_000))
    session = PATH.activity(closed - opened, np.array(23_400.0))
    assert (session**2).mean() == pytest.approx(1, rel=0.05)
    quiet = PATH.activity(night - closed, np.array(14_400.0))
    assert np.sqrt((quiet**2).mean()) == pytest.approx(0.3, rel=0.1)
    minute = NOW_S // 60 * 60
    elapsed = np.diff(PATH.sampled(np.array([minute, minute + 60])).elapsed)[:, 0]
    assert PATH.second(minute + 59).activity.tolist() == PATH.activity(elapsed, np.array(60.0)).tolist()


def test_the_path_stays_the_same_for_ever():
    """A change here would move everybody's simulated history."""
    assert price_at(PATH, NOW_S * SECOND_US)[:, 0] == pytest.approx([268.567087, 418.057093, 227.378583], abs=1e-6)
