"""Candles as they form, folded from the trades that pass, for those symbols and intervals that somebody wants.

Every fold begins with what is stored at one trade's number and goes on with the trades after it, so a candle here equals
the one that REST gives at the same number. The feed clocks that arrive with the ingester's heartbeat close candles.

Candles of a fold go out in the order of their numbers. So whoever is cut off has been sent all that was touched up to the
last number that he has, and resuming from there leaves nothing out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ticker import codec, metrics
from ticker.candles.builder import CandleBuilder
from ticker.candles.candle import Candle
from ticker.candles.interval import INTERVALS
from ticker.hub.events import gap_message, reset_message
from ticker.hub.hub import Hub
from ticker.hub.past import Missed, Past, missed
from ticker.hub.topic import Topic

LOADS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Loaded:
    """A builder that holds what is stored of a symbol and interval, and the trade number up to which it does."""

    builder: CandleBuilder
    epoch: str | None
    seq: int


Load = Callable[[str, str], Awaitable[Loaded]]


class Fold:
    """One symbol and interval."""

    __slots__ = ("_waiting", "builder", "epoch", "floor", "owes", "sent", "seq", "stops", "topic")

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.builder: CandleBuilder | None = None
        self.epoch: str | None = None
        self.seq = 0
        self.sent = 0
        """Up to this number, subscribers have been sent what trades have touched."""
        self.stops = 0
        """How often it was stopped: what was loaded before the last time does not count."""
        self.owes: int | None = None
        """Subscribers have been sent what it was up to this number, before it was stopped, and are owed what it has become."""
        self.floor: int | None = None
        """They are owed a reset too: trades above this number are withdrawn."""
        self._waiting: list[tuple[int, int, int, int]] = []

    def begin(self, loaded: Loaded) -> None:
        """Start from what is stored, and catch up with the trades that passed meanwhile."""
        self.builder, self.epoch, self.seq = loaded.builder, loaded.epoch, loaded.seq
        self.sent = loaded.seq
        for trade in self._waiting:
            self.add(*trade)
        self._waiting.clear()

    def stop(self, floor: int | None = None) -> None:
        """What was folded does not count any more; nor, where there is a floor, do trades above it."""
        if self.builder is not None and self.owes is None:
            self.owes = self.sent
        if floor is not None and self.owes is not None:
            self.owes = min(self.owes, floor)
            self.floor = floor if self.floor is None else min(self.floor, floor)
        self.builder = None
        self.stops += 1
        self._waiting.clear()

    def add(self, time: int, price: int, size: int, seq: int) -> None:
        """One trade, in millionths; those that are in already are passed over."""
        if self.builder is None:
            self._waiting.append((time, price, size, seq))
        elif seq > self.seq:
            self.seq = seq
            self.builder.add(time, price, size, seq)

    def message(self, candle: Candle, *, final: bool) -> bytes:
        """A candle as it is sent."""
        assert self.topic.interval is not None
        return codec.candle_message(self.topic.symbol, self.topic.interval, candle, final=final).encode()


class Forming:
    """All folds of this process."""

    def __init__(self, hub: Hub, load: Load, past: Past, *, most: int) -> None:
        """`most` candles of one fold are sent again after it was stopped; of more, the oldest are announced."""
        self._hub = hub
        self._load = load
        self._past = past
        self._most = most
        self._folds: dict[str, dict[Topic, Fold]] = {}
        self._idle: set[Topic] = set()
        self._clock_of: Callable[[str], int] = lambda symbol: 0

    def fold_of(self, topic: Topic) -> Fold | None:
        """A fold that has begun."""
        fold = self._folds.get(topic.symbol, {}).get(topic)
        return fold if fold and fold.builder else None

    async def watch(self, topic: Topic) -> None:
        """Fold this symbol and interval; its trades must be tracked already. Raises `StoreUnavailable`."""
        if self.fold_of(topic):
            return
        assert topic.interval is not None
        folds = self._folds.setdefault(topic.symbol, {})
        # Two may ask at once: both load, and whoever is first has begun the fold that both use.
        fold = folds.setdefault(topic, Fold(topic))
        while fold.builder is None:
            stops = fold.stops
            loaded = await self._load(topic.symbol, topic.interval)
            past = await self._missed(fold, loaded)
            if fold.builder is None and fold.stops == stops:
                fold.begin(loaded)
                # Now, and not with the next `mend`: whoever has asked for the fold may join at once.
                self._pay(fold, past)

    async def watch_all(self, topics: Sequence[Topic]) -> None:
        """The same for many, some at a time."""
        left = list(topics)

        async def watch_some() -> None:
            while left:
                await self.watch(left.pop())

        await asyncio.gather(*(watch_some() for _ in range(LOADS_AT_ONCE)))

    def invalidate(self, symbol: str, floor: int | None = None) -> None:
        """Trades of the symbol are missing, or withdrawn above `floor`: its folds must begin again from what is stored."""
        for fold in self._folds.get(symbol, {}).values():
            fold.stop(floor)

    def invalidate_long(self) -> None:
        """Candles longer than a minute may have been added to from before the first tick, with nobody here to hear of it."""
        for folds in self._folds.values():
            for topic, fold in folds.items():
                if topic.interval is not None and INTERVALS[topic.interval].base != "1s" and topic.interval != "1m":
                    fold.stop()

    async def mend(self) -> None:
        """Begin every fold that has been stopped, and send what its candles have become. Raises `StoreUnavailable`."""
        left = [fold for folds in self._folds.values() for fold in folds.values() if not fold.builder]

        async def mend_some() -> None:
            while left:
                await self.watch(left.pop().topic)

        await asyncio.gather(*(mend_some() for _ in range(LOADS_AT_ONCE)))

    async def _missed(self, fold: Fold, loaded: Loaded) -> Missed:
        """Of what subscribers are owed, the candles that cannot change any more."""
        topic, oldest = fold.topic, loaded.builder.oldest
        if fold.owes is None or oldest is None or topic.interval is None:
            return Missed([])
        return await missed(self._past, topic.symbol, topic.interval, fold.owes, oldest, self._most)

    def _pay(self, fold: Fold, past: Missed) -> None:
        """Send those who had the fold before it was stopped what its candles have become since."""
        seq, floor = fold.owes, fold.floor
        fold.owes = fold.floor = None
        if seq is None or fold.builder is None:
            return
        if floor is not None:
            self._hub.control(fold.topic, reset_message(fold.topic, fold.epoch, floor))
        if past.left_out > seq:
            if past.reason == "too_far":
                metrics.met("heal_messages")
            self._hub.control(fold.topic, gap_message(fold.topic, seq + 1, past.left_out, past.reason))
        closed = past.candles + [candle for candle in fold.builder.closed() if candle.seq >= seq]
        fold.builder.changed()
        self._send(fold, closed, fold.builder.unclosed())

    def folds(self, symbol: str) -> bool:
        """Whether anything is folded from the symbol's trades."""
        return symbol in self._folds

    def latest(self, topic: Topic) -> bytes | None:
        """The newest candle of a fold as it stands; those who have it forming already get it first."""
        fold = self.fold_of(topic)
        if fold is None or fold.builder is None:
            return None
        self._send_changes(fold)
        newest = fold.builder.newest()
        return fold.message(newest[0], final=newest[1]) if newest else None

    def stand(self, topic: Topic) -> list[tuple[Candle, bool]]:
        """All candles that can still change, each with whether it is closed; what is due goes out to the others first."""
        fold = self.fold_of(topic)
        assert fold is not None
        assert fold.builder is not None
        self._send_changes(fold)
        return fold.builder.held()

    def on_trade(self, symbol: str, message: bytes, seq: int) -> None:
        """A trade goes out to the subscribers."""
        folds = self._folds.get(symbol)
        if folds:
            trade = codec.from_json(message)
            price, size = codec.millionths(trade["price"], "price"), codec.millionths(trade["size"], "size")
            for fold in folds.values():
                fold.add(trade["time"], price, size, seq)

    def publish(self) -> None:
        """Send the candles that have changed since the last time."""
        for folds in self._folds.values():
            for fold in folds.values():
                self._send_changes(fold)

    def close(self, clock_of: Callable[[str], int]) -> None:
        """Close what the feed clocks have passed; `clock_of` gives a symbol's, in microseconds, 0 where none is known."""
        self._clock_of = clock_of
        for symbol, folds in self._folds.items():
            clock = clock_of(symbol)
            for fold in folds.values():
                if fold.builder and clock and (closed := fold.builder.close(clock)):
                    last = max(candle.seq for candle in closed)
                    self._send(fold, closed, fold.builder.changed(last))
                    fold.sent = max(fold.sent, last)

    def sweep(self, needed: Callable[[Topic], bool]) -> None:
        """Let go of every fold that nobody has needed since the last time."""
        unwanted = {topic for folds in self._folds.values() for topic in folds if not needed(topic)}
        for topic in unwanted & self._idle:
            del self._folds[topic.symbol][topic]
            if not self._folds[topic.symbol]:
                del self._folds[topic.symbol]
        self._idle = unwanted

    def _send_changes(self, fold: Fold) -> None:
        """All that has not been sent yet."""
        if fold.builder is None:
            return
        closed = fold.builder.close(self._clock_of(fold.topic.symbol))
        self._send(fold, closed, fold.builder.changed())
        fold.sent = fold.seq

    def _send(self, fold: Fold, closed: list[Candle], forming: list[Candle]) -> None:
        """In the order of their numbers."""
        found = [(candle, True) for candle in closed] + [(candle, False) for candle in forming]
        for candle, final in sorted(found, key=_number):
            self._hub.publish(fold.topic, fold.message(candle, final=final), candle.time)


def _number(found: tuple[Candle, bool]) -> int:
    return found[0].seq
