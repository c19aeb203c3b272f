from collections.abc import Iterable
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker.candles.builder import CandleBuilder
from ticker.candles.candle import MILLION, TRILLION, Candle, Origin
from ticker.candles.interval import DAY, HOUR, INTERVALS, MINUTE, SECOND, Interval, bounds

NEW_YORK = ZoneInfo("America/New_York")
MINUTES = INTERVALS["1m"]
GRACE = SECOND // 2
KEEP = 60 * SECOND
T = 1_772_920_800_000_000
"""17:00 of the day before the clocks of New York were set forward in 2026; a whole minute and hour."""


class T4(NamedTuple):
    """A trade as the builder gets it: prices and sizes in millionths."""

    time: int
    price: int
    size: int
    seq: int


TIMES = st.integers(T - 2 * HOUR, T + 2 * DAY)
PRICES = st.integers(-5, 300_000_000)
SIZES = st.one_of(st.just(0), st.integers(1, 10**13))


def builder(interval: Interval = MINUTES, grace: int = GRACE, keep: int = KEEP) -> CandleBuilder:
    return CandleBuilder(interval, NEW_YORK, grace, keep)


def reference(trades: Iterable[T4], interval: Interval) -> list[Candle]:
    """Section 0 of the contract, word by word."""
    parts: dict[int, list[T4]] = {}
    for trade in trades:
        parts.setdefault(bounds(interval, trade.time, NEW_YORK)[0], []).append(trade)
    made = []
    for opened, part in sorted(parts.items()):
        first = min(part, key=lambda trade: (trade.time, trade.seq))
        last = max(part, key=lambda trade: (trade.time, trade.seq))
        units, rest = divmod(sum(trade.price * trade.size for trade in part), TRILLION)
        made.append(
            Candle(
                time=opened,
                open=first.price,
                high=max(trade.price for trade in part),
                low=min(trade.price for trade in part),
                close=last.price,
                volume=sum(trade.size for trade in part),
                units=units,
                rest=rest,
                trades=len(part),
                first_seq=min(trade.seq for trade in part),
                seq=max(trade.seq for trade in part),
                open_time=first.time,
                close_time=last.time,
            )
        )
    return made


def fold(into: CandleBuilder, trades: Iterable[T4]) -> CandleBuilder:
    for trade in trades:
        into.add(*trade)
    return into


@given(
    st.sampled_from(list(INTERVALS.values())),
    st.lists(st.tuples(TIMES, PRICES, SIZES), max_size=40).flatmap(st.permutations),
)
def test_trades_in_any_order_fold_to_the_candles_of_the_definition(interval, arrived):
    """The order in which trades arrive gives them their numbers, and decides between equal times only."""
    trades = [T4(*trade, seq) for seq, trade in enumerate(arrived, 1)]
    assert fold(builder(interval), trades).unclosed() == reference(trades, interval)


@given(st.permutations([(T, 1), (T, 2), (T, 3), (T + 1, 4), (T + 1, 5)]))
def test_of_trades_at_one_time_the_lowest_number_opens_and_the_highest_closes(arrived):
    """Whatever else arrives before, between and after."""
    trades = [T4(time, price, 1, seq) for seq, (time, price) in enumerate(arrived, 1)]
    (candle,) = fold(builder(), trades).unclosed()
    assert candle.open == next(price for time, price in arrived if time == T)
    assert candle.close == next(price for time, price in reversed(arrived) if time == T + 1)


def test_negative_prices_and_empty_trades_count():
    """A trade of size 0 moves prices and the count, not the volume; the sum of negative ones is exact."""
    trades = [T4(T, -37_630_000, 3, 1), T4(T + 1, -40_320_000, 0, 2)]
    (candle,) = fold(builder(), trades).unclosed()
    assert (candle.open, candle.high, candle.low, candle.close) == (-37_630_000, -37_630_000, -40_320_000, -40_320_000)
    assert (candle.volume, candle.trades, candle.vwap) == (3, 2, -37_630_000)
    assert candle.units * TRILLION + candle.rest == -37_630_000 * 3


