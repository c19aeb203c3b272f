"""Makes the writers of symbols that were claimed, from what the store holds of each."""

import asyncio
from collections import deque
from collections.abc import Mapping

from ticker.candles.interval import STORED
from ticker.ingest.symbol_writer import IDS_KEPT, SymbolWriter, WriterRules, known_as
from ticker.store.candle_store import CandleReader
from ticker.store.claim import Claimed
from ticker.store.tick_stream import KINDS, TickReader

LOADS_AT_ONCE = 8


class WriterLoader:
    """Loads some symbols at a time."""

    def __init__(self, rules: WriterRules, candles: CandleReader, ticks: TickReader) -> None:
        self._rules = rules
        self._candles = candles
        self._ticks = ticks

    async def load(self, claims: Mapping[str, Claimed]) -> dict[str, SymbolWriter]:
        """A writer of each that goes on from what is stored. Raises `StoreUnavailable`."""
        left = deque(claims.items())
        loaded: dict[str, SymbolWriter] = {}

        async def load_some() -> None:
            while left:
                symbol, claimed = left.popleft()
                loaded[symbol] = await self._writer(symbol, claimed)

        results = await asyncio.gather(*(load_some() for _ in range(LOADS_AT_ONCE)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return loaded

    async def _writer(self, symbol: str, claimed: Claimed) -> SymbolWriter:
        since = max(claimed.trades.time - self._rules.lateness_us - self._rules.grace_us, 0)
        tails = [await self._candles.tail(symbol, interval, since) for interval in STORED]
        writer = SymbolWriter(symbol, self._rules, claimed, tails)
        for kind in KINDS:
            ids = await self._ticks.last_ids(kind, symbol, IDS_KEPT)
            writer.know([known_as(kind, tick_id) for tick_id in ids])
        return writer
