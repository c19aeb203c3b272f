"""What of a subscription has been handed out: turns a gateway's messages into events, each number once, over all connections.

Nothing here waits or sends. A new connection is begun with `requests`, which ask for what comes after the last event that
was handed out; every message then goes through `take`.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ticker.client import records
from ticker.client.candles_seen import CandlesSeen
from ticker.client.records import Candle, Event, Gap, Notice, Position, Quote, Reset, Resumed, Trade
from ticker.client.trouble import Trouble

ALL = "*"
SYMBOLS_A_REQUEST = 500
"""With positions these are some 45 KB of JSON at most: less than a gateway takes in one message (`limits.frame_bytes`)."""
UNANNOUNCED = "unannounced"
NAMES = 0
"""The `id` of requests that ask for names of epochs; `requests` counts from 1."""
READERS: dict[str, Callable[[Mapping[str, Any]], Trade | Quote]] = {"trade": records.trade, "quote": records.quote}


class Again(Exception):
    """A new connection is needed, from the positions as they are now."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subscription is of."""

    channel: str
    symbols: tuple[str, ...]
    interval: str | None = None
    deliver: str = "all"
    every_ms: int | None = None
    snapshot: bool = True

    @property
    def described(self) -> str:
        """In words, for errors."""
        names = ", ".join(self.symbols[:5]) + (" ..." if len(self.symbols) > 5 else "")
        return f"{self.interval + ' ' if self.interval else ''}{self.channel} of {names}"


@dataclass(slots=True)
class Return:
    """What has come of a symbol since a connection was lost."""

    after: int
    to: int
    replayed: int = 0
    missed: int = 0


