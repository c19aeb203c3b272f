"""What a gateway tells of its symbols and of itself when it is asked, as records; units as in `records`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ticker.client.records import Candle, Position, Quote, Trade, candle, position, quote, trade


@dataclass(frozen=True, slots=True)
class Outage:
    """A time [start, end) in which feed or store was away; `end` is None where it still is. In microseconds."""

    start: int
    end: int | None
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A symbol as it stands: last trade and quote, the candles of the minute and the day, the change of the day.

    `change` is in currency, `change_percent` in percent of `previous_close`; all three are None where no day has closed.
    """

    symbol: str
    trade: Trade | None
    quote: Quote | None
    minute: Candle | None
    day: Candle | None
    previous_close: float | None
    change: float | None
    change_percent: float | None
    trades: Position
    quotes: Position


@dataclass(frozen=True, slots=True)
class Symbol:
    """What is known of a symbol besides its ticks; `simulated`: its prices are made up, and whoever shows them must say so."""

    symbol: str
    name: str
    exchange: str
    currency: str
    sector: str
    tick_size: float | None
    feed: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of the gateway; `value` is None where it does not hold for who asks."""

    name: str
    value: int | None
    unit: str
    per: str
    code: str | None
    setting: str
    description: str


def snapshot(body: Mapping[str, Any]) -> Snapshot:
    """A snapshot from an answer of REST."""
    symbol, at = body["symbol"], body["positions"]
    minute, day = body["minute"], body["day"]
    return Snapshot(
        symbol,
        trade(body["trade"], symbol) if body["trade"] else None,
        quote(body["quote"], symbol) if body["quote"] else None,
        candle(minute, symbol, "1m") if minute else None,
        candle(day, symbol, "1d") if day else None,
        body["previous_close"],
        body["change"],
        body["change_percent"],
        position(at["trades"]),
        position(at["quotes"]),
    )


def symbol(body: Mapping[str, Any]) -> Symbol:
    """What is known of a symbol, from a row of REST; what its feed has not said is empty."""
    text = {name: str(body.get(name) or "") for name in ("symbol", "name", "exchange", "currency", "sector", "feed")}
    return Symbol(**text, tick_size=body.get("tick_size"), simulated=bool(body.get("simulated", False)))


def limit(name: str, body: Mapping[str, Any]) -> Limit:
    """A limit, from an answer of REST."""
    return Limit(name, *(body.get(field) for field in ("value", "unit", "per", "code", "setting", "description")))  # type: ignore[arg-type]


def outage(body: Mapping[str, Any]) -> Outage:
    """An outage, from an answer of REST."""
    return Outage(body["from"], body["to"], body["kind"], body["reason"])
