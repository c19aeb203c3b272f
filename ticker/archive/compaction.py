"""Makes one file of the many that runs of the archive job leave in a day; whatever interrupts it, no row is lost or doubled."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import pyarrow as pa

from ticker.archive import tables
from ticker.archive.archive import Archive
from ticker.archive.layout import CANDLES, File, Stretch, stretches, superseded

FILES_MAX = 16
"""Of the newest day, or year, which still grows; of all others, one."""


def compact(archive: Archive, kind: str, symbol: str) -> int:
    """Compact one kind and symbol; how many files are less. Waits for the storage: call it in a thread."""
    files = archive.index.again(kind, symbol).files
    gone = _remove_superseded(archive, kind, symbol, files)
    newest = max((file.period for file in files), default="")
    for group in _groups([file for file in files if file not in gone]):
        if len(group) == 1 or (group[0].period == newest and len(group) < FILES_MAX):
            continue
        archive.sweep(group[0])
        for run in _runs(kind, stretches(group)):
            if len(run) > 1:
                _merge(archive, run)
                gone += [part.file for part in run]
    return len(gone)


def _remove_superseded(archive: Archive, kind: str, symbol: str, files: Sequence[File]) -> list[File]:
    """What a compaction that was interrupted has left."""
    gone = superseded(files)
    if gone:
        archive.remove(kind, symbol, gone)
    return gone


def _groups(files: Sequence[File]) -> Iterator[list[File]]:
    """The files of each period and generation."""
    for _, group in groupby(sorted(files, key=_group), key=_group):
        yield list(group)


def _group(file: File) -> tuple[str, int, str]:
    return file.period, file.generation, file.epoch


def _runs(kind: str, parts: Sequence[Stretch]) -> list[list[Stretch]]:
    """Stretches that follow each other: a file of ticks has no hole, as its name tells how many are in it."""
    runs: list[list[Stretch]] = []
    for part in parts:
        if runs and (kind in CANDLES or runs[-1][-1].high.seq == part.low.seq):
            runs[-1].append(part)
        else:
            runs.append([part])
    return runs


def _merge(archive: Archive, run: Sequence[Stretch]) -> None:
    """Write the rows of all, then remove the parts: in between, readers take the longer file."""
    head, tail = run[0].file, run[-1].file
    parts = [tables.rows_from(head.kind, archive.files.table(part.file), part.low) for part in run]
    rows = pa.concat_tables(parts).combine_chunks()
    count = rows.num_rows if head.kind in CANDLES else 0
    ends, revision = (head.first, tail.last), max(part.file.revision for part in run)
    whole = File(head.kind, head.symbol, head.period, *ends, head.generation, head.epoch, count, revision)
    archive.write_table(whole, rows)
    archive.remove(head.kind, head.symbol, [part.file for part in run if part.file != whole])
