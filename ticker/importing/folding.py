"""Makes candles and columns of imported rows. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from ticker.archive import tables
from ticker.candles.builder import SUM_MAX, CandleBuilder
from ticker.candles.candle import NO_TRADE, TRILLION, Candle, Candles, Origin
from ticker.candles.interval import INTERVALS, Interval
from ticker.errors import ConfigError
from ticker.importing.rows import CandleRow, Row, TickRow

S1, M1 = INTERVALS["1s"], INTERVALS["1m"]


def folded(rows: Sequence[TickRow], zone: ZoneInfo) -> dict[Interval, Candles]:
    """The candles of a day's trades."""
    volume, turnover = _sums(rows)
    if volume >= SUM_MAX or abs(turnover) >= SUM_MAX * TRILLION:
        raise ConfigError(f"{rows[0].symbol} has a day with a volume of 2^60 millionths or more; expected less")
    builders = [CandleBuilder(interval, zone, 0, 0) for interval in (S1, M1)]
    for seq, row in enumerate(rows, 1):
        price, size = row.values
        assert price is not None
        assert size is not None
        for builder in builders:
            builder.add(row.time, price, size, seq)
    return {builder.interval: _as_imported(builder.unclosed()) for builder in builders}


def candles_of(rows: Iterable[Row]) -> Candles:
    """The candles of rows in order of time; of two of one time, the first."""
    by_time: dict[int, Candle] = {}
    for row in rows:
        assert isinstance(row, CandleRow)
        by_time.setdefault(row.time, row.candle)
    return Candles.of(by_time.values())


def in_order(parts: Sequence[Candles]) -> Candles:
    """Candles of different times, in order of these."""
    both = Candles.joined(parts).data
    return Candles(both[:, np.argsort(both[0], kind="stable")])


def _sums(rows: Sequence[TickRow]) -> tuple[int, int]:
    """Of sizes and of price x size."""
    pairs = [(row.values[0] or 0, row.values[1] or 0) for row in rows]
    return sum(size for _, size in pairs), sum(abs(price) * size for price, size in pairs)


def _as_imported(candles: Sequence[Candle]) -> Candles:
    return Candles.of(c._replace(first_seq=NO_TRADE, seq=0, origin=Origin.IMPORT) for c in candles)


def tick_columns(kind: str, rows: Sequence[TickRow]) -> dict[str, Any]:
    """The columns of a file of ticks."""
    times = np.array([row.time for row in rows], np.int64)
    columns: dict[str, Any] = {"time": times, "id_ms": times // 1000, "seq": np.arange(1, len(rows) + 1)}
    for number, name in enumerate(tables.VALUES[kind]):
        found = [row.values[number] for row in rows]
        mask = [value is None for value in found]
        plain = np.array([value or 0 for value in found], np.int64)
        columns[name] = np.ma.array(plain, mask=mask) if any(mask) else plain
    for number, name in enumerate(("id", "exchange", "conditions")):
        columns[name] = [row.texts[number] for row in rows]
    return columns


def keys_of(candles: Candles) -> Any:
    """What makes a candle the same as another: all its fields."""
    return np.array([hash(row) for row in candles.rows()], np.int64)
