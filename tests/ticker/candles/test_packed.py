import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker.candles.candle import FIELDS, TRILLION, Candle, Candles
from ticker.candles.interval import MINUTE
from ticker.candles.packed import COLUMN, COUNT, COUNT_MAX, pack, pack_open, unpack, unpack_open

HUGE = st.integers(-(2**62), 2**62 - 1)
TIME = 1_763_933_340_000_000

KINDS_OF_COLUMN = st.one_of(
    st.tuples(HUGE, st.just(0), st.just(0)),
    st.tuples(HUGE, st.integers(1, 10**6), st.sampled_from([1, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32])),
    st.tuples(st.integers(-(2**62), 0), st.just(1), st.integers(0, 2**62)),
)
"""Base, step and the most steps above it: constant columns, those on a grid at the edge of each width, any at all."""


@st.composite
def many_candles(draw: st.DrawFn) -> list[Candle]:
    count = draw(st.integers(1, 300))
    random = Random(draw(st.integers(0, 2**32)))
    columns = []
    for _ in FIELDS:
        base, step, most = draw(KINDS_OF_COLUMN)
        steps = [random.randint(0, most) for _ in range(count)]
        steps[random.randrange(count)] = most
        columns.append([base + step * n for n in steps])
    return [Candle._make(row) for row in zip(*columns, strict=True)]


def minutes(count: int) -> list[Candle]:
    """Candles as a busy symbol has them: prices on a tick grid of 0.01, whole shares, about 100 trades a minute."""
    made, price, seq = [], 189_230_000, 0
    for i in range(count):
        price += 10_000 * ((i * 7919) % 41 - 20)
        volume = ((i * 104_729) % 50_000 + 100) * 1_000_000
        units, rest = divmod((price + 3_141) * volume, TRILLION)
        trades = 60 + i * 31 % 90
        opened = TIME + i * MINUTE
        made.append(
            Candle(
                opened,
                price,
                price + 120_000,
                price - 90_000,
                price + 10_000,
                volume,
                units,
                rest,
                trades,
                seq + 1,
                seq + trades,
                opened + 104_729 * i % 999_983,
                opened + MINUTE - 1 - 7919 * i % 999_983,
            )
        )
        seq += trades
    return made


@given(many_candles())
def test_unpacking_gives_the_very_candles_back(rows):
    """Constant columns, negative ones, huge ones, and those at the edge of each width."""
    assert unpack(pack(Candles.of(rows))).rows() == rows


@pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_a_single_candle_is_nothing_but_its_heads(value):
    """A column of one value needs no values."""
    rows = [Candle._make([value] * len(FIELDS))]
    packed = pack(Candles.of(rows))
    assert len(packed) == COUNT.size + COLUMN.size * len(FIELDS)
    assert unpack(packed).rows() == rows


@pytest.mark.parametrize(
    ("most", "width"),
    [
        (0, 0),
        (1, 1),
        (255, 1),
        (256, 2),
        (65_535, 2),
        (65_536, 4),
        (2**24, 4),
        (2**32 - 1, 4),
        (2**32, 8),
        (2**40, 8),
        (2**48, 8),
        (2**56, 8),
        (2**63 - 1, 8),
    ],
)
def test_a_column_is_as_narrow_as_its_values_allow(most, width):
    """1, 2, 4 or 8 bytes a value, none where all are equal."""
    rows = [Candle._make([0] * len(FIELDS)), Candle._make([most, *[0] * (len(FIELDS) - 1)])]
    # A third value keeps the step at 1.
    rows.append(Candle._make([min(most, 1), *[0] * (len(FIELDS) - 1)]))
    packed = pack(Candles.of(rows))
    assert len(packed) == COUNT.size + COLUMN.size * len(FIELDS) + 3 * width
    assert unpack(packed).rows() == rows


def test_a_realistic_candle_takes_about_thirty_five_bytes():
    """A chunk of a few hundred of them; plain integers would be 112 bytes each."""
    rows = minutes(240)
    packed = pack(Candles.of(rows))
    assert unpack(packed).rows() == rows
    assert len(packed) / len(rows) < 40


def test_as_many_candles_as_the_count_can_say():
    """The largest chunk there can be."""
    rows = Candles.of([Candle._make([i] * len(FIELDS)) for i in range(COUNT_MAX)])
    assert unpack(pack(rows)).time.tolist() == list(range(COUNT_MAX))


def test_one_candle_more_than_the_count_can_say_is_refused():
    """Rather than counted wrongly."""
    with pytest.raises(struct.error):
        pack(Candles.of([Candle._make([0] * len(FIELDS))] * (COUNT_MAX + 1)))


def test_a_chunk_that_was_cut_off_is_noticed():
    """Missing bytes are never read as candles."""
    packed = pack(Candles.of(minutes(10)))
    for length in (0, 1, COUNT.size, COUNT.size + COLUMN.size, len(packed) - 1):
        with pytest.raises((ValueError, struct.error)):
            unpack(packed[:length])


OPEN_ROWS = st.lists(st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * len(FIELDS)).map(Candle._make), max_size=4)


@given(st.fixed_dictionaries({}, optional={"1s": OPEN_ROWS, "1m": OPEN_ROWS, "1d": OPEN_ROWS}))
def test_open_candles_come_back_by_their_interval(given_rows):
    """In their order; an interval without any has an empty list."""
    assert unpack_open(pack_open(given_rows)) == {"1s": [], "1m": [], "1d": []} | given_rows


def test_nothing_stored_means_no_open_candles():
    """Neither no key nor an empty one."""
    assert unpack_open(None) == unpack_open(b"") == {"1s": [], "1m": [], "1d": []}
