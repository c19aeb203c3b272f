"""Recomputes candles from the ticks that are kept and compares them with those that are stored."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from redis.asyncio import Redis

from ticker import codec
from ticker.candles.builder import CandleBuilder
from ticker.candles.candle import Candle, Origin
from ticker.candles.interval import STORED, Interval
from ticker.store.candle_store import TIME_MAX, CandleReader
from ticker.store.tick_stream import ENTRIES_PER_READ, KINDS, Entry, Kind, TickReader


@dataclass(slots=True)
class Finding:
    """What came out for one symbol and stored interval."""

    symbol: str
    interval: str
    equal: int = 0
    different: list[str] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)
    """Why candles could not be checked, and how many."""


class Checker:
    """Reads whole streams: meant for the command line."""

    def __init__(self, client: Redis, zone: ZoneInfo) -> None:
        self._candles, self._ticks = CandleReader(client), TickReader(client)
        self._zone = zone

    async def check(self, symbol: str) -> list[Finding]:
        """One finding for each stored interval, and one for each stream that is not in order."""
        builders = [CandleBuilder(interval, self._zone, 0, TIME_MAX) for interval in STORED]
        first, findings = 0, [f for kind in KINDS if (f := await self._in_order(symbol, kind)).different]
        async for entry in self._entries(symbol, "trades"):
            first = first or entry.seq
            row = codec.entry_fields(entry.fields)
            price, size = codec.millionths(row["price"], "price"), codec.millionths(row["size"], "size")
            for builder in builders:
                builder.add(entry.time, price, size, entry.seq)
        for interval, builder in zip(STORED, builders, strict=True):
            folded = {candle.time: candle for candle in builder.unclosed()}
            findings.append(await self._compare(symbol, interval, folded, first))
        return findings

    async def _compare(self, symbol: str, interval: Interval, folded: dict[int, Candle], first: int) -> Finding:
        """Stored candles against those folded from the trades that are kept, of which `first` is the oldest's number."""
        finding = Finding(symbol, interval.name)
        for candle in await self._stored(symbol, interval):
            made = folded.pop(candle.time, None)
            if candle.origin != Origin.TICKS:
                finding.unchecked[f"made of {Origin(candle.origin).name.lower()}, not of ticks"] += 1
            elif not first or candle.first_seq < first:
                finding.unchecked["its first trades are not kept any more"] += 1
            elif made == candle:
                finding.equal += 1
            else:
                finding.different.append(f"{interval.name} at {candle.time}: stored {candle}, from its trades {made}")
        finding.different += [
            f"{interval.name} at {time}: not stored, from its trades {made}" for time, made in folded.items()
        ]
        return finding

    async def _stored(self, symbol: str, interval: Interval) -> list[Candle]:
        """All stored candles, closed and forming."""
        rows: list[Candle] = []
        low = 0
        while True:
            block = await self._candles.read(symbol, interval, low, TIME_MAX, newest=False)
            rows += block.closed.rows()
            if block.complete:
                return rows + block.open
            low = rows[-1].time + 1

    async def _in_order(self, symbol: str, kind: Kind) -> Finding:
        """Whether a stream's numbers have no hole."""
        finding, last = Finding(symbol, kind), 0
        async for entry in self._entries(symbol, kind):
            if last and entry.seq != last + 1:
                finding.different.append(f"{kind}: {entry.seq} comes after {last}")
            last = entry.seq
        return finding

    async def _entries(self, symbol: str, kind: Kind) -> AsyncIterator[Entry]:
        first = "-"
        while True:
            page: list[Entry] = await self._ticks.read(kind, symbol, first, "+")
            for entry in page:
                yield entry
            if len(page) < ENTRIES_PER_READ:
                return
            first = f"({page[-1].ms}-{page[-1].seq}"
