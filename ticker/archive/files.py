"""Writes tables as Parquet files of the archive and reads parts of them back, with their footers kept for the next time."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ticker import metrics
from ticker.archive import tables
from ticker.archive.layout import File, Place
from ticker.archive.storage import Storage
from ticker.errors import ArchiveError

ROWS_PER_GROUP = 16_384
"""What is read of a file at least: few milliseconds, and still packed well."""


class Files:
    """Reads and writes files; may be used by several threads."""

    def __init__(self, storage: Storage, footers_max: int) -> None:
        self._storage = storage
        self._footers_max = footers_max
        self._footers: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def write(self, file: File, table: Any) -> None:
        """Write a file, whole or not at all. The same rows give the same bytes."""
        out = pa.BufferOutputStream()
        about = {"ticker": "1", "symbol": file.symbol, "kind": file.kind}
        pq.write_table(
            table.replace_schema_metadata(about),
            out,
            row_group_size=ROWS_PER_GROUP,
            compression="zstd",
            store_decimal_as_integer=True,
            write_page_checksum=True,
        )
        self._storage.write(file.path, out.getvalue().to_pybytes())
        self.forget(file)

    def table(self, file: File) -> Any:
        """All of a file."""
        with self._opened(file) as parquet:
            return self._checked(file, parquet.read(use_threads=False))

    def groups(self, file: File, low: Place, high: Place, *, newest: bool) -> Iterator[Any]:
        """The parts of a file of ticks that may hold places low <= p < high, one after the other, perhaps the newest first."""
        with self._opened(file) as parquet:
            numbers = _groups_between(parquet.metadata, low, high)
            for number in reversed(numbers) if newest else numbers:
                yield self._checked(file, parquet.read_row_group(number, use_threads=False))

    def numbered(self, file: File, first: int, count: int) -> Any:
        """The row groups that hold `count` rows of a file of ticks, from row `first` on."""
        with self._opened(file) as parquet:
            wanted, at = [], 0
            for number in range(parquet.metadata.num_row_groups):
                rows = parquet.metadata.row_group(number).num_rows
                if at < first + count and first < at + rows:
                    wanted.append(number)
                at += rows
            return self._checked(file, parquet.read_row_groups(wanted, use_threads=False))

    def verified(self, file: File) -> Any:
        """All of a file, with the checksum of each page checked."""
        with self._opened(file, page_checksum_verification=True) as parquet:
            return self._checked(file, parquet.read(use_threads=False))

    def forget(self, file: File) -> None:
        """Forget the footer of a file that is no more."""
        with self._lock:
            self._footers.pop(file.path, None)

    @contextmanager
    def _opened(self, file: File, **options: Any) -> Iterator[Any]:
        """A file, with its footer from memory where that is kept."""
        with self._lock:
            footer = self._footers.get(file.path)
            if footer is not None:
                self._footers.move_to_end(file.path)
        source = self._storage.open(file.path)
        try:
            try:
                parquet = pq.ParquetFile(source, metadata=footer, **options)
                if footer is None:
                    self._keep(file, parquet.metadata)
                yield parquet
            except (pa.ArrowException, OSError) as error:
                raise ArchiveError(f"the archive: {file.path} cannot be read: {error}") from error
        finally:
            source.close()

    def _keep(self, file: File, footer: Any) -> None:
        with self._lock:
            self._footers[file.path] = footer
            if len(self._footers) > self._footers_max:
                self._footers.popitem(last=False)
                metrics.met("archive_footers")

    def _checked(self, file: File, table: Any) -> Any:
        """A table with the columns that its kind has; a file without them is not ours."""
        wanted: Sequence[str] = tables.schema_of(file.kind).names
        if missing := [name for name in wanted if name not in table.column_names]:
            raise ArchiveError(f"the archive: {file.path} has no column {', '.join(missing)}")
        return table


def _groups_between(footer: Any, low: Place, high: Place) -> list[int]:
    """The row groups whose milliseconds lie in the range, by what the footer says of them."""
    column = footer.schema.to_arrow_schema().names.index("id_ms")
    found = []
    for number in range(footer.num_row_groups):
        known = footer.row_group(number).column(column).statistics
        if known is None or not known.has_min_max or (known.max >= low.at and known.min <= high.at):
            found.append(number)
    return found
