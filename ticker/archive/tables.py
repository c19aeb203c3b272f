"""Ticks and candles to Arrow tables and back, exactly: prices, sizes and sums are decimals, times are timestamps.

A decimal of Arrow is its whole number of millionths in 16 bytes, so ours become one by a copy.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ticker import codec
from ticker.archive.layout import IMPORT, Place
from ticker.candles.candle import FIELDS, NO_TRADE, TRILLION, Candle, Candles, Origin
from ticker.errors import StoreError
from ticker.store.tick_stream import Entry, Kind

Ints = npt.NDArray[np.int64]

TIME = pa.timestamp("us", tz="UTC")
VALUE = pa.decimal128(16, 6)
"""A price or size: below 2^53 millionths."""
VOLUME = pa.decimal128(19, 6)
"""Of a candle: below 2^60 millionths."""
TURNOVER = pa.decimal128(31, 12)
"""The sum of price x size: below 2^60 whole units."""
TEXT = pa.string()

_TICK_END = [
    pa.field("id", TEXT),
    pa.field("exchange", TEXT),
    pa.field("conditions", TEXT),
    pa.field("epoch", TEXT, nullable=False),
    pa.field("seq", pa.int64(), nullable=False),
    pa.field("id_ms", pa.int64(), nullable=False),
]


def _needed(name: str, kind: Any) -> Any:
    return pa.field(name, kind, nullable=False)


TICKS: dict[str, Any] = {
    "trades": pa.schema([_needed("time", TIME), _needed("price", VALUE), _needed("size", VALUE), *_TICK_END]),
    "quotes": pa.schema(
        [
            _needed("time", TIME),
            pa.field("bid", VALUE),
            _needed("bid_size", VALUE),
            pa.field("ask", VALUE),
            _needed("ask_size", VALUE),
            *_TICK_END,
        ]
    ),
}
CANDLES = pa.schema(
    [
        _needed("time", TIME),
        _needed("open", VALUE),
        _needed("high", VALUE),
        _needed("low", VALUE),
        _needed("close", VALUE),
        _needed("volume", VOLUME),
        _needed("trades", pa.int64()),
        pa.field("vwap", VALUE),
        _needed("turnover", TURNOVER),
        pa.field("first_seq", pa.int64()),
        _needed("seq", pa.int64()),
        _needed("open_time", TIME),
        _needed("close_time", TIME),
        _needed("origin", TEXT),
    ]
)
ORIGINS = {origin.name.lower(): origin for origin in Origin}
VALUES = {"trades": ("price", "size"), "quotes": ("bid", "bid_size", "ask", "ask_size")}


def schema_of(kind: str) -> Any:
    """The schema of a kind's files."""
    return TICKS.get(kind, CANDLES)


def is_ours(kind: str, table: Any) -> bool:
    """Whether a table has the columns of its kind, of the same types."""
    return bool(table.schema.equals(schema_of(kind)))


def ticks_table(kind: Kind, entries: Sequence[Entry], epoch: str) -> Any:
    """Stream entries as a table. Raises `StoreError` for what no writer of ours has put into the stream."""
    rows = [dict(zip(entry.fields[::2], entry.fields[1::2], strict=True)) for entry in entries]

    def texts(name: str) -> list[bytes | None]:
        key = name.encode()
        return [row.get(key) for row in rows]

    columns: dict[str, Any] = {
        "time": _times(np.array([entry.time for entry in entries], np.int64)),
        "epoch": pa.array([epoch] * len(rows), TEXT),
        "seq": pa.array([entry.seq for entry in entries], pa.int64()),
        "id_ms": pa.array([entry.ms for entry in entries], pa.int64()),
    }
    try:
        for name in codec.OPTIONAL_FIELDS:
            columns[name] = pa.array(texts(name), pa.binary()).cast(TEXT)
        for name in VALUES[kind]:
            given = [None if text == b"null" else text for text in texts(name)]
            columns[name] = pa.array(given, pa.binary()).cast(TEXT).cast(VALUE)
        return pa.table(columns).select(TICKS[kind].names).cast(TICKS[kind])
    except (pa.ArrowInvalid, ValueError) as error:
        ids = f"{entries[0].ms}-{entries[0].seq} to {entries[-1].ms}-{entries[-1].seq}"
        raise StoreError(f"{kind} {ids} hold what is no tick of ours: {error}") from None


