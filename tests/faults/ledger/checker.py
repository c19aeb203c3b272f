"""Compares the books: what the feed made, what the store holds, what every client got, what REST says. Pure."""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from ledger.book import Book, Breach, CandleView, ClientBook, Count, Lane, Topic, View
from ledger.naive_candles import INTERVALS, Bar, Print, made_of, shown
from ledger.produced import Produced, ProducedBook, Row, millionths
from ledger.sequence import Fate, number_of

KINDS = ("trades", "quotes")
TYPE = {"trades": "trade", "quotes": "quote"}
VALUES = {"trades": ("price", "size"), "quotes": ("bid", "bid_size", "ask", "ask_size")}
TEXTS = ("id", "exchange", "conditions")
NOBODY = "the record"
Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as it was read at the end: the entries with their fields as texts."""

    epoch: str | None
    entries: Sequence[tuple[int, Fields]]
    trimmed: int = 0
    """Entries up to this number were taken out of the store, after they were read."""


@dataclass(slots=True)
class Evidence:
    """The books of one scenario, closed."""

    produced: ProducedBook
    streams: Mapping[Topic, Stream]
    book: Book
    clients: Sequence[ClientBook]
    rest: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
    """(symbol, interval) -> REST's candles, numbers as texts."""
    zone: ZoneInfo
    lossy_until_s: float = float("-inf")
    """The store lost data at this moment (monotonic clock): what was made before may be gone, if that was announced."""


@dataclass(slots=True)
class Report:
    """What the comparison found."""

    breaches: list[Breach] = field(default_factory=list)
    announced: int = 0
    """Ticks that the store has lost and that every client was told of."""
    ticks: int = 0
    deliveries: int = 0
    candles: int = 0

    @property
    def counts(self) -> dict[Count, int]:
        """The six counts."""
        found = Counter[Count]()
        for breach in self.breaches:
            found[breach.kind] += breach.weight
        return {count: found[count] for count in Count}

    @property
    def clean(self) -> bool:
        """Nothing was broken."""
        return not self.breaches


def check(evidence: Evidence) -> Report:
    """Compare all."""
    report = Report()
    report.breaches += evidence.book.breaches
    numbers = {topic: _Numbers.of(stream) for topic, stream in evidence.streams.items()}
    for topic, stream in evidence.streams.items():
        report.breaches += _check_stream(topic, stream, evidence.produced)
        report.ticks += len(stream.entries)
    missing, report.announced = _missing(evidence)
    report.breaches += missing
    report.breaches += _check_lanes(evidence)
    wrong = _Wrong(evidence.book, evidence.streams)
    for client in evidence.clients:
        report.deliveries += client.deliveries
        for view in client.views.values():
            report.breaches += _check_view(view, evidence.streams[view.topic], numbers[view.topic], wrong)
    prints = {topic.symbol: _prints(s) for topic, s in evidence.streams.items() if topic.channel == "trades"}
    expected = {
        (symbol, interval): made_of(found, interval, evidence.zone)
        for symbol, found in prints.items()
        for interval in INTERVALS
    }
    for (symbol, interval), bars in expected.items():
        report.candles += len(bars)
        report.breaches += _check_rest(symbol, interval, bars, evidence.rest[symbol, interval])
    for client in evidence.clients:
        for held in client.candles.values():
            bars = expected[held.topic.symbol, held.topic.channel.partition(":")[2]]
            report.breaches += _check_candle_view(held, bars)
    return report


def row_of(kind: str, fields: Fields) -> Row:
    """What makes a tick, from its fields as texts."""
    values = [None if fields.get(name) == "null" else millionths(fields.get(name, "")) for name in VALUES[kind]]
    time = fields.get("time", "")
    return (*values, int(time) if time.isdigit() else None, *(fields.get(name) for name in TEXTS))


@lru_cache(100_000)
def message_fields(payload: bytes) -> Fields:
    """The fields of a message, numbers as the texts that they are."""
    read = json.loads(payload, parse_float=str, parse_int=str, parse_constant=str)
    return {name: "null" if value is None else str(value) for name, value in read.items()}


class _Numbers:
    """The numbers of a stream, to look up."""

    def __init__(self, seqs: Sequence[int], trimmed: int) -> None:
        self.seqs = seqs
        self.trimmed = trimmed

    @classmethod
    def of(cls, stream: Stream) -> "_Numbers":
        return cls(sorted({seq for seq, _ in stream.entries}), stream.trimmed)

    def held(self, first: int, last: int) -> int:
        """How many of these the store still holds."""
        first = max(first, self.trimmed + 1)
        return max(bisect_left(self.seqs, last + 1) - bisect_left(self.seqs, first), 0)


