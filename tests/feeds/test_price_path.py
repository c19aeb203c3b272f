import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.listings import profiles
from feeds.price_path import CELL_US, CELLS, DAY_S, MEMORY_DAYS, TRADING_DAYS, PricePath

NOW_S = 1_760_000_000
SECOND_US = 1_000_000
SOME = profiles(3)
PATH = PricePath(7, SOME)
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
    again = price_at(PricePath(7, SOME), *[asked[place] for place in order])
    assert again.tolist() == together[:, order].tolist()


@settings(max_examples=20, deadline=None)
@given(seconds, st.integers(1, 60))
def test_a_symbol_has_the_same_prices_in_any_company(second, count):
    """Which other symbols are simulated changes nothing, not even by rounding."""
    many, alone = PricePath(7, profiles(count)), PricePath(7, profiles(count)[-1:])
    asked = np.array([second])
    assert many.corners(asked)[-1].tolist() == alone.corners(asked)[0].tolist()


@settings(max_examples=30, deadline=None)
@given(seconds)
def test_each_second_begins_where_the_one_before_ended(second):
    """Also at midnight, where another bridge begins."""
    for start in (second, second // DAY_S * DAY_S - 1):
        corners = PATH.corners(np.array([start, start + 1]))
        assert corners[:, 0, CELLS].tolist() == corners[:, 1, 0].tolist()


@settings(max_examples=50, deadline=None)
@given(times)
def test_prices_are_positive_numbers_near_their_base(time):
    """Mean reversion keeps a price within a few of its standard deviations, a thousand years away too."""
    ratio = price_at(PATH, time)[:, 0] / [profile.price for profile in SOME]
    assert np.isfinite(ratio).all()
    assert (ratio > 0.2).all()
    assert (ratio < 5).all()


def test_the_path_runs_straight_between_corners():
    """Halfway between two corners the price is halfway between theirs."""
    start = NOW_S * SECOND_US + 3 * CELL_US
    before, half, after = price_at(PATH, start, start + CELL_US // 2, start + CELL_US)[0]
    assert half == pytest.approx((before + after) / 2, rel=1e-12)
    assert before != after


def test_other_seeds_and_symbols_have_other_paths():
    """Increments of different symbols, and of one symbol under different seeds, do not correlate."""
    asked = np.arange(NOW_S, NOW_S + 4000)
    moves = np.diff(np.log(PATH.corners(asked)[:, :, 0]))
    other = np.diff(np.log(PricePath(8, SOME).corners(asked)[:, :, 0]))
    assert abs(np.corrcoef(moves[0], moves[1])[0, 1]) < 0.06
    assert abs(np.corrcoef(moves[0], other[0])[0, 1]) < 0.06


def test_increments_within_a_second_are_those_of_brownian_motion():
    """Over a sixteenth of a second: variance in proportion to time, no correlation with the increment before."""
    corners = np.log(PATH.corners(np.arange(NOW_S, NOW_S + 4000)))
    moves = np.diff(corners, axis=2).reshape(len(SOME), -1)
    expected = SIGMA * (1 / (CELLS * DAY_S)) ** 0.5
    assert moves.std(axis=1) == pytest.approx(expected, rel=0.02)
    for row in moves:
        assert abs(np.corrcoef(row[1:], row[:-1])[0, 1]) < 0.02


@pytest.mark.parametrize("step_s", [1, 7, 60, 3600])
def test_increments_have_the_variance_of_their_length(step_s):
    """Seconds, minutes and hours are equally volatile, whichever way halving cut the day."""
    asked = NOW_S + step_s * np.arange(4000)
    moves = np.diff(np.log(PATH.corners(asked)[:, :, 0]))
    assert moves.std(axis=1) == pytest.approx(SIGMA * (step_s / DAY_S) ** 0.5, rel=0.06)
    for row in moves:
        assert abs(np.corrcoef(row[1:], row[:-1])[0, 1]) < 0.06


def test_days_revert_to_the_base():
    """Over the years the log-price swings around its base, as far as the autoregression says."""
    midnights = np.arange(4000) * DAY_S
    distance = np.log(PATH.corners(midnights)[:, :, 0]) - np.log([[profile.price] for profile in SOME])
    expected = SIGMA / (1 - 0.98**2) ** 0.5
    assert (np.abs(distance.mean(axis=1)) < expected).all()
    assert distance.std(axis=1) == pytest.approx(expected, rel=0.25)
    assert np.diff(distance).std(axis=1) == pytest.approx(SIGMA, rel=0.1)


def test_the_cut_of_the_autoregression_is_small():
    """What a day older than the memory would still count for."""
    assert 0.98**MEMORY_DAYS < 0.01


def test_the_path_stays_the_same_for_ever():
    """A change here would move everybody's simulated history."""
    assert price_at(PATH, NOW_S * SECOND_US)[:, 0] == pytest.approx([213.385356, 413.082448, 106.731328], abs=1e-6)
