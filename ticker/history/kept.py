"""Answers since when a symbol's ticks and candles are kept."""

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from ticker.candles.interval import INTERVALS, STORED, bounds
from ticker.store.candle_store import CandleSource
from ticker.store.tick_stream import KINDS, TickSource


class KeptReader:
    """Reads the oldest there is of everything."""

    def __init__(self, ticks: TickSource, candles: CandleSource, zone: ZoneInfo) -> None:
        self._ticks = ticks
        self._candles = candles
        self._zone = zone

    async def read(self, symbol: str) -> Mapping[str, Any]:
        """By kind, and for candles by interval, `from`: the time of the oldest; None where there is none."""
        found: dict[str, Any] = {}
        for kind in KINDS:
            oldest = await self._ticks.oldest(kind, symbol)
            found[kind] = {"from": oldest.time if oldest else None}
        stored = {base.name: await self._candles.oldest(symbol, base) for base in STORED}
        candles = {}
        for interval in INTERVALS.values():
            first = stored[interval.base]
            candles[interval.name] = {"from": bounds(interval, first.time, self._zone)[0] if first else None}
        return found | {"candles": candles}
