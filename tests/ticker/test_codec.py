from decimal import Decimal
from fractions import Fraction

import numpy as np
import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from feeds.tick import Quote, Trade
from ticker import codec
from ticker.candles.candle import MILLION, TRILLION, Candle, Candles
from ticker.errors import BadTick

TIME = 1_763_933_333_333_333
EXACT = st.integers(-codec.MILLIONTHS_MAX + 2, codec.MILLIONTHS_MAX - 2)
DISTINCT_MAX = (1 << 33) * MILLION
"""Up to here each millionth has a double of its own."""
TEXTS = st.one_of(st.none(), st.text(max_size=codec.TEXT_MAX).filter(str.isprintable))
NUMBERS = st.one_of(
    st.integers(-9_007_199_253, 9_007_199_253),
    EXACT.map(lambda n: n / MILLION),
    st.floats(-1e9, 1e9).map(lambda x: round(x, 6)),
)
SIZES = NUMBERS.map(abs)
SYMBOLS = st.from_regex(r"[A-Z0-9][A-Z0-9.\-]{0,15}", fullmatch=True)


def flat(names, values):
    """A stream entry as Redis gives it back."""
    return [part.encode() for pair in zip(names, values, strict=True) for part in pair]


@given(st.one_of(st.integers(-DISTINCT_MAX, DISTINCT_MAX), EXACT))
def test_every_number_of_six_decimals_is_found_exactly(scaled):
    """Up to 8.6 billion each is its own millionth; above, the one that is found is the same double."""
    found = codec.millionths(scaled / MILLION, "price")
    assert found / MILLION == scaled / MILLION
    if abs(scaled) < DISTINCT_MAX:
        assert found == scaled


@given(st.integers(-9_007_199_254, 9_007_199_254))
def test_whole_numbers_are_found_exactly(whole):
    """As an integer and as a float."""
    assert codec.millionths(whole, "size") == codec.millionths(float(whole), "size") == whole * MILLION


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_any_float_is_kept_exactly_or_refused(value):
    """Nothing is rounded: what is accepted is what comes out again."""
    try:
        scaled = codec.millionths(value, "price")
    except BadTick:
        return
    assert codec.from_millionths(scaled) == value
    assert float(codec.number(value)) == value


@given(st.integers(-(10**15), 10**15).filter(lambda n: n % 10), st.integers(7, 12))
def test_more_than_six_decimals_are_refused(digits, decimals):
    """Down to the last place that a double can tell."""
    value = float(Decimal(digits).scaleb(-decimals))
    assume(value != round(value, 6))
    with pytest.raises(BadTick, match=r"price is .*, expected a number with at most 6 decimals"):
        codec.millionths(value, "price")


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), None, "1.5", "", b"1", [], {}, True, False, 1j, Trade]
)
def test_what_is_no_finite_number_is_refused(value):
    """By the name of the field, with what was found."""
    with pytest.raises(BadTick, match=r"bid_size is .*, expected a finite number"):
        codec.millionths(value, "bid_size")


@pytest.mark.parametrize("value", [np.True_, Fraction(1, 2), Decimal("1.50"), np.float32(0.5)])
def test_numbers_whose_text_is_no_json_are_refused(value):
    """`True` or `1/2` would be published and stored as they are."""
    with pytest.raises(BadTick):
        codec.millionths(value, "price")


@pytest.mark.parametrize(("value", "text"), [(np.float64(189.23), "189.23"), (np.int64(7), "7"), (np.float64(3), "3")])
def test_the_numbers_of_numpy_are_taken(value, text):
    """A feed that reads its file with pandas has nothing to convert."""
    assert codec.millionths(value, "price") == round(float(value) * MILLION)
    assert codec.number(value) == text


