"""What tells a market from a random walk, held to figures: Cont 2001, Empirical Properties of Asset Returns.

The numbers after "real" are of large US stocks. What is simulated is a market that never closes; its returns are those of
middle prices, minute by minute, in the busy hours of each day.
"""

import asyncio

import numpy as np
import pytest
import stylised_facts as facts

from feeds.activity import ActivityClock
from feeds.listings import profiles
from feeds.market import Market
from feeds.price_path import TRADING_DAYS, PricePath
from feeds.simulated import SimulatedOptions, make_simulated
from feeds.tick import Trade

DAY_S, MINUTES = 86_400, 390
OPENS_S = 34_200
FIRST_DAY, DAYS = 156 * 128, 64
SYMBOLS = profiles(30)
SECTORS = [profile.listing.sector for profile in SYMBOLS]


def path(seed):
    return PricePath(seed, SYMBOLS, ActivityClock(Market()))


@pytest.fixture(scope="module", params=[7, 8])
def returns(request):
    """Of each minute of the busy hours of 64 days: shape (symbols, days x minutes)."""
    at = (FIRST_DAY + np.arange(DAYS))[:, np.newaxis] * DAY_S + OPENS_S + np.arange(MINUTES + 1) * 60
    log_price = path(request.param).sampled(at.ravel()).log_price.reshape(len(SYMBOLS), DAYS, MINUTES + 1)
    return np.diff(log_price).reshape(len(SYMBOLS), -1)


def over(returns, minutes):
    """Returns of so many minutes."""
    return returns.reshape(len(returns), -1, minutes).sum(axis=2)


def test_tails_are_fat_and_thin_out_over_longer_times(returns):
    """Cont 2001, facts 2 and 4: excess kurtosis of returns of minutes is real at 10 to 20, and falls towards 0."""
    minute, half_hour, day = (facts.excess_kurtosis(over(returns, minutes)) for minutes in (1, 30, MINUTES))
    assert 3 < minute < 20
    assert 0.5 * minute > half_hour > 0.5
    assert -1 < day < 3


def test_tails_are_fat_without_the_shape_of_the_day_too(returns):
    """It is the clustering of volatility that makes them, not only the busy open (fact 7, conditional heavy tails)."""
    assert 1.5 < facts.excess_kurtosis(facts.without_shape(returns, MINUTES)) < 10


def test_returns_do_not_correlate_with_later_ones(returns):
    """Fact 1: otherwise a machine could live on it."""
    for lag in (1, 2, 3, 5, 10):
        assert abs(facts.autocorrelation(returns, lag)) < 0.05


def test_volatility_clusters_and_is_forgotten_slowly(returns):
    """Facts 6 and 8: absolute returns correlate for days, by a power law of an exponent between 0.2 and 0.4."""
    absolute = np.abs(facts.without_shape(returns, MINUTES))
    first, tenth, hour, day = (facts.autocorrelation(absolute, lag) for lag in (1, 10, 60, MINUTES))
    assert 0.12 < first < 0.35
    assert 0.6 * first < tenth < first
    assert 0.3 * first < hour < tenth
    assert 0.02 < day < hour
    assert 0.05 < np.log(first / hour) / np.log(60) < 0.4


def test_symbols_move_together_and_more_so_within_a_sector(returns):
    """Real at 0.2 to 0.4 between any two, and some 0.15 more in one sector (Campbell, Lettau, Malkiel, Xu 2001)."""
    within, across = facts.correlations(returns, SECTORS)
    assert 0.2 < across < 0.45
    assert across + 0.08 < within < 0.7


def test_volatility_is_common(returns):
    """When one symbol moves much, so do others, also without the shape of the day (fact 10 of markets as a whole)."""
    half_hours = np.abs(facts.without_shape(returns, MINUTES)).reshape(len(SYMBOLS), -1, 30).mean(axis=2)
    _, across = facts.correlations(np.log(half_hours), SECTORS)
    assert 0.2 < across < 0.8


def test_volatility_has_the_shape_of_a_u(returns):
    """Real: twice as high in the first half hour as at noon, 1.3 times in the last (Wood, McInish, Ord 1985)."""
    absolute = np.abs(returns).reshape(len(SYMBOLS), DAYS, MINUTES).mean(axis=(0, 1))
    opened, noon, closing = absolute[:30].mean(), absolute[150:210].mean(), absolute[-30:].mean()
    assert 1.6 < opened / noon < 2.8
    assert 1.15 < closing / noon < 1.8
    assert opened > closing


