"""What the commands of the archive do: archive now, list what there is, verify it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from ticker.archive.archive import Archive
from ticker.archive.layout import CANDLES, KINDS
from ticker.archive.opening import open_archive
from ticker.config import Config
from ticker.errors import ConfigError
from ticker.ingest.archiver import Archiver
from ticker.store import catalog, keys
from ticker.store.connection import answers


def needed_archive(config: Config) -> Archive:
    """The archive of a configuration; raises `ConfigError` where there is none."""
    archive = open_archive(config)
    if archive is None:
        raise ConfigError("archive.url is not set; allowed: a folder, or the URL of an object store")
    archive.check()
    return archive


def archived_symbols(archive: Archive, wanted: Sequence[str]) -> list[str]:
    """The symbols that were asked for, or all; refuses those that the archive does not know."""
    found = sorted({symbol for kind in KINDS for symbol in archive.symbols(kind)})
    if unknown := [symbol for symbol in wanted if symbol not in found]:
        known = ", ".join(found[:10]) + (" ..." if len(found) > 10 else "")
        raise ConfigError(f"symbol {unknown[0]!r} is not in the archive; it has {known or 'none'}")
    return list(wanted or found)


async def archive_now(
    client: Redis, config: Config, archive: Archive, symbols: Sequence[str]
) -> AsyncIterator[tuple[str, int]]:
    """Archive each symbol as the job of the ingester does: how many rows that were."""
    final_us = config.candles.grace_ms * 1000 + config.candles.lateness_s * 1_000_000
    archiver = Archiver(archive, client, config.market.zone, final_us)
    rows = await catalog.read(client)
    with answers("symbols"):
        found: Any = await client.hgetall(keys.CLOCKS)
    clocks = {feed.decode(): int(clock) for feed, clock in found.items()}
    for symbol in symbols:
        count = await archiver.archive(symbol, clocks.get(str(rows[symbol].get("feed")), 0))
        await archiver.compact(symbol)
        yield symbol, count


def listed(archive: Archive, symbol: str) -> Iterator[list[str]]:
    """A line for each kind of which there is something: files, rows, first and last time."""
    for kind in KINDS:
        listing = archive.index.again(kind, symbol)
        if not listing.stretches:
            continue
        first, last = listing.stretches[0].low.at, max(stretch.high.at for stretch in listing.stretches)
        unit = 1_000_000 if kind in CANDLES else 1_000
        rows = sum(stretch.file.rows for stretch in listing.stretches)
        yield [symbol, kind, str(len(listing.files)), str(rows), _when(first / unit), _when(last / unit)]


def _when(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