class Tracker:
    """One subscription, over all its connections."""

    def __init__(self, wanted: Wanted, resume: Mapping[str, Position]) -> None:
        self.wanted = wanted
        self.answered = False
        """Whether a gateway has ever said yes to all of it."""
        self.refused: list[Mapping[str, str]] = []
        """Symbols that the gateway of this connection has not heard of, as it says so."""
        self.events: deque[Event] = deque()
        """What is to be handed out; the reader takes them before it reads on, so that they are few."""
        self.notices: deque[Notice] = deque()
        self.on_known: Callable[[str], None] = lambda symbol: None
        """Called with each symbol that has got a position."""
        self._epoch: dict[str, str | None] = {}
        self._seq: dict[str, int] = {}
        self._next_epoch: dict[str, str | None] = {}
        self._candles: dict[str, CandlesSeen] = {}
        self._returns: dict[str, Return] = {}
        self._trouble = Trouble()
        self._open_requests: set[int] = set()
        self._here: set[str] = set()
        for symbol, position in resume.items():
            self._place(symbol, position.epoch, position.seq)

    @property
    def symbols(self) -> list[str]:
        """Those that have a position."""
        return list(self._seq)

    def position(self, symbol: str) -> Position | None:
        """Everything up to here has been handed out; None where nothing is known of the symbol yet.

        Of candles it is the number before the oldest one that was handed out and is not final: resumed from there, it comes
        again, and with it the word that it is closed.
        """
        if symbol not in self._seq:
            return None
        seq, epoch = self._seq[symbol], self._epoch.get(symbol)
        if symbol in self._candles:
            seq = self._candles[symbol].resume_after(seq)
        # A symbol whose first tick has only just come counts under a name that nobody has told us yet.
        return Position(epoch, seq) if seq and epoch is not None else Position(None, 0)

    def hand_out(self) -> Event:
        """The next event; from here on the position is behind it."""
        event = self.events.popleft()
        if isinstance(event, Trade | Quote | Candle) and not event.snapshot:
            symbol, seq = event.symbol, event.seq or 0
            self._seq[symbol] = max(self._seq.get(symbol, 0), seq)
            if back := self._returns.get(symbol):
                back.replayed += seq <= back.to
                self._check_return(symbol)
        return event

    def requests(self) -> list[dict[str, Any]]:
        """What to send on a new connection."""
        self._here.clear()
        self.refused = []
        wanted = self.wanted
        named = [symbol for symbol in wanted.symbols if symbol != ALL]
        names = list(dict.fromkeys([*named, *self._seq])) if ALL in wanted.symbols else named
        chunks = [names[i : i + SYMBOLS_A_REQUEST] for i in range(0, len(names), SYMBOLS_A_REQUEST)] or [[]]
        if ALL in wanted.symbols:
            # A symbol that is named too is delivered once, as named; so those that are known can be resumed.
            chunks[-1].append(ALL)
        self._open_requests = set(range(1, len(chunks) + 1))
        return [self._request(number, chunk) for number, chunk in enumerate(chunks, 1)]

    def _request(self, number: int, symbols: Sequence[str]) -> dict[str, Any]:
        wanted = self.wanted
        request: dict[str, Any] = {"op": "subscribe", "id": number, "channel": wanted.channel, "symbols": symbols}
        if wanted.interval:
            request["interval"] = wanted.interval
        if wanted.deliver != "all":
            request["deliver"] = wanted.deliver
            if wanted.every_ms is not None:
                request["every_ms"] = wanted.every_ms
        if not wanted.snapshot:
            request["snapshot"] = False
        at = {symbol: self.position(symbol) for symbol in symbols if symbol in self._seq}
        if at:
            request["resume"] = {symbol: position.as_dict() for symbol, position in at.items() if position}
        return request

    def ask_for_names(self) -> dict[str, Any] | None:
        """What to send, now and then, for epochs that have begun since we subscribed: the reply to that had none to tell."""
        unnamed = [symbol for symbol, seq in self._seq.items() if seq and self._epoch.get(symbol) is None]
        here = [symbol for symbol in unnamed if symbol in self._here][:SYMBOLS_A_REQUEST]
        if not here or self._open_requests:
            return None
        # To subscribe once more changes nothing, and the reply has the position of each.
        request = self._request(NAMES, here)
        request.pop("resume")
        return request

    def _learn(self, positions: Mapping[str, Mapping[str, Any]]) -> None:
        for symbol, at in positions.items():
            if self._epoch.get(symbol) is None:
                self._epoch[symbol] = at["epoch"]

    def take(self, message: Mapping[str, Any]) -> None:
        """Make events and notices of a message; raises `Again`."""
        kind = message["type"]
        if kind in READERS:
            self._tick(message)
        elif kind == "candle":
            self._candle(message)
        elif kind == "subscribed":
            self._subscribed(message)
        elif kind == "gap":
            self._gap(message["symbol"], message["from"], message["to"], message["reason"])
        elif kind == "reset":
            self._reset(message["symbol"], message["epoch"], message["seq"])
        elif kind == "service":
            self.events += self._trouble.take(message)
        elif kind == "welcome":
            self._trouble.welcome(message["time"])

    # What was asked for

    def _subscribed(self, message: Mapping[str, Any]) -> None:
        request_id = message.get("id")
        if request_id == NAMES:
            self._learn(message["positions"])
            return
        self.refused += [one for one in message["errors"] if one["symbol"] in self.wanted.symbols]
        for symbol, at in message["positions"].items():
            if symbol not in self._here:
                self._here.add(symbol)
                self._begun(symbol, at, late=request_id is None)
        if request_id in self._open_requests:
            self._open_requests.discard(request_id)
            if not self._open_requests:
                self.answered = self.answered or not self.refused
                self.events += self._trouble.begun()

    def _begun(self, symbol: str, at: Mapping[str, Any], *, late: bool) -> None:
        """From here on messages of the symbol come."""
        if symbol in self._seq and late:
            # It was unknown when this connection began, and could not be resumed.
            raise Again
        if symbol in self._seq:
            self._returned(symbol, at)
        elif self.answered and not late and at["seq"]:
            # It has come up while nobody was connected: all of it is still to be handed out.
            self._place(symbol, None, 0)
            raise Again
        else:
            self._place(symbol, at["epoch"], at["seq"])

    def _returned(self, symbol: str, at: Mapping[str, Any]) -> None:
        """The symbol is resumed, after a lost connection or where the caller has said."""
        back = self._returns.setdefault(symbol, Return(self._seq[symbol], at["seq"]))
        back.to = at["seq"]
        if at.get("recovered"):
            # In the new epoch, if it is one, our number means the same.
            self._epoch[symbol] = at["epoch"]
        else:
            # Until it is said how far the old one was true, a new connection must ask in its name.
            self._next_epoch[symbol] = at["epoch"]
        self._check_return(symbol)

    def _place(self, symbol: str, epoch: str | None, seq: int) -> None:
        self._epoch[symbol], self._seq[symbol] = epoch, seq
        self.on_known(symbol)

    # What comes

    def _tick(self, message: Mapping[str, Any]) -> None:
        symbol, seq = message["symbol"], message["seq"]
        event = READERS[message["type"]](message)
        if event.snapshot:
            self.events.append(event)
            return
        self._settle(symbol)
        at = self._seq.get(symbol, seq - 1)
        if seq <= at:
            return
        if (first := at + 1) < seq - event.skipped:
            self._gap(symbol, first, seq - event.skipped - 1, UNANNOUNCED)
        self.events.append(event)

    def _candle(self, message: Mapping[str, Any]) -> None:
        symbol = message["symbol"]
        event = records.candle(message)
        assert event.seq is not None
        if not event.snapshot:
            self._settle(symbol)
        seen = self._candles.setdefault(symbol, CandlesSeen())
        if not seen.take(event.time, event.seq, final=event.final):
            return
        self.events.append(event)

    def _gap(self, symbol: str, first: int, last: int, reason: str) -> None:
        self._settle(symbol)
        first = max(first, self._seq.get(symbol, 0) + 1)
        if last < first:
            return
        self._seq[symbol] = last
        gap = Gap(self.wanted.channel, symbol, first, last, reason)
        self.events.append(gap)
        if back := self._returns.get(symbol):
            back.missed += max(0, min(last, back.to) - first + 1)
            self._check_return(symbol)

    def _reset(self, symbol: str, epoch: str | None, seq: int) -> None:
        self._next_epoch.pop(symbol, None)
        first = self._seq.get(symbol, 0) == 0 == seq
        self._place(symbol, epoch, seq)
        if symbol in self._candles:
            self._candles[symbol].withdraw(seq)
        if first:
            # The symbol's first epoch has begun: there is nothing to withdraw.
            return
        self.events.append(Reset(self.wanted.channel, symbol, epoch, seq))
        if back := self._returns.get(symbol):
            back.after = min(back.after, seq)
            self._check_return(symbol)

    def _settle(self, symbol: str) -> None:
        """A reset would have come before all else: the old epoch was true up to here, and the new one holds."""
        if symbol in self._next_epoch:
            self._epoch[symbol] = self._next_epoch.pop(symbol)

    def _check_return(self, symbol: str) -> None:
        """Say so where all up to the reply's position is there; what a reset has yet to say comes first."""
        back = self._returns[symbol]
        if self._seq[symbol] < back.to or symbol in self._next_epoch:
            return
        del self._returns[symbol]
        wanted = self.wanted
        self.notices.append(
            Resumed(wanted.channel, symbol, wanted.interval, back.after, back.to, back.replayed, back.missed)
        )
