import pytest

from ticker.candles.candle import Candle, Candles
from ticker.candles.interval import INTERVALS
from ticker.history.rows import CandleRows, TickRows, slices

MINUTE = 60_000_000


def candles(count):
    return Candles.of(Candle(i * MINUTE, 1, 1, 1, 1, 0, 0, 0, 1, 1, i + 1, 0, 0) for i in range(count))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_slices_are_the_rows_in_the_order_asked_for(count, descending):
    """Whatever the order, each row comes once, with what it says of being closed."""
    rows = CandleRows(INTERVALS["1m"], candles(count), max(count - 2, 0), descending)
    parts = list(slices(rows, 64))
    assert all(len(part) <= 64 for part in parts)
    for name, column in rows.columns().items():
        assert [value for part in parts for value in part.columns()[name]] == column


def test_slices_of_ticks_are_the_ticks_in_their_order():
    """Whether they were decoded before or not."""
    entries = [[b"price", b"1.5", b"size", b"2", b"time", b"3", b"seq", str(i).encode()] for i in range(150)]
    rows = TickRows("trades", entries)
    fresh = [row for part in slices(rows, 64) for row in part.rows()]
    assert fresh == rows.rows()
    assert [row for part in slices(rows, 64) for row in part.rows()] == fresh
