"""Numbers ticks and appends them, each exactly once, whatever the store does meanwhile, and puts back what it loses."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from feeds.tick import Listing, Tick
from ticker import metrics
from ticker.errors import AppendConflict, RefusedTick, StoreUnavailable
from ticker.ingest.kept_ticks import Ends, KeptTicks
from ticker.ingest.symbol_writer import SymbolWriter, WriterRules
from ticker.ingest.writer_loader import WriterLoader
from ticker.store.append import Append, Appender
from ticker.store.candle_store import CandleReader
from ticker.store.claim import Claims
from ticker.store.tick_stream import TickReader

log = logging.getLogger(__name__)

REAPPENDED_TOGETHER = 2_000
"""Lost ticks of a symbol that one append puts back: many, but not so many that others wait for the server."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The store's doors that a writer uses."""

    claims: Claims
    appender: Appender
    candles: CandleReader
    ticks: TickReader
    check_layout: Callable[[], Awaitable[None]]
    register: Callable[[Sequence[Listing], str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Share:
    """What one append is to be made of: ticks of one symbol, and the feed's cursor behind them."""

    symbol: str
    ticks: list[Tick]
    cursor: str | None = None
    again: bool = False
    """The store had them, and has lost them."""
    whole: bool = True
    """Nothing that was lost is missing any more behind them."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A share that is numbered: its append, and the numbers before it."""

    share: Share
    append: Append
    after: Ends
    taken: list[Tick]


class AppendQueue:
    """What is to be appended of one feed, the writers of its symbols, and the newest ticks that were appended.

    Shares are numbered while the appends of other symbols are already on their way, so that the server works while we do.
    What was sent is kept until it is answered. Of a symbol, one append is under way at a time.
    """

    def __init__(
        self, feed: str, rules: WriterRules, parts: Parts, refuse: Callable[[Tick, RefusedTick], None]
    ) -> None:
        """`refuse` hears of ticks that cannot be appended."""
        self.writers: dict[str, SymbolWriter] = {}
        self.clock = 0
        """The feed clock at which candles close."""
        self._clock_before = 0
        """The one up to which everything is stored already."""
        self._feed = feed
        self._parts = parts
        self._refuse = refuse
        self._loader = WriterLoader(rules, parts.candles, parts.ticks)
        self._meter = metrics.FeedMeter(feed)
        self._kept = KeptTicks(rules.kept_ticks)
        self._shares: deque[Share] = deque()
        self._pending: list[_Pending] = []
        self._doubtful = False
        self._listings: Sequence[Listing] = ()

    async def claim(self, listings: Sequence[Listing]) -> None:
        """Become the writer of these symbols. Raises `HeldError` or `StoreUnavailable`.

        Of those that it writes already, it knows what the store must have.
        """
        self._listings = listings
        await self._parts.check_layout()
        self._doubtful = bool(self.writers)
        await self.flush()
        symbols = [listing.symbol for listing in listings if listing.symbol not in self.writers]
        claims = dict(zip(symbols, await self._parts.claims.claim(symbols), strict=True))
        await self._parts.register(listings, self._feed)
        self.writers |= await self._loader.load(claims)

    def add(self, shares: Collection[Share], clock: int) -> None:
        """Have these appended next; nothing else waits."""
        self._shares += shares
        self._clock_before = self.clock
        self.clock = clock

    def doubt(self) -> None:
        """The store may have lost something: make sure before anything else is appended."""
        self._doubtful = True

    async def flush(self) -> None:
        """Append what is left; calling again goes on where an error has ended it.

        Raises `StoreUnavailable`, or `FencedError` or `HeldError` where another ingester has taken the symbols over.
        """
        if self._doubtful:
            await self._verify()
        while self._pending or self._shares:
            await self._append()

    def clear(self) -> None:
        """Let go of everything, as somebody else writes the symbols now."""
        self.writers.clear()
        self._shares.clear()
        self._pending.clear()
        self._kept.clear()
        self._doubtful = False

    def _appends(self) -> Iterator[Append]:
        """What must be sent: first what was sent before without an answer, then the rest, numbered as it is asked for."""
        under_way = {pending.append.symbol for pending in self._pending}
        yield from [pending.append for pending in self._pending]
        while self._shares and self._shares[0].symbol not in under_way:
            share = self._shares.popleft()
            if pending := self._number(share):
                self._pending.append(pending)
                under_way.add(share.symbol)
                yield pending.append

    def _number(self, share: Share) -> _Pending | None:
        writer = self.writers[share.symbol]
        after = writer.ends
        taken = [tick for tick in share.ticks if self._taken(writer, tick, again=share.again)]
        append = writer.finish(self.clock, share.cursor, self._clock_before, whole=share.whole)
        return _Pending(share, append, after, taken) if append else None

    def _taken(self, writer: SymbolWriter, tick: Tick, *, again: bool) -> bool:
        try:
            writer.take(tick)
        except RefusedTick as error:
            if not again:
                self._refuse(tick, error)
            return False
        return True

    async def _append(self) -> None:
        """One round trip: forget what is stored now, put right what the store has lost."""
        try:
            results = await self._parts.appender.append(self._appends())
        except StoreUnavailable:
            # Before anything else is appended, also of symbols that are not asked for.
            self._doubtful = True
            raise
        answered, left = self._pending[: len(results)], self._pending[len(results) :]
        conflicts: list[_Pending] = []
        why = ""
        refused: Exception | None = None
        for pending, result in zip(answered, results, strict=True):
            if result is None:
                self._note_stored(pending)
            elif isinstance(result, AppendConflict):
                conflicts.append(pending)
                why = str(result)
            else:
                refused = result
                left.append(pending)
        self._pending = left + conflicts
        if refused:
            raise refused
        if conflicts:
            await self._recover([pending.append.symbol for pending in conflicts], why)

    async def _verify(self) -> None:
        """Look whether all symbols are as they were left; those of which an append is under way, it looks after itself."""
        under_way = {pending.append.symbol for pending in self._pending}
        left = {symbol: writer.left for symbol, writer in self.writers.items() if symbol not in under_way}
        if changed := await self._parts.claims.changed(left):
            await self._recover(changed, "the store is not as it was left")
        self._doubtful = False

    async def _recover(self, symbols: Sequence[str], why: str) -> None:
        """Claim symbols again that the store does not have as we left them, and put back what it has lost of them."""
        claims = dict(zip(symbols, await self._parts.claims.claim(symbols), strict=True))
        if any(claimed.epoch is None for claimed in claims.values()):
            # Nothing is left of a symbol, so most likely nothing at all.
            await self._parts.check_layout()
            await self._parts.register(self._listings, self._feed)
        loaded = await self._loader.load(claims)
        # Nothing was changed here so far; from now on nothing is waited for.
        before = {symbol: self.writers[symbol] for symbol in symbols}
        self.writers |= loaded
        pending = {one.append.symbol: one for one in self._pending if one.append.symbol in loaded}
        self._pending = [one for one in self._pending if one.append.symbol not in loaded]
        repairs = [self._repair(before[symbol], pending.get(symbol)) for symbol in symbols]
        # In turns, as of each symbol one is under way at a time.
        for number in reversed(range(max(len(shares) for shares in repairs))):
            self._shares.extendleft(shares[number] for shares in repairs if number < len(shares))
        self._tell(why, [share for shares in repairs for share in shares if share.again])

    def _repair(self, before: SymbolWriter, pending: _Pending | None) -> list[Share]:
        """What is to be appended so that a symbol has again what it had; its new writer knows what is stored now."""
        symbol, after = before.symbol, self.writers[before.symbol]
        if after.epoch == before.epoch and after.ends == before.ends:
            if pending:
                self._note_stored(pending)
            return []
        epoch, ends = (pending.append.epoch, pending.after) if pending else (before.epoch, before.ends)
        missing: list[Tick] = []
        if after.epoch != epoch:
            # It is an earlier copy, or nothing: none of what was written under our name is in it.
            missing, _ = self._kept.take_behind(symbol, (-1, -1))
            after.begin_epoch()
        elif any(now < then for now, then in zip(after.ends, ends, strict=True)):
            missing, reaches = self._kept.take_behind(symbol, after.ends)
            if not reaches:
                metrics.met("kept_ticks")
                after.begin_epoch()
        elif before.epoch_is_due or (pending and pending.append.new_epoch):
            after.begin_epoch()
        if after.epoch_is_due:
            self._kept.take_behind(symbol, (-1, -1))
        again = [replace(pending.share, ticks=pending.taken)] if pending else []
        return self._shares_of(symbol, missing, before.cursor) + again

    def _shares_of(self, symbol: str, missing: list[Tick], cursor: str | None) -> list[Share]:
        """Ticks that the store has lost, in as many appends as they take; the feed has come further than they."""
        cuts = range(0, len(missing), REAPPENDED_TOGETHER)
        last = len(cuts) - 1
        return [
            Share(
                symbol,
                missing[first : first + REAPPENDED_TOGETHER],
                cursor if number == last else None,
                again=True,
                whole=number == last,
            )
            for number, first in enumerate(cuts)
        ]

    def _tell(self, why: str, again: list[Share]) -> None:
        """One line however many symbols it concerns."""
        counts = {"same": 0, "new": 0}
        for share in again:
            counts["new" if self.writers[share.symbol].epoch_is_due else "same"] += len(share.ticks)
        for numbers, count in counts.items():
            metrics.REAPPENDED.labels(self._feed, numbers).inc(count)
        log.warning(
            "feed %s: %s; %d ticks that it has lost are appended again under the same numbers, %d under new ones",
            self._feed,
            why,
            counts["same"],
            counts["new"],
            extra={"feed": self._feed},
        )

    def _note_stored(self, pending: _Pending) -> None:
        append = pending.append
        self._kept.add(append.symbol, pending.after, pending.taken)
        if not pending.share.again:
            quotes = sum(run.count for run in append.runs if run.quotes)
            self._meter.appended(sum(run.count for run in append.runs) - quotes, quotes)


def fences(writers: Mapping[str, SymbolWriter]) -> dict[str, str]:
    """The token of each symbol."""
    return {symbol: writer.fence for symbol, writer in writers.items()}
