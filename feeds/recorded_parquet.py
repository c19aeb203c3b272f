"""Reads one recorded Parquet file, of the archive or any other, by the same rules as a CSV file: as texts of its values."""

import hashlib
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feeds.feed import FeedError
from feeds.listings import check_symbol
from feeds.recorded_rows import Layout, layout_of, parse_columns, parse_row, parse_time
from feeds.tick import Tick

ROWS_AT_ONCE = 2_000
"""Enough for speed, little enough that a poll stays short."""

ARCHIVED = frozenset({"epoch", "seq", "id_ms"})
"""Columns of the archive beside those of ticks: a replay gives numbers of its own."""
OF_ONE_SYMBOL = re.compile(r"(?:^|/)symbol=([^/]+)/")
PART = re.compile(r"(.*)/([0-9]+\.[a-z0-9]+)\.([0-9]+)-([0-9]+)\.([0-9]+)-([0-9]+)\.parquet")


@dataclass(frozen=True, slots=True)
class ParquetRecording:
    """A file of trades or of quotes, as a first look found it: a `feeds.recording.Recorded`."""

    path: str
    layout: Layout
    digest: bytes
    rows: int
    first_times: dict[str, int]
    symbol: str | None
    """That of its folder, where the file has no column for it."""

    @property
    def begin(self) -> int:
        """The time of the first row."""
        return next(iter(self.first_times.values()))

    def ticks(self, names: Mapping[str, str]) -> Generator[Sequence[Tick]]:
        """All ticks, some thousands at a time; the file is open until the generator is closed or used up."""
        for row, of in _blocks(self.path, list(self.layout.header), self.symbol):
            try:
                ticks = parse_columns(self.layout, of, names)
            except (ValueError, KeyError):
                ticks = self._parsed_singly(row, of, names)
            yield ticks

    def _parsed_singly(self, row: int, of: Mapping[str, Sequence[str]], names: Mapping[str, str]) -> list[Tick]:
        ticks: list[Tick] = []
        for number, values in enumerate(zip(*(of[name] for name in self.layout.header), strict=True), row):
            with _naming(self.path, number):
                tick = parse_row(self.layout, values)
                if tick.symbol not in names:
                    raise ValueError(f"symbol {tick.symbol!r} was not there at the start: the file has changed")
                ticks.append(tick)
        return ticks


def look_at_parquet(path: str) -> ParquetRecording:
    """What is in a file; raises `FeedError` for one that cannot be read, has no rows, other columns or bad symbols."""
    with _reading(path), pq.ParquetFile(path) as parquet:
        found, rows = list(parquet.schema_arrow.names), parquet.metadata.num_rows
    header = [name for name in found if name not in ARCHIVED] if set(found) >= ARCHIVED else found
    folder = None if "symbol" in header else OF_ONE_SYMBOL.search(Path(path).as_posix())
    symbol = folder[1] if folder else None
    with _naming(path, 0):
        layout = layout_of(["symbol", *header] if symbol else header)
    if not rows:
        raise FeedError(f"{path}: found no rows, expected at least one")
    first_times: dict[str, int] = {}
    for row, of in _blocks(path, ["symbol", "time"], symbol):
        if set(of["symbol"]) <= first_times.keys():
            continue
        for number, (name, time) in enumerate(zip(of["symbol"], of["time"], strict=True), row):
            if name not in first_times:
                with _naming(path, number):
                    check_symbol(name)
                    first_times[name] = parse_time(time)
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return ParquetRecording(path, layout, digest, rows, first_times, symbol)


def without_parts(files: Sequence[str]) -> list[str]:
    """Files without those of the archive whose rows are in a longer one beside them: a compaction may be under way."""
    spans = {
        file: (found[1], found[2], int(found[4]), int(found[6])) for file in files if (found := PART.fullmatch(file))
    }

    def is_part(file: str) -> bool:
        folder, epoch, first, last = spans[file]
        return any(
            other[:2] == (folder, epoch) and other[2] <= first and last <= other[3] and other != spans[file]
            for other in spans.values()
        )

    return [file for file in files if file not in spans or not is_part(file)]


def _blocks(path: str, columns: list[str], symbol: str | None) -> Iterator[tuple[int, dict[str, list[str]]]]:
    """Some rows as texts, column by column, with the number of the first of them."""
    row, read = 1, [name for name in columns if name != "symbol" or symbol is None]
    with _reading(path), pq.ParquetFile(path) as parquet:
        for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=read, use_threads=False):
            of = {name: _texts(path, name, batch.column(name)) for name in read}
            yield row, of if symbol is None else of | {"symbol": [symbol] * batch.num_rows}
            row += batch.num_rows


def _texts(path: str, name: str, column: Any) -> list[str]:
    """The texts of a column's values, as a CSV file would have them; nothing is an empty one."""
    if pa.types.is_timestamp(column.type):
        if column.type.tz is None:
            raise FeedError(f"{path}: column {name} has times without a time zone, expected timestamps with one")
        column = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
    texts: list[str] = column.cast(pa.string()).fill_null("").to_pylist()
    return texts


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise FeedError(f"{path}: {error}; expected a Parquet file of trades or quotes") from None


@contextmanager
def _naming(path: str, row: int) -> Iterator[None]:
    """Turn what is wrong with a row, or with the columns, into an error that says where it is."""
    try:
        yield
    except ValueError as error:
        raise FeedError(f"{path}: {f'row {row}: ' if row else ''}{error}") from None
