import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from feeds.feed import HistoryFeed, Stored
from feeds.market import Market
from feeds.simulated import MADE_UP_AT_MOST_US, SimulatedOptions, make_simulated
from feeds.trading_hours import TradingHours

NOW = 1_760_000_000_123_456
SECOND_US = 1_000_000


def started(now=NOW, stored=None, **options):
    """A feed that was started."""
    feed = make_simulated(SimulatedOptions(**{"symbols": 3, "ticks_per_s": 20} | options), Market())
    asyncio.run(feed.start(now, stored or {}))
    return feed


def polled(feed, *times):
    """What polls at these times give, one after another."""
    return [tick for time in times for tick in feed.poll(time).ticks]


def of(symbol, ticks):
    return [tick for tick in ticks if tick.symbol == symbol]


def test_the_defaults_are_fifty_symbols():
    """A feed of type `simulated` needs no options."""
    feed = make_simulated(SimulatedOptions(), Market())
    listings = feed.symbols()
    assert all(listing.simulated for listing in listings)
    assert len(listings) == 50
    assert listings[0].symbol == "AAPL"
    asyncio.run(feed.start(NOW, {}))
    assert len(polled(feed, NOW + 10 * SECOND_US, NOW + 20 * SECOND_US)) == pytest.approx(5000, rel=0.03)
    asyncio.run(feed.close())


def test_symbols_may_be_named():
    """A list gives these and no others."""
    feed = started(symbols=["IBM", "NEW.1"])
    assert [listing.symbol for listing in feed.symbols()] == ["IBM", "NEW.1"]
    assert {tick.symbol for tick in feed.poll(NOW + SECOND_US).ticks} == {"IBM", "NEW.1"}


def test_the_clock_is_the_time_of_the_poll_and_no_cursor_is_needed():
    """A simulated feed is a live one; the time of the newest tick says where to go on."""
    batch = started().poll(NOW + 5)
    assert (batch.clock, batch.cursor) == (NOW + 5, None)


def test_a_first_start_begins_now():
    """Nothing is made up for the time before."""
    feed = started()
    assert polled(feed, NOW) == []
    ticks = polled(feed, NOW + SECOND_US)
    assert ticks
    assert all(NOW < tick.time <= NOW + SECOND_US for tick in ticks)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 7 * SECOND_US), min_size=1, max_size=30))
def test_ticks_do_not_depend_on_how_often_they_are_asked_for(steps):
    """Each tick once, in time order, none after the time of its poll."""
    feed, now, found = started(), NOW, []
    for step in steps:
        now += step
        ticks = feed.poll(now).ticks
        assert all(now - step < tick.time <= now for tick in ticks)
        found += ticks
    whole = started()
    assert found == polled(whole, *range(NOW, now, 9 * SECOND_US), now)


@pytest.mark.parametrize("step", [1_000, 50_000, 7 * SECOND_US])
def test_slow_and_fast_polls_see_the_same(step):
    """A millisecond, the usual 50, and 7 s."""
    until = NOW + 7 * SECOND_US
    assert polled(started(), *range(NOW, until, step), until) == polled(started(), until)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8 * SECOND_US), st.data())
def test_a_restart_goes_on_after_the_newest_tick_of_each_symbol(pause, data):
    """However a kill cut the last batch, each symbol's ticks go on without a gap or a repetition."""
    whole = polled(started(), NOW + SECOND_US, NOW + SECOND_US + pause)
    stored, missing = {}, []
    for symbol in ("AAPL", "MSFT", "NVDA"):
        ticks = of(symbol, whole)
        cut = data.draw(st.integers(1, len(ticks)))
        stored[symbol] = Stored(ticks[cut - 1].time)
        missing += ticks[cut:]
    again = polled(started(NOW + SECOND_US + pause, stored), NOW + SECOND_US + pause)
    assert sorted(again) == sorted(missing)
    assert [tick.time for tick in again] == sorted(tick.time for tick in again)


def test_a_symbol_that_is_new_begins_now_while_others_go_on():
    """A symbol added to the configuration has no past to make up."""
    feed = started(NOW, {"AAPL": Stored(NOW - 2 * SECOND_US)})
    ticks = polled(feed, NOW + SECOND_US)
    assert min(tick.time for tick in of("AAPL", ticks)) < NOW
    assert min(tick.time for tick in of("MSFT", ticks)) > NOW


def test_after_a_long_stop_ten_seconds_are_made_up():
    """Older ticks never happened."""
    ticks = polled(started(NOW, {"AAPL": Stored(NOW - 3600 * SECOND_US)}, symbols=1), NOW)
    assert NOW - MADE_UP_AT_MOST_US < ticks[0].time < NOW - MADE_UP_AT_MOST_US + SECOND_US
    assert ticks[-1].time > NOW - SECOND_US