def test_a_candle_closes_when_the_feed_clock_is_grace_past_its_end():
    """Not a microsecond earlier, and only once."""
    folding = fold(builder(), [T4(T, 5, 1, 1)])
    due = T + MINUTE + GRACE
    assert folding.close(due - 1) == []
    assert [candle.time for candle in folding.close(due)] == [T]
    assert folding.close(due) == folding.close(due + DAY) == []
    assert folding.unclosed() == []


def test_candles_close_in_order_of_time():
    """Also where the trades of the earlier one came later."""
    folding = fold(builder(), [T4(T + 2 * MINUTE, 5, 1, 1), T4(T, 5, 1, 2), T4(T + MINUTE, 5, 1, 3)])
    assert [candle.time for candle in folding.close(T + 2 * MINUTE + GRACE)] == [T, T + MINUTE]
    assert [candle.time for candle in folding.unclosed()] == [T + 2 * MINUTE]


def test_a_later_trade_corrects_a_closed_candle():
    """The next close gives the candle anew, once, with the trade in it."""
    trades = [T4(T + 5, 100, 1, 1), T4(T + MINUTE, 300, 1, 2)]
    folding = fold(builder(), trades)
    clock = T + MINUTE + GRACE
    folding.close(clock)
    late = T4(T, 50, 2, 3)
    folding.add(*late)
    assert folding.close(clock) == reference([trades[0], late], MINUTES)
    assert folding.close(clock) == []


def test_the_newest_candle_can_be_corrected_too():
    """Where nothing was traded since it closed."""
    trade, late = T4(T, 100, 1, 1), T4(T + 1, 50, 2, 2)
    folding = fold(builder(), [trade])
    folding.close(T + HOUR)
    folding.add(*late)
    assert folding.close(T + HOUR) == reference([trade, late], MINUTES)
    assert folding.newest() == (reference([trade, late], MINUTES)[0], True)


def test_a_correction_is_no_forming_candle():
    """A closed candle stays closed: it is neither unclosed nor among the changed."""
    folding = fold(builder(), [T4(T, 100, 1, 1)])
    folding.close(T + MINUTE + GRACE)
    folding.add(T + 1, 200, 1, 2)
    assert folding.unclosed() == folding.changed() == []


def test_a_late_trade_may_open_an_older_candle_that_was_missing():
    """It closes at the next opportunity, and the newest candle stays the newest."""
    newer, late = T4(T + 2 * MINUTE, 300, 1, 1), T4(T, 50, 2, 2)
    folding = fold(builder(), [newer])
    assert folding.close(T + 2 * MINUTE) == []
    folding.add(*late)
    assert [candle.time for candle in folding.unclosed()] == [T, T + 2 * MINUTE]
    assert folding.newest() == (reference([newer], MINUTES)[0], False)
    assert folding.close(T + 2 * MINUTE) == reference([late], MINUTES)
    assert folding.unclosed() == reference([newer], MINUTES)


def test_what_can_no_longer_be_corrected_is_forgotten():
    """Only the newest is kept for longer, so that its successor can be told from it."""
    folding = builder()
    for n in range(1000):
        folding.add(T + n * MINUTE, 5, 1, n + 1)
        folding.close(T + n * MINUTE)
    assert len(folding._candles) <= 4
    folding.close(T + 10 * DAY)
    assert [opened for opened, _ in folding._candles.items()] == [T + 999 * MINUTE]


@pytest.mark.parametrize("back", [0, 1, KEEP - 1, KEEP])
def test_a_trade_as_late_as_lateness_allows_still_finds_its_candle(back):
    """What the feed clock admits, the builder has not forgotten: the candle counts both trades, whenever it closed."""
    clock = T + 3 * MINUTE
    time = clock - back
    first = T4(time, 100, 1, 1)
    folding = fold(builder(), [first])
    folding.close(clock)
    fold(folding, [T4(clock, 100, 1, 2)])
    folding.close(clock)
    late = T4(time, 90, 1, 3)
    folding.add(*late)
    found = {candle.time: candle for candle in folding.close(clock + 2 * MINUTE)} | {
        candle.time: candle for candle in folding.unclosed()
    }
    expected = reference([first, T4(clock, 100, 1, 2), late], MINUTES)[0]
    assert found[expected.time] == expected


