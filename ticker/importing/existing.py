"""Finds where the live record of each symbol begins, before which imports end, and the outages in it, into which they go."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from feeds.listings import replayed_listing
from ticker.archive import tables
from ticker.archive.archive import Archive
from ticker.archive.layout import CANDLES, File
from ticker.candles.candle import Origin
from ticker.candles.interval import INTERVALS, STORED, bounds
from ticker.store import archived, catalog, keys, outages
from ticker.store.candle_store import CandleReader
from ticker.store.tick_stream import KINDS, TickReader

FEED = "import"
"""The feed of symbols that were only imported."""


async def days_free_before(client: Redis, archive: Archive) -> dict[str, int]:
    """For each symbol with a live record, the midnight that opens its first day, by Redis and by the archive."""
    found = {}
    for symbol in await catalog.read(client):
        times = [time for time in await _times(client, symbol) if time is not None]
        archived = await asyncio.to_thread(live_since, archive, symbol)
        first = min([*times, *([] if archived is None else [archived])], default=None)
        if first is not None:
            found[symbol] = bounds(INTERVALS["1d"], first, archive.zone)[0]
    return found


async def _times(client: Redis, symbol: str) -> list[int | None]:
    """When what Redis has begins: ticks by their stream ids, candles by their open times."""
    streams, chunks = TickReader(client), CandleReader(client)
    kept = [await streams.read_kept(kind, symbol, "-", "-", newest=False) for kind in KINDS]
    oldest = [await chunks.oldest(symbol, base) for base in STORED]
    return [
        *(None if one.oldest is None else one.oldest[0] * 1000 for one in kept),
        *(None if one is None else one.time for one in oldest),
    ]


@dataclass(frozen=True, slots=True)
class Holes:
    """The times of a symbol's live record in which something may be missing."""

    times: tuple[tuple[int, int], ...]
    """Outages that are over, in order; those that touch are one."""
    final: int
    """No live trade of before this moment is accepted any more; no outage ends later."""


async def holes(client: Redis, late_us: int, now: int) -> dict[str, Holes]:
    """Those of every symbol that has any; `late_us`: how late behind its feed's clock a trade may come."""
    by_feed: dict[str, Holes] = {}
    found = {}
    clocks: Any = await client.hgetall(keys.CLOCKS)
    for symbol, listing in (await catalog.read(client)).items():
        feed = str(listing.get("feed", ""))
        if feed not in by_feed:
            final = min(int(clocks.get(feed.encode(), 0)), now) - late_us
            over, _ = await outages.read(client, feed)
            by_feed[feed] = Holes(_joined([(one.begin, min(one.end or 0, final)) for one in over]), final)
        if by_feed[feed].times:
            found[symbol] = by_feed[feed]
    return found


def _joined(times: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """In order, those that touch or overlap as one."""
    made: list[tuple[int, int]] = []
    for begin, end in sorted(one for one in times if one[0] < one[1]):
        if made and begin <= made[-1][1]:
            made[-1] = made[-1][0], max(made[-1][1], end)
        else:
            made.append((begin, end))
    return tuple(made)


async def tell(client: Redis, symbols: Sequence[str]) -> list[str]:
    """Tell gateways what has more history now, and write down symbols that the store does not know; which these are."""
    known = await catalog.read(client)
    new = [symbol for symbol in symbols if symbol not in known]
    for symbol in symbols:
        await archived.note_import(client, symbol)
    if new:
        await catalog.check_schema(client)
        await catalog.register(client, [replayed_listing(symbol) for symbol in new], FEED)
    return new


def live_since(archive: Archive, symbol: str) -> int | None:
    """The time of the oldest row that was not imported, in microseconds; None where there is none.

    What was imported lies before all else, so the first file that has something else is found by halving.
    """
    found = [
        stretch.low.at * 1000
        for kind in ("trades", "quotes")
        for stretch in archive.index.again(kind, symbol).stretches
        if stretch.file.generation
    ]
    for kind in CANDLES:
        parts = archive.index.again(kind, symbol).stretches
        low, high = 0, len(parts)
        while low < high:
            middle = (low + high) // 2
            if _live_times(archive, parts[middle].file):
                high = middle
            else:
                low = middle + 1
        if low < len(parts):
            found.append(min(_live_times(archive, parts[low].file)))
    return min(found, default=None)


def _live_times(archive: Archive, file: File) -> list[int]:
    candles = tables.candles_of(archive.files.table(file))
    times: list[int] = candles.time[candles.column("origin") != Origin.IMPORT].tolist()
    return times