def _check_stream(topic: Topic, stream: Stream, produced: ProducedBook) -> Iterator[Breach]:
    """Numbered without a hole; every entry is a tick that was made and not to be refused, once, in order, unchanged."""
    before: int | None = None
    newest = -1
    seen: set[int] = set()
    for seq, fields in stream.entries:
        if before is not None and seq != before + 1:
            count = Count.DUPLICATED if seq == before else Count.REORDERED if seq < before else Count.LOST
            yield Breach(count, NOBODY, topic, f"{seq} stands after {before}")
        before = seq
        number, tick = _tick_of(topic, fields, produced)
        if tick is None or fields.get("seq") != str(seq):
            yield Breach(Count.PHANTOM, NOBODY, topic, f"{seq} was never made, or was to be refused: {dict(fields)}")
            continue
        if row_of(topic.channel, fields) != tick.row:
            yield Breach(Count.CORRUPT, NOBODY, topic, f"{seq} is {dict(fields)}, made as {tick}")
        if number in seen:
            yield Breach(Count.DUPLICATED, NOBODY, topic, f"tick {number} stands twice, the second time as {seq}")
        elif number < newest:
            yield Breach(Count.REORDERED, NOBODY, topic, f"tick {number} stands behind {newest}, as {seq}")
        seen.add(number)
        newest = max(number, newest)


def _tick_of(topic: Topic, fields: Fields, produced: ProducedBook) -> tuple[int, Produced | None]:
    """The tick that an entry is of, where it is that of one which must be stored."""
    number = number_of(topic.channel, fields)
    tick = produced.ticks.get(number) if number is not None else None
    if number is None or tick is None or tick.fate is not Fate.STORED:
        return -1, None
    return (number, tick) if (tick.kind, tick.symbol) == topic else (-1, None)


def _missing(evidence: Evidence) -> tuple[list[Breach], int]:
    """What was made, not to be refused, and is not in the record."""
    stored: dict[Topic, set[int | None]] = {
        topic: {number_of(topic.channel, fields) for _, fields in stream.entries}
        for topic, stream in evidence.streams.items()
    }
    breaches, announced = [], 0
    for tick in evidence.produced.ticks.values():
        topic = Topic(tick.kind, tick.symbol)
        if tick.fate is not Fate.STORED or tick.number in stored.get(topic, ()):
            continue
        if tick.first_s <= evidence.lossy_until_s:
            announced += 1
        else:
            breaches.append(Breach(Count.LOST, NOBODY, topic, f"{tick} is not stored"))
    return breaches, announced


def _check_lanes(evidence: Evidence) -> Iterator[Breach]:
    """Every message, withdrawn or not, was of a tick that was made."""
    for (topic, epoch), lane in evidence.book.lanes.items():
        for seq, payload in lane.payloads.items():
            fields = message_fields(payload)
            _, tick = _tick_of(topic, fields, evidence.produced)
            if tick is None:
                what = f"{seq} of epoch {epoch} was never made, or was to be refused: {payload!r}"
                yield Breach(Count.PHANTOM, "clients", topic, what)
            elif row_of(topic.channel, fields) != tick.row or fields["seq"] != str(seq):
                yield Breach(Count.CORRUPT, "clients", topic, f"{seq} of epoch {epoch} is {payload!r}, made as {tick}")


class _Wrong:
    """The numbers of each lane that do not stand for what the store has in the end."""

    def __init__(self, book: Book, streams: Mapping[Topic, Stream]) -> None:
        self._found: dict[int, tuple[list[int], dict[int, Breach]]] = {}
        for (topic, _), lane in book.lanes.items():
            entries = dict(streams[topic].entries) if topic in streams else {}
            wrong = {}
            for seq, payload in lane.payloads.items():
                if breach := _compared(topic, seq, payload, entries.get(seq)):
                    wrong[seq] = breach
            self._found[id(lane)] = sorted(wrong), wrong

    def within(self, lane: Lane, first: int, last: int) -> Iterable[Breach]:
        """Those of a run."""
        seqs, wrong = self._found[id(lane)]
        return (wrong[seq] for seq in seqs[bisect_left(seqs, first) : bisect_left(seqs, last + 1)])


def _compared(topic: Topic, seq: int, payload: bytes, entry: Fields | None) -> Breach | None:
    """A message beside the entry of the same number: the same fields in the same order, the same texts."""
    if entry is None:
        return Breach(Count.PHANTOM, "", topic, f"{seq} is held, and not in the store: {payload!r}")
    named = {"type": TYPE[topic.channel], "symbol": topic.symbol} | dict(entry)
    found = message_fields(payload)
    if list(found.items()) != list(named.items()):
        return Breach(Count.CORRUPT, "", topic, f"{seq} is {payload!r}, in the store {named}")
    return None