@pytest.mark.parametrize("value", [9_007_199_254.740992, -9_007_199_254.740992, 10**10, 1e300, 10**400, -(10**20)])
def test_numbers_that_are_too_large_are_refused(value):
    """The message says how large they may be."""
    with pytest.raises(BadTick, match="expected a number between -9007199254 and 9007199254"):
        codec.millionths(value, "price")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (100.0, "100"),
        (0.0, "0"),
        (189.23, "189.23"),
        (-37.63, "-37.63"),
        (1e-06, "1e-06"),
        (10, "10"),
    ],
)
def test_a_number_has_its_shortest_text(value, text):
    """Whole numbers without a point; always JSON."""
    assert codec.number(value) == text
    assert orjson.loads(text) == value


@given(NUMBERS)
def test_the_text_of_a_number_is_json_for_that_number(value):
    """Whatever form `str` chooses for it."""
    assert orjson.loads(codec.number(value)) == value


@given(EXACT)
def test_millionths_are_shown_as_the_number_they_stand_for(scaled):
    """Whole ones as integers, the others as the nearest double."""
    shown = codec.from_millionths(scaled)
    assert shown == float(Fraction(scaled, MILLION))
    assert isinstance(shown, int) == (scaled % MILLION == 0)
    assert codec.from_millionths(None) is None


@given(SYMBOLS, NUMBERS, SIZES, TEXTS, TEXTS, TEXTS, st.integers(1, 2**53))
def test_a_trade_rebuilt_from_the_stream_is_the_message_byte_for_byte(
    symbol, price, size, tick_id, exchange, conditions, seq
):
    """And the message is JSON that says what the trade said; optional fields are there only where the feed has them."""
    trade = Trade(symbol, price, size, TIME, tick_id, exchange, conditions)
    message, names, values = codec.trade_entry(trade, seq)
    assert codec.entry_message("trade", symbol, flat(names, values)) == message
    optional = {"id": tick_id, "exchange": exchange, "conditions": conditions}
    said = {name: text for name, text in optional.items() if text is not None}
    expected = {"price": price, "size": size, "time": TIME} | said | {"seq": seq}
    assert orjson.loads(message) == {"type": "trade", "symbol": symbol} | expected
    assert list(orjson.loads(message)) == ["type", "symbol", *expected]
    assert codec.entry_fields(flat(names, values)) == expected
    assert codec.last_seq(message.encode()) == seq


SIDES = st.one_of(st.tuples(NUMBERS, SIZES), st.just((None, 0)), st.just((None, 0.0)))


@given(SYMBOLS, SIDES, SIDES, TEXTS, TEXTS, TEXTS, st.integers(1, 2**53))
def test_a_quote_rebuilt_from_the_stream_is_the_message_byte_for_byte(
    symbol, bid, ask, tick_id, exchange, conditions, seq
):
    """A missing side is null with size 0, in both."""
    quote = Quote(symbol, *bid, *ask, TIME, tick_id, exchange, conditions)
    message, names, values = codec.quote_entry(quote, seq)
    assert codec.entry_message("quote", symbol, flat(names, values)) == message
    optional = {"id": tick_id, "exchange": exchange, "conditions": conditions}
    said = {name: text for name, text in optional.items() if text is not None}
    sides = {"bid": bid[0], "bid_size": bid[1], "ask": ask[0], "ask_size": ask[1]}
    expected = sides | {"time": TIME} | said | {"seq": seq}
    assert orjson.loads(message) == {"type": "quote", "symbol": symbol} | expected
    assert codec.entry_fields(flat(names, values)) == expected
    assert codec.last_seq(message.encode()) == seq


def test_a_trade_reads_as_in_the_contract():
    """Field by field, in this order."""
    message, names, values = codec.trade_entry(Trade("AAPL", 189.23, 100, TIME), 1235)
    assert message == f'{{"type":"trade","symbol":"AAPL","price":189.23,"size":100,"time":{TIME},"seq":1235}}'
    assert names == ("price", "size", "time", "seq")
    assert values == ["189.23", "100", str(TIME), "1235"]


def test_a_quote_without_a_side_reads_as_in_the_contract():
    """`null` with size 0."""
    message, names, values = codec.quote_entry(Quote("AAPL", 189.22, 300, None, 0, TIME), 881)
    assert message == (
        f'{{"type":"quote","symbol":"AAPL","bid":189.22,"bid_size":300,"ask":null,"ask_size":0,"time":{TIME},"seq":881}}'
    )
    assert names == ("bid", "bid_size", "ask", "ask_size", "time", "seq")
    assert values == ["189.22", "300", "null", "0", str(TIME), "881"]


