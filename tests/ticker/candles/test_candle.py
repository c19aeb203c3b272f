from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker.candles.candle import FIELDS, TRILLION, Candle, Candles, Origin, merge, vwap, vwaps

INT64 = st.integers(-(2**63), 2**63 - 1)
ROWS = st.lists(st.tuples(*[INT64] * len(FIELDS)).map(Candle._make), max_size=20)


def candle(time: int, **fields: int) -> Candle:
    ones = dict.fromkeys(FIELDS, 1)
    return Candle(**(ones | {"origin": Origin.TICKS} | fields | {"time": time}))


@given(st.lists(st.tuples(st.integers(-(10**13), 10**13), st.integers(0, 10**13)), min_size=1, max_size=20))
def test_vwap_is_the_exact_quotient_rounded_half_to_even(trades):
    """Compared with fractions: prices and sizes in millionths, negative prices too."""
    notional = sum(price * size for price, size in trades)
    volume = sum(size for _, size in trades)
    units, rest = divmod(notional, TRILLION)
    assert vwap(units, rest, volume) == (round(Fraction(notional, volume)) if volume else None)


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**6))
def test_vwap_in_the_very_middle_goes_to_the_even_neighbour(whole, half):
    """A sum that lies exactly between two millionths."""
    units, rest = divmod((2 * whole + 1) * half, TRILLION)
    found = vwap(units, rest, 2 * half)
    assert found in (whole, whole + 1)
    assert found % 2 == 0


@pytest.mark.parametrize(
    ("notional", "volume", "expected"),
    [(1, 2, 0), (3, 2, 2), (5, 2, 2), (-1, 2, 0), (-3, 2, -2), (1, 3, 0), (2, 3, 1), (-2, 3, -1), (0, 5, 0)],
)
def test_vwap_of_small_numbers(notional, volume, expected):
    """Worked out by hand."""
    units, rest = divmod(notional, TRILLION)
    assert 0 <= rest < TRILLION
    assert vwap(units, rest, volume) == expected


def test_a_candle_without_volume_has_no_vwap():
    """Trades of size 0 make a candle, but no average."""
    assert candle(0, volume=0, units=0, rest=0).vwap is None
    assert candle(0, volume=2, units=0, rest=7).vwap == 4


@given(ROWS)
def test_columns_give_the_rows_back(rows):
    """Whatever 64 bits hold, also nothing at all."""
    columns = Candles.of(rows)
    assert columns.rows() == rows
    assert len(columns) == len(rows)
    for i, field in enumerate(FIELDS):
        assert columns.column(field).tolist() == [row[i] for row in rows]
    assert columns.time.tolist() == [row.time for row in rows]


@given(st.lists(ROWS, max_size=5))
def test_joined_columns_are_the_rows_one_behind_the_other(parts):
    """Also where some or all parts are empty."""
    assert Candles.joined([Candles.of(part) for part in parts]).rows() == [row for part in parts for row in part]


@given(st.lists(st.integers(-50, 50), unique=True).map(sorted), st.integers(-60, 60), st.integers(-60, 60))
def test_between_has_the_start_but_not_the_end(times, start, end):
    """[start, end), nothing where the end lies before the start."""
    columns = Candles.of(candle(time) for time in times)
    assert columns.between(start, end).time.tolist() == [time for time in times if start <= time < end]


def test_columns_are_taken_from_any_iterable():
    """A generator is read once."""
    columns = Candles.of(candle(time) for time in (1, 2, 3))
    assert columns.part(1, 2).rows() == [candle(2)]
    assert columns.data.flags["C_CONTIGUOUS"]
    assert columns.data.dtype == np.int64


def test_a_number_that_64_bits_do_not_hold_is_refused():
    """Never wrapped around in silence."""
    with pytest.raises(OverflowError):
        Candles.of([candle(0, volume=2**63)])


SUMS = st.tuples(
    st.one_of(st.integers(-(10**6), 10**6), st.integers(-(2**60), 2**60)),
    st.integers(0, TRILLION - 1),
    st.one_of(st.just(0), st.integers(1, 100), st.integers(1, 10**12), st.integers(2**58, 2**62)),
)


@given(st.lists(SUMS, max_size=30))
def test_many_vwaps_are_those_of_each(sums):
    """Also where floating point is far off, and where sums are as large as they may be."""
    made = Candles.of([candle(i, units=u, rest=r, volume=v) for i, (u, r, v) in enumerate(sums)])
    expected = [vwap(*one) for one in sums]
    if any(one is not None and abs(one) >= 2**63 for one in expected):
        return
    found, known = vwaps(made)
    assert [
        value if is_known else None for value, is_known in zip(found.tolist(), known.tolist(), strict=True)
    ] == expected


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(1, 10**6)), min_size=1, max_size=20))
def test_many_vwaps_in_the_very_middle_go_to_the_even_neighbour(halves):
    """Sums that lie exactly between two millionths."""
    sums = [(*divmod((2 * whole + 1) * half, TRILLION), 2 * half) for whole, half in halves]
    made = Candles.of([candle(i, units=u, rest=r, volume=v) for i, (u, r, v) in enumerate(sums)])
    assert vwaps(made)[0].tolist() == [vwap(*one) for one in sums]


def at(time: int, price: int = 100) -> Candle:
    """A candle of one trade."""
    return Candle(time, price, price, price, price, 1, 0, price, 1, 1, 1, time, time)


def test_merge_prefers_the_new():
    """Where both have a candle of a time."""
    both = merge(Candles.of([at(1), at(3)]), Candles.of([at(2), at(3, 7)]))
    assert both.rows() == [at(1), at(2), at(3, 7)]


TIMES = st.sets(st.integers(0, 12)).map(sorted)


@given(TIMES, TIMES)
def test_merge_is_the_union_whichever_lies_behind_the_other(old, new):
    """Every time once, in order: far apart, touching, one within the other, the same, none."""
    both = merge(Candles.of(at(time) for time in old), Candles.of(at(time, 7) for time in new))
    assert both.rows() == [at(time, 7 if time in new else 100) for time in sorted({*old, *new})]
    assert both.data.dtype == np.int64
