"""Answers the question for a symbol's present: last trade and quote, the minute, the day, and the change since yesterday."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from ticker.candles.candle import Candle
from ticker.candles.interval import INTERVALS
from ticker.store.candle_store import CandleReader, StoredCandles
from ticker.store.connection import answers
from ticker.store.tick_stream import TickReader, Tip

SYMBOLS_PER_READ = 50
"""Few enough that a transaction holds nobody else up for long."""

MINUTE, DAY = INTERVALS["1m"], INTERVALS["1d"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One symbol at one moment; candles with whether they are final."""

    trades: Tip
    quotes: Tip
    minute: tuple[Candle, bool] | None
    day: tuple[Candle, bool] | None
    previous_close: int | None
    """The close of the trading day before, in millionths."""


class SnapshotReader:
    """Reads snapshots, each in one transaction."""

    def __init__(self, client: Redis, ticks: TickReader, candles: CandleReader) -> None:
        self._client = client
        self._ticks = ticks
        self._candles = candles

    async def read(self, symbols: Sequence[str]) -> dict[str, Snapshot]:
        """A snapshot of each."""
        parts: list[Callable[[Any], Any]] = []
        replies: list[Any] = []
        with answers("snapshots"):
            for first in range(0, len(symbols), SYMBOLS_PER_READ):
                async with self._client.pipeline(transaction=True) as pipe:
                    for symbol in symbols[first : first + SYMBOLS_PER_READ]:
                        parts.append(await self._ticks.tip_in(pipe, "trades", symbol))
                        parts.append(await self._ticks.tip_in(pipe, "quotes", symbol))
                        parts.append(await self._candles.tail_in(pipe, symbol, MINUTE))
                        parts.append(await self._candles.tail_in(pipe, symbol, DAY))
                    replies += await pipe.execute()
        made = [part(reply) for part, reply in zip(parts, replies, strict=True)]
        return {symbol: self._snapshot(*made[4 * i : 4 * i + 4]) for i, symbol in enumerate(symbols)}

    def _snapshot(self, trades: Tip, quotes: Tip, minutes: StoredCandles, days: StoredCandles) -> Snapshot:
        day = _newest(days)
        before = [candle for candle in (*days.closed.rows(), *days.open) if day and candle.time < day[0].time]
        previous = max(before, key=lambda candle: candle.time).close if before else None
        return Snapshot(trades, quotes, _newest(minutes), day, previous)


def _newest(stored: StoredCandles) -> tuple[Candle, bool] | None:
    """The newest candle, forming or closed."""
    rows = [(candle, True) for candle in stored.closed.rows()[-1:]] + [(candle, False) for candle in stored.open]
    return max(rows, key=lambda row: row[0].time, default=None)