def test_optional_texts_are_escaped_in_the_message_and_plain_in_the_stream():
    """Quotes, backslashes, something that looks like the end of a message."""
    nasty = '"}],\\"seq":9'
    message, names, values = codec.trade_entry(Trade("A", 1, 1, TIME, id=nasty, conditions="@ F é 😀"), 5)
    assert values[names.index("id")] == nasty
    said = orjson.loads(message)
    assert (said["id"], said["conditions"], said["seq"]) == (nasty, "@ F é 😀", 5)
    assert "exchange" not in said
    assert codec.last_seq(message.encode()) == 5


@pytest.mark.parametrize(
    "message", [b'{"seq":12}', b'{"price":1,"seq": 12 }', b'{"id":"a:1","seq":12,"x":"a:b"}', b'{"seq":12,"x":null}']
)
def test_last_seq_reads_messages_that_are_not_ours_too(message):
    """In full, where they do not end on a number."""
    assert codec.last_seq(message) == 12


def test_a_good_trade_gives_its_millionths():
    """Price and size, exactly."""
    assert codec.check_trade(Trade("A", -37.63, 0.000001, TIME, "x", "N", "@")) == (-37_630_000, 1)


@pytest.mark.parametrize(
    ("trade", "message"),
    [
        (Trade("A", 1.0000001, 1, TIME), "price is 1.0000001, expected a number with at most 6 decimals"),
        (Trade("A", 1, 0.1234567, TIME), "size is 0.1234567, expected a number with at most 6 decimals"),
        (Trade("A", 1, -1, TIME), "size is -1, expected 0 or more"),
        (Trade("A", None, 1, TIME), "price is None, expected a finite number"),
        (Trade("A", 1, True, TIME), "size is True, expected a finite number"),
        (Trade("A", 1, 1, TIME, id=7), "id is 7, expected a text of at most 64 printable characters"),
        (Trade("A", 1, 1, TIME, id="x" * 65), "expected a text of at most 64"),
        (Trade("A", 1, 1, TIME, exchange="a\nb"), r"exchange is 'a\\nb', expected a text"),
        (Trade("A", 1, 1, TIME, conditions="\x00"), "conditions is "),
        (Trade("A", 1, 1, TIME, conditions="\ud800"), "conditions is "),
        (Trade("A", 1, 1, TIME, exchange=b"N"), "exchange is b'N'"),
        (Trade("A", 9e9, 9e9, TIME), "price x size is 8.1e.19, expected less than 9007199254740992"),
    ],
)
def test_a_bad_trade_is_refused_by_the_name_of_its_field(trade, message):
    """With what was found and what was expected."""
    with pytest.raises(BadTick, match=message):
        codec.check_trade(trade)


@pytest.mark.parametrize(
    ("quote", "message"),
    [
        (Quote("A", 1, -1, 2, 1, TIME), "bid_size is -1, expected 0 or more"),
        (Quote("A", 1, 1, 2, -0.5, TIME), "ask_size is -0.5, expected 0 or more"),
        (Quote("A", None, 5, 2, 1, TIME), "bid_size is 5, expected 0, because there is no bid"),
        (Quote("A", 1, 1, None, 5, TIME), "ask_size is 5, expected 0, because there is no ask"),
        (Quote("A", 1, None, 2, 1, TIME), "bid_size is None, expected a finite number"),
        (Quote("A", float("nan"), 1, 2, 1, TIME), "bid is nan, expected a finite number"),
        (Quote("A", 1, 1, 0.0000001, 1, TIME), "ask is 1e-07, expected a number with at most 6 decimals"),
        (Quote("A", 1, 1, False, 1, TIME), "ask is False, expected a finite number"),
        (Quote("A", 1, 1, 2, 1, TIME, id=""), None),
        (Quote("A", 1, 1, 2, 1, TIME, exchange="a\tb"), "exchange is "),
        (Quote("A", None, 0, None, 0, TIME), None),
        (Quote("A", 2, 1, 1, 1, TIME), None),
    ],
)
def test_a_bad_quote_is_refused_by_the_name_of_its_field(quote, message):
    """Empty sides and crossed ones are no mistake: they happen."""
    if message is None:
        codec.check_quote(quote)
    else:
        with pytest.raises(BadTick, match=message):
            codec.check_quote(quote)


