"""Follows a gateway from the command line: what comes, and how the connection fares."""

from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from ticker import codec
from ticker.client import (
    Candle,
    Disconnected,
    Event,
    Gap,
    Notice,
    Quote,
    Reset,
    Resumed,
    Service,
    Subscription,
    Trade,
)

SECOND = 1_000_000
PLAIN = frozenset({"id", "exchange", "conditions", "snapshot", "skipped", "symbols"})
"""Fields that are left out where they say nothing."""


class Watch:
    """Says each event and notice as a line, as text or as JSON, and counts them."""

    def __init__(self, say: Callable[[str], None], *, as_json: bool) -> None:
        self._say = say
        self._as_json = as_json
        self._received = self._resumes = self._replayed = self._missed = 0

    async def follow(self, subscription: Subscription) -> None:
        """Until it ends, or for ever."""
        async with subscription:
            async for event in subscription:
                self.event(event)

    def event(self, event: Event) -> None:
        """One event of the subscription."""
        if isinstance(event, Trade | Quote | Candle):
            self._received += 1
        elif isinstance(event, Gap):
            self._missed += event.missed
        self._say(as_json(event) if self._as_json else as_text(event))

    def notice(self, notice: Notice) -> None:
        """What the subscription tells of its connection."""
        if isinstance(notice, Resumed):
            self._resumes += 1
            self._replayed += notice.replayed
        self._say(as_json(notice) if self._as_json else as_text(notice))

    def sum_up(self) -> None:
        """The last line."""
        counted = {
            "received": self._received,
            "resumes": self._resumes,
            "replayed": self._replayed,
            "missed": self._missed,
        }
        if self._as_json:
            self._say(codec.to_json({"type": "summary"} | counted).decode())
        else:
            self._say(", ".join(f"{name} {count}" for name, count in counted.items()))


def as_json(one: Event | Notice) -> str:
    """An event as the gateway's message has it, a notice likewise."""
    body: dict[str, Any] = {"type": type(one).__name__.lower()}
    body |= {name: value for name, value in asdict(one).items() if value or name not in PLAIN}
    if isinstance(one, Gap):
        body |= {"from": body.pop("first"), "to": body.pop("last")}
    return codec.to_json(body).decode()


def as_text(one: Event | Notice) -> str:
    """A line for people."""
    match one:
        case Trade():
            return f"{when(one.time)}  {one.symbol}  {one.price} x {one.size}{_more(one)}  seq {one.seq}"
        case Quote():
            bid, ask = _side(one.bid, one.bid_size), _side(one.ask, one.ask_size)
            return f"{when(one.time)}  {one.symbol}  {bid} / {ask}{_more(one)}  seq {one.seq}"
        case Candle():
            prices = f"open {one.open}  high {one.high}  low {one.low}  close {one.close}  volume {one.volume}"
            state = "final" if one.final else "forming"
            return f"{when(one.time, 'seconds')}  {one.symbol} {one.interval}  {prices}  {state}  seq {one.seq}"
        case Gap():
            return f"gap {one.symbol} {one.first} to {one.last}: {one.reason}, {one.missed} missed"
        case Reset():
            return f"reset {one.symbol}: epoch {one.epoch} begins; what came above {one.seq} is withdrawn"
        case Service():
            names = f": {', '.join(one.symbols)}" if one.symbols else ""
            return f"{one.state} ({one.reason}){names}"
        case Disconnected():
            code = f" ({one.code})" if one.code else ""
            return f"disconnected: {one.reason}{code}; trying again in {one.retry_s:.1f} s"
        case Resumed():
            interval = f" {one.interval}" if one.interval else ""
            return f"resumed {one.symbol}{interval} after {one.after}: {one.replayed} replayed, {one.missed} missed"


def when(time: int, precision: str = "microseconds") -> str:
    """The time of day, UTC; with the date where it is not today's."""
    moment = datetime.fromtimestamp(time // SECOND, UTC).replace(microsecond=time % SECOND, tzinfo=None)
    shown = moment if moment.date() != datetime.now(UTC).date() else moment.time()
    return shown.isoformat(timespec=precision) + "Z"


def _side(price: float | None, size: float) -> str:
    return "none" if price is None else f"{price} x {size}"


def _more(tick: Trade | Quote) -> str:
    """What only some feeds and deliveries have."""
    named = [f.name for f in fields(tick) if f.name in PLAIN and f.name != "snapshot" and getattr(tick, f.name)]
    return "".join(f"  {name} {getattr(tick, name)}" for name in named)
