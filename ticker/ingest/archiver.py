"""Writes what Redis holds, and the archive does not, to the archive."""

import asyncio
import logging
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from redis.asyncio import Redis

from feeds.feed import CLOCK_END
from ticker import metrics
from ticker.archive.archive import Archive
from ticker.archive.changing import change_candles
from ticker.archive.compaction import compact
from ticker.archive.layout import FIRST, KINDS, Place
from ticker.candles.candle import Candles
from ticker.candles.interval import STORED, Interval, bounds
from ticker.store import archived
from ticker.store.candle_store import TIME_MAX, CandleReader
from ticker.store.tick_stream import ENTRIES_PER_READ, Entry, Kind, TickReader
from ticker.store.tick_stream import KINDS as TICK_KINDS

log = logging.getLogger(__name__)

ROWS_PER_FILE = 16_384
"""Ticks that are held in memory until they are a file."""


@dataclass(frozen=True, slots=True)
class Done:
    """Up to where a symbol's ticks of one kind are archived, under which epoch."""

    epoch: str
    generation: int
    last: Place


class Archiver:
    """Archives symbol by symbol; what it was doing when it was killed, it does again, with the same result."""

    def __init__(self, archive: Archive, client: Redis, zone: ZoneInfo, final_us: int) -> None:
        """`final_us`: how long after its end a candle can still change."""
        self._archive = archive
        self._client = client
        self._streams, self._chunks = TickReader(client), CandleReader(client)
        self._zone = zone
        self._final_us = final_us
        self._done: dict[tuple[Kind, str], Done] = {}
        self._candles_done: dict[tuple[str, str], int] = {}
        self._noted: dict[tuple[str, str], Place] = {}
        self._turn = asyncio.Lock()
        self._stopping = False

    def stop(self) -> None:
        """Write no further file: what is left is for the next process."""
        self._stopping = True

    def done(self, kind: Kind, symbol: str, epoch: str | None) -> Place | None:
        """The id up to which ticks are archived, as far as is known; None where nothing is."""
        done = self._done.get((kind, symbol))
        return done.last if done and done.epoch == epoch and done.last > FIRST else None

    def candles_done(self, symbol: str, base: Interval) -> int | None:
        """The open time of the last archived candle, as far as is known; None where nothing is."""
        return self._candles_done.get((symbol, base.name))

    async def archive(self, symbol: str, clock: int) -> int:
        """Archive what there is of a symbol, at this clock of its feed; how many rows. Raises `StoreError`."""
        async with self._turn:
            rows = 0
            for kind in TICK_KINDS:
                rows += await self._archive_ticks(kind, symbol)
            if clock and not self._stopping:
                for base in STORED:
                    rows += await self._archive_candles(symbol, base, clock)
            return rows

    async def compact(self, symbol: str) -> int:
        """Make one file of the many of a day; how many are less."""
        async with self._turn:
            kinds = () if self._stopping else KINDS
            return sum([await asyncio.to_thread(compact, self._archive, kind, symbol) for kind in kinds])

    # Ticks

    async def _archive_ticks(self, kind: Kind, symbol: str) -> int:
        (tip,) = await self._streams.tips(kind, [symbol])
        if tip.epoch is None or not tip.end.seq:
            return 0
        done, before = await asyncio.to_thread(self._reached, kind, symbol, tip.epoch)
        rows = 0
        while not self._stopping and (entries := await self._next(kind, symbol, done.last)):
            (again,) = await self._streams.tips(kind, [symbol])
            if again.epoch != tip.epoch:
                # These numbers may be others by now: the next run knows.
                return rows
            self._note_lost(kind, symbol, before, entries[0].seq)
            await asyncio.to_thread(self._archive.write_ticks, kind, symbol, done.generation, done.epoch, entries)
            done = Done(done.epoch, done.generation, Place(entries[-1].ms, entries[-1].seq))
            before = done.last
            rows += len(entries)
            metrics.ARCHIVED_ROWS.labels(kind).inc(len(entries))
            await self._note(kind, symbol, done.last)
        self._done[kind, symbol] = done
        await self._note(kind, symbol, done.last)
        return rows

    def _reached(self, kind: Kind, symbol: str, epoch: str) -> tuple[Done, Place]:
        """From where to go on, and the last that the archive has of any live epoch.

        A new epoch is written from the oldest tick that the store has: some of the last one's numbers may be withdrawn.
        """
        newest = self._archive.index.of(kind, symbol).newest
        if newest is None or not newest.generation:
            return Done(epoch, 1, FIRST), FIRST
        if newest.epoch == epoch:
            return Done(epoch, newest.generation, newest.last), newest.last
        return Done(epoch, newest.generation + 1, FIRST), newest.last

    async def _next(self, kind: Kind, symbol: str, after: Place) -> list[Entry]:
        """The ticks that follow, without a hole, as many as a file takes."""
        found: list[Entry] = []
        first = f"({after.at}-{after.seq}"
        while len(found) < ROWS_PER_FILE:
            page = await self._streams.read(kind, symbol, first, "+")
            for entry in page:
                if found and entry.seq != found[-1].seq + 1:
                    return found
                found.append(entry)
            if len(page) < ENTRIES_PER_READ:
                break
            first = f"({page[-1].ms}-{page[-1].seq}"
        return found

    def _note_lost(self, kind: Kind, symbol: str, before: Place, first: int) -> None:
        """Say it where ticks have left the store that nobody had archived."""
        if before.seq and first > before.seq + 1:
            count = first - before.seq - 1
            metrics.ARCHIVE_LOST.labels(kind).inc(count)
            log.error(
                "%s %s: %d ticks, %d to %d, were trimmed before they were archived: they are lost",
                symbol,
                kind,
                count,
                before.seq + 1,
                first - 1,
                extra={"symbol": symbol},
            )

    # Candles

    async def _archive_candles(self, symbol: str, base: Interval, clock: int) -> int:
        kind = f"candles_{base.name}"
        last = (await asyncio.to_thread(self._archive.index.of, kind, symbol)).last
        low = last.at + 1 if last > FIRST else 0
        high = TIME_MAX
        if clock < CLOCK_END:
            high = bounds(base, max(clock - self._final_us, 0), self._zone)[0]
        rows, complete = 0, low >= high
        while not complete and not self._stopping:
            block = await self._chunks.read(symbol, base, low, high, newest=False)
            complete = block.complete or not len(block.closed)
            rows += await self._write_candles(symbol, base, block.closed)
            if len(block.closed):
                low = int(block.closed.time[-1]) + 1
                last = Place(low - 1)
        if last > FIRST and not self._stopping:
            await self._archive_again(symbol, base, last.at)
        if last > FIRST:
            self._candles_done[symbol, base.name] = last.at
            await self._note(kind, symbol, last)
        return rows

    async def _archive_again(self, symbol: str, base: Interval, last: int) -> None:
        """Archive anew what was imported into outages after it had been archived, up to what is archived."""
        noted = await archived.again(self._client, symbol, base.name)
        if noted is None:
            return
        low, high = noted[0], min(noted[1], last + 1)
        while low < high and not self._stopping:
            block = await self._chunks.read(symbol, base, low, high, newest=False)
            if len(block.closed):
                await asyncio.to_thread(change_candles, self._archive, symbol, base, block.closed)
                low = int(block.closed.time[-1]) + 1
            if block.complete or not len(block.closed):
                await archived.done_again(self._client, symbol, base.name, noted)
                return

    async def _write_candles(self, symbol: str, base: Interval, candles: Candles) -> int:
        if len(candles):
            await asyncio.to_thread(self._archive.write_candles, symbol, base, candles)
            metrics.ARCHIVED_ROWS.labels(f"candles_{base.name}").inc(len(candles))
        return len(candles)

    async def _note(self, kind: str, symbol: str, last: Place) -> None:
        """Let gateways know; once for each place, and once more for each start, as the store may have been lost."""
        if last > FIRST and self._noted.get((kind, symbol)) != last:
            await archived.note(self._client, symbol, kind, last)
            self._noted[kind, symbol] = last