def test_no_single_trade_can_outgrow_a_candle():
    """The largest that is let in has a sum of price x size that fits its column."""
    price, size = codec.check_trade(Trade("A", 9_007_199_254, 999_999, TIME))
    assert price * size // TRILLION < 2**63 // 1000


CANDLE = Candle(
    time=TIME - TIME % 60_000_000,
    open=189_230_000,
    high=190_000_000,
    low=189_000_001,
    close=189_500_000,
    volume=300_000_000,
    units=56_800,
    rest=1,
    trades=3,
    first_seq=7,
    seq=9,
    open_time=TIME,
    close_time=TIME,
)


def test_a_candle_is_shown_in_the_numbers_of_the_contract():
    """Whole numbers as integers, `vwap` rounded to six decimals."""
    assert codec.candle_row(CANDLE, final=True) == {
        "time": CANDLE.time,
        "open": 189.23,
        "high": 190,
        "low": 189.000001,
        "close": 189.5,
        "volume": 300,
        "trades": 3,
        "vwap": 189.333333,
        "final": True,
    }


def test_a_candle_without_volume_shows_no_vwap():
    """`null`, not 0."""
    assert codec.candle_row(CANDLE._replace(volume=0, units=0, rest=0), final=False)["vwap"] is None


def test_a_candle_message_reads_as_in_the_contract():
    """The row, between what it is and the number of its last trade."""
    message = codec.candle_message("AAPL", "1m", CANDLE, final=False)
    assert message.startswith('{"type":"candle","symbol":"AAPL","interval":"1m","time":')
    assert orjson.loads(message) == {
        "type": "candle",
        "symbol": "AAPL",
        "interval": "1m",
        **codec.candle_row(CANDLE, final=False),
        "seq": 9,
    }
    assert codec.last_seq(message.encode()) == 9


@pytest.mark.parametrize("text", ["", "{", "nan", "[1,]", '{"a":1}x', "\ufeff{}", b"\xff", "[" * 2000])
def test_what_is_no_json_is_a_value_error(text):
    """Never anything else, however it is broken."""
    with pytest.raises(ValueError, match=r".+"):
        codec.from_json(text)


def test_json_is_compact_and_comes_back():
    """No spaces; texts keep their letters."""
    value = {"a": [1, 2.5, None, True, "é"], "b": {}}
    assert codec.to_json(value) == '{"a":[1,2.5,null,true,"é"],"b":{}}'.encode()
    assert codec.from_json(codec.to_json(value)) == value


def test_an_entry_with_a_name_but_no_value_is_not_misread():
    """A flat list of odd length is no entry."""
    with pytest.raises(ValueError, match="zip"):
        codec.entry_message("trade", "A", [b"price"])


PRICES = st.one_of(st.integers(-(10**9), 10**9), st.integers(-(2**53), 2**53))
VOLUMES = st.one_of(st.integers(0, 10**9), st.integers(0, 2**59))


@given(st.lists(st.tuples(*[PRICES] * 4, VOLUMES, st.integers(0, 10**6), st.integers(0, TRILLION - 1)), max_size=20))
def test_columns_are_the_rows_turned(rows):
    """The same numbers, whole ones as whole ones, to the last bit."""
    made = [Candle(i, *row, 3, 1, 2, i, i) for i, row in enumerate(rows)]
    final = len(made) // 2
    columns = codec.candle_columns(Candles.of(made), final)
    assert tuple(columns) == codec.CANDLE_COLUMNS
    turned = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    expected = [codec.candle_row(candle, final=i < final) for i, candle in enumerate(made)]
    assert turned == expected
    assert codec.to_json(turned) == codec.to_json(expected)
