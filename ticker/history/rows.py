"""Rows of an answer, candles or ticks, and how they are parted: what is written at once, what is written once and for all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np

from ticker import codec
from ticker.candles.candle import Candles
from ticker.candles.interval import Interval
from ticker.store.tick_stream import Kind

BLOCK_SLOTS = 64
"""Candles that a block has room for; blocks begin at multiples, so that they are the same whatever the range is."""


@dataclass(frozen=True, slots=True)
class CandleRows:
    """Candles in rising order, of which the first `final` are closed."""

    interval: Interval
    candles: Candles
    final: int
    descending: bool = False
    name: str = "candles"
    symbol: str = ""

    def __len__(self) -> int:
        return len(self.candles)

    def columns(self) -> dict[str, list[Any]]:
        """A list a field, in the order asked for."""
        made = codec.candle_columns(self.candles, self.final)
        return {name: column[::-1] for name, column in made.items()} if self.descending else made

    def part(self, first: int, last: int) -> "CandleRows":
        """Those from one to before another, counted in the order asked for."""
        count = len(self)
        last = min(last, count)
        low, high = (count - last, count - first) if self.descending else (first, last)
        final = max(min(self.final, high) - low, 0)
        return replace(self, candles=self.candles.part(low, high), final=final)


@dataclass(frozen=True, slots=True)
class TickRows:
    """Stream entries, in the order asked for."""

    name: Kind
    entries: Sequence[Sequence[bytes]]
    symbol: str = ""
    _rows: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.entries)

    def part(self, first: int, last: int) -> "TickRows":
        """Those from one to before another."""
        return replace(self, entries=self.entries[first:last], _rows=self._rows[first:last])

    def rows(self) -> list[dict[str, Any]]:
        """Ticks as REST lists them: time first, seq last."""
        if not self._rows:
            for entry in self.entries:
                row = codec.entry_fields(entry)
                self._rows.append({"time": row.pop("time")} | row)
        return self._rows

    def columns(self) -> dict[str, list[Any]]:
        """A list a field; optional fields only where a tick has them, and None where another has not."""
        plain = codec.TRADE_FIELDS if self.name == "trades" else codec.QUOTE_FIELDS
        rows = self.rows()
        given = {name for row in rows for name in row}
        optional = [name for name in codec.OPTIONAL_FIELDS if name in given]
        names = ["time", *(name for name in plain if name not in ("time", "seq")), *optional, "seq"]
        return {name: [row.get(name) for row in rows] for name in names}


Rows = CandleRows | TickRows


def slices(rows: Rows, size: int) -> Iterator[Rows]:
    """The same rows in the same order, so many at a time; of none, none of them."""
    for at in range(0, max(len(rows), 1), size):
        yield rows.part(at, at + size)


def digest(rows: CandleRows) -> bytes:
    """Of what their text is made from."""
    return blake2b(rows.candles.data.tobytes(), digest_size=16).digest()


def blocks(rows: CandleRows) -> list[tuple[int, int, bool]]:
    """Cuts rows into blocks: first and last, and whether all of the block is there, whatever the range."""
    if not len(rows):
        return []
    numbers = rows.candles.time // (rows.interval.width * BLOCK_SLOTS)
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(rows)]
    count = len(cuts) - 1
    # The first and the last may go on outside of the range.
    return [(cuts[i], cuts[i + 1], 0 < i < count - 1) for i in range(count)]
