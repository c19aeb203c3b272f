"""Candles of before the first tick: whole, on the path of the live ticks, and like what these would have made."""

import asyncio
import time
from dataclasses import astuple
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.listings import profiles
from feeds.market import Market
from feeds.simulated import SimulatedOptions, make_simulated
from feeds.simulated_history import CandleMaker
from feeds.tick import Trade
from feeds.trading_hours import TradingHours

SECOND_US = 1_000_000
MINUTE_US, DAY_US = 60 * SECOND_US, 86_400 * SECOND_US
NOW = 1_760_000_000_000_000 // MINUTE_US * MINUTE_US
MIDNIGHT = NOW // DAY_US * DAY_US
STEP = 10_000
SOME = profiles(["AAPL", "INTC", "META", "SPY"])
NAMES = [profile.listing.symbol for profile in SOME]
MAKER = CandleMaker(7, 5, Market())


def edges(begin, end, width):
    return np.arange(begin, end + 1, width, dtype=np.int64)


def sound(candles):
    """What must hold of any candles."""
    columns = np.array(astuple(candles))
    assert columns.dtype == np.int64
    opened, high, low, close = (getattr(candles, name) for name in ("open", "high", "low", "close"))
    for price in (opened, high, low, close):
        assert (price % STEP == 0).all()
    assert (low > 0).all()
    for inside in (opened, close, candles.vwap):
        assert (low <= inside).all()
        assert (inside <= high).all()
    assert (candles.trades > 0).all()
    assert (candles.volume >= candles.trades * SECOND_US).all()
    assert (candles.volume % SECOND_US == 0).all()
    assert (np.diff(candles.time) > 0).all()
    one = candles.trades == 1
    assert (low[one] == high[one]).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2 * 10**15), st.sampled_from([1, 5, 60, 900, 3600, 86_400, 7 * 86_400]), st.floats(0.01, 100))
def test_candles_of_any_width_and_rate_are_sound(begin, width_s, rate):
    """Also where edges are at no whole second."""
    made = CandleMaker(7, rate, Market()).candles(
        SOME, edges(begin, begin + 30 * width_s * SECOND_US, width_s * SECOND_US)
    )
    assert list(made) == NAMES
    for candles in made.values():
        sound(candles)
        assert set(candles.time) <= {begin + n * width_s * SECOND_US for n in range(30)}
        if rate * width_s > 40:
            assert len(candles.time) == 30


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 60), st.integers(1, 30), st.integers(1, 60))
def test_a_candle_is_the_same_in_any_company(first, count, companions):
    """Of other candles or symbols: asked for in parts, history is the same."""
    all_edges = edges(NOW - 100 * MINUTE_US, NOW, MINUTE_US)
    whole = MAKER.candles(SOME, all_edges)["META"]
    part = MAKER.candles(profiles(companions) + SOME[3:], all_edges[first : first + count + 1])["SPY"]
    expected = np.array(astuple(MAKER.candles(SOME, all_edges)["SPY"]))[:, first : first + count]
    assert np.array_equal(np.array(astuple(part)), expected)
    assert len(whole.time) == 100


