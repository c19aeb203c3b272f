"""Brings a client that comes with a position up to the candles as they form, then lets it join them.

Every candle that a trade behind its position has touched carries a higher number than the position, and is sent once, as it
now stands: first those that cannot change any more, from the store, then those that the fold holds, the last of them in the
same turn in which the client joins; all as fast as the client reads. They go out in the order of their numbers, so that a
client that is cut off again goes on from the last number that it has. The store has them in order of time, which is another
where trades came late: a candle waits until none that is still to be read can have a lower number.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop
from typing import NamedTuple

from ticker import codec, metrics
from ticker.candles.candle import Candle
from ticker.errors import StoreUnavailable
from ticker.hub.candle_replay_item import CandleItem
from ticker.hub.cohort import Newest
from ticker.hub.events import gap_message
from ticker.hub.forming import Fold, Forming
from ticker.hub.frame import text_frame
from ticker.hub.hub import Hub
from ticker.hub.pace import Pace
from ticker.hub.past import Past
from ticker.hub.relay import RETRY_S, Relay
from ticker.hub.resume import Position, count_outcomes, start
from ticker.hub.resuming import Ended, epochs_before
from ticker.hub.subscriber import Subscriber
from ticker.hub.topic import Delivery, Topic


class CandleUpstream(NamedTuple):
    """What replays of candles are made of."""

    hub: Hub
    relay: Relay
    forming: Forming
    past: Past
    ended: Ended
    pace: Pace


class CandleReplay:
    """The symbols of one request."""

    def __init__(
        self, client: Subscriber, room: asyncio.Event, upstream: CandleUpstream, asked: Mapping[Topic, Position]
    ) -> None:
        """The symbols must be folded. They are held on to, until `close`. `room` is as for `Replay`."""
        self._client = client
        self._room = room
        self._upstream = upstream
        self._items: dict[Topic, CandleItem] = {}
        for topic, position in asked.items():
            track = upstream.relay.track_of(Topic("trades", topic.symbol))
            self._items[topic] = CandleItem(topic, position, track)
            upstream.hub.hold(topic)

    @property
    def topics(self) -> Iterable[Topic]:
        """What is being replayed."""
        return self._items.keys()

    @property
    def current(self) -> bool:
        """Whether what was prepared is still so."""
        forming = self._upstream.forming
        return all(item.current and forming.fold_of(topic) for topic, item in self._items.items())

    async def prepare(self, delivery: Delivery) -> None:
        """Know where each symbol goes on. Raises `StoreUnavailable`."""
        await self._upstream.relay.reach(self._items.values())
        before = await epochs_before(self._items.values(), self._upstream.ended)
        for topic, item in self._items.items():
            fold = await self._fold(topic)
            assert fold is not None
            item.generation = item.track.generation
            item.seq, item.reset = start(item.asked, fold.epoch, fold.seq, before.get(item, {}))
            await self._begin(item)

    async def _fold(self, topic: Topic) -> Fold | None:
        """None where the client does not want it any more: with nobody to hold its trades, it would stand still."""
        forming = self._upstream.forming
        while (fold := forming.fold_of(topic)) is None and topic in self._items:
            await forming.watch(topic)
        return fold

    async def _begin(self, item: CandleItem) -> None:
        """Where stored candles begin for this item."""
        topic = item.topic
        assert topic.interval is not None
        item.begins(await self._upstream.past.begin(topic.symbol, topic.interval, item.seq))

    def recovered(self, delivery: Delivery) -> dict[str, bool]:
        """Of each symbol, whether every candle is sent that a trade behind its position touched."""
        found: dict[str, str] = {}
        for topic, item in self._items.items():
            found[topic.symbol] = item.outcome
        count_outcomes("candles", found.values())
        return {symbol: outcome == "whole" for symbol, outcome in found.items()}

    def drop_left(self) -> None:
        """Let go of what the client does not have any more."""
        for topic in [topic for topic in self._items if topic not in self._client.apart]:
            self._drop(topic)

    def _drop(self, topic: Topic) -> None:
        del self._items[topic]
        self._upstream.hub.unhold(topic)

    def close(self) -> None:
        """Hold on to nothing more."""
        for topic in list(self._items):
            self._drop(topic)

    def step(self, most_bytes: int) -> list[CandleItem]:
        """Write what is there, and join where all is; those for which something must be read first."""
        frames: list[bytes] = []
        size = 0
        lacking = []
        for item in self._items.values():
            size += self._advance(item, frames, most_bytes - size)
            if not self._read_up(item):
                lacking.append(item)
        done: list[Topic] = []
        for item in self._items.values() if not lacking else ():
            if size >= most_bytes:
                break
            added, whole = self._add_held(item, frames, most_bytes - size)
            size += added
            if whole:
                done.append(item.topic)
        self._write(frames)
        if done:
            self._upstream.hub.bring_in(self._client, done)
            for topic in done:
                self._drop(topic)
        return [item for item in lacking if not item.ready(self._upstream.past.reach_us)]

    def _advance(self, item: CandleItem, frames: list[bytes], most_bytes: int) -> int:
        """Add what is there of stored candles; how many bytes."""
        size = 0
        if withdrawn := item.withdraw():
            frames.append(text_frame(withdrawn))
        if item.begin is not None and item.begin.missing > item.seq:
            gap = gap_message(item.topic, item.seq + 1, item.begin.missing, "trimmed")
            frames.append(text_frame(gap))
            item.seq = item.begin.missing
        while size < most_bytes and item.ready(self._upstream.past.reach_us):
            frames.append(self._frame(item, heappop(item.rows)[1], final=True))
            size += len(frames[-1])
        return size

    def _read_up(self, item: CandleItem) -> bool:
        """Whether all candles have been read that the fold does not hold, and sent but for those that go out with these."""
        fold = self._upstream.forming.fold_of(item.topic)
        if fold is None or fold.builder is None or item.begin is None or item.ready(self._upstream.past.reach_us):
            return False
        oldest = fold.builder.oldest
        return oldest is None or item.next >= oldest

    def _add_held(self, item: CandleItem, frames: list[bytes], most_bytes: int) -> tuple[int, bool]:
        """Add candles that can still change, and those that waited for them; how many bytes, and whether that is all."""
        last = [(candle, True) for _, candle in item.rows]
        last += [row for row in self._upstream.forming.stand(item.topic) if item.lacks(*row)]
        size = 0
        for candle, final in sorted(last, key=lambda row: row[0].seq):
            if size >= most_bytes:
                # What changes before the next step has a higher number then than all that has been sent.
                item.rows = [row for row in item.rows if row[0] > item.seq]
                return size, False
            frames.append(self._frame(item, candle, final=final))
            size += len(frames[-1])
            item.sent(candle, final=final)
        return size, True

    def _frame(self, item: CandleItem, candle: Candle, *, final: bool) -> bytes:
        topic = item.topic
        assert topic.interval is not None
        message = codec.candle_message(topic.symbol, topic.interval, candle, final=final).encode()
        delivery = self._client.topics.get(topic) or self._client.topics[topic.everything]
        return Newest(message, 0).frame() if delivery.latest else text_frame(message)

    def _write(self, frames: Sequence[bytes]) -> None:
        if frames:
            self._client.send_framed(b"".join(frames), len(frames))
            metrics.REPLAYED.inc(len(frames))

    async def run(self, most_bytes: int) -> None:
        """Go on until the client has joined, or has gone."""
        client = self._client
        while self._items and not client.gone:
            if client.full:
                self._room.clear()
                await self._room.wait()
                continue
            async with self._upstream.pace:
                lacking = self.step(most_bytes)
            for item in lacking:
                try:
                    await self._read(item)
                except StoreUnavailable:
                    await asyncio.sleep(RETRY_S)

    async def _read(self, item: CandleItem) -> None:
        """The next stored candles."""
        topic, generation = item.topic, item.generation
        assert topic.interval is not None
        fold = await self._fold(topic)
        if fold is None or not item.current:
            return
        if item.begin is None:
            await self._begin(item)
        oldest = fold.builder.oldest if fold.builder else None
        if oldest is None or item.next >= oldest:
            return
        folded = fold.seq
        page = await self._upstream.past.closed(topic.symbol, topic.interval, item.next, oldest)
        if item.generation == generation and item.current:
            item.take(page, folded)
            item.next = oldest if page.next is None else page.next