def _check_view(view: View, stream: Stream, numbers: _Numbers, wrong: _Wrong) -> Iterator[Breach]:
    """A client holds what the store holds, from where it came to the end, but for what it was told."""

    def breach(count: Count, what: str, weight: int = 1) -> Breach:
        return Breach(count, view.client, view.topic, what, weight)

    runs = view.all_runs()
    for run in runs:
        for found in wrong.within(run.lane, run.first, run.last):
            yield found._replace(client=view.client)
    at = view.base
    for first, last in sorted([(run.first, run.last) for run in runs] + [gap[1:3] for gap in view.gaps]):
        if first > at + 1:
            yield breach(Count.SILENT_GAP, f"{at + 1} to {first - 1} are neither held nor announced", first - at - 1)
        at = max(at, last)
    for gap in view.gaps:
        if gap.reason != "too_far" and (held := numbers.held(gap.first, gap.last)):
            yield breach(Count.LOST, f"{held} of {gap} are in the store", held)
    end = stream.entries[-1][0] if stream.entries else 0
    if view.seq < end:
        yield breach(Count.LOST, f"ends at {view.seq}, the store at {end}", end - view.seq)
    elif view.seq > end:
        yield breach(Count.PHANTOM, f"ends at {view.seq}, the store at {end}", view.seq - end)
    if view.owed:
        yield breach(Count.SILENT_GAP, "was never told what a reply with recovered: false was about")
    if view.epoch != stream.epoch and view.epoch is not None:
        yield breach(Count.CORRUPT, f"counts under epoch {view.epoch}, the store under {stream.epoch}")
    yield from _check_snapshots(view)


def _check_snapshots(view: View) -> Iterator[Breach]:
    """A snapshot is the message of its number, as others have received it."""
    for lane, seq, payload in view.snapshots:
        fields = dict(message_fields(payload))
        fields.pop("snapshot")
        other = lane.payloads.get(seq)
        if other is not None and message_fields(other) != fields:
            yield Breach(Count.CORRUPT, view.client, view.topic, f"snapshot {payload!r} is not {other!r}")


def _prints(stream: Stream) -> list[Print]:
    found = []
    for seq, fields in stream.entries:
        price, size, time = row_of("trades", fields)[:3]
        if isinstance(price, int) and isinstance(size, int) and isinstance(time, int):
            found.append(Print(seq, time, price, size))
    return found


def _check_rest(
    symbol: str, interval: str, bars: Mapping[int, tuple[Bar, int]], rows: Sequence[Mapping[str, Any]]
) -> Iterator[Breach]:
    """Each candle once, in order of time, closed, to the last digit."""
    topic = Topic(f"candles:{interval}", symbol)
    times = [int(row["time"]) for row in rows]
    if times != sorted(set(times)):
        yield Breach(Count.REORDERED, "REST", topic, "candles do not rise in time")
    for row in rows:
        yield from _check_bar("REST", topic, row, bars.get(int(row["time"])))
    for time in sorted(bars.keys() - set(times)):
        yield Breach(Count.LOST, "REST", topic, f"no candle {bars[time][0]}")


def _check_bar(who: str, topic: Topic, row: Mapping[str, Any], bar: tuple[Bar, int] | None) -> Iterator[Breach]:
    try:
        found = shown(row)
    except (ValueError, KeyError, TypeError) as error:
        yield Breach(Count.CORRUPT, who, topic, f"{dict(row)}: {error!r}")
        return
    if bar is None:
        yield Breach(Count.PHANTOM, who, topic, f"a candle without a trade: {dict(row)}")
    elif found != bar[0] or row["final"] is not True:
        yield Breach(Count.CORRUPT, who, topic, f"{dict(row)}, recomputed {bar[0]}")


def _check_candle_view(view: CandleView, bars: Mapping[int, tuple[Bar, int]]) -> Iterator[Breach]:
    """Every candle that a trade has touched since the client came is held as it now stands, and final.

    Under which epoch it counts is not compared: one that takes no number back changes no candle.
    """
    for time, (bar, seq) in bars.items():
        held = view.rows.get(time)
        if seq <= view.base:
            continue
        if held is None:
            yield Breach(Count.LOST, view.client, view.topic, f"no candle {bar} of {seq}, came at {view.base}")
            continue
        row = json.loads(json.dumps(held[2]), parse_float=str, parse_int=str)
        if time in view.unclosed:
            row["final"] = True
        yield from _check_bar(view.client, view.topic, row, (bar, seq))
        if held[0] != seq:
            yield Breach(Count.CORRUPT, view.client, view.topic, f"candle {time} as of {held[0]}, not {seq}")
    for time in view.rows.keys() - bars.keys():
        yield Breach(Count.PHANTOM, view.client, view.topic, f"a candle without a trade: {view.rows[time][2]}")
