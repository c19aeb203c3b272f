from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.tick import Quote, Trade
from ticker.archive import tables
from ticker.candles.candle import NO_TRADE, TRILLION, Candle, Candles, Origin
from ticker.codec import quote_entry, trade_entry
from ticker.errors import StoreError
from ticker.store.tick_stream import Entry

MILLIONTHS = st.integers(-(1 << 53) + 1, (1 << 53) - 1)
SUMS = st.integers(-(1 << 60) + 1, (1 << 60) - 1)
NUMBERS = MILLIONTHS.map(lambda value: value / 1_000_000)
SIZES = st.integers(0, (1 << 53) - 1).map(lambda value: value / 1_000_000)
TEXTS = st.none() | st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
TIMES = st.integers(10**14, 10**16 - 1)


def entry(made, time, seq):
    _, names, values = made
    return Entry(time // 1000, seq, time, [text.encode() for pair in zip(names, values, strict=True) for text in pair])


TRADES = st.lists(st.tuples(NUMBERS, SIZES, TIMES, TEXTS, TEXTS, TEXTS), min_size=1, max_size=20)
QUOTES = st.lists(
    st.tuples(st.none() | NUMBERS, SIZES, st.none() | NUMBERS, SIZES, TIMES, TEXTS, TEXTS, TEXTS),
    min_size=1,
    max_size=20,
)


@given(TRADES)
def test_trades_come_back_byte_for_byte(rows):
    """As the stream has them, optional texts included."""
    entries = [entry(trade_entry(Trade("A", *row), seq), row[2], seq) for seq, row in enumerate(rows, 1)]
    assert tables.entries_of("trades", tables.ticks_table("trades", entries, "abcdef")) == entries


@given(QUOTES)
def test_quotes_come_back_byte_for_byte(rows):
    """Missing sides too."""
    entries = [entry(quote_entry(Quote("A", *row), seq), row[4], seq) for seq, row in enumerate(rows, 1)]
    assert tables.entries_of("quotes", tables.ticks_table("quotes", entries, "abcdef")) == entries


CANDLES = st.builds(
    Candle,
    TIMES, MILLIONTHS, MILLIONTHS, MILLIONTHS, MILLIONTHS,
    st.integers(0, (1 << 60) - 1), SUMS, st.integers(0, TRILLION - 1), st.integers(0, 1 << 53),
    st.integers(1, 1 << 53) | st.just(NO_TRADE), st.integers(0, 1 << 53), TIMES, TIMES, st.sampled_from(Origin),
)  # fmt: skip


@given(st.lists(CANDLES.filter(lambda c: c.vwap is None or abs(c.vwap) < 1 << 53), max_size=20), st.integers(0, 5))
def test_candles_come_back_as_they_were(rows, skipped):
    """Sums of thirty digits included, and from any part of a table."""
    made = tables.candles_table(Candles.of(rows))
    assert tables.candles_of(made).rows() == rows
    assert tables.candles_of(made.slice(skipped)).rows() == rows[skipped:]


def test_other_programs_read_exact_values():
    """Decimals of the price and of the sum, times with their zone."""
    candle = Candle(10**15, 189_230_001, 2, 1, 1, 3, 7, 5, 1, NO_TRADE, 0, 10**15, 10**15 + 1, Origin.IMPORT)
    (row,) = tables.candles_table(Candles.of([candle])).to_pylist()
    assert row["open"] == Decimal("189.230001")
    assert row["turnover"] == Decimal("7.000000000005")
    assert row["first_seq"] is None
    assert row["origin"] == "import"
    assert row["time"].isoformat() == "2001-09-09T01:46:40+00:00"


def test_what_was_imported_has_no_number():
    """Its place counts, its `seq` is 0."""
    columns = {"time": np.array([5000, 6000]), "seq": np.array([1, 2]), "id_ms": np.array([5, 6])}
    columns |= {"price": np.array([1_500_000, 2_000_000]), "size": np.array([1, 2])}
    entries = tables.entries_of("trades", tables.tick_columns("trades", columns, "import"))
    assert [(e.ms, e.seq, e.time, e.fields[-2:]) for e in entries] == [
        (5, 1, 5000, [b"seq", b"0"]),
        (6, 2, 6000, [b"seq", b"0"]),
    ]


@pytest.mark.parametrize("price", [b"many", b"1.2345678", b"99999999999999999"])
def test_what_no_writer_of_ours_has_written_is_refused(price):
    """With the ids where it stands."""
    bad = Entry(5, 1, 5000, [b"price", price, b"size", b"1", b"time", b"5000", b"seq", b"1"])
    with pytest.raises(StoreError, match="trades 5-1 to 5-1 hold what is no tick of ours"):
        tables.ticks_table("trades", [bad], "abcdef")
