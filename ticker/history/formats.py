"""Rows of candles and ticks as the bytes of an answer: JSON by row or by column, CSV, or an Arrow IPC stream.

Rows that stand together in a block of closed candles are written once, and compressed once: whoever asks for them again,
in whatever range, gets the same text. The key of a block is a digest of what it was made from, so it cannot be stale.
"""

import asyncio
import csv
import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import numpy as np

from ticker import codec
from ticker.candles.candle import MILLION, vwaps
from ticker.history.cache import Cache
from ticker.history.choices import Format
from ticker.history.rows import CandleRows, Rows, TickRows, blocks, digest, slices

ROWS_A_TURN = 128
"""Rows that are written without a pause: about half a millisecond, for which live messages may have to wait."""
TURN = b""
"""Stands where so many rows were written, or where those of a symbol end."""


class Piece:
    """Some of an answer's text, with its compressed form once somebody wants that."""

    __slots__ = ("_deflated", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._deflated: bytes | None = None

    def deflated(self) -> bytes:
        """Raw deflate that stands for itself, so that others may stand before and behind it."""
        if self._deflated is None:
            packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
            self._deflated = packer.compress(self.text) + packer.flush(zlib.Z_FULL_FLUSH)
        return self._deflated


def gzipped(pieces: Sequence[Piece]) -> bytes:
    """One gzip member of all of them; what was compressed before is not compressed again."""
    checksum = size = 0
    for piece in pieces:
        checksum = zlib.crc32(piece.text, checksum)
        size += len(piece.text)
    # An empty last block ends the stream.
    tail = b"\x03\x00" + checksum.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
    return b"".join([b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", *(piece.deflated() for piece in pieces), tail])


Envelope = Mapping[str, Any]
"""What an answer says beside its rows, such as `next`."""


class Writer:
    """Writes answers, remembering blocks of rows."""

    def __init__(self, cache: Cache, pace: AbstractAsyncContextManager[None] | None = None) -> None:
        """`pace` is around each part of an answer that is written."""
        self._cache = cache
        self._pace = nullcontext() if pace is None else pace

    async def one(self, wanted: Format, rows: Rows, before: Envelope, after: Envelope) -> list[Piece]:
        """The answer for one symbol; `before` and `after` are what stands around its rows where there is an envelope."""
        if wanted == "json":
            return await self._paced(self._envelope(rows, before, after))
        if wanted == "columns":
            async with self._pace:
                return [Piece(codec.to_json({**before, rows.name: rows.columns(), **after}))]
        if wanted == "csv":
            return await self._paced(self._csv([rows], with_symbol=False))
        return [Piece(await _arrow([rows], {**before, **after}, with_symbol=False))]

    async def many(self, wanted: Format, parts: Sequence[tuple[Rows, Envelope]], envelope: Envelope) -> list[Piece]:
        """The answer for several symbols; between two of them, others have their turn."""
        if wanted == "arrow":
            told = dict(envelope) | {"symbols": {rows.symbol: dict(after) for rows, after in parts}}
            return [Piece(await _arrow([rows for rows, _ in parts], told, with_symbol=True))]
        steps = self._csv([rows for rows, _ in parts], with_symbol=True)
        if wanted != "csv":
            steps = self._many_json(parts, envelope, by_column=wanted == "columns")
        return await self._paced(steps)

    async def _paced(self, steps: Iterator[bytes | Piece]) -> list[Piece]:
        """All that is written, with a pause wherever it is somebody else's turn."""
        made: list[bytes | Piece] = []
        while True:
            async with self._pace:
                for step in steps:
                    if step is TURN:
                        break
                    made.append(step)
                else:
                    return _compact(made)

    def _envelope(self, rows: Rows, before: Envelope, after: Envelope) -> Iterator[bytes | Piece]:
        head, tail = codec.to_json(before)[:-1], codec.to_json(after)[1:]
        yield head + (b"," if before else b"") + b'"' + rows.name.encode() + b'":['
        yield from self._rows(rows, "json", json_rows, b",")
        yield b"]," + tail

    def _many_json(
        self, parts: Sequence[tuple[Rows, Envelope]], envelope: Envelope, *, by_column: bool
    ) -> Iterator[bytes | Piece]:
        head, tail = _around_symbols(envelope)
        yield head
        for number, (rows, after) in enumerate(parts):
            yield (b"," if number else b"") + codec.to_json(rows.symbol) + b":"
            if by_column:
                yield codec.to_json({rows.name: rows.columns(), **after})
            else:
                yield from self._envelope(rows, {}, after)
            yield TURN
        yield tail

    def _csv(self, tables: Sequence[Rows], *, with_symbol: bool) -> Iterator[bytes | Piece]:
        names = _names(tables)
        yield ",".join((["symbol"] if with_symbol else []) + names).encode() + b"\r\n"
        for rows in tables:
            kind = f"csv {rows.symbol}" if with_symbol else "csv"

            def write(part: Rows, symbol: str = rows.symbol) -> bytes:
                return csv_rows(part, names, symbol if with_symbol else None)

            yield from self._rows(rows, kind, write, b"")
            yield TURN

    def _rows(self, rows: Rows, kind: str, write: Callable[[Any], bytes], between: bytes) -> Iterator[bytes | Piece]:
        """The rows' text, with blocks that are remembered where there are any."""
        if isinstance(rows, TickRows) or rows.descending:
            for number, part in enumerate(slices(rows, ROWS_A_TURN)):
                if number:
                    yield between
                    yield TURN
                yield write(part)
            return
        written = 0
        for number, (first, last, whole) in enumerate(blocks(rows)):
            if number and between:
                yield between
            part = CandleRows(rows.interval, rows.candles.part(first, last), max(min(rows.final, last) - first, 0))
            key = (kind, digest(part)) if whole and part.final == len(part) else None
            piece: Piece | None = self._cache.get(key) if key else None
            if piece is None:
                piece = Piece(write(part))
                written += len(part)
                if key:
                    # Its compressed form, which may follow, is about a quarter.
                    self._cache.put(key, piece, len(piece.text) * 5 // 4)
            yield piece if key else piece.text
            if written >= ROWS_A_TURN:
                written = 0
                yield TURN


def _compact(parts: Sequence[bytes | Piece]) -> list[Piece]:
    """Neighbours that are not remembered, joined."""
    made: list[Piece] = []
    loose: list[bytes] = []
    for part in parts:
        if isinstance(part, bytes):
            loose.append(part)
            continue
        if loose:
            made.append(Piece(b"".join(loose)))
            loose = []
        made.append(part)
    if loose:
        made.append(Piece(b"".join(loose)))
    return made


def _with_symbols(envelope: Envelope, symbols: Mapping[str, Any]) -> dict[str, Any]:
    """`errors` comes last."""
    rest = {name: value for name, value in envelope.items() if name != "errors"}
    return {**rest, "symbols": symbols, "errors": envelope["errors"]}


def _around_symbols(envelope: Envelope) -> tuple[bytes, bytes]:
    head, _, tail = codec.to_json(_with_symbols(envelope, {})).rpartition(b'"symbols":{}')
    return head + b'"symbols":{', b"}" + tail


def json_rows(rows: Rows) -> bytes:
    """Rows as JSON objects, with commas between them."""
    if isinstance(rows, TickRows):
        return codec.to_json(rows.rows())[1:-1]
    made = zip(*rows.columns().values(), strict=True)
    # Written out, as any loop over the names would take twice as long.
    told = [
        {
            "time": time,
            "open": opened,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "trades": trades,
            "vwap": vwap,
            "final": final,
        }
        for time, opened, high, low, close, volume, trades, vwap, final in made
    ]
    return codec.to_json(told)[1:-1]


def _names(tables: Sequence[Rows]) -> list[str]:
    """The columns of all tables together; several tables, or none of them, are of candles."""
    if tables and isinstance(tables[0], TickRows):
        return list(tables[0].columns())
    return list(codec.CANDLE_COLUMNS)


def csv_rows(rows: Rows, names: Sequence[str], symbol: str | None) -> bytes:
    """Rows as RFC 4180 has them: lines end with CR LF, what is missing is empty, `true` and `false`."""
    columns = [_csv_column(column) for column in rows.columns().values()]
    if symbol is not None:
        columns.insert(0, [symbol] * len(rows))
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(zip(*columns, strict=True))
    return out.getvalue().encode()


def _csv_column(column: list[Any]) -> list[Any]:
    if column and isinstance(column[0], bool):
        return ["true" if value else "false" for value in column]
    return column


async def _arrow(tables: Sequence[Rows], told: Envelope, *, with_symbol: bool) -> bytes:
    """In a thread, since loading it takes longer than others should wait."""
    return await asyncio.to_thread(arrow_stream, tables, told, with_symbol=with_symbol)


def arrow_stream(tables: Sequence[Rows], told: Envelope, *, with_symbol: bool) -> bytes:
    """One table in an IPC stream: a record batch a symbol, times as int64, and the envelope as `ticker` in its metadata."""
    # Takes its time and its memory to load: only whoever is asked for Arrow does.
    import pyarrow as pa

    batches = [_arrow_columns(rows) for rows in tables]
    names = _names(tables)
    fields = [pa.field(name, _arrow_type(pa, name)) for name in names]
    if with_symbol:
        fields.insert(0, pa.field("symbol", pa.string()))
    schema = pa.schema(fields, {"ticker": codec.to_json(told)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        for rows, columns in zip(tables, batches, strict=True):
            arrays = [
                pa.array(column, _arrow_type(pa, name), mask=mask)
                for name, (column, mask) in zip(names, columns, strict=True)
            ]
            if with_symbol:
                arrays.insert(0, pa.array([rows.symbol] * len(rows), pa.string()))
            stream.write_batch(pa.record_batch(arrays, schema=schema))
    made: bytes = sink.getvalue().to_pybytes()
    return made


def _arrow_type(pa: Any, name: str) -> Any:
    if name in ("time", "trades", "seq"):
        return pa.int64()
    if name == "final":
        return pa.bool_()
    return pa.string() if name in codec.OPTIONAL_FIELDS else pa.float64()


def _arrow_columns(rows: Rows) -> list[tuple[Any, Any]]:
    """The columns, each with where it has nothing."""
    if isinstance(rows, TickRows):
        return [(column, None) for column in rows.columns().values()]
    candles, column = rows.candles, rows.candles.column
    averages, known = vwaps(candles)
    made: list[tuple[Any, Any]] = [(column("time"), None)]
    made += [(_doubles(column(name)), None) for name in ("open", "high", "low", "close", "volume")]
    made += [(column("trades"), None), (_doubles(averages), ~known), (np.arange(len(candles)) < rows.final, None)]
    if rows.descending:
        return [(values[::-1], mask if mask is None else mask[::-1]) for values, mask in made]
    return made


def _doubles(millionths: Any) -> Any:
    """The nearest doubles; beyond 2^53 one by one, since numpy would round twice."""
    made = millionths / MILLION
    for i in np.flatnonzero(np.abs(millionths) >= codec.MILLIONTHS_MAX).tolist():
        made[i] = int(millionths[i]) / MILLION
    return made