def test_newest_is_nothing_before_the_first_trade():
    """Then the candle of the highest time, with whether it is closed."""
    folding = builder()
    assert folding.newest() is None
    assert folding.close(T) == folding.unclosed() == folding.changed() == []
    trades = [T4(T, 5, 1, 1), T4(T - MINUTE, 6, 1, 2)]
    fold(folding, trades)
    assert folding.newest() == (reference(trades[:1], MINUTES)[0], False)
    folding.close(T + MINUTE + GRACE)
    assert folding.newest() == (reference(trades[:1], MINUTES)[0], True)


def test_changed_tells_of_each_change_once():
    """Forming candles with trades since the last time, in order of time."""
    folding = fold(builder(), [T4(T + MINUTE, 5, 1, 1), T4(T, 6, 1, 2)])
    assert [candle.time for candle in folding.changed()] == [T, T + MINUTE]
    assert folding.changed() == []
    folding.add(T + 1, 7, 1, 3)
    assert [(candle.time, candle.trades) for candle in folding.changed()] == [(T, 2)]
    assert [candle.time for candle in folding.close(T + HOUR)] == [T, T + MINUTE]


def test_loaded_candles_are_no_news():
    """Neither changed nor closed again; forming ones close in their time."""
    closed, forming = reference([T4(T, 5, 1, 1), T4(T + MINUTE, 6, 1, 2)], MINUTES)
    folding = builder()
    folding.load([closed], closed=True)
    folding.load([forming], closed=False)
    assert folding.changed() == []
    assert folding.unclosed() == [forming]
    assert folding.newest() == (forming, False)
    assert folding.close(T + MINUTE + GRACE) == []
    assert folding.close(T + 2 * MINUTE + GRACE) == [forming]


def test_a_corrected_candle_keeps_its_origin():
    """What was made up or imported does not become `ticks` by a trade."""
    (candle,) = reference([T4(T, 5, 1, 1)], MINUTES)
    folding = builder()
    folding.load([candle._replace(origin=Origin.IMPORT)], closed=True)
    folding.add(T + 1, 6, 1, 2)
    assert [candle.origin for candle in folding.close(T + HOUR)] == [Origin.IMPORT]


def test_a_day_at_a_clock_change_is_folded_whole():
    """The last trade of a day of 23 hours and the first of the next."""
    day = INTERVALS["1d"]
    opened, end = bounds(day, T + DAY, NEW_YORK)
    assert end - opened == 23 * HOUR
    trades = [T4(opened, 1, 1, 1), T4(end - 1, 2, 1, 2), T4(end, 3, 1, 3)]
    assert [(c.time, c.trades) for c in fold(builder(day), trades).unclosed()] == [(opened, 2), (end, 1)]


class Feed(NamedTuple):
    """Batches of trades as a feed clock lets them in, each with the clock after it."""

    batches: list[tuple[list[T4], int]]


@st.composite
def feeds(draw: st.DrawFn) -> Feed:
    """Mostly rising times, some late within what is allowed, silence now and then."""
    clock, seq, batches = T, 0, []
    for steps in draw(st.lists(st.lists(st.integers(-KEEP, 40 * SECOND), max_size=6), min_size=1, max_size=12)):
        batch = []
        for step in steps:
            time = clock + step
            clock = max(clock, time)
            seq += 1
            batch.append(T4(time, draw(st.integers(1, 50)) * 10_000, draw(st.integers(0, 3)) * MILLION, seq))
        clock += draw(st.sampled_from([0, 1, GRACE, 30 * SECOND, 3 * MINUTE]))
        batches.append((batch, clock))
    return Feed(batches)


