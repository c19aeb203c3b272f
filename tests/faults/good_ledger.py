"""Makes small books in which everything is right, with all that can happen in them, for tests to break."""

import copy
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from ledger.book import Book, ClientBook, Topic
from ledger.checker import Evidence, Fields, Stream, row_of
from ledger.naive_candles import INTERVALS, Bar, Print, made_of
from ledger.produced import line_of, read
from ledger.sequence import Fate, Plan, made

ZONE = ZoneInfo("America/New_York")
SYMBOLS = ("AA1", "AB2")
TICKS = 72
Step = bytes | tuple[dict[str, Any], bool]
"""A message; or the reply to a subscription, and whether that was a resume."""
Entry = tuple[int, dict[str, str]]


@dataclass
class Ledger:
    """All books of one scenario, still open to changes."""

    lines: list[str]
    streams: dict[Topic, Stream]
    clients: list[list[Step]]
    rest: dict[tuple[str, str], list[dict[str, Any]]]

    def copy(self) -> "Ledger":
        """One that may be changed; what is in it is replaced, not changed, but for REST's rows."""
        streams = {topic: Stream(s.epoch, list(s.entries), s.trimmed) for topic, s in self.streams.items()}
        rest = {key: [dict(row) for row in rows] for key, rows in self.rest.items()}
        return Ledger(list(self.lines), streams, [copy.deepcopy(steps) for steps in self.clients], rest)

    def evidence(self) -> Evidence:
        """As the checker takes it."""
        book = Book()
        clients = []
        for number, steps in enumerate(self.clients):
            client = ClientBook(book, f"client {number}")
            clients.append(client)
            for step in steps:
                if isinstance(step, bytes):
                    client.take(step)
                else:
                    list(client.subscribed(step[0], resumed=step[1]))
        return Evidence(read(self.lines), self.streams, book, clients, self.rest, ZONE)


def make(seed: int) -> Ledger:
    """A ledger with hostile ticks, a lost store, trimmed streams, and clients that come and go."""
    dice = random.Random(seed)
    plan = Plan(seed, SYMBOLS, 50, 1_795_000_000_000_000 + dice.randrange(10**12), 10, hostile=True)
    rows = [made(plan, number) for number in range(TICKS)]
    streams: dict[Topic, Stream] = {}
    tapes: dict[Topic, _Tape] = {}
    for symbol in SYMBOLS:
        for channel in ("trades", "quotes"):
            topic = Topic(channel, symbol)
            fields = [_fields(row.tick) for row in rows if row.fate is Fate.STORED and _topic(row) == topic]
            tapes[topic] = _Tape(topic, fields, dice)
            streams[topic] = tapes[topic].stream()
    prints = {symbol: _prints(streams[Topic("trades", symbol)]) for symbol in SYMBOLS}
    rest = {
        (symbol, interval): [_shown(bar) for bar, _ in sorted(made_of(prints[symbol], interval, ZONE).values())]
        for symbol in SYMBOLS
        for interval in INTERVALS
    }
    clients = [_client(tapes.values(), script) for script in SCRIPTS]
    clients.append(_candle_client(prints))
    return Ledger([line_of(row) for row in rows], streams, clients, rest)


