from collections import defaultdict
from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.listings import profiles
from feeds.market import Market
from feeds.simulated_second import SecondMaker
from feeds.tick import Quote, Trade
from feeds.tick_times import SECOND_US
from feeds.trading_hours import TradingHours

NOW_S = 1_760_000_000
SOME = profiles(4)
ALWAYS_OPEN = Market()


def made(rate, second=NOW_S, chosen=SOME, seed=7, market=ALWAYS_OPEN):
    """All ticks of a second."""
    begin = second * SECOND_US
    return SecondMaker(seed, chosen, rate, market).make(second).between(begin - 1, begin + SECOND_US - 1)


def by_symbol(ticks):
    found = defaultdict(list)
    for tick in ticks:
        found[tick.symbol].append(tick)
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 300))
def test_ticks_of_a_symbol_have_rising_times_inside_their_second(second, rate):
    """No two at the same microsecond, so that a restart can go on after any of them."""
    for ticks in by_symbol(made(rate, second)).values():
        times = [tick.time for tick in ticks]
        assert all(earlier < later for earlier, later in pairwise(times))
        assert second * SECOND_US <= times[0]
        assert times[-1] < (second + 1) * SECOND_US


def test_even_the_highest_rate_has_rising_times():
    """Ten thousand in a second leave 100 microseconds to each."""
    found = [tick.time for second in range(4) for tick in made(10_000, NOW_S + second, SOME[:1])]
    assert len(found) == len(set(found)) == pytest.approx(40_000, abs=4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 100), st.integers(1, 60))
def test_prices_lie_on_the_grid_with_bid_below_ask(second, rate, count):
    """Each price is the nearest floating-point number of whole cents, of plain Python types."""
    for tick in made(rate, second, profiles(count)):
        prices = [tick.price] if isinstance(tick, Trade) else [tick.bid, tick.ask]
        for price in prices:
            assert type(price) is float
            assert price == round(price * 100) / 100
        if isinstance(tick, Quote):
            assert 0.01 <= tick.bid < tick.ask <= tick.bid * 1.01 + 0.01
        assert type(tick.time) is int
        assert tick[-3:] == (None, None, None)


def test_sizes_are_whole_numbers():
    """Round lots bid and asked for, any number traded, most often round lots."""
    ticks = [tick for second in range(4) for tick in made(2000, NOW_S + second)]
    quoted = [size for tick in ticks if isinstance(tick, Quote) for size in (tick.bid_size, tick.ask_size)]
    traded = sorted(tick.size for tick in ticks if isinstance(tick, Trade))
    assert {type(size) for size in quoted + traded} == {int}
    assert set(quoted) <= {100 * lots for lots in range(1, 21)}
    assert len(set(quoted)) == 20
    assert traded[0] >= 1
    assert traded[len(traded) // 2] in range(60, 101)
    assert traded[-1] > 500
    assert fmean(size % 100 == 0 for size in traded) == pytest.approx(0.58, abs=0.03)


def test_one_tick_in_four_is_a_trade():
    """The rate counts both kinds together."""
    ticks = made(5000)
    assert fmean(isinstance(tick, Trade) for tick in ticks) == pytest.approx(0.25, abs=0.01)


def test_trades_happen_at_the_bid_or_ask_of_the_moment():
    """As often at one as at the other, up to how far the market moves between two ticks."""
    ticks = made(10_000, chosen=SOME[:1])
    sides = []
    for before, tick in pairwise(ticks):
        if isinstance(before, Quote) and isinstance(tick, Trade):
            near = (before.bid - 0.01, before.bid, before.bid + 0.01, before.ask - 0.01, before.ask, before.ask + 0.01)
            assert any(tick.price == pytest.approx(price) for price in near)
            sides.append(tick.price >= before.ask)
    assert fmean(sides) == pytest.approx(0.5, abs=0.08)


def test_spreads_are_of_a_few_steps():
    """The spread of a symbol is drawn anew each second, at 10:00 of a market that never closes."""
    spreads = defaultdict(list)
    for second in range(NOW_S // 86_400 * 86_400 + 36_000, NOW_S // 86_400 * 86_400 + 36_100):
        for tick in made(5, second, profiles(["INTC", "META"])):
            if isinstance(tick, Quote):
                spreads[tick.symbol].append(round((tick.ask - tick.bid) * 100))
    assert set(spreads["INTC"]) == {1}
    assert len(set(spreads["META"])) > 5
    assert 3 < fmean(spreads["META"]) < 30


OPENS, CLOSES = NOW_S * SECOND_US + 250_000, (NOW_S + 40) * SECOND_US + 250_000


def test_there_are_ticks_from_the_open_to_before_the_close():
    """To the microsecond; seconds without trading have none."""
    market = Market(hours=TradingHours([(OPENS, CLOSES)]))
    seconds = [made(1000, second, market=market) for second in range(NOW_S - 2, NOW_S + 43)]
    times = [tick.time for ticks in seconds for tick in ticks]
    assert OPENS <= times[0] < OPENS + 10_000
    assert CLOSES - 10_000 < times[-1] < CLOSES
    assert len(times) == pytest.approx(4 * 1000 * 40, rel=0.05)
    assert not seconds[0]
    assert not seconds[-1]
    assert len(seconds[4]) > len(seconds[20])


@pytest.mark.parametrize("rate", [0.3, 2.5, 5])
def test_the_rate_is_right_on_average(rate):
    """A rate that is no whole number is rounded up and down at random."""
    maker, seconds = SecondMaker(7, SOME, rate, ALWAYS_OPEN), 400
    total = sum(len(maker.make(s).between(0, FAR)) for s in range(NOW_S, NOW_S + seconds))
    assert total / seconds / len(SOME) == pytest.approx(rate, rel=0.1)


FAR = 1 << 60


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([0.5, 5, 70]))
def test_a_symbol_has_the_same_ticks_in_any_company(second, count, rate):
    """Which other symbols are simulated changes nothing."""
    last = profiles(count)[-1:]
    together = by_symbol(made(rate, second, profiles(count)))
    assert together[last[0].listing.symbol] == made(rate, second, last)


def test_another_seed_gives_other_ticks():
    """Times, kinds and prices all follow the seed."""
    assert not set(made(5)) & set(made(5, seed=8))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, SECOND_US), max_size=6))
def test_parts_of_a_second_make_up_the_whole(cuts):
    """Each tick is in exactly one part, in time order."""
    begin = NOW_S * SECOND_US
    second = SecondMaker(7, SOME, 50, ALWAYS_OPEN).make(NOW_S)
    ends = [begin - 1, *sorted(begin + cut for cut in cuts), begin + SECOND_US]
    parts = [tick for after, until in pairwise(ends) for tick in second.between(after, until)]
    assert parts == made(50)
    assert [tick.time for tick in parts] == sorted(tick.time for tick in parts)