@given(st.sampled_from(["1s", "15s", "1m", "1h"]), feeds())
def test_at_every_moment_closed_and_forming_ones_together_are_all_there_is(name, feed):
    """What `close` gave last of each candle is that of the definition; it gives what is new or corrected, nothing else."""
    interval = INTERVALS[name]
    folding, shown, so_far = builder(interval), {}, []
    for batch, clock in feed.batches:
        fold(folding, batch)
        so_far += batch
        expected = {candle.time: candle for candle in reference(so_far, interval)}
        due = {t: c for t, c in expected.items() if bounds(interval, t, NEW_YORK)[1] + GRACE <= clock}
        news = folding.close(clock)
        assert news == [candle for time, candle in due.items() if shown.get(time) != candle]
        shown |= {candle.time: candle for candle in news}
        assert shown == due
        assert folding.unclosed() == [candle for time, candle in expected.items() if time not in due]
        if expected:
            newest = max(expected)
            assert folding.newest() == (expected[newest], newest in due)


@given(st.sampled_from(["1s", "1m", "1h"]), feeds(), st.data())
def test_a_restart_makes_no_difference(name, feed, data):
    """Loading what was stored and going on equals folding without a break, at whichever batch it happens."""
    interval = INTERVALS[name]
    restart = data.draw(st.integers(0, len(feed.batches) - 1))
    unbroken, broken, stored = builder(interval), builder(interval), {}
    for n, (batch, clock) in enumerate(feed.batches):
        if n == restart:
            forming = broken.unclosed()
            broken = builder(interval)
            broken.load([stored[time] for time in sorted(stored)], closed=True)
            broken.load(forming, closed=False)
        fold(unbroken, batch)
        fold(broken, batch)
        news = broken.close(clock)
        assert news == unbroken.close(clock)
        stored |= {candle.time: candle for candle in news}
        assert broken.unclosed() == unbroken.unclosed()
        assert broken.newest() == unbroken.newest()


@given(feeds())
def test_changed_never_misses_a_change(feed):
    """Whoever follows `changed` and `close` always knows every forming candle as it stands."""
    folding, known = builder(), {}
    for batch, clock in feed.batches:
        fold(folding, batch)
        for candle in folding.close(clock):
            known.pop(candle.time, None)
        known |= {candle.time: candle for candle in folding.changed()}
        assert [known[time] for time in sorted(known)] == folding.unclosed()


@given(st.sampled_from(["1s", "15s", "1m", "1h"]), feeds())
def test_when_it_closes_next_is_known_beforehand(name, feed):
    """`close` has news exactly where `next_close` has come, whether by the clock or by a correction."""
    folding = builder(INTERVALS[name])
    for batch, clock in feed.batches:
        fold(folding, batch)
        due = folding.next_close
        assert bool(folding.close(clock)) == (due is not None and due <= clock)
        assert folding.next_close is None or folding.next_close > clock


@given(st.sampled_from(["1s", "15s", "1m", "1h"]), feeds())
def test_all_that_a_trade_can_reach_is_held_in_order(name, feed):
    """As the trades so far make it; those that still form among them, and each found by its time."""
    interval = INTERVALS[name]
    folding, so_far = builder(interval), []
    for batch, clock in feed.batches:
        fold(folding, batch)
        so_far += batch
        folding.close(clock)
        held = [candle for candle, _ in folding.held()]
        expected = {candle.time: candle for candle in reference(so_far, interval)}
        assert held == [expected[candle.time] for candle in sorted(held)]
        ends = {time: bounds(interval, time, NEW_YORK)[1] for time in expected}
        reachable = {time for time, end in ends.items() if end + GRACE + KEEP >= clock}
        assert reachable <= {candle.time for candle in held} == set(folding._candles)
        assert all(folding.holds(candle.time) for candle in held)
        assert folding.oldest == (held[0].time if held else None)
        assert sorted(folding.closed() + folding.unclosed()) == held
        assert folding.closed() == [candle for candle, closed in folding.held() if closed]


def test_a_correction_is_not_forgotten_where_more_is_loaded():
    """Of before the first trade, say: the next close has it."""
    first, late = T4(T, 100, 1, 1), T4(T + 1, 50, 2, 2)
    folding = fold(builder(), [first])
    folding.close(T + HOUR)
    folding.add(*late)
    folding.load(reference([T4(T - HOUR, 5, 1, 1)], MINUTES), closed=True)
    assert folding.close(T + HOUR) == reference([first, late], MINUTES)
    assert folding.next_close is None
