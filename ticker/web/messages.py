"""What clients may send over the WebSocket, and what they get back; nothing here touches a connection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from reprlib import Repr
from typing import Any

from ticker import codec
from ticker.candles.interval import INTERVALS
from ticker.errors import BadRequest
from ticker.hub.resume import Position
from ticker.hub.topic import ALL, EVERY_MESSAGE, Delivery, Topic
from ticker.web.params import SYMBOL, SYMBOL_RULE

PROTOCOL = 1
SHORT = Repr()
"""Shows values however deep or long they are; the ordinary `repr` fails on what is nested deeply."""
SHORT.maxlevel, SHORT.maxlist, SHORT.maxdict, SHORT.maxstring = 3, 4, 4, 60
CHANNELS = ("trades", "quotes", "candles")

POSITION_FIELDS = frozenset({"epoch", "seq"})
POSITION_RULE = """a position: {"epoch": a text or null, "seq": a whole number}"""
SEQ_MOST = (1 << 53) - 1

DELIVER = ("all", "latest")
EVERY_MS_DEFAULT, EVERY_MS_MOST = 100, 60_000

FIELDS = {
    "subscribe": frozenset({"op", "id", "channel", "symbols", "interval", "deliver", "every_ms", "snapshot", "resume"}),
    "unsubscribe": frozenset({"op", "id", "channel", "symbols", "interval"}),
    "list": frozenset({"op", "id"}),
    "stats": frozenset({"op", "id"}),
    "ping": frozenset({"op", "id"}),
}

Id = int | str | None


class RequestError(BadRequest):
    """A request that is answered by `error`; `id` is its own, where that could be read."""

    def __init__(self, request_id: Id, message: str, code: str = "bad_request") -> None:
        super().__init__(message, code=code)
        self.id = request_id


@dataclass(frozen=True, slots=True)
class Request:
    """One request, checked."""

    op: str
    id: Id = None
    channel: str = ""
    interval: str | None = None
    symbols: tuple[str, ...] = field(default=())
    snapshot: bool = True
    delivery: Delivery = EVERY_MESSAGE
    resume: Mapping[str, Position] = field(default_factory=dict)
    """From where symbols go on that the client has had before."""

    @property
    def topic_of_all(self) -> Topic:
        """The topic of every symbol on the request's channel."""
        return Topic(self.channel, ALL, self.interval)


def parse(text: str) -> Request:
    """A request from its JSON text; raises `RequestError`."""
    try:
        given = codec.from_json(text)
    except ValueError as error:
        raise RequestError(None, f"not JSON: {error}", "bad_json") from None
    if not isinstance(given, dict):
        raise RequestError(None, f"found {type(given).__name__}, expected a JSON object with 'op'")
    return check(given)


def check(given: Mapping[str, Any]) -> Request:
    """A request from its fields."""
    request_id = given.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, int | str | None):
        raise RequestError(None, f"'id' is {_shown(request_id)}, expected a whole number or a text")
    op = given.get("op")
    if not isinstance(op, str) or op not in FIELDS:
        raise RequestError(request_id, f"'op' is {_shown(op)}; allowed: {', '.join(FIELDS)}", "unknown_op")
    if unknown := [name for name in given if name not in FIELDS[op]]:
        raise RequestError(
            request_id, f"unknown field {_shown(unknown[0])} for {_shown(op)}; allowed: {', '.join(sorted(FIELDS[op]))}"
        )
    if op in ("list", "stats", "ping"):
        return Request(op, request_id)
    channel, interval = _channel(given, request_id)
    snapshot = given.get("snapshot", True)
    if not isinstance(snapshot, bool):
        raise RequestError(request_id, f"'snapshot' is {_shown(snapshot)}; allowed: true, false")
    symbols, delivery = _symbols(given, request_id), _delivery(given, request_id)
    resume = _resume(given, symbols, request_id)
    return Request(op, request_id, channel, interval, symbols, snapshot, delivery, resume)


def from_query(query: Sequence[tuple[str, str]]) -> Request | None:
    """The subscription that a connection's address asks for, if any, as the request with `"id":0` that it stands for."""
    given: dict[str, Any] = {}
    for name, value in query:
        if name in given:
            raise RequestError(0, f"parameter {name!r} is given twice")
        given[name] = value
    if not given:
        return None
    if "symbols" in given:
        given["symbols"] = given["symbols"].split(",")
    if isinstance(every := given.get("every_ms"), str) and every.isdecimal():
        given["every_ms"] = int(every)
    if given.get("snapshot") in ("true", "false"):
        given["snapshot"] = given["snapshot"] == "true"
    if "id" in given or "op" in given:
        raise RequestError(0, "'op' and 'id' cannot be given in the address")
    return check(given | {"op": "subscribe", "id": 0})


def _channel(given: Mapping[str, Any], request_id: Id) -> tuple[str, str | None]:
    channel, interval = given.get("channel"), given.get("interval")
    if channel not in CHANNELS:
        raise RequestError(
            request_id, f"'channel' is {_shown(channel)}; allowed: {', '.join(CHANNELS)}", "unknown_channel"
        )
    if channel != "candles":
        if "interval" in given:
            raise RequestError(request_id, f"'interval' goes with channel 'candles', not with {channel!r}")
        return channel, None
    if interval is None:
        raise RequestError(request_id, "'interval' is needed for channel 'candles'")
    if not isinstance(interval, str) or interval not in INTERVALS:
        raise RequestError(
            request_id, f"'interval' is {_shown(interval)}; allowed: {', '.join(INTERVALS)}", "unknown_interval"
        )
    return channel, interval