class _Tape:
    """One topic: an epoch whose last numbers get lost, and the one after it, with the same ticks under it once more."""

    def __init__(self, topic: Topic, fields: list[Fields], dice: random.Random) -> None:
        self.topic = topic
        self.fields = fields
        self.epochs = "old", "new"
        self.kept = dice.randrange(4, max(len(fields) // 2, 5))
        """So many numbers of the first epoch are true in the second, too."""
        self.before = dice.randrange(self.kept, len(fields) - 3)
        """And so many were sent before the loss."""
        self.trimmed = dice.randrange(1, self.kept - 1)

    def stream(self) -> Stream:
        """As it stands in the end."""
        numbered = [(seq, dict(fields) | {"seq": str(seq)}) for seq, fields in enumerate(self.fields, 1)]
        return Stream(self.epochs[1], numbered, self.trimmed)

    def message(self, seq: int, **more: Any) -> bytes:
        """What was published with a number."""
        kind = self.topic.channel[:-1]
        text = ",".join(f'"{name}":{_json(name, value)}' for name, value in self.fields[seq - 1].items())
        tail = "".join(f',"{name}":{orjson.dumps(value).decode()}' for name, value in more.items())
        return f'{{"type":"{kind}","symbol":"{self.topic.symbol}",{text},"seq":{seq}{tail}}}'.encode()

    def messages(self, first: int, last: int) -> list[Step]:
        """Those of a run."""
        return [self.message(seq) for seq in range(first, last + 1)]

    def reply(self, epoch: int, seq: int, recovered: bool | None = None) -> Step:
        """To a subscription."""
        position: dict[str, Any] = {"epoch": self.epochs[epoch], "seq": seq}
        if recovered is not None:
            position["recovered"] = recovered
        reply = {"type": "subscribed", "channel": self.topic.channel, "positions": {self.topic.symbol: position}}
        return reply | {"errors": []}, recovered is not None

    def event(self, kind: str, **fields: Any) -> Step:
        """A gap or a reset."""
        head = {"type": kind, "channel": self.topic.channel, "symbol": self.topic.symbol}
        return orjson.dumps(head | fields)

    def reset(self) -> Step:
        """What the loss is announced by."""
        return self.event("reset", epoch=self.epochs[1], seq=self.kept)

    @property
    def end(self) -> int:
        """The last number."""
        return len(self.fields)


def _stays(tape: _Tape) -> list[Step]:
    """There all the time."""
    return [
        tape.reply(0, 0),
        *tape.messages(1, tape.before),
        tape.reset(),
        *tape.messages(tape.kept + 1, tape.end),
    ]


def _comes_late(tape: _Tape) -> list[Step]:
    first = tape.kept // 2 + 1
    return [
        tape.reply(0, first),
        tape.message(first, snapshot=True),
        *tape.messages(first + 1, tape.before),
        tape.reset(),
        *tape.messages(tape.kept + 1, tape.end),
    ]


def _comes_back(tape: _Tape) -> list[Step]:
    """Away twice under one epoch."""
    return [
        tape.reply(0, 0),
        *tape.messages(1, 2),
        tape.reply(0, 3, recovered=True),
        *tape.messages(3, tape.kept),
        tape.reply(0, tape.before, recovered=True),
        *tape.messages(tape.kept + 1, tape.before),
        tape.reset(),
        *tape.messages(tape.kept + 1, tape.end),
    ]


def _away_at_the_loss(tape: _Tape) -> list[Step]:
    """What it holds is true in the new epoch, too."""
    return [
        tape.reply(0, 0),
        *tape.messages(1, tape.kept - 1),
        tape.reply(1, tape.kept + 1, recovered=True),
        *tape.messages(tape.kept, tape.end),
    ]


def _withdrawn_on_return(tape: _Tape) -> list[Step]:
    return [
        tape.reply(0, 0),
        *tape.messages(1, tape.before),
        tape.reply(1, tape.kept + 2, recovered=False),
        tape.reset(),
        *tape.messages(tape.kept + 1, tape.end),
    ]


def _trimmed_meanwhile(tape: _Tape) -> list[Step]:
    return [
        tape.reply(0, 0),
        tape.message(1),
        tape.reply(1, tape.end - 1, recovered=False),
        *([tape.event("gap", **{"from": 2, "to": tape.trimmed}, reason="trimmed")] if tape.trimmed > 1 else []),
        *([tape.event("gap", **{"from": 2, "to": 2}, reason="too_far")] if tape.trimmed == 1 else []),
        *tape.messages(max(tape.trimmed, 2) + 1, tape.end),
    ]


SCRIPTS: tuple[Callable[[_Tape], list[Step]], ...] = (
    _stays,
    _comes_late,
    _comes_back,
    _away_at_the_loss,
    _withdrawn_on_return,
    _trimmed_meanwhile,
)


def _client(tapes: Iterable[_Tape], script: Callable[[_Tape], list[Step]]) -> list[Step]:
    """One client with all topics, one message of each in turn."""
    parts = [script(tape) for tape in tapes]
    return [part[at] for at in range(max(map(len, parts))) for part in parts if at < len(part)]


def _candle_client(prints: dict[str, list[Print]]) -> list[Step]:
    """Every candle of two intervals, forming once, then final."""
    steps: list[Step] = []
    for interval in ("1s", "1m"):
        positions = {symbol: {"epoch": "new", "seq": 0} for symbol in SYMBOLS}
        head = {"type": "subscribed", "channel": "candles", "interval": interval}
        steps.append((head | {"positions": positions, "errors": []}, False))
        for symbol in SYMBOLS:
            for bar, seq in sorted(made_of(prints[symbol], interval, ZONE).values()):
                message = {"type": "candle", "symbol": symbol, "interval": interval} | _numbers(bar)
                steps += [orjson.dumps(message | {"final": final, "seq": seq}) for final in (False, True)]
    return steps


def _topic(row: Any) -> Topic:
    return Topic("quotes" if "bid" in row.tick._fields else "trades", row.tick.symbol)


def _fields(tick: Any) -> dict[str, str]:
    """As a stream entry has them."""
    found = {name: value for name, value in tick._asdict().items() if name != "symbol"}
    texts = {name: value for name in ("id", "exchange", "conditions") if (value := found.pop(name)) is not None}
    numbers = {name: "null" if value is None else repr(value).removesuffix(".0") for name, value in found.items()}
    return numbers | texts


def _json(name: str, value: str) -> str:
    return f'"{value}"' if name in ("id", "exchange", "conditions") else value


def _prints(stream: Stream) -> list[Print]:
    found = []
    for seq, fields in stream.entries:
        price, size, time = row_of("trades", fields)[:3]
        assert isinstance(price, int)
        assert isinstance(size, int)
        assert isinstance(time, int)
        found.append(Print(seq, time, price, size))
    return found


def _shown(bar: Bar) -> dict[str, Any]:
    """As REST has it, numbers as texts."""
    row = _numbers(bar)
    return {name: value if value is None else repr(value) for name, value in row.items()} | {"final": True}


def _numbers(bar: Bar) -> dict[str, Any]:
    scaled = {"open", "high", "low", "close", "volume", "vwap"}
    row = bar._asdict()
    return {name: value / 1_000_000 if name in scaled and value is not None else value for name, value in row.items()}
