"""Puts polled batches into the store, in order, each tick exactly once, whatever the store does meanwhile."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from feeds.feed import Batch, Stored
from feeds.tick import Listing, Quote, Tick, Trade
from ticker import metrics
from ticker.candles.interval import STORED
from ticker.errors import AppendConflict, BadTick, DuplicateTick, LateTick, RefusedTick
from ticker.ingest.backfill import Backfill
from ticker.ingest.feed_clock import FeedClock
from ticker.ingest.symbol_writer import IDS_KEPT, SymbolWriter, WriterRules, known_as
from ticker.store.append import Append, Appender
from ticker.store.candle_store import CandleReader
from ticker.store.claim import Claimed, Claims
from ticker.store.tick_stream import KINDS, TickReader

log = logging.getLogger(__name__)

LOADS_AT_ONCE = 8
KNOWN = frozenset({Trade, Quote})


@dataclass(frozen=True, slots=True)
class Parts:
    """The store's doors that a writer uses."""

    claims: Claims
    appender: Appender
    candles: CandleReader
    ticks: TickReader
    check_layout: Callable[[], Awaitable[None]]
    register: Callable[[Sequence[Listing], str], Awaitable[None]]


@dataclass(slots=True)
class _Pending:
    """One symbol's part of a batch, numbered: its append, and the ticks that it was made of."""

    append: Append
    ticks: list[Tick]