def _delivery(given: Mapping[str, Any], request_id: Id) -> Delivery:
    deliver, every_ms = given.get("deliver", "all"), given.get("every_ms", EVERY_MS_DEFAULT)
    if deliver not in DELIVER:
        raise RequestError(request_id, f"'deliver' is {_shown(deliver)}; allowed: {', '.join(map(repr, DELIVER))}")
    if deliver == "all":
        if "every_ms" in given:
            raise RequestError(request_id, "'every_ms' goes with deliver 'latest'")
        return EVERY_MESSAGE
    if isinstance(every_ms, bool) or not isinstance(every_ms, int) or not 1 <= every_ms <= EVERY_MS_MOST:
        raise RequestError(request_id, f"'every_ms' is {_shown(every_ms)}; allowed: 1 to {EVERY_MS_MOST}")
    return Delivery(every_ms)


def _symbols(given: Mapping[str, Any], request_id: Id) -> tuple[str, ...]:
    symbols = given.get("symbols")
    if not isinstance(symbols, list) or not symbols:
        raise RequestError(request_id, f"'symbols' is {_shown(symbols)}, expected a list of names, or of \"*\"")
    for symbol in symbols:
        if not isinstance(symbol, str) or not (symbol == ALL or SYMBOL.fullmatch(symbol)):
            raise RequestError(
                request_id, f"{_shown(symbol)} in 'symbols' is no symbol; expected {SYMBOL_RULE}, or \"*\""
            )
    return tuple(dict.fromkeys(symbols))


def _resume(given: Mapping[str, Any], symbols: tuple[str, ...], request_id: Id) -> dict[str, Position]:
    resume = given.get("resume", {})
    if not isinstance(resume, dict):
        raise RequestError(
            request_id, f"'resume' is {_shown(resume)}, expected an object that gives symbols their positions"
        )
    named = frozenset(symbols)
    positions: dict[str, Position] = {}
    for symbol, position in resume.items():
        if symbol not in named and (ALL not in named or symbol == ALL):
            raise RequestError(request_id, f"{_shown(symbol)} is in 'resume' and not in 'symbols'")
        if symbol == ALL or (symbol not in named and not SYMBOL.fullmatch(symbol)):
            why = f": expected {SYMBOL_RULE}; positions are those of single symbols"
            raise _no_position(symbol, why, request_id)
        positions[symbol] = _position(symbol, position, request_id)
    return positions


def _position(symbol: str, given: object, request_id: Id) -> Position:
    if isinstance(given, dict) and given.keys() == POSITION_FIELDS:
        epoch, seq = given["epoch"], given["seq"]
        named = (epoch.__class__ is str and epoch) or (epoch is None and seq == 0)
        if named and seq.__class__ is int and 0 <= seq <= SEQ_MOST:
            return Position(epoch, seq)
    raise _no_position(symbol, _mistake(given), request_id)


def _mistake(given: object) -> str:
    """What is wrong with a position."""
    if not isinstance(given, dict):
        return f" is {_shown(given)}, expected {POSITION_RULE}"
    if unknown := [name for name in given if name not in POSITION_FIELDS]:
        return f" has {_shown(unknown[0])}, expected {POSITION_RULE}"
    if missing := [name for name in sorted(POSITION_FIELDS) if name not in given]:
        return f" has no {missing[0]!r}, expected {POSITION_RULE}"
    epoch, seq = given["epoch"], given["seq"]
    if not isinstance(seq, int) or isinstance(seq, bool) or not 0 <= seq <= SEQ_MOST:
        return f": 'seq' is {_shown(seq)}, expected a whole number from 0"
    if epoch is None:
        return f": 'epoch' is null with 'seq' {seq}; it is null only with 'seq' 0"
    return f": 'epoch' is {_shown(epoch)}, expected a text, or null with 'seq' 0"


def _no_position(symbol: str, why: str, request_id: Id) -> RequestError:
    return RequestError(request_id, f"'resume' of {_shown(symbol)}{why}")


def _shown(value: object) -> str:
    """What a client sent, fit to be sent back: not more of it than helps."""
    return SHORT.repr(value)


def message(kind: str, request_id: Id = None, **fields: Any) -> bytes:
    """A reply or event."""
    head: dict[str, Any] = {"type": kind} if request_id is None else {"type": kind, "id": request_id}
    return codec.to_json(head | fields)


def heartbeat(time_us: int, sent: int) -> bytes:
    """A sign of life, with how many messages of this connection went out before it."""
    return message("heartbeat", time=time_us, sent=sent)


def error(failed: BadRequest, request_id: Id) -> bytes:
    """The answer to a request that failed."""
    return message("error", request_id, code=failed.code, message=str(failed), retry=failed.code == "unavailable")


def position(epoch: str | None, seq: int) -> dict[str, Any]:
    """Everything up to `seq` and nothing after; before the first tick there is no epoch."""
    return {"epoch": epoch if seq else None, "seq": seq}


def as_snapshot(payload: bytes) -> bytes:
    """A live message, marked as one that was sent before."""
    return payload[:-1] + b',"snapshot":true}'
