"""Closed candles of the stored intervals, in chunks as they are written: by whoever appends, or all at once.

A chunk holds only candles that exist, about `CHUNK_CANDLES` of them, packed; its field is the open time of its first
candle and a sorted set finds it by time. Chunks are rewritten whole as part of the append that changes them, so that
nothing derived from a tick can be there without it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ticker.candles.candle import Candle, Candles, merge
from ticker.candles.interval import STORED, Interval
from ticker.candles.packed import pack
from ticker.store.append import ChunkWrite

CHUNK_CANDLES = 64
"""Small enough that rewriting the last chunk at each close is cheap, large enough that its head costs little a candle."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Candles that are stored together, and their bytes."""

    candles: Candles
    packed: bytes

    @property
    def opens(self) -> int:
        """The open time of its first candle, by which it is found."""
        return int(self.candles.time[0])


def chunks_of(candles: Candles) -> list[Chunk]:
    """Candles cut into chunks; takes about 0.1 ms a chunk, and needs no loop: many are best cut in a thread."""
    cuts = range(0, len(candles), CHUNK_CANDLES)
    return [Chunk(part, pack(part)) for part in (candles.part(first, first + CHUNK_CANDLES) for first in cuts)]


class ChunkLog:
    """The newest chunks of one symbol and stored interval, in the hands of its writer."""

    def __init__(self, interval: Interval, tail: Sequence[Candles]) -> None:
        """`tail` are the newest chunks as they are stored: at least all whose candles can still change."""
        self._number = STORED.index(interval)
        self._chunks = list(tail)
        self._fields = [int(chunk.time[0]) for chunk in tail]

    @property
    def oldest(self) -> int | None:
        """The open time of the oldest candle in hand; there may be older ones in the store."""
        return self._fields[0] if self._fields else None

    def precede(self, chunks: Sequence[Chunk]) -> list[ChunkWrite]:
        """The writes that store chunks of candles older than all others; the last of them stays in hand."""
        if chunks:
            self._chunks.insert(0, chunks[-1].candles)
            self._fields.insert(0, chunks[-1].opens)
        return [ChunkWrite(self._number, str(chunk.opens), chunk.packed) for chunk in chunks]

    def put(self, candles: Sequence[Candle], keep_from: int) -> list[ChunkWrite]:
        """Add or replace candles; the writes that store them. Chunks that end before `keep_from` are let go of."""
        if not candles:
            return []
        touched: dict[int, list[Candle]] = {}
        for candle in candles:
            touched.setdefault(self._chunk_of(candle.time), []).append(candle)
        writes: list[ChunkWrite] = []
        for number in sorted(touched, reverse=True):
            writes += self._rewrite(number, touched[number])
        while len(self._chunks) > 1 and self._fields[1] <= keep_from:
            del self._chunks[0], self._fields[0]
        return writes

    def _chunk_of(self, time: int) -> int:
        """The number of the chunk that a candle belongs to."""
        return max(bisect_right(self._fields, time) - 1, 0)

    def _rewrite(self, number: int, candles: Sequence[Candle]) -> list[ChunkWrite]:
        """Merge candles into one chunk, which is split where it has grown too large."""
        old = self._chunks[number] if number < len(self._chunks) else Candles.of(())
        dropped = str(self._fields[number]) if number < len(self._fields) else ""
        merged = merge(old, Candles.of(candles))
        # A full last chunk is left as it is and a new one begun; a chunk further back may grow to twice the size.
        size = CHUNK_CANDLES if number >= len(self._chunks) - 1 else 2 * CHUNK_CANDLES
        parts = [merged.part(first, first + size) for first in range(0, len(merged), size)]
        fields = [int(part.time[0]) for part in parts]
        self._chunks[number : number + 1], self._fields[number : number + 1] = parts, fields
        drop = "" if not dropped or int(dropped) == fields[0] else dropped
        writes = []
        for part, first in zip(parts, fields, strict=True):
            if not (len(parts) > 1 and np.array_equal(part.data, old.data)):
                writes.append(ChunkWrite(self._number, str(first), pack(part), drop))
                drop = ""
        return writes
