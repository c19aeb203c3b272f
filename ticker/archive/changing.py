"""Puts candles into days that are archived already: a new file for each, which counts from when it is there."""

from dataclasses import replace

import numpy as np

from ticker.archive import tables
from ticker.archive.archive import Archive, candle_file
from ticker.archive.layout import File, Place, cut, stretches
from ticker.candles.candle import Candles, merge
from ticker.candles.interval import Interval


def change_candles(archive: Archive, symbol: str, base: Interval, candles: Candles) -> int:
    """Write these in place of those of the same times, and beside all others; how many files. Waits for the storage.

    Whatever interrupts it, a file has all that it had before or all that it should have; done again, nothing changes.
    """
    kind, written = f"candles_{base.name}", 0
    for period, first, end in cut(kind, candles.time, archive.zone):
        files = [file for file in archive.index.again(kind, symbol).files if file.period == period]
        there = _rows_of(archive, files)
        merged = merge(there, candles.part(first, end))
        if np.array_equal(merged.data, there.data):
            continue
        revision = max((file.revision + 1 for file in files), default=0)
        archive.write_table(
            replace(candle_file(kind, symbol, period, merged), revision=revision), tables.candles_table(merged)
        )
        archive.remove(kind, symbol, files)
        written += 1
    return written


def _rows_of(archive: Archive, files: list[File]) -> Candles:
    """What of a period's files counts."""
    parts = [
        tables.candles_of(archive.files.table(one.file)).between(_after(one.low), _after(one.high))
        for one in stretches(files)
    ]
    return Candles.joined(parts)


def _after(place: Place) -> int:
    """The first open time of a candle at or beyond a place."""
    return place.at + bool(place.seq)
