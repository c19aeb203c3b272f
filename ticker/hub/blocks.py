"""Ticks read back from the streams for replays: framed as they are sent, in blocks that all who need them share."""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from ticker import codec, metrics
from ticker.errors import StoreError
from ticker.hub.frame import text_frame
from ticker.store.tick_stream import MESSAGE_TYPE, Kind, Page, Wanted

log = logging.getLogger(__name__)

BLOCK = 32
"""Numbers of a block: few, because after a short break a client needs little more than one block of each symbol."""
BLOCKS_PER_READ = 16
READS_PER_TRIP = 32
FRAMED_A_TURN = 256
"""Entries framed in one turn of the loop: a thousand pages of a few each must not wait for a turn each."""
ENTRY_BYTES = 40
"""About what one more entry of a list and its number take, beside the frame."""


class Ticks(Protocol):
    """Where streams are read."""

    async def pages(self, wanted: Sequence[Wanted]) -> list[Page]:
        """Ticks by their numbers."""


class Source(Protocol):
    """The stream of a symbol as the relay follows it: under which epoch, and how often its numbers were withdrawn."""

    kind: Kind
    symbol: str
    epoch: str | None

    @property
    def generation(self) -> int:
        """Rises where numbers may come again with other content."""


class Block:
    """The frames of the numbers `low` to `high`, one behind the other; `offsets` says where each begins.

    Where a number is missing the next one begins at the same place. `first` is the oldest number that the stream held when
    it was read, `whole` whether it had everything behind that.
    """

    __slots__ = ("data", "first", "high", "low", "offsets", "whole")

    def __init__(self, low: int, frames: Sequence[bytes], page: Page) -> None:
        self.low = low
        self.high = low + len(frames) - 1
        self.data = b"".join(frames)
        self.offsets = list(accumulate(map(len, frames), initial=0))
        self.first, self.whole = page.first, page.whole

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return len(self.data) + ENTRY_BYTES * len(self.offsets)

    def take(self, after: int, last: int) -> tuple[bytes, int, int]:
        """The frames of the numbers behind `after`, up to `last` or to the next hole; how many, and the last number.

        Where the next number is missing: no frames, and the last number that is missing with it.
        """
        offsets = self.offsets
        first, end = after + 1 - self.low, min(last, self.high) + 1 - self.low
        if offsets[first] == offsets[first + 1]:
            stop = next((i for i in range(first, end) if offsets[i] < offsets[i + 1]), end)
            return b"", 0, self.low + stop - 1
        stop = end
        if not self.whole:
            stop = next((i for i in range(first, end) if offsets[i] == offsets[i + 1]), end)
        return self.data[offsets[first] : offsets[stop]], stop - first, self.low + stop - 1

    def extended(self, more: "Block") -> "Block":
        """With what has been appended since."""
        joined = Block.__new__(Block)
        joined.low, joined.high, joined.data = self.low, more.high, self.data + more.data
        joined.offsets = self.offsets[:-1] + [len(self.data) + offset for offset in more.offsets]
        joined.first, joined.whole = more.first, self.whole and more.whole
        return joined


Place = tuple[Source, int, int]
"""Which block: of the source itself, not of its name, as one that follows the same stream later counts generations anew; of
which generation; and which of its blocks. A plain tuple, because resuming clients ask for tens of thousands a second.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a read gave: blocks by their places, and why there are none."""

    blocks: dict[Place, Block]
    failed: StoreError | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """Blocks that lie one behind the other, and those who wait for them."""

    epoch: str | None
    wanted: Wanted
    places: tuple[Place, ...]
    known: Block | None
    """What is there of the first of them already."""
    answer: asyncio.Future[Answer]