def tick_columns(kind: Kind, columns: Mapping[str, Any], epoch: str) -> Any:
    """Ticks as a table: times, numbers and values as arrays of int64 (None where a side is missing is masked), texts as lists.

    `columns` has `time`, `seq`, `id_ms`, the values in millionths, and optional texts; a value may be a masked array.
    """
    count = len(columns["time"])
    made: dict[str, Any] = {
        "time": _times(columns["time"]),
        "epoch": pa.array([epoch] * count, TEXT),
        "seq": pa.array(columns["seq"], pa.int64()),
        "id_ms": pa.array(columns["id_ms"], pa.int64()),
    }
    for name in codec.OPTIONAL_FIELDS:
        made[name] = pa.array(columns.get(name) or [None] * count, TEXT)
    for name in VALUES[kind]:
        made[name] = decimals(columns[name], VALUE)
    return pa.table(made).select(TICKS[kind].names).cast(TICKS[kind])


def places_of(table: Any) -> tuple[Ints, Ints]:
    """The milliseconds and numbers of the stream ids of ticks."""
    return table.column("id_ms").to_numpy(), table.column("seq").to_numpy()


def entries_of(kind: Kind, table: Any) -> list[Entry]:
    """The stream entries that the ticks of a table were; what was imported was none, and has `seq` 0 in it."""
    texts: dict[str, list[bytes | None]] = {}
    for name in VALUES[kind]:
        column = _one(table, name)
        missing = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
        values = [codec.number(codec.from_millionths(value) or 0).encode() for value in whole(column).tolist()]
        texts[name] = (
            [b"null" if gone else text for text, gone in zip(values, missing, strict=True)]
            if missing is not None
            else list(values)
        )
    for name in codec.OPTIONAL_FIELDS:
        column = _one(table, name)
        if column.null_count < len(column):
            texts[name] = [None if text is None else text.encode() for text in column.to_pylist()]
    times = [b"%d" % time for time in _micros(table, "time").tolist()]
    ms, seqs = (column.tolist() for column in places_of(table))
    numbers = [b"0" if epoch == IMPORT else b"%d" % seq for epoch, seq in zip(_epochs(table), seqs, strict=True)]
    names = [*VALUES[kind], "time", *(name for name in codec.OPTIONAL_FIELDS if name in texts), "seq"]
    keys = [name.encode() for name in names]
    columns = [times if name == "time" else numbers if name == "seq" else texts[name] for name in names]
    found = []
    for at, seq, time, *row in zip(ms, seqs, times, *columns, strict=True):
        flat = [part for key, text in zip(keys, row, strict=True) if text is not None for part in (key, text)]
        found.append(Entry(at, seq, int(time), flat))
    return found


def trades_of(table: Any) -> list[tuple[int, int, int, int]]:
    """Time, price, size and number of each trade."""
    price, size = whole(_one(table, "price")), whole(_one(table, "size"))
    columns = _micros(table, "time"), price, size, places_of(table)[1]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _epochs(table: Any) -> list[str]:
    epochs: list[str] = table.column("epoch").to_pylist()
    return epochs


def candles_table(candles: Candles) -> Any:
    """Candles as a table."""
    column = candles.column
    units, rest = column("units").tolist(), column("rest").tolist()
    numbers = column("first_seq")
    made = {name: decimals(column(name), VALUE) for name in ("open", "high", "low", "close")}
    made |= {name: _times(column(name)) for name in ("time", "open_time", "close_time")}
    made |= {name: pa.array(column(name), pa.int64()) for name in ("trades", "seq")}
    made["volume"] = decimals(column("volume"), VOLUME)
    made["vwap"] = _vwaps(candles.rows())
    made["turnover"] = _wide_decimals([unit * TRILLION + part for unit, part in zip(units, rest, strict=True)])
    made["first_seq"] = pa.array(numbers, pa.int64(), mask=numbers == NO_TRADE)
    made["origin"] = pa.array([Origin(number).name.lower() for number in column("origin").tolist()], TEXT)
    return pa.table(made).select(CANDLES.names).cast(CANDLES)


