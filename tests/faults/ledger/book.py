"""What clients have received, written down as they receive it: the books on the side of the subscribers.

Thousands of messages a second are checked one by one, so what is written down is small: the payload of a number once for
all clients of an epoch, and for each client the runs of numbers that it holds. All that does not continue the run at hand
is a breach, or an announcement. Pure: the same code reads messages from a socket and, in tests, from a list.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

CHANNEL = {"trade": "trades", "quote": "quotes"}
NOT_BOOKED = frozenset({"welcome", "subscribed", "service", "heartbeat", "error", "slow", "pong", "stats"})


class Count(StrEnum):
    """The six ways in which a promise can be broken."""

    LOST = "lost"
    DUPLICATED = "duplicated"
    REORDERED = "reordered"
    PHANTOM = "phantom"
    CORRUPT = "corrupt"
    SILENT_GAP = "silent gap"


class Topic(NamedTuple):
    """One kind of ticks of one symbol, or the candles of one interval (`candles:1m`)."""

    channel: str
    symbol: str


class Breach(NamedTuple):
    """A promise that was broken, where, and by how many ticks."""

    kind: Count
    client: str
    topic: Topic
    what: str
    weight: int = 1


class Gap(NamedTuple):
    """An announced hole, bounds inclusive."""

    epoch: str | None
    first: int
    last: int
    reason: str


@dataclass(slots=True)
class Lane:
    """The numbers of one topic under one epoch, with what each stands for: the same for every client, for ever."""

    epoch: str | None
    payloads: dict[int, bytes] = field(default_factory=dict)


class Run(NamedTuple):
    """Numbers that a client holds, one behind the other, bounds inclusive."""

    lane: Lane
    first: int
    last: int


Known = tuple[Topic, int, bytes]
"""Of a tick's payload: its topic, its number, and the one object that stands for all equal payloads."""


class Book:
    """What all clients of a process have seen between them, and what was wrong with it."""

    def __init__(self) -> None:
        self.lanes: dict[tuple[Topic, str | None], Lane] = {}
        self.known: dict[bytes, Known] = {}
        self.breaches: list[Breach] = []
        self.events: Counter[str] = Counter()

    def lane(self, topic: Topic, epoch: str | None) -> Lane:
        """The lane of an epoch, perhaps a new one."""
        found = self.lanes.get((topic, epoch))
        if found is None:
            found = self.lanes[topic, epoch] = Lane(epoch)
        return found