class Blocks:
    """Reads each block once for all who want it, a bounded number at once, and keeps the newest of them.

    The oldest go where all together are larger than `most_bytes`.
    """

    def __init__(self, ticks: Ticks, most_bytes: int, reads: int) -> None:
        """`reads`: how many round trips go on at once."""
        self.shared = 0
        """How often a block was there, or being read, already, since this was last counted."""
        self._ticks = ticks
        self._most_bytes = most_bytes
        self._reads = reads
        self._blocks: OrderedDict[Place, Block] = OrderedDict()
        self._bytes = 0
        self._reading: dict[Place, asyncio.Future[Answer]] = {}
        self._wanted: deque[_Read] = deque()
        self._more = asyncio.Event()
        self._busy = 0

    async def run(self) -> None:
        """Read what is wanted, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._reads):
                group.create_task(self._work())

    def place(self, source: Source, seq: int) -> Place:
        """The block that a number belongs to."""
        return source, source.generation, (seq - 1) // BLOCK

    def get(self, source: Source, seq: int) -> Block | None:
        """The block with this number, where it is here."""
        place = self.place(source, seq)
        block = self._blocks.get(place)
        if block is None or block.high < seq:
            return None
        self._blocks.move_to_end(place)
        self.shared += 1
        return block

    def fetch(self, source: Source, seq: int, last: int) -> asyncio.Future[Answer]:
        """Have the block with the number `seq` read, and with it some behind it, as far as `last`. Not to be cancelled."""
        place = self.place(source, seq)
        waiting = self._reading.get(place)
        if waiting is not None:
            self.shared += 1
            return waiting
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if (here := self.get(source, seq)) is not None:
            # Somebody else has had it read in the meantime.
            answer.set_result(Answer({place: here}))
            return answer
        places = [place]
        _, generation, first_number = place
        for number in range(first_number + 1, min((last - 1) // BLOCK, first_number + BLOCKS_PER_READ - 1) + 1):
            behind = source, generation, number
            if behind in self._reading or behind in self._blocks:
                break
            places.append(behind)
        known = self._blocks.get(place)
        first = known.high + 1 if known else first_number * BLOCK + 1
        count = (first_number + len(places)) * BLOCK + 1 - first
        wanted = Wanted(source.kind, source.symbol, first, count)
        self._reading |= dict.fromkeys(places, answer)
        self._wanted.append(_Read(source.epoch, wanted, tuple(places), known, answer))
        self._more.set()
        if self._busy == self._reads:
            metrics.met("replay_reads")
        return answer

    async def _work(self) -> None:
        while True:
            await self._more.wait()
            reads = [self._wanted.popleft() for _ in range(min(len(self._wanted), READS_PER_TRIP))]
            if not self._wanted:
                self._more.clear()
            if reads:
                self._busy += 1
                try:
                    await self._trip(reads)
                finally:
                    self._busy -= 1

    async def _trip(self, reads: Sequence[_Read]) -> None:
        try:
            pages = await self._ticks.pages([read.wanted for read in reads])
        except StoreError as error:
            for read in reads:
                self._settle(read, Answer({}, error))
            return
        framed = 0
        for read, page in zip(reads, pages, strict=True):
            self._settle(read, Answer(self._made(read, page)))
            framed += len(page.entries)
            if framed >= FRAMED_A_TURN:
                # That took milliseconds: live messages go on before the next.
                framed = 0
                await asyncio.sleep(0)

    def _settle(self, read: _Read, answer: Answer) -> None:
        for place in read.places:
            del self._reading[place]
        for place, block in answer.blocks.items():
            self._keep(place, block)
        read.answer.set_result(answer)

    def _made(self, read: _Read, page: Page) -> dict[Place, Block]:
        """Blocks from a page; none where the stream is not what the relay takes it for."""
        if page.epoch is not None and page.epoch != read.epoch:
            return {}
        kind, symbol, low, _ = read.wanted
        frames = _frames(kind, symbol, page)
        made: dict[Place, Block] = {}
        for place in read.places:
            _, _, number = place
            end = min((number + 1) * BLOCK, page.last)
            if end < low:
                break
            made[place] = Block(low, [frames.get(seq, b"") for seq in range(low, end + 1)], page)
            low = end + 1
        first = read.places[0]
        if read.known is not None and first in made:
            made[first] = read.known.extended(made[first])
        metrics.REPLAY_BLOCKS.inc(len(made))
        return made

    def _keep(self, place: Place, block: Block) -> None:
        before = self._blocks.pop(place, None)
        self._bytes += block.size - (before.size if before else 0)
        self._blocks[place] = block
        while self._bytes > self._most_bytes and len(self._blocks) > 1:
            metrics.met("replay_cache_bytes")
            self._bytes -= self._blocks.popitem(last=False)[1].size


def _frames(kind: Kind, symbol: str, page: Page) -> dict[int, bytes]:
    """The frame of each entry by its number; what somebody else has added to the stream is passed over."""
    frames: dict[int, bytes] = {}
    for seq, fields in page.entries:
        if fields[-2:] == [b"seq", b"%d" % seq]:
            try:
                frames[seq] = text_frame(codec.entry_message(MESSAGE_TYPE[kind], symbol, fields).encode())
            except ValueError as error:
                log.warning("%s: passed over an entry that is no tick: %r", symbol, error, extra={"symbol": symbol})
    return frames
