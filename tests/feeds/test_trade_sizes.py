"""Sizes of trades and quotes: log-normal, round lots or not, larger in a busy market."""

import numpy as np
import pytest

from feeds.random_numbers import draw, stream_keys, upper
from feeds.trade_sizes import ROUND_SHARE, mean_trade_size, quote_sizes, trade_size_variation, trade_sizes

COUNT = 200_000
DRAWN = draw(stream_keys(7, ["X"], "size"), np.arange(COUNT))
IS_ROUND = upper(draw(stream_keys(7, ["X"], "kind"), np.arange(COUNT))) < ROUND_SHARE


def sizes(activity):
    return trade_sizes(DRAWN, IS_ROUND, np.full(COUNT, float(activity)))


def test_round_lots_are_multiples_of_a_hundred_and_others_seldom():
    found = sizes(1)
    assert (found[IS_ROUND] % 100 == 0).all()
    assert (found[~IS_ROUND] % 100 == 0).mean() < 0.01
    assert found.min() == 1
    assert np.median(found[~IS_ROUND]) == pytest.approx(40, abs=2)
    assert np.median(found[IS_ROUND]) == 100
    assert 2000 < found.max() < 20_000


def test_sizes_are_log_normal():
    """The logarithm of those that are not rounded to lots has the deviation and no skew."""
    logs = np.log(trade_sizes(DRAWN, np.zeros(COUNT, np.bool_), np.full(COUNT, 5.0)))
    assert logs.std() == pytest.approx(1.0, rel=0.01)
    assert np.mean((logs - logs.mean()) ** 3) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("activity", [0.0, 0.1, 0.3, 1, 2.4, 5, 50])
def test_the_mean_is_known_beforehand(activity):
    """History needs it, to be like what live ticks add up to."""
    assert sizes(activity).mean() == pytest.approx(float(mean_trade_size(np.array(activity))), rel=0.01)


def test_trades_are_larger_in_a_busy_market():
    means = [sizes(activity).mean() for activity in (0.3, 1, 2.5)]
    assert means[0] < means[1] < means[2] < 3 * means[1]


def test_the_variation_is_known_beforehand():
    assert sizes(1).std() / sizes(1).mean() == pytest.approx(trade_size_variation(), rel=0.02)


def test_quotes_are_of_round_lots():
    found = quote_sizes(upper(DRAWN))
    assert set(found) == {100 * lots for lots in range(1, 21)}
    assert np.mean(found == 100) > 0.3
