"""Runs every feed of a configuration, on the scheduler, from the claim of its symbols to an end in order."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic, time_ns
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from feeds.feed import CLOCK_END, Feed, HistoryFeed
from feeds.tick import Listing
from ticker import metrics
from ticker.calendar import feed_hours
from ticker.candles.interval import STORED
from ticker.config import Config, FeedConfig
from ticker.errors import ArchiveError, ConfigError, StoreError, StoreUnavailable
from ticker.ingest.append_queue import Parts
from ticker.ingest.backfill import Backfiller, Reach
from ticker.ingest.batch_writer import BatchWriter
from ticker.ingest.feed_runner import STANDBY_S, FeedRunner
from ticker.ingest.heartbeat import Heartbeat
from ticker.ingest.housekeeping import Housekeeping
from ticker.ingest.opening import Opening
from ticker.ingest.scheduler import Scheduler
from ticker.ingest.symbol_writer import WriterRules
from ticker.ingest.vigil import Vigil, Watchdog
from ticker.store import catalog
from ticker.store.append import Appender
from ticker.store.candle_store import CandleReader
from ticker.store.claim import Claims
from ticker.store.lease import Lease
from ticker.store.tick_stream import TickReader

if TYPE_CHECKING:
    from ticker.archive.archive import Archive
    from ticker.ingest.archiver import Archiver

log = logging.getLogger(__name__)

HOUSEKEEPING_S = 60.0
BACKFILL_S = 1.0
ARCHIVE_LOOK_S = 1.0
ARCHIVE_RETRY_S = 60.0
"""An archive that could not be written is tried again this soon, however seldom it is written."""


def wall_us() -> int:
    """The wall clock, in microseconds since the Unix epoch."""
    return time_ns() // 1000


class Ingester:
    """All feeds of a configuration, and the jobs that keep the store tidy."""

    def __init__(
        self,
        client: Redis,
        config: Config,
        feeds: Sequence[Feed],
        now_us: Callable[[], int] = wall_us,
        *,
        archive: "Archive | None" = None,
        restored: bool = False,
    ) -> None:
        """`restored`: the store may hold an earlier copy, whatever it says of itself."""
        self._client = client
        self._config = config
        self._now_us = now_us
        candles = config.candles
        max_len = config.retention.max_len
        if archive is not None:
            # Trimming to that length is left to housekeeping, which knows what is archived.
            max_len = max(max_len, config.limits.unarchived_ticks)
        rules = WriterRules(
            config.market.zone,
            candles.grace_ms * 1000,
            candles.lateness_s * 1_000_000,
            max_len,
            config.limits.kept_ticks,
        )
        self._archiver = None if archive is None else _archiver(archive, client, rules)
        self._archive_due_s: dict[str, float] = {}
        self._housekeeping = Housekeeping(client, config, self._archiver)
        ahead_us, buffered = config.limits.tick_ahead_s * 1_000_000, config.limits.buffered_ticks
        self._candles, self._ticks = CandleReader(client), TickReader(client)
        self._lease = Lease(client)
        claims, appender = Claims(client, self._lease, restored=restored), Appender(client, self._lease.id)
        parts = Parts(claims, appender, self._candles, self._ticks, self._check_layout, self._register)
        self._feeds = config.feeds
        self._doubt = asyncio.Event()
        self._hours = feed_hours(config, now_us())

        self._watchdog = Watchdog()

        def runner(settings: FeedConfig, feed: Feed) -> FeedRunner:
            name = settings.name
            opening = Opening(config.market.calendar, self._hours[name], now_us(), rules.lateness_us)
            writer, vigil = (
                BatchWriter(name, rules, ahead_us, parts),
                Vigil(settings.poll_ms / 1000, settings.silence_s),
            )
            return FeedRunner(name, feed, writer, buffered, now_us, opening, vigil, self._watchdog)

        self.runners = [runner(settings, feed) for settings, feed in zip(config.feeds, feeds, strict=True)]
        self._backfillers = [
            (runner, Backfiller(feed, self._candles, self._reach(feed)))
            for runner in self.runners
            if (feed := runner.history())
        ]
        one_feed_a_symbol(config.feeds, feeds)

    async def run(self) -> None:
        """Ingest until cancelled; then append what is left and close the feeds."""
        scheduler = Scheduler(lambda: self._now_us() / 1_000_000)
        for feed_config, runner in zip(self._feeds, self.runners, strict=True):
            scheduler.every(feed_config.poll_ms / 1000, f"poll {runner.name}", runner.poll)
            if feed_config.trading_hours == "sessions":
                changes = self._hours[runner.name].next_change
                scheduler.at(changes, f"open or close {runner.name}", runner.keep_hours)
        scheduler.every(STANDBY_S, "take over", self.take_over)
        scheduler.every(HOUSEKEEPING_S, "housekeeping", self.tidy)
        if self._archiver:
            scheduler.every(ARCHIVE_LOOK_S, "archive", self.archive)
        if self._backfillers:
            scheduler.every(BACKFILL_S, "backfill", self.backfill)
        heartbeat = Heartbeat(self._client, self._lease, self.runners, self._now_us, self._doubt.set, self._hours)
        scheduler.start()
        self._watchdog.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(scheduler.watch())
                group.create_task(heartbeat.run())
                group.create_task(self._verify())
        finally:
            if self._archiver:
                self._archiver.stop()
            await scheduler.stop()
            self._watchdog.stop()
            # One that fails at its end must not keep the others from theirs.
            results = await asyncio.gather(*(runner.close() for runner in self.runners), return_exceptions=True)
            for runner, result in zip(self.runners, results, strict=True):
                if isinstance(result, Exception):
                    log.error("feed %s: %r while closing", runner.name, result, extra={"feed": runner.name})
            with suppress(StoreUnavailable):
                # Others need not wait until it runs out.
                await self._lease.release()

    def status(self) -> dict[str, dict[str, object]]:
        """Each feed's state, reason and clock, as the heartbeat carries them."""
        return {runner.name: runner.status() for runner in self.runners}

    async def _verify(self) -> None:
        """Whenever there is doubt, make sure of all symbols: most of them may have no tick for long."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            await asyncio.gather(*(runner.verify() for runner in self.runners))

    async def take_over(self) -> None:
        """Try to take feeds over that stand by: their own polls may be rare."""
        for runner in self.runners:
            if not runner.is_writing:
                await runner.poll()

    async def tidy(self) -> None:
        """Forget ticks and candles that are older than they are kept."""
        for runner in self.runners:
            # The last clock of an ended replay is no time to count from; a feed that stands by has none.
            if not 0 < runner.clock < CLOCK_END:
                continue
            for listing in runner.listings():
                await self._housekeeping.trim(listing.symbol, runner.clock)

    async def archive(self) -> None:
        """Write to the archive what it does not have of the feeds whose turn it is: first once they have begun."""
        for runner in self.runners:
            if runner.clock and monotonic() >= self._archive_due_s.get(runner.name, 0.0):
                every_s = self._config.archive.every_s
                whole = await self._archive_feed(runner)
                self._archive_due_s[runner.name] = monotonic() + (every_s if whole else min(every_s, ARCHIVE_RETRY_S))

    async def _archive_feed(self, runner: FeedRunner) -> bool:
        """Archive one feed's symbols; whether that was all. One that cannot be keeps no other from it."""
        assert self._archiver is not None
        whole = True
        for listing in runner.listings():
            try:
                await self._archiver.archive(listing.symbol, runner.clock)
                await self._archiver.compact(listing.symbol)
            except StoreUnavailable:
                # The runner reports it.
                return False
            except (StoreError, ConfigError) as error:
                metrics.ARCHIVE_FAILURES.inc()
                fields = {"feed": runner.name, "symbol": listing.symbol}
                log.error("%s cannot be archived for now: %s", listing.symbol, error, extra=fields)
                whole = False
                if isinstance(error, ArchiveError | ConfigError):
                    return False
        return whole

    async def backfill(self) -> None:
        """Store what feeds know of before their first tick: most often there is nothing left to do."""
        for runner, backfiller in self._backfillers:
            with suppress(StoreUnavailable):
                # The runners report it, and the next turn goes on.
                await runner.backfill(backfiller)

    def _reach(self, feed: HistoryFeed) -> Reach:
        kept = {base.name: self._config.retention.candles.of(base.name) for base in STORED}
        return Reach.of(feed, kept, self._config.market.zone)

    async def _check_layout(self) -> None:
        await catalog.check_schema(self._client)

    async def _register(self, listings: Sequence[Listing], feed: str) -> None:
        await catalog.register(self._client, listings, feed, self._lease.id)


def _archiver(archive: "Archive", client: Redis, rules: WriterRules) -> "Archiver":
    # It brings pyarrow with it, which nobody else needs.
    from ticker.ingest.archiver import Archiver

    return Archiver(archive, client, rules.zone, rules.grace_us + rules.lateness_us)


def one_feed_a_symbol(configs: Sequence[FeedConfig], feeds: Sequence[Feed]) -> None:
    """Refuse two feeds that both send a symbol: its numbers could not count both."""
    owner: dict[str, str] = {}
    for config, feed in zip(configs, feeds, strict=True):
        for listing in feed.symbols():
            if other := owner.get(listing.symbol):
                raise ConfigError(
                    f"feeds: {listing.symbol} is in both {other!r} and {config.name!r}; a symbol has one feed"
                )
            owner[listing.symbol] = config.name