class View:
    """What one client holds of one topic, and what it was told to be missing."""

    __slots__ = (
        "base",
        "book",
        "client",
        "epoch",
        "first",
        "gaps",
        "lane",
        "owed",
        "promised",
        "runs",
        "seq",
        "snapshots",
        "topic",
    )

    def __init__(self, book: Book, client: str, topic: Topic, epoch: str | None, seq: int) -> None:
        """From this position on."""
        self.book = book
        self.client = client
        self.topic = topic
        self.base = seq
        self.seq = seq
        self.first = seq + 1
        self.epoch = epoch
        self.lane = book.lane(topic, epoch)
        self.runs: list[Run] = []
        self.gaps: list[Gap] = []
        self.snapshots: list[tuple[Lane, int, bytes]] = []
        self.owed = False
        """The reply said that something is missing: it must be said what, before anything else."""
        self.promised: str | None = None
        """The epoch of such a reply: until it is said what is missing, the position is still one of the old."""

    def tick(self, seq: int, payload: bytes) -> None:
        """A message that carries this number."""
        if self.owed:
            self._breach(
                Count.SILENT_GAP, f"{seq} came, and not what a reply with recovered: false must be followed by"
            )
            self.owed = False
        if seq <= self.seq:
            again = self.holds(seq)
            self._breach(Count.DUPLICATED if again else Count.REORDERED, f"{seq} after {self.seq}")
            self._same(seq, payload)
            return
        if seq > self.seq + 1:
            self._breach(Count.SILENT_GAP, f"{seq} after {self.seq}", seq - self.seq - 1)
            self._end_run(seq - 1)
        self._same(seq, payload)
        self.seq = seq

    def gap(self, first: int, last: int, reason: str) -> None:
        """These numbers were announced not to come."""
        if self.owed and self.promised != self.epoch:
            self._end_run(self.seq)
            self._enter(self.promised)
        self.owed = False
        if first > self.seq + 1:
            self._breach(Count.SILENT_GAP, f"a gap from {first} after {self.seq}", first - self.seq - 1)
        elif first <= self.seq or last < first:
            self._breach(Count.CORRUPT, f"a gap from {first} to {last} after {self.seq}")
        if last > self.seq:
            self._end_run(last)
            self.seq = last
            self.gaps.append(Gap(self.epoch, first, last, reason))

    def reset(self, epoch: str, seq: int) -> None:
        """All above `seq` is withdrawn; from there on, numbers count under this epoch."""
        self.owed = False
        if seq > self.seq:
            self._breach(Count.SILENT_GAP, f"a reset to {seq} after {self.seq}", seq - self.seq)
        self._end_run(seq)
        self.runs = [run._replace(last=min(run.last, seq)) for run in self.runs if run.first <= seq]
        self.gaps = [gap._replace(last=min(gap.last, seq)) for gap in self.gaps if gap.first <= seq]
        # Of what was before the client came it holds nothing, but all that comes now is from here on.
        self.base = min(self.base, seq)
        self.seq = seq
        self._enter(epoch)

    def resumed(self, epoch: str | None, seq: int, recovered: object) -> None:
        """The reply to a resume from where this view stands; `seq` is what live will start after."""
        self.owed, self.promised = recovered is False, epoch
        if recovered is True:
            if seq < self.seq:
                self._breach(Count.PHANTOM, f"resumed after {self.seq}, and the store is said to stand at {seq}")
        elif not self.owed:
            self._breach(Count.SILENT_GAP, f"a resume from {self.seq} was answered without 'recovered'")
        if not self.owed and epoch != self.epoch:
            self._end_run(self.seq)
            self._enter(epoch)

    def snapshot(self, seq: int, row: bytes) -> None:
        """The state before the first message."""
        if seq != self.seq or seq != self.base:
            self._breach(Count.CORRUPT, f"a snapshot of {seq} at position {self.seq}")
        self.snapshots.append((self.lane, seq, row))

    def all_runs(self) -> list[Run]:
        """With the one at hand."""
        return [*self.runs, *([Run(self.lane, self.first, self.seq)] if self.seq >= self.first else [])]

    def holds(self, seq: int) -> bool:
        """Whether this number was received, and not withdrawn."""
        return any(run.first <= seq <= run.last for run in self.all_runs())

    def _same(self, seq: int, payload: bytes) -> None:
        """A number under an epoch stands for one tick only."""
        if self.lane.payloads.setdefault(seq, payload) is not payload:
            self._breach(Count.CORRUPT, f"{seq} of epoch {self.epoch} is {payload!r} and {self.lane.payloads[seq]!r}")

    def _end_run(self, before: int) -> None:
        """The run at hand ends; the next begins behind `before`."""
        if self.seq >= self.first:
            self.runs.append(Run(self.lane, self.first, self.seq))
        self.first = before + 1

    def _enter(self, epoch: str | None) -> None:
        self.epoch = epoch
        self.lane = self.book.lane(self.topic, epoch)

    def _breach(self, count: Count, what: str, weight: int = 1) -> None:
        self.book.breaches.append(Breach(count, self.client, self.topic, what, weight))


@dataclass(slots=True)
class CandleView:
    """What one client holds of a symbol's candles: of each time the newest row, as the contract says which that is."""

    topic: Topic
    client: str
    epoch: str | None
    base: int
    """Candles that a trade after this one touched must be here."""
    seq: int
    rows: dict[int, tuple[int, bool, dict[str, Any]]] = field(default_factory=dict)
    unclosed: set[int] = field(default_factory=set)
    """Candles that were forming when the client came back: a resume brings those that a trade has touched since, not
    those that have only closed."""

    def candle(self, message: dict[str, Any]) -> None:
        """A message of the channel."""
        seq, final = message["seq"], message["final"]
        held = self.rows.get(message["time"])
        if held is None or (seq, final) >= held[:2]:
            self.rows[message["time"]] = seq, final, message
        self.seq = max(self.seq, seq)

    def restart(self, epoch: str | None, seq: int) -> None:
        """What was received so far stands no more; only what is touched from here on is due."""
        self.epoch, self.base, self.seq = epoch, seq, seq
        self.rows.clear()

    def resumed(self, epoch: str | None, recovered: object) -> None:
        """The reply to a resume; where it is not whole, what comes next says from where on it is."""
        self.epoch = epoch
        self.unclosed.update(time for time, (_, final, _) in self.rows.items() if not final)
        if recovered is not True:
            self.restart(epoch, self.seq)