class BatchWriter:
    """The batches of one feed that are not stored yet, and the writers of its symbols.

    The oldest batch is being stored: its ticks, admitted and parted by symbol, are numbered while the appends of other
    symbols are already on their way, so that the server works while we do. What was sent is kept until it is answered.
    """

    def __init__(self, feed: str, rules: WriterRules, ahead_us: int, parts: Parts) -> None:
        self.clock = 0
        """The feed clock up to which everything is stored."""
        self.buffered = 0
        """Ticks in the batches that are not stored."""
        self._feed = feed
        self._meter = metrics.FeedMeter(feed)
        self._rules = rules
        self._parts = parts
        self._listings: Sequence[Listing] = ()
        self._writers: dict[str, SymbolWriter] = {}
        self._floors: dict[str, int] = {}
        self._feed_clock = FeedClock(rules.lateness_us, ahead_us)
        self._batches: deque[Batch] = deque()
        self._unnumbered: deque[tuple[SymbolWriter, list[Tick]]] | None = None
        self._pending: list[_Pending] = []
        self._pending_clock = 0
        self._backfills: dict[str, Backfill] = {}
        self._backfills_taken = asyncio.Event()

    async def claim(self, listings: Sequence[Listing]) -> dict[str, Stored]:
        """Become the writer of these symbols; what is stored of each that has ticks.

        Raises `HeldError` where another ingester writes them, or `StoreUnavailable`.
        """
        self._listings = listings
        await self._parts.check_layout()
        symbols = [listing.symbol for listing in listings]
        claims = dict(zip(symbols, await self._parts.claims.claim(symbols), strict=True))
        await self._parts.register(listings, self._feed)
        await self._load(claims)
        stored = {
            symbol: Stored(max(claimed.trades.time, claimed.quotes.time), claimed.cursor)
            for symbol, claimed in claims.items()
            if claimed.trades.seq or claimed.quotes.seq
        }
        # A restart lets nothing in that was late before. Each symbol counts for itself: after a kill in the middle of a
        # batch, some of them have yet to get what the others have.
        self._floors = {symbol: held.time - self._rules.lateness_us for symbol, held in stored.items()}
        return stored

    async def _load(self, claims: Mapping[str, Claimed]) -> None:
        """Make the writers of symbols that were claimed, some at a time."""
        left = deque(claims.items())

        async def load_some() -> None:
            while left:
                symbol, claimed = left.popleft()
                self._writers[symbol] = await self._writer(symbol, claimed)

        await asyncio.gather(*(load_some() for _ in range(LOADS_AT_ONCE)))

    def not_backfilled(self) -> list[str]:
        """The symbols of which nothing is stored, or about to be, of before their first tick."""
        writers = self._writers.items()
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

    async def drain(self) -> None:
        """Store what is queued; calling again goes on where an error has ended it.

        Raises `StoreUnavailable`, or `FencedError` or `HeldError` where another ingester has taken the symbols over.
        """
        while self._batches:
            if self._unnumbered is None:
                self._unnumbered = self._part(self._batches[0])
            while self._pending or self._unnumbered:
                await self._append()
            self._unnumbered = None
            self.clock = self._pending_clock
            self._count_buffered(-_weight(self._batches.popleft()))

    @property
    def has_claimed(self) -> bool:
        """Whether it has become the writer of its symbols."""
        return bool(self._writers)

    async def end(self) -> None:
        """Store what is queued and say that nothing is missing; raises what `drain` does."""
        await self.drain()
        await self._parts.claims.mark_clean({symbol: writer.fence for symbol, writer in self._writers.items()})

    def drop(self) -> int:
        """Let go of everything, as somebody else writes the symbols now; how many ticks were not stored."""
        dropped = self.buffered
        self._batches.clear()
        self._pending.clear()
        self._unnumbered = None
        self._backfills.clear()
        self._writers.clear()
        self._count_buffered(-dropped)
        self.clock = 0
        return dropped

    async def _writer(self, symbol: str, claimed: Claimed) -> SymbolWriter:
        """A writer that goes on from what is stored."""
        since = max(claimed.trades.time - self._rules.lateness_us - self._rules.grace_us, 0)
        tails = [await self._parts.candles.tail(symbol, interval, since) for interval in STORED]
        writer = SymbolWriter(symbol, self._rules, claimed, tails)
        for kind in KINDS:
            ids = await self._parts.ticks.last_ids(kind, symbol, IDS_KEPT)
            writer.know([known_as(kind, tick_id) for tick_id in ids])
        return writer

    def _part(self, batch: Batch) -> deque[tuple[SymbolWriter, list[Tick]]]:
        """Every symbol's share of a batch, without ticks that come too late or have an impossible time."""
        self._feed_clock.begin(batch.clock)
        shares: dict[str, list[Tick]] = {}
        admit = self._feed_clock.admit
        for tick in batch.ticks:
            try:
                if tick.__class__ not in KNOWN:
                    raise BadTick("tick", tick, "a feeds.tick.Trade or Quote")
                if tick.symbol.__class__ is not str or tick.symbol not in self._writers:
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
            self._writers[symbol].precede(backfill)
        self._backfills.clear()
        self._backfills_taken.set()
        clock = self._pending_clock = self._feed_clock.end(batch.clock)
        due: dict[str, list[Tick]] = {symbol: [] for symbol, writer in self._writers.items() if writer.due(clock)}
        return deque((self._writers[symbol], share) for symbol, share in (due | shares).items())

    def _appends(self) -> Iterator[Append]:
        """What must be sent: first what was sent before without an answer, then the rest, numbered as it is asked for."""
        yield from [pending.append for pending in self._pending]
        while self._unnumbered:
            writer, share = self._unnumbered[0]
            taken = [tick for tick in share if self._taken(writer, tick)]
            append = writer.finish(self._pending_clock, self._batches[0].cursor)
            self._unnumbered.popleft()
            if append:
                self._pending.append(_Pending(append, taken))
                yield append

    def _taken(self, writer: SymbolWriter, tick: Tick) -> bool:
        try:
            writer.take(tick)
        except RefusedTick as error:
            self._refuse(tick, error)
            return False
        return True

    async def _append(self) -> None:
        """One round trip: forget what is stored now, number anew what the store has lost."""
        results = await self._parts.appender.append(self._appends())
        answered, left = self._pending[: len(results)], self._pending[len(results) :]
        conflicts: list[_Pending] = []
        refused: Exception | None = None
        for pending, result in zip(answered, results, strict=True):
            if result is None:
                self._count(pending.append)
            elif isinstance(result, AppendConflict):
                fields = {"feed": self._feed, "symbol": pending.append.symbol}
                log.warning("feed %s: %s; numbering goes on from what is stored", self._feed, result, extra=fields)
                conflicts.append(pending)
            else:
                refused = result
                left.append(pending)
        self._pending = left + conflicts
        if conflicts:
            self._pending = left + await self._renumber(conflicts)
        if refused:
            raise refused

    async def _renumber(self, conflicts: Iterable[_Pending]) -> list[_Pending]:
        """The store does not hold what we last saw of these: claim them again and number their ticks anew."""
        mine = {pending.append.symbol: pending for pending in conflicts}
        claims = dict(zip(mine, await self._parts.claims.claim(list(mine)), strict=True))
        if any(claimed.epoch is None for claimed in claims.values()):
            # Nothing is left of a symbol, so most likely nothing at all.
            await self._parts.check_layout()
            await self._parts.register(self._listings, self._feed)
        before = {symbol: self._writers[symbol] for symbol in mine}
        await self._load(claims)
        again = [self._numbered_anew(pending, before[symbol], claims[symbol]) for symbol, pending in mine.items()]
        return [pending for pending in again if pending]

    def _numbered_anew(self, pending: _Pending, before: SymbolWriter, claimed: Claimed) -> _Pending | None:
        """The same ticks from another writer; None where they turn out to be stored."""
        append, after = pending.append, self._writers[pending.append.symbol]
        if claimed.epoch == before.epoch and after.ends == before.ends:
            return None
        if claimed.epoch and any(now < then for now, then in zip(after.ends, append.starts(before.ends), strict=True)):
            after.begin_epoch()
        for tick in pending.ticks:
            with suppress(DuplicateTick):
                after.take(tick)
        again = after.finish(self._pending_clock, self._batches[0].cursor)
        return _Pending(again, pending.ticks) if again else None

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

    def _count(self, append: Append) -> None:
        quotes = sum(run.count for run in append.runs if run.quotes)
        self._meter.appended(sum(run.count for run in append.runs) - quotes, quotes)

    def _count_buffered(self, change: int) -> None:
        self.buffered += change
        metrics.BUFFERED.labels(self._feed).set(self.buffered)


def _weight(batch: Batch) -> int:
    """What a batch counts in the buffer: an empty one is kept too, for its clock."""
    return max(len(batch.ticks), 1)
