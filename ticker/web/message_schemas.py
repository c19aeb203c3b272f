"""Every message of the WebSocket, in both directions, as JSON Schema: made of the tables that check and write them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ticker import codec, codes
from ticker.web import messages
from ticker.web.params import SYMBOL
from ticker.web.schemas import (
    FIELDS,
    OPTIONAL,
    SCHEMAS,
    SHOWN,
    Schema,
    anchored,
    by_name,
    or_null,
    record,
    ref,
    rows,
    told,
    value,
    whole,
)

NAMES: Schema = {"anyOf": [ref("Symbol"), {"const": "*", "description": "all, also those that appear later"}]}
CHANNEL = value("string", "what it is about", "trades", enum=list(messages.CHANNELS))
DELIVER = value("string", "every message, or of each symbol the newest", "all", enum=list(messages.DELIVER))
EVERY_MS = value("integer", "of `latest`: at most one message of a symbol in so many", 250, minimum=1)
EVERY_MS |= {"maximum": messages.EVERY_MS_MOST}
POSITION = SCHEMAS["Position"]
RESUME_FROM = POSITION | {
    "additionalProperties": False,
    "anyOf": [
        {"properties": {"epoch": {"type": "string", "minLength": 1}, "seq": {"maximum": messages.SEQ_MOST}}},
        {"properties": {"epoch": {"type": "null"}, "seq": {"const": 0}}},
    ],
}
ID: Schema = {"type": ["integer", "string"], "description": "yours; the reply carries it", "examples": [1]}

REQUEST_FIELDS: dict[str, Schema] = {
    "id": {**ID, "type": [*ID["type"], "null"]},
    "channel": CHANNEL,
    "symbols": {**rows(NAMES), "minItems": 1, "description": "names, or `*`"},
    "interval": ref("Interval"),
    "deliver": DELIVER,
    "every_ms": EVERY_MS,
    "snapshot": value("boolean", "whether the last message of each symbol comes right after the reply", True),
    "resume": {
        "type": "object",
        "description": "up to where you have everything, of symbols in `symbols` that are not subscribed",
        "propertyNames": {"pattern": anchored(SYMBOL.pattern)},
        "additionalProperties": RESUME_FROM,
        "x-example-name": "AAPL",
    },
}
"""What each field of a request may be."""
NEEDED = {"subscribe": ("channel", "symbols"), "unsubscribe": ("channel", "symbols")}
OF_CANDLES: Schema = {
    "if": {"properties": {"channel": {"const": "candles"}}},
    "then": {"required": ["interval"]},
    "else": {"properties": {"interval": False}},
}
OF_LATEST: Schema = {
    "if": {"properties": {"deliver": {"const": "latest"}}, "required": ["deliver"]},
    "else": {"properties": {"every_ms": False}},
}
ABOUT = {
    "subscribe": "send me what comes of these symbols: the state first, then every later message",
    "unsubscribe": "remove entries, as they were written",
    "list": "what have I subscribed to?",
    "stats": "how does this connection do?",
    "ping": "are you there?",
}


def _request(op: str) -> Schema:
    """Of a request, no field but these is taken."""
    fields = {name: REQUEST_FIELDS[name] for name in REQUEST_FIELDS if name in messages.FIELDS[op]}
    schema = record(ABOUT[op], {"op": {"const": op}, **fields})
    schema |= {"required": ["op", *NEEDED.get(op, ())], "additionalProperties": False}
    rules = [rule for name, rule in (("interval", OF_CANDLES), ("every_ms", OF_LATEST)) if name in fields]
    return schema | ({"allOf": rules} if rules else {})


REQUESTS: dict[str, Schema] = {op: _request(op) for op in messages.FIELDS}
"""What a client may send, by its `op`."""

INTERVAL = {"interval": ref("Interval")}
BY_SYMBOL = {"channel": CHANNEL, **INTERVAL, "symbol": ref("Symbol")}
COUNT_OF = whole("how many", 812)
ERRORS = rows(ref("SymbolError"))
LIVE: dict[str, Schema] = {
    "snapshot": {"const": True, "description": "only where it is sent as a snapshot: it was sent to others before"},
    "skipped": whole("only of `latest`: so many older ones gave way to it", 3),
}


def _event(kind: str, description: str, fields: Mapping[str, Schema], optional: Sequence[str] = ()) -> Schema:
    return record(description, {"type": {"const": kind}, **fields}, optional)


def _tick(kind: str, description: str, fields: Sequence[str]) -> Schema:
    named = [*fields[:-1], *OPTIONAL, fields[-1]]
    found = {"symbol": ref("Symbol"), **{name: FIELDS[name] for name in named}, **LIVE}
    return _event(kind, description, found, (*OPTIONAL, *LIVE))


STATS: dict[str, Schema] = {
    "queued_bytes": whole("bytes that wait for you", 0),
    "sent": COUNT_OF,
    "skipped": whole("how many gave way to newer ones", 0),
    "lag_ms": or_null(
        value("number", "age of the newest tick when it came to the gateway; null before the first", 1.4)
    ),
}
ENTRY = record(
    "a part of what is subscribed",
    {"channel": CHANNEL, **INTERVAL, "symbols": rows(NAMES), "deliver": DELIVER, "every_ms": EVERY_MS},
    ("interval", "every_ms"),
)
JOINED = record(
    "what live messages start after",
    POSITION["properties"]
    | {"recovered": value("boolean", "of `resume`: whether all after the position was sent", True)},
    ("recovered",),
)
WELCOME: dict[str, Schema] = {
    "version": whole("of the protocol", messages.PROTOCOL),
    "connection": value("string", "stands in the server's log", "c-555217"),
    "heartbeat_ms": whole("the longest silence between two heartbeats", 10_000),
    "limits": by_name(or_null({"type": "integer", "examples": [10_000]}), "subscriptions"),
    "time": ref("Time"),
    "timezone": value("string", "at whose midnight days begin", "America/New_York"),
    "server": value("string", "what serves", "ticker"),
}
CANDLE = {"symbol": ref("Symbol"), **INTERVAL, **{name: FIELDS[name] for name in codec.CANDLE_COLUMNS}}
GAP = {"from": whole("the first number", 1236), "to": whole("the last one", 1250)}
REASON = told("why", codes.GAPS, "trimmed")

EVENTS: dict[str, Schema] = {
    "welcome": _event("welcome", "the first message of all", WELCOME),
    "subscribed": _event(
        "subscribed",
        "the reply to `subscribe`; without `id` where symbols that are new join `*`",
        {"id": ID, "channel": CHANNEL, **INTERVAL, "positions": by_name(JOINED), "errors": ERRORS},
        ("id", "interval"),
    ),
    "unsubscribed": _event(
        "unsubscribed",
        "the reply to `unsubscribe`",
        {"id": ID, "channel": CHANNEL, **INTERVAL, "symbols": rows(NAMES), "errors": ERRORS},
        ("id", "interval"),
    ),
    "subscriptions": _event("subscriptions", "the reply to `list`", {"id": ID, "entries": rows(ENTRY)}, ("id",)),
    "stats": _event("stats", "the reply to `stats`", {"id": ID, **STATS}, ("id",)),
    "pong": _event("pong", "the reply to `ping`", {"id": ID, "time": ref("Time")}, ("id",)),
    "trade": _tick("trade", "a trade", codec.TRADE_FIELDS),
    "quote": _tick("quote", "a quote", codec.QUOTE_FIELDS),
    "candle": _event(
        "candle", "a candle as it stands after the trade `seq`", {**CANDLE, "seq": FIELDS["seq"], **LIVE}, tuple(LIVE)
    ),
    "gap": _event("gap", "these messages will not come", {**BY_SYMBOL, **GAP, "reason": REASON}, ("interval",)),
    "reset": _event(
        "reset",
        "a new epoch: what was seen above `seq` is withdrawn",
        {**BY_SYMBOL, **POSITION["properties"]},
        ("interval",),
    ),
    "slow": _event(
        "slow",
        "half of what may wait for you does",
        {
            "queued_bytes": whole("bytes that wait", 131_200),
            "action": value("string", "what follows", "closing", enum=["closing", "conflating"]),
        },
    ),
    "service": _event(
        "service",
        "something upstream is silent, or back",
        {
            "state": value("string", "how it is", "stale", enum=["stale", "live"]),
            "reason": told("who", codes.STALE, "ingest"),
            "time": ref("Time"),
            "symbols": rows(ref("Symbol")),
        },
        ("symbols",),
    ),
    "heartbeat": _event("heartbeat", "a sign of life", {"time": whole("now", SHOWN), "sent": COUNT_OF}),
    "error": _event(
        "error",
        "a request was refused",
        {
            "id": ID,
            "code": told("which kind of mistake", codes.WEBSOCKET_ERRORS, "bad_request"),
            "message": value("string", "what was found, what is allowed", "'interval' is needed for channel 'candles'"),
            "retry": value("boolean", "whether the same request may succeed later", False),
        },
        ("id",),
    ),
}
"""What a client may get, by its `type`."""

RESUMED = {"AAPL": {"epoch": "7kzeay", "seq": 1200}}
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "subscribe": [
        {"op": "subscribe", "id": 1, "channel": "trades", "symbols": ["AAPL", "MSFT"]},
        {"op": "subscribe", "id": 2, "channel": "quotes", "symbols": ["*"], "deliver": "latest", "every_ms": 250},
        {"op": "subscribe", "id": 3, "channel": "candles", "interval": "1m", "symbols": ["AAPL"], "snapshot": False},
        {"op": "subscribe", "id": 4, "channel": "trades", "symbols": ["AAPL"], "resume": RESUMED},
    ],
    "unsubscribe": [{"op": "unsubscribe", "id": 5, "channel": "trades", "symbols": ["AAPL"]}],
    "list": [{"op": "list", "id": 6}],
    "stats": [{"op": "stats", "id": 7}],
    "ping": [{"op": "ping", "id": 8}],
}
"""Of each request."""
