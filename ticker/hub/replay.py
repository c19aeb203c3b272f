"""Brings a client that comes with a position up to the live messages of trades or quotes, then lets it join them.

While a client is behind, the topic's live messages are recorded for it. It is sent what the stream has behind its position,
in shared blocks and as fast as it reads, then what was recorded. Once it has the last message that went out, it joins its
cohorts: between that check and the joining nothing can come.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ticker import metrics
from ticker.errors import StoreUnavailable
from ticker.hub.blocks import Blocks
from ticker.hub.hub import Hub
from ticker.hub.pace import Pace
from ticker.hub.relay import RETRY_S, Relay
from ticker.hub.replay_item import Item, Piece
from ticker.hub.resume import Position, count_outcomes
from ticker.hub.resuming import Ended, epochs_before
from ticker.hub.subscriber import Subscriber
from ticker.hub.topic import Delivery, Topic

SETTLE_TRIES = 20


class Upstream(NamedTuple):
    """What replays are made of."""

    hub: Hub
    relay: Relay
    blocks: Blocks
    ended: Ended
    pace: Pace


class Replay:
    """The symbols of one request."""

    def __init__(
        self, client: Subscriber, room: asyncio.Event, upstream: Upstream, asked: Mapping[Topic, Position]
    ) -> None:
        """The symbols' channels must be tracked. They are recorded from here on, until `close`.

        `room` is set where the client takes more again, and when it has gone.
        """
        self._client = client
        self._room = room
        self._upstream = upstream
        hub, relay = upstream.hub, upstream.relay
        self._items = {
            topic: Item(position, relay.track_of(topic), hub.record(topic)) for topic, position in asked.items()
        }

    async def prepare(self, delivery: Delivery) -> None:
        """Know where each symbol goes on, and have the first block of each. Raises `StoreUnavailable`."""
        for _ in range(SETTLE_TRIES):
            await self._begin()
            if delivery.latest or await self._first_blocks():
                return
        raise StoreUnavailable("the store changes all the time; ask again")

    @property
    def current(self) -> bool:
        """Whether what was prepared is still so."""
        return all(item.current for item in self._items.values())

    async def _begin(self) -> None:
        """Decide for each symbol where to go on."""
        await self._upstream.relay.reach(self._items.values())
        before = await epochs_before(self._items.values(), self._upstream.ended)
        for item in self._items.values():
            item.begin(before.get(item, {}))

    async def _first_blocks(self) -> bool:
        """Have the block with which each symbol begins; False where something changed meanwhile."""
        blocks = self._upstream.blocks
        reads = {}
        for item in self._items.values():
            if item.seq < item.track.seq:
                item.block = blocks.get(item.track, item.seq + 1)
                if item.block is None:
                    reads[item] = blocks.fetch(item.track, item.seq + 1, item.track.seq)
        if reads:
            await asyncio.wait(set(reads.values()))
        missed = []
        for item, read in reads.items():
            answer = read.result()
            if answer.failed:
                raise answer.failed
            if not item.current:
                return False
            if not item.see(answer, blocks):
                missed.append(item.track)
        for track in missed:
            await self._upstream.relay.settle(track)
        return not missed and self.current

    def recovered(self, delivery: Delivery) -> dict[str, bool]:
        """Of each symbol, whether everything behind its position is sent; to be asked right before the reply."""
        found: dict[str, str] = {}
        for topic, item in self._items.items():
            outcome = item.outcome
            if delivery.latest and outcome == "gap" and item.track.message is not None:
                # What has been trimmed would have been skipped.
                outcome = "whole"
            found[topic.symbol] = outcome
        count_outcomes(next(iter(self._items)).channel, found.values())
        return {symbol: outcome == "whole" for symbol, outcome in found.items()}

    @property
    def topics(self) -> Iterable[Topic]:
        """What is being replayed."""
        return self._items.keys()

    def drop_left(self) -> None:
        """Let go of what the client does not have any more."""
        for topic in [topic for topic in self._items if topic not in self._client.apart]:
            self._drop(topic)

    def _drop(self, topic: Topic) -> None:
        del self._items[topic]
        self._upstream.hub.unrecord(topic)

    def close(self) -> None:
        """Record no more."""
        for topic in list(self._items):
            self._drop(topic)

    def step(self, most_bytes: int) -> list[Item]:
        """Write what is there, and join what is complete; those for which something must be read first."""
        client, piece = self._client, Piece()
        lacking = [item for item in self._items.values() if not self._advance(item, piece, most_bytes)]
        self._write(piece)
        if all(item.complete for item in self._items.values()):
            self._upstream.hub.bring_in(client, self._items)
            self.close()
        return lacking

    def _advance(self, item: Item, piece: Piece, most_bytes: int) -> bool:
        client, topic = self._client, item.topic
        delivery = client.topics.get(topic) or client.topics[topic.everything]
        if delivery.latest:
            self._write(piece)
            item.newest(client)
            return True
        item.withdraw(piece)
        while item.seq < item.track.seq and piece.size < most_bytes:
            if not item.take(piece, self._upstream.blocks):
                return False
        return True

    def _write(self, piece: Piece) -> None:
        if piece.parts:
            self._client.send_framed(b"".join(piece.parts), piece.count)
            metrics.REPLAYED.inc(piece.count)
            piece.parts, piece.count, piece.size = [], 0, 0

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
            if lacking:
                await self._read(lacking)

    async def _read(self, lacking: Sequence[Item]) -> None:
        """Have the next blocks."""
        blocks, relay = self._upstream.blocks, self._upstream.relay
        reads = {item: blocks.fetch(item.track, item.seq + 1, item.track.seq) for item in lacking}
        await asyncio.wait(set(reads.values()))
        piece = Piece()
        for item, read in reads.items():
            answer = read.result()
            if answer.failed:
                await asyncio.sleep(RETRY_S)
            elif item.topic in self._items and item.current and not item.see(answer, blocks):
                await relay.settle(item.track)
                item.miss(piece)
        self._write(piece)
