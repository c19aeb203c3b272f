"""When ticks come: exactly as many as asked for on average, in bursts, never two of a symbol at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.activity import RATE_MAX
from feeds.price_path import CELL_US, CELLS
from feeds.tick_times import (
    BURST_S,
    BURST_SHARE_MIN,
    NUMBER_BITS,
    SECOND_US,
    SWEEP,
    SWEEP_SHARE,
    TRADE_SHARE,
    TickTimer,
)

NOW_S = 1_760_000_000
SYMBOLS = ["A", "B", "C"]
STILL = np.zeros((3, CELLS))


def timer(rate, symbols=SYMBOLS):
    return TickTimer(7, symbols, rate)


def counts(rate, seconds, symbols=SYMBOLS):
    """How many ticks of each symbol each second has."""
    made, moves = timer(rate, symbols), np.zeros((len(symbols), CELLS))
    found = [np.bincount(made.ticks(s, 1.0, moves).symbol, minlength=len(symbols)) for s in seconds]
    return np.array(found).T


moves_strategy = st.lists(st.floats(0, 1e6), min_size=CELLS, max_size=CELLS)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 300), st.lists(moves_strategy, min_size=3, max_size=3))
def test_times_rise_strictly_for_each_symbol(second, rate, moves):
    """However the price moves: also where all ticks gather in one cell."""
    ticks = timer(rate).ticks(second, 1.0, np.array(moves))
    assert (np.diff(ticks.offset) >= 0).all()
    for symbol in range(3):
        times = ticks.offset[ticks.symbol == symbol]
        assert (np.diff(times) > 0).all()
        assert len(times) == 0 or (times[0] >= 0 and times[-1] < SECOND_US)


def test_even_the_busiest_second_has_rising_times_and_room_for_its_draws():
    """The highest rate at the open of a session, all in one burst and in one cell."""
    most = 10_000 * RATE_MAX * (2 - 2 * BURST_SHARE_MIN) ** 2
    assert 2 * most < 2**NUMBER_BITS
    moves = STILL.copy()
    moves[:, 5] = 1e9
    ticks = timer(most).ticks(NOW_S, 1.0, moves)
    for symbol in range(3):
        assert (np.diff(ticks.offset[ticks.symbol == symbol]) > 0).all()
    assert ticks.offset.max() < SECOND_US


def test_four_seconds_have_exactly_what_was_asked_for():
    """Whole seconds are rounded at random, but their sum is not far from it."""
    found = counts(1000, range(NOW_S, NOW_S + 80)).reshape(3, -1, BURST_S)
    assert np.abs(found.sum(axis=2) - 4000).max() <= BURST_S
    assert found.max() <= 1000 * (2 - 2 * BURST_SHARE_MIN) ** 2 + 1


def test_seconds_differ():
    """Within four of them by half on average: trades come in bursts."""
    found = counts(1000, range(NOW_S, NOW_S + 2000)) / 1000
    assert 0.4 < found.std() < 0.65
    assert (found < 0.5).mean() > 0.1
    assert (found > 2).mean() > 0.02
    assert abs(np.corrcoef(found)[0, 1]) < 0.1


@pytest.mark.parametrize("rate", [0.3, 2.5, 5])
def test_the_rate_is_right_on_average(rate):
    """A rate that is no whole number is rounded up and down at random."""
    symbols = [str(number) for number in range(200)]
    assert counts(rate, range(NOW_S, NOW_S + 400), symbols).mean() == pytest.approx(rate, rel=0.02)


def test_ticks_gather_where_the_price_moves():
    """And are not fewer for it."""
    moves = np.full((3, CELLS), 0.2)
    moves[:, 3] = 2.0
    ticks = timer(5000).ticks(NOW_S, 1.0, moves)
    by_cell = np.bincount(ticks.offset // CELL_US, minlength=CELLS)
    others = np.delete(by_cell, 3).mean()
    # 0.3 come anyhow: 2.3 to 0.5. Sweeps are over before a cell is.
    assert by_cell[3] / others == pytest.approx(2.3 / 0.5, rel=0.1)


def test_one_tick_in_four_is_a_trade_and_one_trade_in_four_of_a_sweep():
    assert TRADE_SHARE == 0.25
    ticks = timer(10_000).ticks(NOW_S, 3.0, STILL)
    assert ticks.is_trade.mean() == pytest.approx(TRADE_SHARE, abs=0.01)
    assert ticks.is_sweep[ticks.is_trade].mean() == pytest.approx(SWEEP_SHARE, abs=0.02)
    assert ticks.at_ask[ticks.is_trade].mean() == pytest.approx(0.5, abs=0.03)


def test_a_sweep_is_several_trades_at_one_side_within_a_millisecond():
    """The first four ticks of its group, each of them a trade."""
    made, found = timer(20), 0
    for second in range(NOW_S, NOW_S + 50):
        ticks = made.ticks(second, 1.0, STILL)
        for symbol in range(3):
            own = ticks.where(ticks.symbol == symbol)
            for group in np.unique(own.number[own.is_sweep] // SWEEP):
                members = own.where(own.number // SWEEP == group)
                assert members.is_sweep.all()
                assert members.is_trade.all()
                assert len(set(members.at_ask.tolist())) == 1
                assert np.diff(members.offset).sum() <= 3 * 260
                found += 1
    assert found == pytest.approx(50 * 3 * 5 / 16, rel=0.4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), moves_strategy)
def test_a_symbol_has_the_same_times_in_any_company(second, moves):
    """Which other symbols there are changes nothing."""
    together = timer(30).ticks(second, 1.0, np.array([np.ones(CELLS), moves, np.zeros(CELLS)]))
    alone = timer(30, ["B"]).ticks(second, 1.0, np.array([moves]))
    assert together.offset[together.symbol == 1].tolist() == alone.offset.tolist()
    assert together.is_trade[together.symbol == 1].tolist() == alone.is_trade.tolist()
