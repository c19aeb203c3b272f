"""Streams and chunks in Redis with the archive behind them, read as if they were one: the same questions, no seam.

What Redis holds comes from Redis; what is older than the oldest that it holds, from the archive. Where Redis begins is
asked in the same transaction as the page, so that nothing is missed or doubled while it is trimmed.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TypeVar

from ticker import metrics
from ticker.archive.archive import Archive
from ticker.archive.index import Known
from ticker.archive.layout import END, FIRST, Place
from ticker.candles.candle import Candles
from ticker.candles.interval import Interval
from ticker.store.append import StreamEnd
from ticker.store.archived import Archived
from ticker.store.candle_store import CHUNKS_PER_READ, CandleReader, Oldest, StoredCandles
from ticker.store.chunks import CHUNK_CANDLES
from ticker.store.tick_stream import ENTRIES_PER_READ, Entry, Kind, TickReader, Tip

T = TypeVar("T")

CANDLES_PER_READ = CHUNK_CANDLES * CHUNKS_PER_READ
BOUND = re.compile(r"(\(?)([0-9]+)(?:-([0-9]+))?")
"""An id as the commands of streams take it."""


class ArchiveThreads:
    """Reads the archive beside the loop, so many reads at once: those of live messages need the processor too."""

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)

    async def run(self, read: Callable[[], T]) -> T:
        """What `read` gives, done in a thread when its turn has come."""
        began_s = perf_counter()
        if self._free.locked():
            metrics.met("archive_reads")
        async with self._free:
            found = await asyncio.to_thread(read)
        metrics.ARCHIVE_SECONDS.observe(perf_counter() - began_s)
        return found


class SpanningTicks:
    """Reads ticks: `ticker.store.tick_stream.TickSource`."""

    def __init__(self, streams: TickReader, archive: Archive, threads: ArchiveThreads) -> None:
        self._streams = streams
        self._archive = archive
        self._threads = threads

    async def tips(self, kind: Kind, symbols: Sequence[str]) -> list[Tip]:
        """Where the streams of these symbols stand, each at one moment; one without a tick stands behind what is archived."""
        tips = await self._streams.tips(kind, symbols)
        return [
            tip if tip.epoch is not None else Tip(None, await self._end(kind, symbol), None)
            for symbol, tip in zip(symbols, tips, strict=True)
        ]

    async def _end(self, kind: Kind, symbol: str) -> StreamEnd:
        """The end of a stream that has no tick: later ones will be later than all that is archived."""
        listing = await self._threads.run(lambda: self._archive.index.of(kind, symbol))
        last = max((stretch.high for stretch in listing.stretches), default=FIRST)
        return StreamEnd(0, last.at + 1)

    async def read(self, kind: Kind, symbol: str, first: str, last: str, *, newest: bool = False) -> list[Entry]:
        """Entries with ids from `first` to `last`, at most `ENTRIES_PER_READ`: the oldest, or the newest first."""
        kept = await self._streams.read_kept(kind, symbol, first, last, newest=newest)
        low, high = _low(first), _high(last)
        begins = END if kept.oldest is None else Place(*kept.oldest)
        room = ENTRIES_PER_READ - len(kept.entries) if newest else ENTRIES_PER_READ
        if low >= begins or not room:
            return kept.entries
        known = _known(kept.archived, begins)
        archived = await self._threads.run(
            lambda: self._archive.ticks(kind, symbol, low, min(high, begins), room, newest=newest, known=known)
        )
        if newest:
            return kept.entries + archived
        return archived + kept.entries[: ENTRIES_PER_READ - len(archived)]

    async def oldest(self, kind: Kind, symbol: str) -> Entry | None:
        """The first entry of both."""
        return next(iter(await self.read(kind, symbol, "-", "+")), None)

    async def archived(self, kind: Kind, symbol: str, first_seq: int, count: int) -> list[Entry]:
        """Archived ticks by their numbers, for what streams do not reach back to; see `Archive.read`."""
        return await self._threads.run(lambda: self._archive.read(kind, symbol, first_seq, count))


class SpanningCandles:
    """Reads candles: `ticker.store.candle_store.CandleSource`."""

    def __init__(self, chunks: CandleReader, archive: Archive, threads: ArchiveThreads) -> None:
        self._chunks = chunks
        self._archive = archive
        self._threads = threads

    async def read(
        self, symbol: str, base: Interval, start: int, end: int, *, newest: bool, chunks: int = CHUNKS_PER_READ
    ) -> StoredCandles:
        """Candles with start <= time < end, a bounded number of them: the newest or the oldest."""
        stored = await self._chunks.read(symbol, base, start, end, newest=newest, chunks=chunks)
        begins = _begin(stored)
        if start >= begins or end <= start or (newest and not stored.complete):
            return stored
        known = _known(await self._chunks.archived(symbol, base), Place(begins))
        archived, complete = await self._threads.run(
            lambda: self._archive.candles(
                symbol, base, start, min(end, begins), CANDLES_PER_READ, newest=newest, known=known
            )
        )
        if newest or complete:
            archived = Candles.joined([archived, stored.closed])
            complete = complete and stored.complete
        return StoredCandles(archived, stored.open, complete, stored.epoch, stored.trades, stored.oldest)

    async def tail(self, symbol: str, base: Interval, since: int) -> list[Candles]:
        """The newest chunks, whole, in order of time, back to the one that holds `since`."""
        return await self._chunks.tail(symbol, base, since)

    async def oldest(self, symbol: str, base: Interval) -> Oldest | None:
        """The oldest candle; None where there is none."""
        stored = await self._chunks.oldest(symbol, base)
        found = await self._threads.run(lambda: self._archive.oldest(f"candles_{base.name}", symbol))
        if found is None or (stored and stored.time <= found.at):
            return stored
        return Oldest(found.at, forming=False)


def _known(archived: Archived, begins: Place) -> Known:
    """What must have been seen of the archive: what lies beyond Redis' oldest is not needed."""
    reaches = FIRST if archived.place is None else Place(*archived.place)
    return Known(min(reaches, begins), archived.imports)


def _begin(stored: StoredCandles) -> int:
    """The open time of the oldest candle in Redis, closed or not."""
    opened = [candle.time for candle in stored.open]
    return min([*opened, *([] if stored.oldest is None else [stored.oldest])], default=END.at)


def _low(first: str) -> Place:
    """The first place that a lower bound lets in."""
    if first == "-":
        return FIRST
    outside, ms, seq = _bound(first)
    return Place(ms, seq + 1 if outside and seq is not None else seq or 0)


def _high(last: str) -> Place:
    """The first place that an upper bound does not let in."""
    if last == "+":
        return END
    outside, ms, seq = _bound(last)
    if seq is None:
        return Place(ms + 1)
    return Place(ms, seq if outside else seq + 1)


def _bound(text: str) -> tuple[bool, int, int | None]:
    found = BOUND.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no bound of a stream")
    return bool(found[1]), int(found[2]), None if found[3] is None else int(found[3])