@pytest.mark.parametrize("hour", [3, 10, 12, 19])
def test_the_last_close_joins_the_live_price(hour):
    """The first trades of each symbol are within a few spreads of where its history ends."""
    end = MIDNIGHT + hour * 3600 * SECOND_US
    feed = make_simulated(SimulatedOptions(symbols=50, ticks_per_s=20), Market())
    names = [listing.symbol for listing in feed.symbols()]
    made = feed.history(names, edges(end - 10 * MINUTE_US, end, MINUTE_US))
    asyncio.run(feed.start(end - 1, {}))
    ticks = feed.poll(end + SECOND_US // 2).ticks
    for name in names:
        trades = [tick for tick in ticks if tick.symbol == name and isinstance(tick, Trade)]
        quotes = [tick for tick in ticks if tick.symbol == name and not isinstance(tick, Trade)]
        close = made[name].close[-1] / 1e6
        spread = max([0.01, *(tick.ask - tick.bid for tick in quotes)])
        for price in [tick.price for tick in trades] + [tick.bid for tick in quotes]:
            assert abs(price - close) <= 3 * spread + close * 2e-4


@pytest.mark.parametrize("hour", [3, 10, 14])
def test_history_is_like_the_candles_of_live_ticks(hour):
    """The same minutes lived: the same prices to a few steps, and on average as many trades, as much volume and range."""
    begin = MIDNIGHT + hour * 3600 * SECOND_US
    feed = make_simulated(SimulatedOptions(symbols=["AAPL"], ticks_per_s=5), Market())
    made = feed.history(["AAPL"], edges(begin, begin + 60 * MINUTE_US, MINUTE_US))["AAPL"]
    asyncio.run(feed.start(begin - 1, {}))
    lived = [[] for _ in range(60)]
    for now in range(begin, begin + 60 * MINUTE_US, SECOND_US):
        for tick in feed.poll(now + SECOND_US - 1).ticks:
            if isinstance(tick, Trade):
                lived[(tick.time - begin) // MINUTE_US].append(tick)
    prices = [[tick.price for tick in trades] for trades in lived]
    spread = np.mean(made.high - made.low) / 1e6
    assert np.abs(made.close / 1e6 - [each[-1] for each in prices]).mean() < 0.2 * spread
    assert np.abs(made.high / 1e6 - [max(each) for each in prices]).mean() < 0.2 * spread
    assert np.abs(made.vwap / 1e6 - [np.mean(each) for each in prices]).mean() < 0.2 * spread
    assert spread == pytest.approx(np.mean([max(each) - min(each) for each in prices]), rel=0.12)
    assert made.trades.mean() == pytest.approx(np.mean([len(each) for each in prices]), rel=0.06)
    assert made.trades.std() == pytest.approx(np.std([len(each) for each in prices]), rel=0.4)
    volume = [sum(tick.size for tick in trades) for trades in lived]
    assert made.volume.mean() / 1e6 == pytest.approx(np.mean(volume), rel=0.08)


def test_a_day_is_like_its_minutes():
    """Both are sampled from one path: ends to a step or two, extremes and sums nearly."""
    whole = edges(MIDNIGHT - 3 * DAY_US, MIDNIGHT, DAY_US)
    days, minutes = MAKER.candles(SOME, whole), MAKER.candles(SOME, edges(whole[0], whole[-1], MINUTE_US))
    for name in NAMES:
        day, parts = days[name], {key: getattr(minutes[name], key).reshape(3, -1) for key in ("high", "low", "close")}
        range_of_day = day.high - day.low
        assert (np.abs(day.close - parts["close"][:, -1]) < 0.1 * range_of_day).all()
        assert (np.abs(day.high - parts["high"].max(axis=1)) < 0.2 * range_of_day).all()
        assert (np.abs(day.low - parts["low"].min(axis=1)) < 0.2 * range_of_day).all()
        assert minutes[name].volume.sum() == pytest.approx(day.volume.sum(), rel=0.06)
        assert minutes[name].trades.sum() == pytest.approx(day.trades.sum(), rel=0.02)


def us(*parts):
    return round(datetime(*parts, tzinfo=UTC).timestamp()) * SECOND_US


SESSIONS = TradingHours(
    [(us(2026, 1, day, 14, 30), us(2026, 1, day, 21)) for day in (5, 6, 7, 8, 9, 12)]
    + [(us(2026, 1, 13, 14, 30), us(2026, 1, 13, 18))]
)


def test_there_are_candles_only_where_there_is_trading():
    """A day in proportion to its session; none of weekends and nights."""
    maker = CandleMaker(7, 20, Market(hours=SESSIONS))
    days = maker.candles(SOME, edges(us(2026, 1, 3), us(2026, 1, 16), DAY_US))["AAPL"]
    sound(days)
    assert days.time.tolist() == [us(2026, 1, day) for day in (5, 6, 7, 8, 9, 12, 13)]
    assert days.trades[:6].tolist() == pytest.approx([5 * 23_400] * 6, rel=0.02)
    assert days.trades[6] == pytest.approx(5 * 12_600, rel=0.02)
    minutes = maker.candles(SOME, edges(us(2026, 1, 13), us(2026, 1, 14), MINUTE_US))["AAPL"]
    assert minutes.time.tolist() == edges(us(2026, 1, 13, 14, 30), us(2026, 1, 13, 17, 59), MINUTE_US).tolist()
    assert minutes.trades[:10].mean() > 1.5 * minutes.trades[90:110].mean()
    hours = maker.candles(SOME, edges(us(2026, 1, 12, 14), us(2026, 1, 12, 22), 60 * MINUTE_US))["AAPL"]
    assert len(hours.time) == 7
    assert hours.trades.sum() == pytest.approx(5 * 23_400, rel=0.02)


def test_a_day_opens_and_closes_with_its_session():
    """The price at midnight is nobody's; between a close and the next open there is a gap."""
    maker = CandleMaker(7, 20, Market(hours=SESSIONS))
    days = maker.candles(SOME, edges(us(2026, 1, 3), us(2026, 1, 16), DAY_US))["META"]
    for number, day in enumerate((5, 6, 7, 8, 9)):
        ends = edges(us(2026, 1, day, 14, 30), us(2026, 1, day, 21), MINUTE_US)
        minutes = maker.candles(SOME, ends)["META"]
        assert days.open[number] == pytest.approx(minutes.open[0], abs=0.002 * minutes.open[0])
        assert days.close[number] == pytest.approx(minutes.close[-1], abs=0.002 * minutes.close[-1])
    gaps = np.abs(np.log(days.open[1:] / days.close[:-1]))
    assert 0.0005 < np.median(gaps) < 0.03


@pytest.mark.parametrize("asked", [[], [NOW], [us(2026, 1, 10), us(2026, 1, 11)]])
def test_nothing_is_made_of_no_trading(asked):
    """No edge, one edge, a weekend: each symbol has empty columns."""
    made = CandleMaker(7, 5, Market(hours=SESSIONS)).candles(SOME, np.array(asked, dtype=np.int64))
    assert list(made) == NAMES
    for candles in made.values():
        assert [column.shape for column in astuple(candles)] == [(0,)] * 8


def test_minutes_without_a_trade_have_no_candle():
    """One trade in three minutes: most have none, and those that are there have one price."""
    candles = CandleMaker(7, 4 / 180, Market()).candles(SOME, edges(NOW - 3000 * MINUTE_US, NOW, MINUTE_US))["META"]
    sound(candles)
    assert candles.trades.sum() == pytest.approx(1000, rel=0.1)
    assert len(candles.time) < 1100


def test_a_long_history_is_made_in_seconds():
    """Fifty symbols, five days of minutes and two years of days: 2 s of a core, or 6 on a busy one."""
    maker, all_symbols = CandleMaker(7, 5, Market()), profiles(50)
    begin = time.process_time()
    minutes = maker.candles(all_symbols, edges(NOW - 5 * DAY_US, NOW, MINUTE_US))
    days = maker.candles(all_symbols, edges(MIDNIGHT - 731 * DAY_US, MIDNIGHT, DAY_US))
    assert time.process_time() - begin < 6
    assert {len(candles.time) for candles in minutes.values()} == {7200}
    assert {len(candles.time) for candles in days.values()} == {731}
    for candles in (*minutes.values(), *days.values()):
        sound(candles)
