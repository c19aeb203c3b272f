"""Ticks, candles and answers to bytes and back; the only user of orjson, the only place where numbers become text.

The text of a number is made once, and the stream entry and the WebSocket message of a tick carry the same text, so
that a message built again from the stream is the message that went out live, byte for byte.
"""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import orjson

from feeds.tick import Quote, Tick, Trade
from ticker.candles.candle import MILLION, TRILLION, Candle, Candles, vwaps
from ticker.errors import BadTick

MILLIONTHS_MAX = 1 << 53
"""Above this, not every millionth is a whole double: about 9.007 billion."""
VALUE_MAX = MILLIONTHS_MAX * TRILLION
"""Of price x size: the sums of a candle's trades must fit 64 bits too, in whole currency units."""

TEXT_MAX = 64
"""Characters of an optional text field."""

TRADE_FIELDS = ("price", "size", "time", "seq")
QUOTE_FIELDS = ("bid", "bid_size", "ask", "ask_size", "time", "seq")
OPTIONAL_FIELDS = ("id", "exchange", "conditions")
NO_OPTIONAL = (None, None, None)
PLAIN = frozenset({float, int})


def millionths(value: float, field: str) -> int:
    """A price or size as whole millionths, exactly; more than six decimals, NaN and the like are refused."""
    try:
        scaled = round(value * MILLION)
    except (OverflowError, ValueError, TypeError):
        raise BadTick(field, value, "a finite number") from None
    if -MILLIONTHS_MAX < scaled < MILLIONTHS_MAX and scaled / MILLION == value and value.__class__ in PLAIN:
        return scaled
    return _millionths_of_the_unusual(value, scaled, field)


def _millionths_of_the_unusual(value: float, scaled: int, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, float | Integral):
        raise BadTick(field, value, "a finite number")
    if abs(scaled) >= MILLIONTHS_MAX:
        raise BadTick(field, value, f"a number between -{MILLIONTHS_MAX // MILLION} and {MILLIONTHS_MAX // MILLION}")
    # Above 2 billion the product itself was rounded: it may lie one beside the very millionth.
    for near in (scaled, scaled - 1, scaled + 1):
        if near / MILLION == value:
            return near
    raise BadTick(field, value, "a number with at most 6 decimals")


def number(value: float) -> str:
    """The shortest text of a number that was checked by `millionths`; whole numbers without a point."""
    text = str(value)
    return text.removesuffix(".0")


def from_millionths(value: int | None) -> float | int | None:
    """A number as JSON shows it: whole ones as integers, others as the nearest double of the six decimals."""
    if value is None:
        return None
    whole, rest = divmod(value, MILLION)
    return value / MILLION if rest else whole


Entry = tuple[str, tuple[str, ...], list[str]]
"""The WebSocket message of a tick, and the names and values of its stream entry."""


def trade_entry(trade: Trade, seq: int) -> Entry:
    """A trade as it is published and stored."""
    price, size, time, number_of = number(trade.price), number(trade.size), str(trade.time), str(seq)
    head = f'{{"type":"trade","symbol":"{trade.symbol}","price":{price},"size":{size},"time":{time}'
    if trade[4:] == NO_OPTIONAL:
        return f'{head},"seq":{number_of}}}', TRADE_FIELDS, [price, size, time, number_of]
    json, names, values = _optional(trade)
    return (
        f'{head}{json},"seq":{number_of}}}',
        (*TRADE_FIELDS[:-1], *names, "seq"),
        [price, size, time, *values, number_of],
    )


def quote_entry(quote: Quote, seq: int) -> Entry:
    """A quote as it is published and stored; a missing side is `null` in both."""
    bid = "null" if quote.bid is None else number(quote.bid)
    ask = "null" if quote.ask is None else number(quote.ask)
    bid_size, ask_size, time, number_of = number(quote.bid_size), number(quote.ask_size), str(quote.time), str(seq)
    head = (
        f'{{"type":"quote","symbol":"{quote.symbol}","bid":{bid},"bid_size":{bid_size},'
        f'"ask":{ask},"ask_size":{ask_size},"time":{time}'
    )
    values = [bid, bid_size, ask, ask_size, time]
    if quote[6:] == NO_OPTIONAL:
        return f'{head},"seq":{number_of}}}', QUOTE_FIELDS, [*values, number_of]
    json, names, more = _optional(quote)
    return f'{head}{json},"seq":{number_of}}}', (*QUOTE_FIELDS[:-1], *names, "seq"), [*values, *more, number_of]


def _optional(tick: Tick) -> tuple[str, list[str], list[str]]:
    """The optional fields that a tick has: as the end of a JSON object, their names, their values."""
    json, names, values = "", [], []
    for name in OPTIONAL_FIELDS:
        value = getattr(tick, name)
        if value is not None:
            json += f',"{name}":{orjson.dumps(value).decode()}'
            names.append(name)
            values.append(value)
    return json, names, values


def entry_fields(flat: Sequence[bytes]) -> dict[str, Any]:
    """A stream entry's fields, as the JSON of REST has them: numbers as numbers, texts as texts, in their order."""
    texts = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
    return {name: value.decode() if name in OPTIONAL_FIELDS else orjson.loads(value) for name, value in texts.items()}


