"""Opens what a configuration says of the archive; loads pyarrow only where it says something, as that takes time and memory."""

from typing import TYPE_CHECKING

from ticker.config import Config
from ticker.store.candle_store import CandleReader, CandleSource
from ticker.store.tick_stream import TickReader, TickSource

if TYPE_CHECKING:
    from ticker.archive.archive import Archive


def open_archive(config: Config) -> "Archive | None":
    """The archive of a configuration; None where there is none. Raises `ConfigError`."""
    if config.archive.url is None:
        return None
    from ticker.archive.archive import Archive
    from ticker.archive.storage import open_storage

    limits = config.limits
    storage = open_storage(config.archive.url)
    return Archive(storage, config.market.zone, limits.archive_footers, limits.archive_listings)


def sources(config: Config, chunks: CandleReader, streams: TickReader) -> tuple[CandleSource, TickSource]:
    """What history reads from: Redis, with the archive behind it where there is one."""
    archive = open_archive(config)
    if archive is None:
        return chunks, streams
    from ticker.archive.spanning import ArchiveThreads, SpanningCandles, SpanningTicks

    threads = ArchiveThreads(config.limits.archive_reads)
    return SpanningCandles(chunks, archive, threads), SpanningTicks(streams, archive, threads)
