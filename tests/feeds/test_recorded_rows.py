import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.recorded_rows import layout_of, parse_columns, parse_row, split_columns
from feeds.tick import Quote, Trade

T = "1381132800554000"
TRADES = layout_of(("time", "symbol", "price", "size"))
QUOTES = layout_of(("time", "symbol", "bid", "bid_size", "ask", "ask_size"))
FULL = layout_of(("conditions", "time", "symbol", "price", "size", "id", "exchange"))
NAMES = {"BAC": "BAC", "BRK.B": "BRK.B"}


def parse_text(layout, text):
    """The quick way."""
    return parse_columns(layout, split_columns(layout, text), NAMES)


def test_a_header_tells_trades_from_quotes():
    """The columns decide, in any order."""
    assert not TRADES.is_quotes
    assert QUOTES.is_quotes
    assert not FULL.is_quotes
    assert FULL.optional == ["id", "exchange", "conditions"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "time,symbol,price,size,venue",
            "unknown column 'venue'; trades have the columns time, symbol, price, size and",
        ),
        ("time,symbol,price", "no column 'size'; trades have the columns"),
        ("time,symbol,bid", "no column 'bid_size', 'ask', 'ask_size'; quotes have the columns time, symbol, bid"),
        ("time,symbol,bid,bid_size,ask,ask_size,price", "unknown column 'price'; quotes have"),
        ("time,symbol,price,size,size", "column 'size' is there twice; trades have"),
        ("Time,symbol,price,size", "unknown column 'Time'; trades have"),
        ("1381132800554000,BAC,13.94,500", "unknown column '1381132800554000'; trades have"),
        ("", "unknown column ''; trades have"),
    ],
)
def test_columns_that_do_not_fit_are_refused_by_name(header, message):
    """With the columns that are expected."""
    with pytest.raises(ValueError, match=re.escape(message)):
        layout_of(header.split(","))


def test_a_row_of_trades_is_a_trade():
    """Whole sizes are integers, others not; empty texts are None."""
    assert parse_row(TRADES, [T, "BAC", "13.94", "500"]) == Trade("BAC", 13.94, 500, int(T))
    tick = parse_row(FULL, ["@,F", T, "BAC", "13.940", "0.5", "17", ""])
    assert tick == Trade("BAC", 13.94, 0.5, int(T), "17", None, "@,F")
    assert type(parse_row(TRADES, [T, "BAC", "1", "500.0"]).size) is int
    assert type(parse_row(TRADES, [T, "BAC", "1", "500.0"]).price) is float


def test_a_row_of_quotes_is_a_quote():
    """A side without a price is missing, with a size of 0 or none given."""
    assert parse_row(QUOTES, [T, "BAC", "13.8", "8000", "13.86", "18000"]) == Quote(
        "BAC", 13.8, 8000, 13.86, 18000, int(T)
    )
    assert parse_row(QUOTES, [T, "BAC", "", "", "13.86", "1"]) == Quote("BAC", None, 0, 13.86, 1, int(T))
    assert parse_row(QUOTES, [T, "BAC", "13.8", "1", "", "0"]) == Quote("BAC", 13.8, 1, None, 0, int(T))


@pytest.mark.parametrize("text", ["-37.63", "0", "1e-05", "2.5E3", ".5", "7.", "1.1000000000", "9007199254.5"])
def test_plain_numbers_of_at_most_six_decimals_are_read(text):
    """Also in the ways in which other programs write them; prices may be negative."""
    assert parse_row(TRADES, [T, "BAC", text, "1"]).price == float(text)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([T, "BAC", "13.94"], "found 3 fields, expected 4: time,symbol,price,size"),
        ([T, "BAC", "13.94", "1", ""], "found 5 fields, expected 4: time,symbol,price,size"),
        ([T, "BAC", "1.0000001", "1"], "price '1.0000001': expected at most 6 decimals"),
        ([T, "BAC", "0.1000000000000000001", "1"], "price '0.1000000000000000001': expected at most 6 decimals"),
        ([T, "BAC", "1e-7", "1"], "price '1e-7': expected at most 6 decimals"),
        ([T, "BAC", "nan", "1"], "price 'nan': expected a number"),
        ([T, "BAC", "inf", "1"], "price 'inf': expected a number"),
        ([T, "BAC", "1_000", "1"], "price '1_000': expected a number"),
        ([T, "BAC", " 1", "1"], "price ' 1': expected a number"),
        ([T, "BAC", "\u0661", "1"], "price '\u0661': expected a number"),
        ([T, "BAC", "", "1"], "price '': expected a number"),
        ([T, "BAC", "1" * 50, "1"], f"price '{'1' * 40}...': expected a number"),
        ([T, "BAC", "1e99", "1"], "price '1e99': expected less than 9007199254"),
        ([T, "BAC", "1", "-5"], "size '-5': expected 0 or more"),
        ([T, "BAC", "1", "0.0000005"], "size '0.0000005': expected at most 6 decimals"),
        ([T, "BAC", "1", ""], "size '': expected a number"),
        (["1381132800554", "BAC", "1", "1"], "time '1381132800554': expected whole microseconds since 1970, from 1000"),
        (
            ["1381132800554000000", "BAC", "1", "1"],
            "time '1381132800554000000': expected whole microseconds since 1970",
        ),
        (["1381132800554000.0", "BAC", "1", "1"], "time '1381132800554000.0': expected whole microseconds"),
        (["2013-10-07", "BAC", "1", "1"], "time '2013-10-07': expected whole microseconds"),
        (["", "BAC", "1", "1"], "time '': expected whole microseconds"),
    ],
)
def test_a_bad_trade_is_refused_by_its_value(row, message):
    """The message names the column, what was found and what is expected."""
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_row(TRADES, row)
    with pytest.raises((ValueError, KeyError)):
        parse_text(TRADES, ",".join(row) + "\n")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([T, "BAC", "", "5", "1", "1"], "bid_size '5': expected 0 or nothing, because there is no bid"),
        ([T, "BAC", "1", "1", "", "x"], "ask_size 'x': expected a number"),
        ([T, "BAC", "1", "1", "1", ""], "ask_size '': expected a number"),
        ([T, "BAC", "1", "-1", "1", "1"], "bid_size '-1': expected 0 or more"),
    ],
)
def test_a_bad_quote_is_refused_by_its_value(row, message):
    """As with trades."""
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_row(QUOTES, row)


