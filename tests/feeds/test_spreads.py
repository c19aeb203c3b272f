"""Spreads: whole price steps, wider for dear and volatile symbols and in volatile moments."""

import numpy as np
import pytest

from feeds.listings import profiles
from feeds.spreads import Spreads, bids

SECONDS = 1_760_000_000 + np.arange(5000)


def mean_spread(symbol, price, activity=1.0):
    """In price steps, on average over many seconds."""
    spreads = Spreads(7, profiles([symbol]))
    shape = np.ones((1, len(SECONDS)))
    return spreads.steps(SECONDS, price * shape, activity * shape).mean()


def test_a_spread_is_in_proportion_to_price_and_volatility():
    """A basis point at a volatility of 0.3; the noise makes 6 % more of it on average."""
    assert mean_spread("META", 1000.0) == pytest.approx(1000 * 100 * 3.3e-4 * 0.36 * 1.06, rel=0.03)
    assert mean_spread("META", 1000.0) == pytest.approx(0.36 / 0.18 * mean_spread("MCD", 1000.0), rel=0.1)
    assert mean_spread("SPY", 1000.0) < 0.4 * mean_spread("JNJ", 1000.0)


def test_a_spread_widens_with_volatility():
    wide = [mean_spread("META", 580.0, activity) for activity in (0.3, 1.0, 3.0, 8.0)]
    assert wide == sorted(wide)
    assert 2 < wide[2] / wide[1] < 2.5
    assert mean_spread("META", 580.0, 100.0) == mean_spread("META", 580.0, 8.0)


def test_a_cheap_symbol_has_a_spread_of_one_step():
    """There is no smaller one."""
    assert mean_spread("T", 20.0) == 1
    assert mean_spread("T", 0.02, 0.0) == 1


def test_a_spread_is_that_of_its_second_in_any_company():
    alone, many = Spreads(7, profiles(["META"])), Spreads(7, profiles(["IBM", "META"]))
    ones = np.ones((2, 100))
    together = many.steps(SECONDS[:100], 580 * ones, ones)
    assert alone.steps(SECONDS[:100], 580 * ones[:1], ones[:1]).tolist() == together[1:].tolist()
    assert len(set(together[1])) > 1


def test_bids_are_around_the_middle_and_never_below_a_step():
    assert bids(np.array([100.2, 100.2, 0.3]), np.array([1, 2, 1])).tolist() == [100, 99, 1]
