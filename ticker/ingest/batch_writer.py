"""Puts polled batches into the store, in order: what is neither late nor impossible of each, parted by symbol."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

from feeds.feed import Batch, Stored
from feeds.tick import Listing, Quote, Tick, Trade
from ticker import metrics
from ticker.errors import BadTick, DuplicateTick, LateTick, RefusedTick
from ticker.ingest.append_queue import AppendQueue, Parts, Share, fences
from ticker.ingest.backfill import Backfill
from ticker.ingest.feed_clock import FeedClock
from ticker.ingest.symbol_writer import WriterRules

log = logging.getLogger(__name__)

KNOWN = frozenset({Trade, Quote})


class BatchWriter:
    """The batches of one feed that are not stored yet; the oldest is being stored."""

    def __init__(self, feed: str, rules: WriterRules, ahead_us: int, parts: Parts) -> None:
        self.clock = 0
        """The feed clock up to which everything is stored."""
        self.buffered = 0
        """Ticks in the batches that are not stored."""
        self._feed = feed
        self._rules = rules
        self._parts = parts
        self._queue = AppendQueue(feed, rules, parts, self._refuse)
        self._floors: dict[str, int] = {}
        self._feed_clock = FeedClock(rules.lateness_us, ahead_us)
        self._batches: deque[Batch] = deque()
        self._is_parted = False
        """Whether the oldest batch is in the queue."""
        self._backfills: dict[str, Backfill] = {}
        self._backfills_taken = asyncio.Event()

    async def claim(self, listings: Sequence[Listing]) -> dict[str, Stored]:
        """Become the writer of these symbols; what is stored of each that has ticks.

        Raises `HeldError` where another ingester writes them, or `StoreUnavailable`.
        """
        await self._queue.claim(listings)
        stored = {
            symbol: Stored(writer.newest_time, writer.cursor)
            for symbol, writer in self._queue.writers.items()
            if any(writer.ends)
        }
        # A restart lets nothing in that was late before. Each symbol counts for itself: after a kill in the middle of a
        # batch, some of them have yet to get what the others have.
        self._floors = {symbol: held.time - self._rules.lateness_us for symbol, held in stored.items()}
        return stored

    def not_backfilled(self) -> list[str]:
        """The symbols of which nothing is stored, or about to be, of before their first tick."""
        writers = self._queue.writers.items()
        return [symbol for symbol, writer in writers if not writer.backfilled and symbol not in self._backfills]

    async def backfill(self, backfills: Mapping[str, Backfill], wait_s: float) -> bool:
        """Store these with the next batch; whether that took them in time. One that comes too late is let go of."""
        self._backfills |= backfills
        self._backfills_taken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._backfills_taken.wait()
        return not self._backfills

    def put(self, batch: Batch) -> None:
        """Queue a batch."""
        if not isinstance(batch, Batch) or not isinstance(batch.ticks, Sequence) or batch.clock.__class__ is not int:
            raise TypeError(f"the feed gave {batch!r:.80}, expected a feeds.feed.Batch with a list of ticks")
        self._batches.append(batch)
        self._count_buffered(_weight(batch))

    def doubt(self) -> None:
        """The store may have lost something: what it has is compared with what was appended before anything else is."""
        self._queue.doubt()

    async def drain(self) -> None:
        """Store what is queued; calling again goes on where an error has ended it.

        Raises `StoreUnavailable`, or `FencedError` or `HeldError` where another ingester has taken the symbols over.
        """
        await self._queue.flush()
        while self._batches:
            if not self._is_parted:
                batch = self._batches[0]
                self._queue.add(self._part(batch), self._feed_clock.end(batch.clock))
                self._is_parted = True
            await self._queue.flush()
            self._is_parted = False
            self.clock = self._queue.clock
            self._count_buffered(-_weight(self._batches.popleft()))

    @property
    def has_claimed(self) -> bool:
        """Whether it has become the writer of its symbols."""
        return bool(self._queue.writers)

    async def end(self) -> None:
        """Store what is queued and say that nothing is missing; raises what `drain` does."""
        await self.drain()
        await self._parts.claims.mark_clean(fences(self._queue.writers))

    def drop(self) -> int:
        """Let go of everything, as somebody else writes the symbols now; how many ticks were not stored."""
        dropped = self.buffered
        self._batches.clear()
        self._is_parted = False
        self._queue.clear()
        self._backfills.clear()
        self._backfills_taken.set()
        self._count_buffered(-dropped)
        self.clock = 0
        return dropped

    def _part(self, batch: Batch) -> list[Share]:
        """Every symbol's share of a batch, without ticks that come too late or have an impossible time."""
        self._feed_clock.begin(batch.clock)
        writers = self._queue.writers
        shares: dict[str, list[Tick]] = {}
        admit = self._feed_clock.admit
        for tick in batch.ticks:
            try:
                if tick.__class__ not in KNOWN:
                    raise BadTick("tick", tick, "a feeds.tick.Trade or Quote")
                if tick.symbol.__class__ is not str or tick.symbol not in writers:
                    raise BadTick("symbol", tick.symbol, "one of the symbols that the feed announced")
                admit(tick.time)
                if tick.time < self._floors.get(tick.symbol, 0):
                    raise LateTick(
                        tick.time, self._floors[tick.symbol] + self._rules.lateness_us, self._rules.lateness_us
                    )
            except RefusedTick as error:
                self._refuse(tick, error)
            else:
                shares.setdefault(tick.symbol, []).append(tick)
        for symbol, backfill in self._backfills.items():
            writers[symbol].precede(backfill)
        self._backfills.clear()
        self._backfills_taken.set()
        clock = self._feed_clock.end(batch.clock)
        # Candles close for all symbols at the same moment: ticks do not wait behind those that close without any.
        due = [symbol for symbol, writer in writers.items() if symbol not in shares and writer.due(clock)]
        shares |= {symbol: [] for symbol in due}
        return [Share(symbol, share, batch.cursor) for symbol, share in shares.items()]

    def _refuse(self, tick: Tick, error: RefusedTick) -> None:
        """Count a tick that is not stored; bad ones are a feed's mistake, which somebody should hear of."""
        reason = {LateTick: "late", DuplicateTick: "duplicate"}.get(type(error), "bad")
        metrics.REFUSED_TICKS.labels(self._feed, reason).inc()
        if reason == "late":
            metrics.met("lateness_s")
        if reason == "bad":
            symbol = getattr(tick, "symbol", "?")
            fields = {"feed": self._feed, "symbol": symbol}
            log.warning("feed %s: refused a tick of %s: %s", self._feed, symbol, error, extra=fields)

    def _count_buffered(self, change: int) -> None:
        self.buffered += change
        metrics.BUFFERED.labels(self._feed).set(self.buffered)


def _weight(batch: Batch) -> int:
    """What a batch counts in the buffer: an empty one is kept too, for its clock."""
    return max(len(batch.ticks), 1)