@pytest.mark.parametrize("text", ["x" * 65, "a\nb", "\x00"])
def test_optional_texts_are_short_and_printable(text):
    """The store refuses others."""
    with pytest.raises(ValueError, match=r"conditions .* expected at most 64 printable characters"):
        parse_row(FULL, [text, T, "BAC", "1", "1", "", ""])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"{T},BAC,1,1\n\n",
        f'{T},"BAC",1,1\n',
        f"{T},BAC,1\n{T},BAC,1,1,1\n",
        f"{T},BAC,1,1,1\n{T},BAC,1\n",
        f"{T},BAC,1\n,{T},BAC,1,1\n",
        f"{T},BAC,1,1\r{T},BAC,1,1\n",
        f"{T},IBM,1,1\n",
        f"{T},BAC,-1,1\n",
        f"{T},BAC,1,1.0000000000000001\n",
    ],
)
def test_the_quick_way_leaves_unusual_lines_to_the_careful_one(text):
    """Quotes, blank lines, wrong widths, anything whose text is not plain."""
    with pytest.raises((ValueError, KeyError)):
        parse_text(TRADES, text)


@pytest.mark.parametrize("text", [f"{T},BAC,1,1", f"{T},BAC,1,1\r\n", f"{T},BAC,1,1\n"])
def test_lines_may_end_in_any_usual_way(text):
    """Windows, Unix, and no line break after the last."""
    assert parse_text(TRADES, text) == [Trade("BAC", 1.0, 1, int(T))]


number = st.one_of(
    st.from_regex(r"-?[0-9]{0,10}\.?[0-9]{0,8}", fullmatch=True),
    st.sampled_from(
        ["", "0", "1.5", "nan", "1e5", "+1", "9007199254.740991", "9007199254.740992", "12345678.12345678"]
    ),
)
text = st.sampled_from(["", "P", "x y", "é", "x" * 65])
row = st.tuples(st.sampled_from([T, "1" * 17, "0"]), st.sampled_from(["BAC", "BRK.B"]), number, number, text)


@given(st.lists(row, min_size=1, max_size=3))
def test_both_ways_agree(rows):
    """What the quick way reads, the careful one reads as the same values of the same types."""
    layout = layout_of(("time", "symbol", "price", "size", "exchange"))
    try:
        quick = parse_text(layout, "".join(",".join(row) + "\n" for row in rows))
    except ValueError:
        return
    careful = [parse_row(layout, row) for row in rows]
    assert quick == careful
    assert [list(map(type, tick)) for tick in quick] == [list(map(type, tick)) for tick in careful]


millionths = st.integers(0, 10**12)


@given(st.lists(st.tuples(millionths, millionths, millionths, millionths), min_size=1, max_size=5))
def test_the_quick_way_reads_usual_quotes(values):
    """Any price or size with at most six decimals and fifteen digits: nothing usual is left to the careful way."""
    rows = [(T, "BAC", *(f"{value / 10**6:.6f}" for value in four)) for four in values]
    quick = parse_text(QUOTES, "".join(",".join(row) + "\n" for row in rows))
    assert quick == [Quote("BAC", *(value / 10**6 for value in four), int(T)) for four in values]