def test_a_year_is_as_volatile_as_the_profile_says():
    """Over ten years of 252 days; single symbols differ as they do from year to year."""
    days = (FIRST_DAY - 2560 + np.arange(2561)) * DAY_S
    moves = np.diff(path(7).sampled(days).log_price)
    ratio = moves.std(axis=1) * TRADING_DAYS**0.5 / [profile.volatility for profile in SYMBOLS]
    assert ratio.mean() == pytest.approx(1, abs=0.05)
    assert (np.abs(ratio - 1) < 0.15).all()
    # Real at 3 to 10 for days, with crashes; here a few.
    assert 0.5 < facts.excess_kurtosis(moves) < 6
    absolute = np.abs(moves)
    assert facts.autocorrelation(absolute, 1) > facts.autocorrelation(absolute, 20)
    assert abs(facts.autocorrelation(moves, 1)) < 0.05


def test_there_are_jumps_now_and_then():
    """Moves of a minute beyond ten usual ones: a few a month and symbol (Lee, Mykland 2008, for single stocks)."""
    at = (FIRST_DAY + np.arange(DAYS))[:, np.newaxis] * DAY_S + OPENS_S + np.arange(MINUTES + 1) * 60
    log_price = path(7).sampled(at.ravel()).log_price.reshape(len(SYMBOLS), DAYS, MINUTES + 1)
    moves = np.abs(np.diff(log_price))
    usual = np.median(moves, axis=2, keepdims=True) / 0.6745
    a_month = (moves > 8 * usual).sum() / len(SYMBOLS) / DAYS * 21
    assert 0.5 < a_month < 10


@pytest.fixture(scope="module")
def minutes():
    """Ticks of some minutes at the open, at noon and at the close: trades, volume, round lots, spread and range."""
    feed = make_simulated(SimulatedOptions(symbols=20, ticks_per_s=5), Market())
    row = {listing.symbol: number for number, listing in enumerate(feed.symbols())}
    starts = [(FIRST_DAY + day) * DAY_S + second for day in range(0, 20, 5) for second in (34_200, 45_000, 57_000)]
    ticks, trades, volume, lots, spread, quotes, low, high = np.zeros((8, len(row), len(starts) * 5))
    low += np.inf
    for begin, second in enumerate(starts):
        asyncio.run(feed.start(second * 1_000_000 - 1, {}))
        for until in range(second + 5, second + 301, 5):
            for tick in feed.poll(until * 1_000_000 - 1).ticks:
                at = row[tick.symbol], begin * 5 + (tick.time // 1_000_000 - second) // 60
                ticks[at] += 1
                if isinstance(tick, Trade):
                    trades[at] += 1
                    volume[at] += tick.size
                    lots[at] += tick.size % 100 == 0
                    low[at], high[at] = min(low[at], tick.price), max(high[at], tick.price)
                else:
                    quotes[at] += 1
                    spread[at] += tick.ask - tick.bid
    return {
        "ticks": ticks,
        "trades": trades,
        "volume": volume,
        "lots": lots,
        "spread": spread / quotes,
        "range": high / low,
    }


def by_time(values):
    """The mean at the open, at noon and at the close."""
    return values.reshape(len(values), -1, 3, 5).mean(axis=(0, 1, 3))


def test_the_rate_is_what_was_asked_for_all_day(minutes):
    """A market that never closes has its busy hours in sizes and prices, not in the number of its ticks."""
    assert by_time(minutes["ticks"]).tolist() == pytest.approx([300] * 3, rel=0.003)


def test_one_tick_in_four_is_a_trade_and_most_trades_are_of_round_lots(minutes):
    """Real: about half of trades are odd lots or mixed (O'Hara, Yao, Ye 2014)."""
    assert minutes["trades"].sum() / minutes["ticks"].sum() == pytest.approx(0.25, abs=0.01)
    assert minutes["lots"].sum() / minutes["trades"].sum() == pytest.approx(0.58, abs=0.02)


def test_volume_and_spreads_are_highest_at_the_open(minutes):
    """Then at the close (McInish, Wood 1992: a reversed J)."""
    for name, least in (("volume", 1.3), ("spread", 1.2)):
        opened, noon, closing = by_time(minutes[name] / minutes[name].mean(axis=1, keepdims=True))
        assert opened > least * noon
        assert opened > closing > 1.05 * noon


def test_spread_and_volume_go_with_volatility(minutes):
    """Minute by minute for each symbol (Karpoff 1987; fact 9 of Cont 2001)."""
    assert facts.joint(minutes["spread"], minutes["range"]) > 0.3
    assert facts.joint(minutes["volume"], minutes["range"]) > 0.3


def test_the_number_of_trades_in_a_second_is_not_that_of_a_poisson_process():
    """Bursts make its variance several times its mean."""
    feed = make_simulated(SimulatedOptions(symbols=20, ticks_per_s=20), Market())
    begin = FIRST_DAY * DAY_S + 45_000
    asyncio.run(feed.start(begin * 1_000_000 - 1, {}))
    counts = np.zeros((20, 200))
    row = {listing.symbol: number for number, listing in enumerate(feed.symbols())}
    for second in range(200):
        for tick in feed.poll((begin + second + 1) * 1_000_000 - 1).ticks:
            counts[row[tick.symbol], second] += isinstance(tick, Trade)
    assert counts.var() / counts.mean() > 1.8