def test_after_a_late_poll_ten_seconds_are_made_up():
    """A machine that slept does not flood the store."""
    late = NOW + 3600 * SECOND_US
    ticks = polled(started(), late)
    assert NOW < late - MADE_UP_AT_MOST_US < ticks[0].time
    assert len(ticks) == pytest.approx(3 * 20 * 10, rel=0.1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3 * SECOND_US, 3 * SECOND_US), max_size=20))
def test_a_clock_that_steps_back_gives_no_tick_twice(steps):
    """Ticks go on when the clock is where it was."""
    feed, now, newest, found = started(), NOW, NOW, []
    for step in steps:
        now += step
        newest = max(newest, now)
        found += feed.poll(now).ticks
    assert found == polled(started(), *range(NOW, newest, 9 * SECOND_US), newest)


def test_a_second_start_goes_on_from_what_is_stored_by_then():
    """After an error, what was given but not stored is given again."""
    feed = started(symbols=1)
    first = polled(feed, NOW + SECOND_US)
    asyncio.run(feed.start(NOW + 2 * SECOND_US, {"AAPL": Stored(first[3].time)}))
    assert polled(feed, NOW + SECOND_US, NOW + 2 * SECOND_US)[: len(first) - 4] == first[4:]


DAY_US = 86_400 * SECOND_US


def test_a_minute_has_the_ticks_that_were_asked_for():
    """Bursts take from the seconds around them: the rate of a minute is exact, at any time of day."""
    for hour in (0, 10, 16):
        begin = NOW // DAY_US * DAY_US + hour * 3600 * SECOND_US
        feed = started(begin, symbols=20, ticks_per_s=50)
        ticks = polled(feed, *range(begin, begin + 61 * SECOND_US, 5 * SECOND_US))
        assert len(ticks) == pytest.approx(20 * 50 * 60, rel=0.01)


def test_a_market_with_sessions_has_ticks_in_them_only():
    """As many as asked for on average, and a clock that goes on when it is closed."""
    opens, closes = NOW // DAY_US * DAY_US + 52_200 * SECOND_US, NOW // DAY_US * DAY_US + 52_800 * SECOND_US
    market = Market(hours=TradingHours([(opens, closes)]))
    feed = make_simulated(SimulatedOptions(symbols=3, ticks_per_s=20), market)
    asyncio.run(feed.start(opens - 60 * SECOND_US, {}))
    batches = [feed.poll(now) for now in range(opens - 60 * SECOND_US, closes + 60 * SECOND_US, SECOND_US)]
    times = [tick.time for batch in batches for tick in batch.ticks]
    assert opens <= times[0] < times[-1] < closes
    assert len(times) == pytest.approx(3 * 20 * 600, rel=0.01)
    assert batches[-1].clock == closes + 59 * SECOND_US
    first, middle, last = (
        sum(opens + a * SECOND_US <= time < opens + b * SECOND_US for time in times)
        for a, b in ((0, 100), (250, 350), (500, 600))
    )
    assert first > last > 1.2 * middle


def test_a_simulated_feed_has_a_history():
    """Five days of minutes and two years of days, if nothing else is said."""
    feed = make_simulated(SimulatedOptions(), Market())
    assert isinstance(feed, HistoryFeed)
    assert feed.history_us == {"1m": 5 * DAY_US, "1d": 2 * 366 * DAY_US}
    none = make_simulated(SimulatedOptions(history_days=0, history_years=0), Market())
    assert isinstance(none, HistoryFeed)
    assert none.history_us == {"1m": 0, "1d": 0}
    made = feed.history(["IBM", "T"], np.array([NOW - 120 * SECOND_US, NOW - 60 * SECOND_US, NOW]))
    assert list(made) == ["IBM", "T"]
    assert made["T"].time.tolist() == [NOW - 120 * SECOND_US, NOW - 60 * SECOND_US]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"symbols": 0}, "found 0 symbols; allowed: a number from 1 to 10000"),
        ({"symbols": ["aapl"]}, "'aapl' is no symbol; allowed"),
        ({"symbols": []}, "found a list of 0 symbols; allowed"),
        ({"ticks_per_s": 0}, "greater than 0"),
        ({"ticks_per_s": 10_001}, "less than or equal to 10000"),
        ({"ticks_per_s": float("nan")}, "less than or equal to 10000"),
        ({"seed": "x"}, "valid integer"),
        ({"history_days": -1}, "greater than or equal to 0"),
        ({"history_days": 367}, "less than or equal to 366"),
        ({"history_years": 21}, "less than or equal to 20"),
        ({"rate": 5}, "not permitted"),
        (
            {"symbols": 10_000, "ticks_per_s": 51},
            "10000 symbols x ticks_per_s 51 = 510000 ticks a second; allowed: 500000",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    """By name, with what is allowed."""
    with pytest.raises(ValidationError) as caught:
        SimulatedOptions(**options)
    assert message in str(caught.value)
