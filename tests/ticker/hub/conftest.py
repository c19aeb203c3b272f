"""A hub whose clock and loop are in the test's hands, and clients whose kernel takes as much as the test says."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ticker import codec
from ticker.candles.interval import INTERVALS
from ticker.history.candles import CandleHistory
from ticker.history.candles_since import CandlesSince
from ticker.hub.forming import Forming, Loaded
from ticker.hub.hub import Hub
from ticker.hub.subscriber import OutboxLimits, Subscriber
from ticker.hub.topic import EVERY_MESSAGE, Delivery, Topic

MINUTE, GRACE = 60_000_000, 500_000


class Loop:
    """What is to be called soon or later, and a clock that only the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def clock(self) -> float:
        return self.now_s

    def soon(self, after_s: float, call: Callable[[], None]) -> None:
        self._due.append((self.now_s + after_s, call))

    def turn(self) -> None:
        """Call what is due by now."""
        due, self._due = [d for d in self._due if d[0] <= self.now_s], [d for d in self._due if d[0] > self.now_s]
        for _, call in due:
            call()

    def advance(self, seconds: float) -> None:
        self.now_s += seconds
        self.turn()


class Door:
    """A connection; its transport takes `room` bytes and then says that it is full, as uvloop's does."""

    def __init__(self, room: float = float("inf")) -> None:
        self.transport = self
        self.heard = True
        self.on_full: Callable[[], None] | None = None
        self.on_room: Callable[[], None] | None = None
        self.on_gone: Callable[[], None] | None = None
        self.aborted = False
        self.closed = False
        self.writes = 0
        self.room = room
        self._taken = bytearray()
        self._buffer = bytearray()

    def write(self, data: bytes) -> None:
        if self.closed:
            raise RuntimeError("the handle is closed")
        self.writes += 1
        self._buffer += data
        self._push()
        if self._buffer and self.on_full:
            self.on_full()

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def abort(self) -> None:
        self.aborted = True

    def take(self, room: float) -> None:
        """The client reads: so much more is taken."""
        self.room += room
        while self.room > 0 and self._buffer:
            self._push()
            if not self._buffer and self.on_room:
                self.on_room()

    def _push(self) -> None:
        count = int(min(self.room, len(self._buffer)))
        self._taken += self._buffer[:count]
        del self._buffer[:count]
        self.room -= count

    @property
    def got(self) -> list[Any]:
        """The messages that the client has whole; those of the tests are JSON, or short texts."""
        at, found, data = 0, [], bytes(self._taken)
        while at + 2 <= len(data):
            length, begin = data[at + 1], at + 2
            if length == 126:
                length, begin = int.from_bytes(data[at + 2 : at + 4]), at + 4
            if begin + length > len(data):
                break
            if data[at] == 0x81:
                found.append(_read(data[begin : begin + length].decode()))
            at = begin + length
        return found


def _read(text: str) -> Any:
    return json.loads(text) if text.startswith("{") else text


class Client:
    """A subscriber and its door."""

    def __init__(self, hub: Hub, loop: Loop, room: float, limits: OutboxLimits) -> None:
        self.hub, self.loop = hub, loop
        self.door = Door(room)
        self.slow: list[tuple[str, str]] = []
        self.subscriber = Subscriber(self.door, limits, loop.clock, lambda *why: self.slow.append(why))
        hub.arrive(self.subscriber)

    def join(self, *topics: Topic, delivery: Delivery = EVERY_MESSAGE) -> None:
        self.hub.join(self.subscriber, topics, delivery)

    def leave(self, *topics: Topic) -> None:
        self.hub.leave(self.subscriber, topics)

    @property
    def got(self) -> list[Any]:
        """What it has been sent by the end of this turn."""
        self.loop.turn()
        return self.door.got


@pytest.fixture
def loop() -> Loop:
    """A clock and a queue of calls."""
    return Loop()


@pytest.fixture
def make_hub(loop: Loop) -> Callable[..., Hub]:
    """Makes hubs on the test's loop."""
    return lambda flush_s=0.0: Hub(loop.clock, loop.soon, flush_s)


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    """A hub that lets the symbols of these tests into the topics of all symbols."""
    made = make_hub()
    for channel in ("trades", "quotes"):
        for symbol in ("AAPL", "MSFT", "A", "B"):
            made.admit(Topic(channel, "*"), symbol)
    return made


@pytest.fixture
def make_client(loop: Loop) -> Callable[..., Client]:
    """Makes clients of a hub; `room`: bytes that the kernel takes."""

    def make_client(hub: Hub, room: float = float("inf"), outbox_bytes: int = 1000, wait_s: float = 5.0) -> Client:
        return Client(hub, loop, room, OutboxLimits(outbox_bytes, wait_s))

    return make_client


@pytest.fixture
async def writer(valkey, new_writer):
    """A writer that has claimed AAPL, and does not put back what the store loses."""
    made = new_writer(valkey, kept_ticks=0)
    await made.claim("AAPL")
    return made


class Stored:
    """Candles in a real store, loaded when the test says so, and trades that pass on to their folds when it does."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer
        self.zone = ZoneInfo("America/New_York")
        self.history = CandleHistory(writer.client, writer.candles, self.zone, GRACE, MINUTE)
        self.since = CandlesSince(writer.candles, self.zone, MINUTE, MINUTE)
        self.free, self.loading = asyncio.Event(), asyncio.Event()
        self.free.set()

    async def load(self, symbol: str, interval: str) -> Loaded:
        builder, span = await self.history.builder(symbol, INTERVALS[interval], "hand")
        self.loading.set()
        await self.free.wait()
        return Loaded(builder, span.epoch, span.seq)

    async def pass_on(self, forming: Forming, *seqs: int) -> list[int]:
        """Which of these there are."""
        found = []
        for _, fields in await self.writer.client.xrange("trades:{AAPL}"):
            if (seq := int(fields[b"seq"])) in seqs:
                flat = [part for pair in fields.items() for part in pair]
                forming.on_trade("AAPL", codec.entry_message("trade", "AAPL", flat).encode(), seq)
                found.append(seq)
        return found


@pytest.fixture
def stored(writer: Any) -> Stored:
    return Stored(writer)
