from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker.candles.builder import CandleBuilder
from ticker.candles.candle import TRILLION, Candle, Candles, Origin
from ticker.candles.interval import DAY, HOUR, INTERVALS, MINUTE, Interval, bounds
from ticker.candles.rollup import roll_up

NEW_YORK = ZoneInfo("America/New_York")
FORWARD = 1_772_953_200_000_000
"""2026-03-08T07:00:00Z, when New York's clocks were set forward."""
BACK = 1_793_512_800_000_000
"""2026-11-01T06:00:00Z, when they are set back."""

COARSER = [
    (base, interval)
    for base in ("1s", "1m", "1d")
    for interval in INTERVALS.values()
    if INTERVALS[base].width < interval.width
]
ABOUT_A_CLOCK_CHANGE = st.builds(
    lambda change, offset: change + offset, st.sampled_from([FORWARD, BACK]), st.integers(-9 * DAY, 9 * DAY)
)
CLOSE_TOGETHER = st.builds(
    lambda change, offset: change + offset, st.sampled_from([FORWARD, BACK]), st.integers(-20 * HOUR, 20 * HOUR)
)
TRADES = st.lists(
    st.tuples(st.one_of(ABOUT_A_CLOCK_CHANGE, CLOSE_TOGETHER), st.integers(-100, 10**9), st.integers(0, 10**13)),
    max_size=60,
)


def folded(trades, interval: Interval) -> Candles:
    builder = CandleBuilder(interval, NEW_YORK, 0, 0)
    for seq, trade in enumerate(trades, 1):
        builder.add(*trade, seq)
    return Candles.of(builder.unclosed())


def row(time: int, **fields: int) -> Candle:
    ones = dict.fromkeys(Candle._fields, 1)
    return Candle(**(ones | {"origin": Origin.TICKS, "open_time": time, "close_time": time} | fields | {"time": time}))


@given(st.sampled_from(COARSER), TRADES)
def test_rolling_up_equals_folding_the_trades_themselves(pair, trades):
    """From each stored interval to each coarser one, out of order, and over both clock changes."""
    base, interval = pair
    rolled = roll_up(folded(trades, INTERVALS[base]), interval, NEW_YORK)
    assert rolled.rows() == folded(trades, interval).rows()


@given(TRADES)
def test_rolling_up_in_steps_makes_no_difference(trades):
    """Seconds to minutes to days to weeks is seconds to weeks."""
    seconds = folded(trades, INTERVALS["1s"])
    rolled = seconds
    for name in ("1m", "1d", "1w"):
        rolled = roll_up(rolled, INTERVALS[name], NEW_YORK)
    assert rolled.rows() == roll_up(seconds, INTERVALS["1w"], NEW_YORK).rows()


@given(st.sampled_from([interval for interval in INTERVALS.values() if interval.stored]), TRADES)
def test_rolling_up_to_the_same_interval_changes_nothing(interval, trades):
    """A candle is the roll-up of itself."""
    candles = folded(trades, interval)
    assert roll_up(candles, interval, NEW_YORK).rows() == candles.rows()


@given(st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(0, TRILLION - 1)), min_size=1, max_size=200))
def test_rests_carry_over_into_units(parts):
    """The sum of price x size stays exact, and the rest below a whole unit."""
    candles = Candles.of(row(FORWARD + i * MINUTE, units=u, rest=r) for i, (u, r) in enumerate(parts))
    (week,) = roll_up(candles, INTERVALS["1w"], ZoneInfo("UTC")).rows()
    assert 0 <= week.rest < TRILLION
    assert week.units * TRILLION + week.rest == sum(units * TRILLION + rest for units, rest in parts)


@pytest.mark.parametrize(("change", "hours"), [(FORWARD, 23), (BACK, 25)])
def test_a_day_at_a_clock_change_is_the_sum_of_its_minutes(change, hours):
    """One of each minute: 1380 or 1500 in the day, an hour less or more in the week."""
    day, week = INTERVALS["1d"], INTERVALS["1w"]
    first, last = bounds(week, change, NEW_YORK)
    minutes = Candles.of(row(time) for time in range(first, last, MINUTE))
    days = roll_up(minutes, day, NEW_YORK)
    assert days.column("trades").tolist() == [1440] * 6 + [hours * 60]
    assert days.time.tolist() == [bounds(day, time, NEW_YORK)[0] for time in days.column("open_time").tolist()]
    (whole,) = roll_up(days, week, NEW_YORK).rows()
    assert (whole.time, whole.trades) == (first, 6 * 1440 + hours * 60)


def test_a_candle_is_ticks_only_if_all_of_it_is():
    """The origin is the largest of the parts."""
    origins = [Origin.TICKS, Origin.TICKS, Origin.TICKS, Origin.HISTORY, Origin.TICKS, Origin.IMPORT]
    candles = Candles.of(row(FORWARD + i * 30 * MINUTE, origin=origin) for i, origin in enumerate(origins))
    assert roll_up(candles, INTERVALS["1h"], NEW_YORK).column("origin").tolist() == [
        Origin.TICKS,
        Origin.HISTORY,
        Origin.IMPORT,
    ]


def test_nothing_rolls_up_to_nothing():
    """No trade, no candle."""
    for interval in INTERVALS.values():
        assert len(roll_up(Candles.of(()), interval, NEW_YORK)) == 0


def test_what_is_rolled_up_is_left_as_it_was():
    """The columns may be shared with a cache."""
    candles = Candles.of(row(FORWARD + i * MINUTE, rest=TRILLION - 1) for i in range(10))
    before = candles.data.copy()
    roll_up(candles, INTERVALS["1h"], NEW_YORK)
    assert np.array_equal(candles.data, before)
