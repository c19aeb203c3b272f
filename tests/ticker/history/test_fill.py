from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ticker.candles.candle import NO_TRADE, Candle, Candles
from ticker.candles.interval import INTERVALS, bounds
from ticker.history.fill import filled, grid, grid_before

ZONE = ZoneInfo("America/New_York")
SECOND = 1_000_000
MINUTE = 60 * SECOND
CHANGE = int(datetime(2025, 11, 2, 3, tzinfo=UTC).timestamp()) * SECOND
"""In the night in which clocks are set back."""


@given(st.sampled_from(list(INTERVALS)), st.integers(0, 40), st.integers(0, 60), st.integers(0, 40))
def test_the_grid_is_every_open_time(name, before, count, most):
    """Also over a clock change, where a day has 25 hours; no more than wanted."""
    interval = INTERVALS[name]
    first = bounds(interval, CHANGE - before * interval.width, ZONE)[0]
    opens, at = [], first
    for _ in range(count):
        opens.append(at)
        at = bounds(interval, at, ZONE)[1]
    assert grid(interval, first, at, most, ZONE).tolist() == opens[:most]
    if opens:
        assert grid(interval, first, opens[-1] + 1, 100, ZONE).tolist() == opens
        assert grid_before(interval, at, count, ZONE) == first


def test_the_grid_begins_with_the_epoch_at_the_earliest():
    """Before there is nothing to fill."""
    assert grid_before(INTERVALS["4h"], INTERVALS["4h"].width * 3, 10, ZONE) == 0
    assert grid_before(INTERVALS["1d"], bounds(INTERVALS["1d"], 0, ZONE)[1], 10, ZONE) == 0
    assert grid(INTERVALS["1m"], 0, -5, 3, ZONE).tolist() == []


def candle(time, close):
    return Candle(time, close - 1, close + 2, close - 3, close, 5, 6, 7, 8, 9, 10, time + 1, time + 2)


@given(st.sets(st.integers(0, 30)), st.integers(1, 5), st.integers(1, 31))
def test_a_gap_repeats_the_close_before(minutes, previous, count):
    """Without trades and volume, and without a number of its own; what is there stays as it is."""
    there = {MINUTE * m: candle(MINUTE * m, 100 + m) for m in sorted(minutes) if m < count}
    opens = np.arange(count, dtype=np.int64) * MINUTE
    rows = filled(Candles.of(there.values()), opens, previous).rows()
    assert [row.time for row in rows] == opens.tolist()
    for row in rows:
        if row.time in there:
            assert row == there[row.time]
            previous = row.close
        else:
            assert {row.open, row.high, row.low, row.close} == {previous}
            assert (row.volume, row.trades, row.vwap, row.first_seq, row.seq) == (0, 0, None, NO_TRADE, 0)