class ClientBook:
    """All that one client has received."""

    def __init__(self, book: Book, name: str) -> None:
        self.book = book
        self.name = name
        self.views: dict[Topic, View] = {}
        self.candles: dict[Topic, CandleView] = {}
        self.deliveries = 0

    def take(self, payload: bytes) -> dict[str, Any] | None:
        """One message; returns what is not for the book: what must be acted upon."""
        known = self.book.known.get(payload)
        if known is None:
            return self._read(payload)
        self.tick(*known)
        return None

    def tick(self, topic: Topic, seq: int, payload: bytes) -> None:
        """A trade or quote; `payload` is the one object that stands for all that are equal."""
        self.deliveries += 1
        view = self.views.get(topic)
        if view is None:
            self.book.breaches.append(Breach(Count.PHANTOM, self.name, topic, f"{seq} came without a subscription"))
        elif seq == view.seq + 1 and not view.owed and view.lane.payloads.get(seq) is payload:
            view.seq = seq
        else:
            view.tick(seq, payload)

    def _read(self, payload: bytes) -> dict[str, Any] | None:
        try:
            message = orjson.loads(payload)
            kind = message["type"]
            if kind in CHANNEL:
                self._tick(Topic(CHANNEL[kind], message["symbol"]), message, payload)
                return None
            if kind == "candle":
                self._candle(message)
                return None
            if kind in ("gap", "reset"):
                self._announcement(kind, message)
                return None
            if kind not in NOT_BOOKED:
                raise ValueError(f"unknown type {kind!r}")
        except (ValueError, KeyError, TypeError) as error:
            nowhere = Topic("", "")
            self.book.breaches.append(Breach(Count.CORRUPT, self.name, nowhere, f"{payload!r}: {error!r}"))
            return None
        found: dict[str, Any] = message
        return found

    def _tick(self, topic: Topic, message: dict[str, Any], payload: bytes) -> None:
        seq = message["seq"]
        if message.get("snapshot", False):
            if view := self.views.get(topic):
                view.snapshot(seq, payload)
            return
        self.book.known[payload] = topic, seq, payload
        self.tick(topic, seq, payload)

    def _candle(self, message: dict[str, Any]) -> None:
        self.deliveries += 1
        topic = Topic(f"candles:{message['interval']}", message["symbol"])
        view = self.candles.get(topic)
        if view is None:
            self.book.breaches.append(Breach(Count.PHANTOM, self.name, topic, "a candle without a subscription"))
        else:
            message.pop("snapshot", None)
            view.candle(message)

    def _announcement(self, kind: str, message: dict[str, Any]) -> None:
        self.book.events[kind] += 1
        channel, symbol = message["channel"], message["symbol"]
        if channel == "candles":
            for topic, candles in self.candles.items():
                if topic.symbol == symbol and message.get("interval", topic.channel[8:]) == topic.channel[8:]:
                    epoch = message["epoch"] if kind == "reset" else candles.epoch
                    candles.restart(epoch, message["seq"] if kind == "reset" else max(message["to"], candles.seq))
            return
        view = self.views.get(Topic(channel, symbol))
        if view is None:
            what = f"{kind} without a subscription"
            self.book.breaches.append(Breach(Count.PHANTOM, self.name, Topic(channel, symbol), what))
        elif kind == "gap":
            view.gap(message["from"], message["to"], message["reason"])
        else:
            view.reset(message["epoch"], message["seq"])

    def subscribed(self, message: dict[str, Any], *, resumed: bool) -> Iterator[str]:
        """The reply to a subscription; yields the symbols that must be asked for again."""
        channel = message["channel"]
        for symbol, position in message["positions"].items():
            epoch, seq = position["epoch"], position["seq"]
            if channel == "candles":
                topic = Topic(f"candles:{message['interval']}", symbol)
                if resumed and topic in self.candles:
                    self.candles[topic].resumed(epoch, position.get("recovered"))
                else:
                    self.candles[topic] = CandleView(topic, self.name, epoch, seq, seq)
                continue
            topic = Topic(channel, symbol)
            view = self.views.get(topic)
            if view is not None and resumed:
                view.resumed(epoch, seq, position.get("recovered"))
            elif view is not None:
                what = "subscribed anew, where it was to be resumed"
                self.book.breaches.append(Breach(Count.SILENT_GAP, self.name, topic, what))
            else:
                self.views[topic] = View(self.book, self.name, topic, epoch, seq)
        for error in message.get("errors", ()):
            yield error["symbol"]
