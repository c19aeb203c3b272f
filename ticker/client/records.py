"""The records that the client hands out, and how they are read from a gateway's messages and answers.

Times are whole microseconds since the Unix epoch, UTC. Prices are in the symbol's currency, sizes and volumes in units of
what is traded. Fields that a newer gateway may add are passed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ticker.client.errors import Misuse


@dataclass(frozen=True, slots=True)
class Position:
    """Everything of a symbol up to `seq`, and nothing after it; before the first tick it has no epoch and `seq` is 0."""

    epoch: str | None
    seq: int

    def as_dict(self) -> dict[str, Any]:
        """As a gateway reads and writes it."""
        return {"epoch": self.epoch, "seq": self.seq}


@dataclass(frozen=True, slots=True)
class Trade:
    """A print. `seq` counts the symbol's trades.

    `snapshot`: it was there before the subscription began. `skipped`: so many older ones gave way to it (`deliver="latest"`).
    """

    symbol: str
    price: float
    size: float
    time: int
    seq: int
    id: str | None = None
    exchange: str | None = None
    conditions: str | None = None
    snapshot: bool = False
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Quote:
    """The best bid and ask; a missing side is None with size 0. `seq` counts the symbol's quotes; the rest as in `Trade`."""

    symbol: str
    bid: float | None
    bid_size: float
    ask: float | None
    ask_size: float
    time: int
    seq: int
    id: str | None = None
    exchange: str | None = None
    conditions: str | None = None
    snapshot: bool = False
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Candle:
    """A candle as it stands after the trade `seq`; `time` is when it opens.

    `final` once it is closed. `vwap` is the volume-weighted average price, None at volume 0. `seq` is None where it comes
    from REST, whose answers have a position instead.
    """

    symbol: str
    interval: str
    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int
    vwap: float | None
    final: bool
    seq: int | None = None
    snapshot: bool = False
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """The messages with the numbers `first` to `last`, both included, will not come; docs/errors.md lists the reasons.

    One of the client's own is `unannounced`: numbers are missing, and the gateway has not said so.
    """

    channel: str
    symbol: str
    first: int
    last: int
    reason: str

    @property
    def missed(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Reset:
    """A new epoch: what was handed out above `seq` is withdrawn."""

    channel: str
    symbol: str
    epoch: str | None
    seq: int


@dataclass(frozen=True, slots=True)
class Service:
    """Something upstream is silent (`stale`) or back (`live`); `symbols` are those concerned, all where it is empty."""

    state: str
    reason: str
    time: int
    symbols: tuple[str, ...] = ()


Tick = Trade | Quote
Event = Trade | Quote | Candle | Gap | Reset | Service


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection was lost or could not be made; the next attempt is in `retry_s` seconds.

    `code` is the WebSocket's close code, 1006 where it ended without one, None where none was open.
    """

    reason: str
    code: int | None
    retry_s: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """After a lost connection all of a symbol is there again, from behind `after` up to `to`.

    `replayed`: messages that were handed out for it; `missed`: numbers that gaps have said will not come.
    """

    channel: str
    symbol: str
    interval: str | None
    after: int
    to: int
    replayed: int
    missed: int


Notice = Disconnected | Resumed
"""What a subscription tells of its connection, to whoever has asked for it with `on_notice`."""


Given = Position | Mapping[str, Any]
"""A position, as a record or as a gateway writes it."""


def position(given: Given) -> Position:
    """A position from either form."""
    if isinstance(given, Position):
        return given
    epoch, seq = given.get("epoch"), given.get("seq")
    whole = isinstance(seq, int) and not isinstance(seq, bool) and seq >= 0
    if not whole or not isinstance(epoch, str | None) or (epoch is None and seq):
        raise Misuse(
            f"position {dict(given)!r}; expected a Position, or {{'epoch': text, 'seq': 0 or more}}, or None with 0"
        )
    assert isinstance(seq, int)
    return Position(epoch, seq)


def trade(row: Mapping[str, Any], symbol: str | None = None) -> Trade:
    """A trade from a message, or from a row of REST, which leaves the symbol to the answer around it."""
    get = row.get
    return Trade(
        symbol or row["symbol"],
        row["price"],
        row["size"],
        row["time"],
        row["seq"],
        get("id"),
        get("exchange"),
        get("conditions"),
        get("snapshot", False),
        get("skipped", 0),
    )


def quote(row: Mapping[str, Any], symbol: str | None = None) -> Quote:
    """A quote, likewise."""
    get = row.get
    return Quote(
        symbol or row["symbol"],
        row["bid"],
        row["bid_size"],
        row["ask"],
        row["ask_size"],
        row["time"],
        row["seq"],
        get("id"),
        get("exchange"),
        get("conditions"),
        get("snapshot", False),
        get("skipped", 0),
    )


def candle(row: Mapping[str, Any], symbol: str | None = None, interval: str | None = None) -> Candle:
    """A candle, likewise."""
    get = row.get
    return Candle(
        symbol or row["symbol"],
        interval or row["interval"],
        row["time"],
        row["open"],
        row["high"],
        row["low"],
        row["close"],
        row["volume"],
        row["trades"],
        row["vwap"],
        row["final"],
        get("seq"),
        get("snapshot", False),
        get("skipped", 0),
    )
