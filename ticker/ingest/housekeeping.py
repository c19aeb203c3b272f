"""Forgets ticks and candles that are older than they are kept, but not before they are archived, where there is an archive."""

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from ticker import metrics
from ticker.candles.interval import STORED, Interval
from ticker.config import Config
from ticker.errors import ArchiveError
from ticker.store import archived
from ticker.store.candle_store import CandleReader
from ticker.store.tick_stream import KINDS, Kind, TickReader

if TYPE_CHECKING:
    from ticker.ingest.archiver import Archiver

log = logging.getLogger(__name__)


class Housekeeping:
    """Trims one symbol after the other, at the clock of its feed."""

    def __init__(self, client: Redis, config: Config, archiver: "Archiver | None") -> None:
        self._client = client
        self._retention = config.retention
        self._limits = config.limits
        self._streams, self._chunks = TickReader(client), CandleReader(client)
        self._archiver = archiver

    async def trim(self, symbol: str, clock: int) -> None:
        """Forget what is too old at this feed clock. Raises `StoreUnavailable`."""
        retention = self._retention
        if self._archiver is not None:
            for kind in KINDS:
                await self._trim_ticks(self._archiver, kind, symbol, clock)
        elif retention.ticks is not None:
            await self._streams.trim(symbol, max(clock - retention.ticks, 0) // 1000)
        for base in STORED:
            if (kept := retention.candles.of(base.name)) is not None:
                await self._trim_candles(symbol, base, clock - kept)

    async def _trim_ticks(self, archiver: "Archiver", kind: Kind, symbol: str, clock: int) -> None:
        """By age and by length, up to what is archived; what is overdue by far is trimmed all the same."""
        waiting = await self._waiting(archiver, kind, symbol)
        if waiting > self._retention.max_len:
            # It cannot be trimmed to its length before the next turn of the archive job, so this is one.
            with suppress(ArchiveError):
                await archiver.archive(symbol, clock)
                waiting = await self._waiting(archiver, kind, symbol)
        length = max(self._retention.max_len, min(waiting, self._limits.unarchived_ticks))
        (tip,) = await self._streams.tips(kind, [symbol])
        done = archiver.done(kind, symbol, tip.epoch)
        allowed = (done.at, done.seq + 1) if done else (0, 0)
        before, overdue = self._ticks_before(allowed, clock)
        gone = await self._streams.trim_to(kind, symbol, before, length)
        if gone and overdue:
            metrics.met("unarchived_s")
            self._tell("unarchived_s", symbol, kind)
        if waiting > self._limits.unarchived_ticks:
            metrics.met("unarchived_ticks")
            self._tell("unarchived_ticks", symbol, kind)

    async def _waiting(self, archiver: "Archiver", kind: Kind, symbol: str) -> int:
        """How many ticks of a stream are not archived."""
        (tip,) = await self._streams.tips(kind, [symbol])
        done = archiver.done(kind, symbol, tip.epoch)
        return tip.end.seq - done.seq if done else await self._streams.length(kind, symbol)

    def _ticks_before(self, allowed: tuple[int, int], clock: int) -> tuple[str | None, bool]:
        """The first id that is kept, None where age trims nothing, and whether it goes beyond what is archived."""
        if self._retention.ticks is None:
            return None, False
        old_ms = max(clock - self._retention.ticks, 0) // 1000
        overdue = max(old_ms - self._limits.unarchived_s * 1000, 0), 0
        at, seq = max(min((old_ms, 0), allowed), overdue)
        return f"{at}-{seq}", overdue > allowed

    async def _trim_candles(self, symbol: str, base: Interval, old: int) -> None:
        """By age, up to what is archived; what is overdue by far is trimmed all the same."""
        allowed, overdue = old, old
        if self._archiver is not None:
            done = self._archiver.candles_done(symbol, base)
            allowed, overdue = 0 if done is None else done + 1, old - self._limits.unarchived_s * 1_000_000
            if again := await archived.again(self._client, symbol, base.name):
                allowed = min(allowed, again[0])
        gone = await self._chunks.trim(symbol, base, max(min(old, allowed), overdue))
        if gone and overdue > allowed:
            metrics.met("unarchived_s")
            self._tell("unarchived_s", symbol, f"candles of {base.name}")

    def _tell(self, limit: str, symbol: str, what: str) -> None:
        """Lost on purpose, which somebody should hear of; the archive job says what it misses once it can write again."""
        log.error(
            "%s: %s are trimmed though they are not archived, as limits.%s says: see why the archive cannot be written",
            symbol,
            what,
            limit,
            extra={"symbol": symbol},
        )