def entry_message(kind: str, symbol: str, flat: Sequence[bytes]) -> str:
    """The WebSocket message of a stream entry: the very bytes that were published with it. `kind`: trade or quote."""
    parts = [f'{{"type":"{kind}","symbol":"{symbol}"']
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        field = name.decode()
        text = orjson.dumps(value.decode()).decode() if field in OPTIONAL_FIELDS else value.decode()
        parts.append(f'"{field}":{text}')
    return ",".join(parts) + "}"


def candle_row(candle: Candle, *, final: bool) -> dict[str, Any]:
    """A candle as REST shows it."""
    return {
        "time": candle.time,
        "open": from_millionths(candle.open),
        "high": from_millionths(candle.high),
        "low": from_millionths(candle.low),
        "close": from_millionths(candle.close),
        "volume": from_millionths(candle.volume),
        "trades": candle.trades,
        "vwap": from_millionths(candle.vwap),
        "final": final,
    }


CANDLE_COLUMNS = ("time", "open", "high", "low", "close", "volume", "trades", "vwap", "final")
"""The fields of a candle as REST shows it, in their order."""


def numbers(millionths: Any) -> list[float | int]:
    """`from_millionths` of a whole column."""
    whole, rest = divmod(millionths, MILLION)
    if not rest.any():
        # Volumes most of all.
        plain: list[float | int] = whole.tolist()
        return plain
    made: list[float | int] = (millionths / MILLION).tolist()
    # Whole ones have no point, and beyond 2^53 numpy would round twice.
    exact = (rest == 0) | (abs(millionths) >= MILLIONTHS_MAX)
    for i in exact.nonzero()[0].tolist():
        value = int(millionths[i])
        made[i] = value / MILLION if value % MILLION else value // MILLION
    return made


def candle_columns(candles: Candles, final: int) -> dict[str, list[Any]]:
    """Candles as REST shows them, a list a field; the first `final` are closed."""
    averages, known = vwaps(candles)
    column, count = candles.column, len(candles)
    prices = {name: numbers(column(name)) for name in ("open", "high", "low", "close", "volume")}
    average: list[Any] = numbers(averages)
    for i in (~known).nonzero()[0].tolist():
        average[i] = None
    return {
        "time": column("time").tolist(),
        **prices,
        "trades": column("trades").tolist(),
        "vwap": average,
        "final": [True] * final + [False] * (count - final),
    }


def candle_message(symbol: str, interval: str, candle: Candle, *, final: bool) -> str:
    """A candle as the WebSocket and the channel `candles:{SYMBOL}` carry it."""
    head = {"type": "candle", "symbol": symbol, "interval": interval}
    return to_json(head | candle_row(candle, final=final) | {"seq": candle.seq}).decode()


def last_seq(message: bytes) -> int:
    """The sequence number of a trade or quote message, without reading the rest where it is our own."""
    digits = message[message.rfind(b":") + 1 : -1]
    if digits.isdigit():
        return int(digits)
    return int(orjson.loads(message)["seq"])


def time_of(message: bytes) -> int | None:
    """The time of a tick's or candle's message; None where it has none."""
    begin = message.find(b'"time":') + len(b'"time":')
    digits = message[begin : message.find(b",", begin)]
    return int(digits) if digits.isdigit() else None


def to_json(value: Mapping[str, Any] | Sequence[Any] | str) -> bytes:
    """Compact JSON."""
    return orjson.dumps(value)


def from_json(text: bytes | str) -> Any:
    """The value of a JSON text; raises ValueError where it is none."""
    return orjson.loads(text)


def check_trade(trade: Trade) -> tuple[int, int]:
    """Price and size in millionths; refuses a trade that cannot be kept exactly."""
    price, size = millionths(trade.price, "price"), millionths(trade.size, "size")
    if size < 0:
        raise BadTick("size", trade.size, "0 or more")
    if abs(price * size) >= VALUE_MAX:
        raise BadTick("price x size", trade.price * trade.size, f"less than {MILLIONTHS_MAX}")
    if trade[4:] != NO_OPTIONAL:
        _check_texts(trade)
    return price, size


def check_quote(quote: Quote) -> None:
    """Refuses a quote that cannot be kept exactly."""
    bid_size, ask_size = millionths(quote.bid_size, "bid_size"), millionths(quote.ask_size, "ask_size")
    if bid_size < 0 or ask_size < 0:
        name = "bid_size" if bid_size < 0 else "ask_size"
        raise BadTick(name, getattr(quote, name), "0 or more")
    if quote.bid is not None:
        millionths(quote.bid, "bid")
    elif bid_size:
        raise BadTick("bid_size", quote.bid_size, "0, because there is no bid")
    if quote.ask is not None:
        millionths(quote.ask, "ask")
    elif ask_size:
        raise BadTick("ask_size", quote.ask_size, "0, because there is no ask")
    if quote[6:] != NO_OPTIONAL:
        _check_texts(quote)


def _check_texts(tick: Tick) -> None:
    for name in OPTIONAL_FIELDS:
        value = getattr(tick, name)
        if value is not None and (type(value) is not str or len(value) > TEXT_MAX or not value.isprintable()):
            raise BadTick(name, value, f"a text of at most {TEXT_MAX} printable characters")
