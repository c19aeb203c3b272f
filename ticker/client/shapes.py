"""The forms in which rows of history are handed out: records, columns, and the frames of pandas and polars."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, overload

from ticker.client.errors import MissingExtra, Misuse
from ticker.client.records import Position

T = TypeVar("T")
Shape = Literal["rows", "columns", "pandas", "polars"]

COLUMNS = {
    "candles": ("time", "open", "high", "low", "close", "volume", "trades", "vwap", "final"),
    "trades": ("time", "price", "size", "seq"),
    "quotes": ("time", "bid", "bid_size", "ask", "ask_size", "seq"),
}
OPTIONAL = ("id", "exchange", "conditions")
"""Columns that are there where any row has them."""
WHOLE = frozenset({"time", "trades", "seq"})
TRUTH = frozenset({"final"})


class Rows(Sequence[T], Generic[T]):
    """Records in order, with the `position` up to which they hold everything; None where they do not reach the present."""

    __slots__ = ("_rows", "position")

    def __init__(self, rows: Sequence[T], position: Position | None) -> None:
        self._rows = rows
        self.position = position

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"Rows({len(self._rows)} rows, position={self.position!r})"


class Columns(Mapping[str, list[Any]]):
    """Lists by the name of the column, all of the same length; `position` as in `Rows`."""

    __slots__ = ("_columns", "position")

    def __init__(self, columns: Mapping[str, list[Any]], position: Position | None) -> None:
        self._columns = dict(columns)
        self.position = position

    def __getitem__(self, name: str) -> list[Any]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"Columns({', '.join(self._columns)}; position={self.position!r})"


Raw = list[dict[str, Any]]
"""Rows as REST has them."""


def check_shape(shape: str) -> None:
    """Refuse a shape that there is not, or whose package is not there: before anything is asked for."""
    if shape not in ("rows", "columns", "pandas", "polars"):
        raise Misuse(f"as_ is {shape!r}; allowed: rows, columns, pandas, polars")
    if shape == "polars":
        _polars()


def shaped(kind: str, rows: Raw, position: Position | None, shape: str, record: Callable[[Any], T]) -> Any:
    """The rows in one of the shapes."""
    if shape == "rows":
        return Rows([record(row) for row in rows], position)
    columns = columns_of(kind, rows)
    if shape == "columns":
        return Columns(columns, position)
    frame = _pandas_frame(columns) if shape == "pandas" else _polars_frame(columns)
    frame.position = position
    return frame


def columns_of(kind: str, rows: Raw) -> dict[str, list[Any]]:
    """The rows turned on their side."""
    optional = [name for name in OPTIONAL if kind != "candles" and any(name in row for row in rows)]
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in COLUMNS[kind]}
    return columns | {name: [row.get(name) for row in rows] for name in optional}


def _type_of(name: str, whole: Any, truth: Any, text: Any, number: Any) -> Any:
    if name in WHOLE:
        return whole
    return truth if name in TRUTH else text if name in OPTIONAL else number


def _pandas_frame(columns: Mapping[str, list[Any]]) -> Any:
    """Indexed by time, in UTC; numbers as float64, missing ones as NaN, counts as int64."""
    import pandas as pd

    data = {
        name: pd.Series(column, dtype=_type_of(name, "int64", "bool", "object", "float64"))
        for name, column in columns.items()
    }
    times = data.pop("time").astype("datetime64[us]").dt.tz_localize("UTC")
    frame = pd.DataFrame(data)
    frame.index = pd.DatetimeIndex(times, name="time")
    return frame


def _polars_frame(columns: Mapping[str, list[Any]]) -> Any:
    """With a column `time`, in UTC; the types as in pandas, but missing values are null."""
    pl = _polars()
    schema = {name: _type_of(name, pl.Int64, pl.Boolean, pl.String, pl.Float64) for name in columns}
    frame = pl.DataFrame(columns, schema=schema, strict=False)
    return frame.with_columns(pl.col("time").cast(pl.Datetime("us", "UTC")))


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        raise MissingExtra("as_='polars' needs polars, which the extra brings: pip install 'ticker[polars]'") from None
    return polars
