"""Blocks of a real stream, shared by those who resume at the same time."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from ticker.errors import StoreUnavailable
from ticker.hub.blocks import BLOCK, Blocks
from ticker.hub.track import Track

PLENTY = 1 << 20


class Counted:
    """The real streams; how often they were read, and when answers come, is in the test's hands."""

    def __init__(self, streams):
        self._streams = streams
        self.trips = 0
        self.free = asyncio.Event()
        self.free.set()
        self.away = False

    async def pages(self, wanted):
        self.trips += 1
        await self.free.wait()
        if self.away:
            raise StoreUnavailable("away")
        return await self._streams.pages(wanted)


@pytest.fixture
def ticks(writer):
    return Counted(writer.streams)


@pytest.fixture
async def track(writer, tape):
    """AAPL's trades, 300 of them."""
    await writer.write(*tape.trades(300))
    (tip,) = await writer.streams.tips("trades", ["AAPL"])
    found = Track("trades", "AAPL")
    found.epoch, found.seq = tip.epoch, tip.end.seq
    return found


@asynccontextmanager
async def reading(ticks, most_bytes=PLENTY, reads=4):
    blocks = Blocks(ticks, most_bytes, reads)
    task = asyncio.create_task(blocks.run())
    try:
        yield blocks
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_thousand_who_want_the_same_cost_one_read(ticks, track):
    """And those that come later none."""
    async with reading(ticks) as blocks:
        answers = await asyncio.gather(*(blocks.fetch(track, 10, track.seq) for _ in range(1_000)))
        assert ticks.trips == 1
        assert len({id(answer) for answer in answers}) == 1
        block = blocks.get(track, 10)
        assert block.take(9, 12)[1] == 3
        assert (await blocks.fetch(track, 20, track.seq)).blocks == {blocks.place(track, 20): block}
        assert ticks.trips == 1


async def test_blocks_of_a_symbol_that_was_let_go_of_do_not_come_back(ticks, track):
    """Whoever follows it later counts anew how often numbers were withdrawn: the content may have changed meanwhile."""
    async with reading(ticks) as blocks:
        await blocks.fetch(track, 10, track.seq)
        later = Track("trades", "AAPL")
        later.epoch, later.seq = track.epoch, track.seq
        assert blocks.get(later, 10) is None
        assert blocks.get(track, 10) is not None


async def test_the_last_block_grows_with_the_stream(ticks, track, writer, tape):
    """What is appended behind it is read, and nothing twice."""
    async with reading(ticks) as blocks:
        await blocks.fetch(track, 290, track.seq)
        assert blocks.get(track, 301) is None
        await writer.write(*tape.trades(5))
        track.seq += 5
        await blocks.fetch(track, 301, track.seq)
        grown = blocks.get(track, 301)
        assert (grown.low, grown.high) == (299 // BLOCK * BLOCK + 1, 305)
        assert grown.take(298, 305)[1] == 7


async def test_a_store_that_is_away_is_told_to_all_who_wait(ticks, track):
    ticks.away = True
    async with reading(ticks) as blocks:
        answers = await asyncio.gather(*(blocks.fetch(track, 1, track.seq) for _ in range(3)))
        assert all(isinstance(answer.failed, StoreUnavailable) for answer in answers)
        ticks.away = False
        assert (await blocks.fetch(track, 1, track.seq)).failed is None


@pytest.mark.limit("replay_cache_bytes")
async def test_what_is_kept_is_bounded(ticks, track):
    """The blocks that nobody has asked for longest go first."""
    async with reading(ticks, most_bytes=15_000) as blocks:
        await blocks.fetch(track, 1, 1)
        await blocks.fetch(track, 1, track.seq)
        await blocks.fetch(track, 1 + BLOCK, track.seq)
        assert blocks.get(track, 1) is None
        assert blocks.get(track, track.seq) is not None
        assert sum(block.size for block in blocks._blocks.values()) == blocks._bytes <= 15_000


@pytest.mark.limit("replay_reads")
async def test_so_many_reads_go_on_at_once(ticks, track):
    """One that is wanted beyond waits its turn."""
    ticks.free.clear()
    async with reading(ticks, reads=1) as blocks:
        first = blocks.fetch(track, 1, 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert ticks.trips == 1
        second = blocks.fetch(track, 1 + BLOCK, 1 + BLOCK)
        await asyncio.sleep(0)
        assert ticks.trips == 1
        ticks.free.set()
        await asyncio.gather(first, second)
        assert ticks.trips == 2