def candles_of(table: Any) -> Candles:
    """The candles of a table."""
    if not table.num_rows:
        return Candles.of(())
    notional = _wide(_one(table, "turnover"))
    units = notional // TRILLION
    made = {name: whole(_one(table, name)) for name in ("open", "high", "low", "close", "volume")}
    made |= {name: _micros(table, name) for name in ("time", "open_time", "close_time")}
    made |= {name: table.column(name).to_numpy() for name in ("trades", "seq")}
    made["units"] = units.astype(np.int64)
    made["rest"] = (notional - units * TRILLION).astype(np.int64)
    made["first_seq"] = _one(table, "first_seq").fill_null(NO_TRADE).to_numpy()
    made["origin"] = np.array([ORIGINS[name] for name in table.column("origin").to_pylist()], np.int64)
    return Candles(np.array([made[field] for field in FIELDS], np.int64))


def row_place(kind: str, table: Any, row: int) -> Place:
    """The place of one row."""
    if kind in TICKS:
        return Place(table.column("id_ms")[row].as_py(), table.column("seq")[row].as_py())
    return Place(table.column("time")[row].cast(pa.int64()).as_py())


def rows_from(kind: str, table: Any, low: Place) -> Any:
    """The rows from a place on."""
    if kind in TICKS:
        return table.filter(places_of(table)[1] >= low.seq)
    return table.filter(_micros(table, "time") >= low.at + bool(low.seq))


def decimals(values: Any, kind: Any) -> Any:
    """Whole numbers of the decimal's last place as decimals; what is masked is null."""
    plain = np.ma.getdata(values)
    words = np.empty((len(plain), 2), np.int64)
    words[:, 0] = plain
    words[:, 1] = plain >> 63
    made = pa.Array.from_buffers(kind, len(plain), [None, pa.py_buffer(words)])
    if np.ma.is_masked(values):
        return pc.if_else(pa.array(np.ma.getmaskarray(values)), pa.scalar(None, kind), made)
    return made


def whole(column: Any) -> Ints:
    """The whole numbers of decimals below 2^63; 0 for null."""
    found = _words(column)[:, 0].copy()
    if column.null_count:
        found[column.is_null().to_numpy(zero_copy_only=False)] = 0
    return found


def _words(column: Any) -> Ints:
    """The two halves of each decimal."""
    words: Ints = np.frombuffer(column.buffers()[1], np.int64).reshape(-1, 2)
    return words[column.offset : column.offset + len(column)]


def _wide(column: Any) -> Any:
    """The whole numbers of decimals of any size, as Python's."""
    words = _words(column)
    return (words[:, 1].astype(object) << 64) + words[:, 0].view(np.uint64).astype(object)


def _wide_decimals(values: Sequence[int]) -> Any:
    packed = b"".join(value.to_bytes(16, "little", signed=True) for value in values)
    return pa.Array.from_buffers(TURNOVER, len(values), [None, pa.py_buffer(packed)])


def _vwaps(rows: Sequence[Candle]) -> Any:
    vwaps = [row.vwap for row in rows]
    mask = [vwap is None for vwap in vwaps]
    return decimals(np.ma.array(np.array([vwap or 0 for vwap in vwaps], np.int64), mask=mask), VALUE)


def _one(table: Any, name: str) -> Any:
    """A column in one piece."""
    made = table.column(name).combine_chunks()
    return made if not isinstance(made, pa.ChunkedArray) else pa.concat_arrays(made.chunks)


def _times(times: Any) -> Any:
    return pa.array(times, pa.int64()).cast(pa.timestamp("us")).cast(TIME)


def _micros(table: Any, name: str) -> Ints:
    micros: Ints = table.column(name).cast(pa.int64()).to_numpy()
    return micros
