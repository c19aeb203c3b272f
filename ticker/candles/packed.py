"""Candles to bytes and back: each column as the narrowest integers that hold it.

A column is a base, a step and, for each candle, how many steps above the base it lies (frame of reference, as column
stores do it: Lemire and Boytsov, "Decoding billions of integers per second through vectorization", 2015). Prices lie on a
tick grid and times on an interval, so the steps are small: a candle with its fourteen fields takes about 35 bytes, and
numpy reads a column in one call.

Layout, little-endian: count u16; then per column width u8 (0, 1, 2, 4 or 8), base i64, step i64; then the columns'
values, count * width bytes each.
"""

import struct

import numpy as np

from ticker.candles.candle import FIELDS, Candle, Candles
from ticker.candles.interval import STORED

COUNT = struct.Struct("<H")
COLUMN = struct.Struct("<Bqq")
COUNT_MAX = 0xFFFF
WIDTHS = (0, 1, 2, 4, 4, 8, 8, 8, 8)
"""The width of a column, by the bytes that its largest number needs."""
TYPES = {width: np.dtype(f"<u{width}") for width in WIDTHS if width}
OPEN = struct.Struct(f"<{1 + len(FIELDS)}q")


def pack(candles: Candles) -> bytes:
    """The bytes of 1 to `COUNT_MAX` candles."""
    data = candles.data
    bases = data.min(axis=1)
    above = data - bases[:, None]
    steps = np.maximum(np.gcd.reduce(above, axis=1), 1)
    counts = above // steps[:, None]
    heads, values = [COUNT.pack(len(candles))], []
    for base, step, column, most in zip(
        bases.tolist(), steps.tolist(), counts, counts.max(axis=1).tolist(), strict=True
    ):
        width = WIDTHS[(most.bit_length() + 7) // 8]
        heads.append(COLUMN.pack(width, base, step))
        if width:
            values.append(column.astype(TYPES[width]).tobytes())
    return b"".join(heads + values)


def unpack(packed: bytes) -> Candles:
    """The candles that `pack` was given."""
    (count,) = COUNT.unpack_from(packed)
    at = COUNT.size + COLUMN.size * len(FIELDS)
    data = np.empty((len(FIELDS), count), np.int64)
    for i in range(len(FIELDS)):
        width, base, step = COLUMN.unpack_from(packed, COUNT.size + COLUMN.size * i)
        if width:
            data[i] = np.frombuffer(packed, f"<u{width}", count, at)
            data[i] *= step
            data[i] += base
            at += width * count
        else:
            data[i] = base
    return Candles(data)


def pack_open(candles: dict[str, list[Candle]]) -> bytes:
    """Candles that are not closed, by the name of their stored interval: plain integers, since they change all the time."""
    parts = []
    for number, interval in enumerate(STORED):
        parts += [OPEN.pack(number, *candle) for candle in candles.get(interval.name, ())]
    return b"".join(parts)


def unpack_open(packed: bytes | None) -> dict[str, list[Candle]]:
    """The candles that `pack_open` was given; every stored interval has its list."""
    found: dict[str, list[Candle]] = {interval.name: [] for interval in STORED}
    for number, *row in OPEN.iter_unpack(packed or b""):
        found[STORED[number].name].append(Candle._make(row))
    return found
