"""Brings a client that comes with a position up to the live messages of trades or quotes, then lets it join them.

While a client is behind, the topic's live messages are recorded for it. It is sent what the stream has behind its position,
in shared blocks and as fast as it reads, then what was recorded. Once it has the last message that went out, it joins its
cohorts: between that check and the joining nothing can come.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ticker import metrics
from ticker.errors import StoreUnavailable
from ticker.hub.blocks import Answer, Block, Blocks
from ticker.hub.cohort import Newest
from ticker.hub.events import gap_message, reset_message
from ticker.hub.frame import text_frame
from ticker.hub.hub import Hub
from ticker.hub.pace import Pace
from ticker.hub.recording import Recording
from ticker.hub.relay import REAPPEND_S, RETRY_S, Relay, Track
from ticker.hub.resume import Position, count_outcomes, start
from ticker.hub.subscriber import Subscriber
from ticker.hub.topic import Delivery, Topic
from ticker.store.tick_stream import Kind

FRAMES_AT_ONCE = 256
TRIES = 3
"""So often a number that the stream does not have is looked for again, each time after the channel was made sure of."""
SETTLE_TRIES = 20


class Upstream(NamedTuple):
    """What replays are made of."""

    hub: Hub
    relay: Relay
    blocks: Blocks
    ended: Callable[[Kind, Sequence[str]], Awaitable[list[dict[str, int]]]]
    pace: Pace


class Piece:
    """Frames that are written together."""

    __slots__ = ("count", "parts", "size")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.count = self.size = 0

    def add(self, data: bytes, count: int = 1) -> None:
        """More frames, behind the others."""
        self.parts.append(data)
        self.count += count
        self.size += len(data)


class Item:
    """One symbol of a replay: `seq` is the last number that its client has, or was told is missing."""

    __slots__ = ("_recording", "_reset", "_tries", "asked", "block", "generation", "seq", "topic", "track")

    def __init__(self, asked: Position, track: Track, recording: Recording) -> None:
        self.asked = asked
        self.track = track
        self.topic = track.topic
        self.seq = 0
        self.generation = track.generation
        self.block: Block | None = None
        self._recording = recording
        self._reset = False
        self._tries = 0

    def begin(self, ended: Mapping[str, int]) -> None:
        """Decide where to go on."""
        track = self.track
        self.seq, self._reset = start(self.asked, Position(track.epoch, track.seq), ended)
        self.generation, self.block = track.generation, None

    @property
    def is_ahead(self) -> bool:
        """Whether its client has numbers of this epoch that have not gone out here."""
        return self.asked.epoch == self.track.epoch and self.asked.seq > self.track.seq

    @property
    def current(self) -> bool:
        """Whether what was decided is still so."""
        return self.generation == self.track.generation

    @property
    def complete(self) -> bool:
        """Whether the client has the last message that went out."""
        return self.seq == self.track.seq and self.current and not self._reset

    @property
    def outcome(self) -> str:
        """`whole`, `gap` or `reset`: what becomes of it, as far as is known once its first block is there."""
        if self._reset:
            return "reset"
        if self.seq == self.track.seq or self._recording.newest(self.track.seq - self.seq, 1):
            # What has come since it was prepared needs no block.
            return "whole"
        whole = self.block is not None and self.block.whole and self.block.first <= self.seq + 1
        return "whole" if whole else "gap"

    def see(self, answer: Answer, blocks: Blocks) -> bool:
        """Take the next block from an answer; False where it is not in there."""
        block = answer.blocks.get(blocks.place(self.track, self.seq + 1))
        if block is None or block.high <= self.seq:
            return False
        self.block = block
        return True

    def newest(self, client: Subscriber) -> None:
        """Only the newest message, for a client that takes the latest; it says how many it stands for."""
        self._withdraw(client)
        track = self.track
        if track.seq > self.seq:
            if track.message is None:
                client.send(gap_message(self.topic, self.seq + 1, track.seq, "trimmed"), counted=False)
            else:
                client.send_newest(Newest(track.message, track.seq - self.seq - 1))
            self.seq = track.seq

    def _withdraw(self, client: Subscriber) -> None:
        piece = Piece()
        self.withdraw(piece)
        if piece.parts:
            client.send_framed(b"".join(piece.parts), piece.count)

    def withdraw(self, piece: Piece) -> None:
        """Say what of that which the client has seen does not count any more, if anything."""
        floors = self.track.floors[self.generation :]
        if floors or self._reset:
            self.seq = min([self.seq, *floors])
            self.generation, self.block, self._reset = self.track.generation, None, False
            piece.add(text_frame(reset_message(self.topic, self.track.epoch, self.seq)))

    def take(self, piece: Piece, blocks: Blocks) -> bool:
        """Add what comes next; False where it must be read first."""
        behind = self.track.seq - self.seq
        frames = self._recording.newest(behind, FRAMES_AT_ONCE)
        if frames:
            piece.add(b"".join(frames), len(frames))
            self.seq += len(frames)
            return True
        if self._recording.full:
            metrics.met("replay_recorded")
        if self._block(blocks) is None:
            return False
        self._take_block(piece)
        return True

    def _block(self, blocks: Blocks) -> Block | None:
        """The block with the next number."""
        block = self.block
        if block is None or not block.low <= self.seq + 1 <= block.high:
            block = self.block = blocks.get(self.track, self.seq + 1)
        return block

    def _take_block(self, piece: Piece) -> None:
        block, last = self.block, self.track.seq
        assert block is not None
        self._tries = 0
        if block.first > self.seq + 1:
            self._miss(piece, min(block.first - 1, last), "trimmed")
            return
        taken = block.take(self.seq, last)
        if taken.frames:
            piece.add(taken.data, taken.frames)
            self.seq = taken.last
        else:
            self._miss(piece, taken.last, "store_lost")

    def _miss(self, piece: Piece, last: int, reason: str) -> None:
        """The numbers up to `last` will not come."""
        piece.add(text_frame(gap_message(self.topic, self.seq + 1, last, reason)))
        self.seq = last

    def miss(self, piece: Piece) -> None:
        """The next number was not in what was read; after some tries, say that what is not recorded is missing."""
        self._tries += 1
        if self._tries > TRIES and not self.complete and self.current:
            last = self.track.seq - len(self._recording.pending)
            if last > self.seq:
                self._miss(piece, last, "store_lost")


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

    async def _reach(self) -> None:
        """Wait a little for numbers that clients have and this gateway has not.

        They may have come from a gateway that is faster, or the store is about to get back what it has lost.
        """
        relay, loop = self._upstream.relay, asyncio.get_running_loop()
        until_s = loop.time() + REAPPEND_S
        while ahead := [item.track for item in self._items.values() if item.is_ahead]:
            if await relay.settle_late(ahead):
                continue
            if loop.time() > until_s:
                return
            await asyncio.sleep(RETRY_S)

    async def _begin(self) -> None:
        """Decide for each symbol where to go on."""
        await self._reach()
        others = [item for item in self._items.values() if item.asked.epoch not in (None, item.track.epoch)]
        ended: dict[Topic, dict[str, int]] = {}
        if others:
            symbols = [item.topic.symbol for item in others]
            found = await self._upstream.ended(others[0].track.kind, symbols)
            ended = dict(zip((item.topic for item in others), found, strict=True))
        for item in self._items.values():
            item.begin(ended.get(item.topic, {}))

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
        return not missed and all(item.current for item in self._items.values())

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
