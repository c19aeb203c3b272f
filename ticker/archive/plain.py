"""Reads Parquet files of others, row by row, as plain values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ticker.errors import ConfigError

ROWS_AT_ONCE = 8_192


def columns_of(path: Path) -> list[str]:
    """The columns of a file; raises `ConfigError` where it is none."""
    with _opened(path) as parquet:
        return list(parquet.schema_arrow.names)


def rows_of(path: Path, columns: list[str]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Each row with its number from 1 on: decimals, dates and times with microseconds as Python has them."""
    with _opened(path) as parquet:
        number = 0
        try:
            for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False):
                for row in zip(*(_values(batch.column(name)) for name in columns), strict=True):
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError) as error:
            raise ConfigError(f"{path}: row {number + 1}: {error}") from None


def _values(column: Any) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        # Python's times have no nanoseconds; that none are lost is checked by the cast.
        column = column.cast(pa.timestamp("us", column.type.tz))
    values: list[Any] = column.to_pylist()
    return values


def _opened(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path}: {error}; expected a Parquet file") from None
