"""Reads files of trades, quotes or candles, CSV or Parquet, row by row: each is a record, or why it is none."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ticker.archive import plain
from ticker.candles.builder import SUM_MAX
from ticker.candles.candle import MILLION, NO_TRADE, TRILLION, Candle, Origin
from ticker.candles.interval import Interval, bounds
from ticker.errors import ConfigError
from ticker.importing import values
from ticker.importing.values import Timing

TICK_TEXTS = ("id", "exchange", "conditions")
NEEDED = {
    "trades": ("time", "price", "size"),
    "quotes": ("time", "bid", "bid_size", "ask", "ask_size"),
    "candles": ("time", "open", "high", "low", "close", "volume"),
}
OPTIONAL = {"trades": TICK_TEXTS, "quotes": TICK_TEXTS, "candles": ("trades", "vwap")}
TELLS = {"candles": ("open", "high", "low", "close"), "quotes": ("bid", "ask"), "trades": ("price",)}
"""Columns that say which kind a file is of, looked for in this order."""
PROGRESS_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Options:
    """What is said of the files beside their names."""

    timing: Timing
    interval: Interval
    symbol: str | None = None
    columns: Mapping[str, str] | None = None
    """Our name of a column -> its name in the file."""


@dataclass(frozen=True, slots=True)
class TickRow:
    """A trade or quote in millionths; a missing side of a quote is None."""

    symbol: str
    time: int
    values: tuple[int | None, ...]
    texts: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class CandleRow:
    """A candle and whose it is."""

    symbol: str
    candle: Candle

    @property
    def time(self) -> int:
        """Its open time."""
        return self.candle.time


Row = TickRow | CandleRow
Values = tuple[Any, ...] | ValueError
"""The values of a line, or why it has none."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not taken."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: line {self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and which of its columns is which of ours."""

    path: Path
    kind: str
    places: dict[str, str]
    options: Options

    def rows(self, progress: Callable[[int], None]) -> Iterator[tuple[int, Row | BadRow]]:
        """Each row with its line; `progress` hears now and then at which byte the reading is."""
        names = list(self.places)
        columns = list(self.places.values())
        rows: Iterator[tuple[int, Values]]
        rows = plain.rows_of(self.path, columns) if is_parquet(self.path) else _csv_rows(self.path, columns, progress)
        for line, found in rows:
            try:
                if isinstance(found, ValueError):
                    raise found
                yield line, self._row(dict(zip(names, found, strict=True)))
            except ValueError as error:
                yield line, BadRow(self.path, line, str(error))

    def _row(self, of: dict[str, Any]) -> Row:
        symbol = values.symbol(self.options.symbol or of.get("symbol"))
        time = values.time(of["time"], self.options.timing)
        if self.kind == "candles":
            return CandleRow(symbol, _candle(of, time, self.options))
        texts = tuple(values.text(of.get(name), name) for name in TICK_TEXTS)
        if self.kind == "trades":
            return TickRow(symbol, time, (values.number(of["price"], "price"), values.size(of["size"], "size")), texts)
        return TickRow(symbol, time, (*_side(of, "bid"), *_side(of, "ask")), texts)


def is_parquet(path: Path) -> bool:
    """By its name."""
    return path.suffix in (".parquet", ".pq")


def look_at(path: Path, options: Options) -> Source:
    """A file with its kind, as its columns tell; raises `ConfigError` for one that cannot be imported."""
    found = plain.columns_of(path) if is_parquet(path) else _csv_header(path)
    given = options.columns or {}
    if missing := [name for name in given.values() if name not in found]:
        raise ConfigError(f"{path}: no column {missing[0]!r}; it has {', '.join(found)}")
    # A column that has another meaning given is not taken for what its own name says.
    names = {name: name for name in found if name not in given.values()} | dict(given)
    kind = next((kind for kind, tells in TELLS.items() if any(name in names for name in tells)), None)
    needed = (*NEEDED.get(kind or "", ("time", "price")), *(() if options.symbol else ("symbol",)))
    lacking = [name for name in needed if name not in names]
    if kind is None or lacking:
        raise ConfigError(
            f"{path}: no column {', '.join(map(repr, lacking))}; it has {', '.join(found)}; "
            "name others with --column, as in --column time=Date, and the symbol with --symbol"
        )
    places = {name: names[name] for name in (*needed, *OPTIONAL[kind]) if name in names}
    return Source(path, kind, places, options)


def _side(of: dict[str, Any], side: str) -> tuple[int | None, int]:
    """Price and size of one side; without a price, the side is missing."""
    price, size = of[side], of[f"{side}_size"]
    if price is not None and price != "":
        return values.number(price, side), values.size(size, f"{side}_size")
    if size not in (None, "") and values.size(size, f"{side}_size"):
        raise ValueError(f"{side}_size {size!r}: expected 0 or nothing, because there is no {side}")
    return None, 0


def _candle(of: dict[str, Any], time: int, options: Options) -> Candle:
    opened, end = bounds(options.interval, time, options.timing.market)
    if time != opened:
        raise ValueError(f"time {of['time']!r}: expected the open time of a candle of {options.interval.name}")
    prices = {name: values.number(of[name], name) for name in ("open", "high", "low", "close")}
    first, high, low, last = prices.values()
    volume = values.size(of["volume"], "volume", sum_of_many=True)
    vwap = values.number(of["vwap"], "vwap") if of.get("vwap") not in (None, "") else -(-(high + low + last) // 3)
    for name, price in (prices | {"vwap": vwap}).items():
        if not low <= price <= high:
            raise ValueError(f"{name} {price / MILLION}: expected from low {low / MILLION} to high {high / MILLION}")
    trades = values.count(of["trades"], "trades") if of.get("trades") not in (None, "") else 0
    if abs(vwap * volume) >= SUM_MAX * TRILLION:
        raise ValueError(f"volume {of['volume']}: expected price x volume below 2^60")
    units, rest = divmod(vwap * volume, TRILLION)
    return Candle(time, first, high, low, last, volume, units, rest, trades, NO_TRADE, 0, time, end - 1, Origin.IMPORT)


def _csv_header(path: Path) -> list[str]:
    with _opened(path) as (file, _):
        header = next(csv.reader(file), [])
    if len(set(header)) < len(header):
        raise ConfigError(f"{path}: line 1: a column is there twice; found {', '.join(header)}")
    return header


def _csv_rows(path: Path, columns: Sequence[str], progress: Callable[[int], None]) -> Iterator[tuple[int, Values]]:
    """The given columns of each line that is not blank."""
    with _opened(path) as (file, raw):
        reader = csv.reader(file)
        header = next(reader)
        places = [header.index(name) for name in columns]
        for number, row in enumerate(reader):
            if not number % PROGRESS_ROWS:
                progress(raw.tell())
            if len(row) == len(header):
                yield reader.line_num, tuple(row[place] for place in places)
            elif row:
                yield reader.line_num, ValueError(f"found {len(row)} fields, expected {len(header)}")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[str], IO[bytes]]]:
    """A file as text, and as its bytes are read; what is wrong with it is a `ConfigError`."""
    try:
        with path.open("rb") as raw:
            content = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            with io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as file:
                yield file, raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{path}: {error}; expected a complete gzip file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: found the bytes {error.object[error.start : error.end]!r}, expected UTF-8"
        ) from None
    except csv.Error as error:
        raise ConfigError(f"{path}: {error}; expected comma-separated values") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
