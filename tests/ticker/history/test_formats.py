import asyncio
import csv
import gzip
import io
import json
import random
import subprocess
import sys

import pytest

from ticker import codec
from ticker.candles.candle import TRILLION, Candle, Candles
from ticker.candles.interval import INTERVALS
from ticker.codec import CANDLE_COLUMNS, candle_row
from ticker.history.cache import Cache
from ticker.history.formats import ROWS_A_TURN, Piece, Writer, gzipped
from ticker.history.rows import CandleRows, TickRows

MINUTE = 60_000_000
BEFORE, AFTER = {"symbol": "AAPL", "interval": "1m"}, {"next": "x", "position": {"epoch": "e", "seq": 5}}


def candles(count, seed=1, first=1_763_985_600_000_000):
    """With gaps, whole and broken numbers, and candles without volume."""
    rng, rows, time = random.Random(seed), [], first
    for _ in range(count):
        time += MINUTE * rng.choice([1, 1, 1, 2, 50])
        low = rng.randrange(1, 10**9)
        volume = rng.choice([0, 1_000_000, rng.randrange(1, 10**12)])
        units = rng.randrange(0, 10**6)
        rows.append(
            Candle(time, low, low + 5, low, low + 3, volume, units, rng.randrange(TRILLION), 3, 1, 9, time, time + 1)
        )
    return Candles.of(rows)


@pytest.fixture
def cache():
    return Cache(1 << 24)


@pytest.fixture
def writer(cache):
    return Writer(cache)


def text(pieces):
    return b"".join(piece.text for piece in pieces)


def rows_of(body, kind):
    """The rows of an answer in any format, as a list of dictionaries."""
    import pyarrow as pa

    if kind == "json":
        return json.loads(body)["candles"]
    if kind == "columns":
        columns = json.loads(body)["candles"]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if kind == "arrow":
        return pa.ipc.open_stream(body).read_all().to_pylist()
    assert body.endswith(b"\r\n")
    return [
        {name: json.loads(value or "null") for name, value in row.items()}
        for row in csv.DictReader(io.StringIO(body.decode(), newline=""))
    ]


@pytest.mark.parametrize("kind", ["json", "columns", "csv", "arrow"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("count", [0, 1, 700])
async def test_every_format_holds_the_same_rows(writer, kind, descending, count):
    """To the last decimal, in the order asked for, also where blocks were written before."""
    made = candles(count)
    final = max(count - 1, 0)
    expected = [candle_row(row, final=i < final) for i, row in enumerate(made.rows())]
    rows = CandleRows(INTERVALS["1m"], made, final, descending)
    for _ in range(2):
        body = text(await writer.one(kind, rows, BEFORE, AFTER))
        assert rows_of(body, kind) == (expected[::-1] if descending else expected)
    if kind in ("json", "columns"):
        assert {name: value for name, value in json.loads(body).items() if name != "candles"} == BEFORE | AFTER
        assert list(json.loads(body)) == ["symbol", "interval", "candles", "next", "position"]


async def test_any_range_is_put_together_from_blocks(writer, cache):
    """The text is what it would be without them; ranges share them."""
    made = candles(3_000)
    rng = random.Random(2)
    for _ in range(40):
        first, last = sorted(rng.randrange(3_001) for _ in range(2))
        final = rng.choice([last - first, max(last - first - 3, 0)])
        rows = CandleRows(INTERVALS["1m"], made.part(first, last), final)
        for kind in ("json", "csv"):
            plain = Writer(Cache(0))
            assert text(await writer.one(kind, rows, BEFORE, AFTER)) == text(await plain.one(kind, rows, BEFORE, AFTER))
    before = len(cache)
    await writer.one("json", CandleRows(INTERVALS["1m"], made.part(100, 2_900), 2_800), BEFORE, AFTER)
    assert len(cache) - before < 10


async def test_pieces_are_one_gzip_member_and_compressed_once(writer):
    """Every reader of gzip takes it; what stood in an answer before is not compressed again."""
    rows = CandleRows(INTERVALS["1m"], candles(2_000), 2_000)
    pieces = await writer.one("json", rows, BEFORE, AFTER)
    packed = gzipped(pieces)
    assert gzip.decompress(packed) == text(pieces)
    assert len(packed) < len(text(pieces)) / 2
    again = await writer.one("json", rows, {"symbol": "B"}, AFTER)
    shared = [piece for piece in again if any(piece is other for other in pieces)]
    assert len(shared) > 5
    assert all(piece.deflated() is piece.deflated() for piece in shared)
    assert gzip.decompress(gzipped([])) == b""
    assert gzip.decompress(gzipped([Piece(b""), Piece(b"x")])) == b"x"


@pytest.mark.parametrize("kind", ["json", "columns", "csv", "arrow"])
async def test_several_symbols_are_one_answer(writer, kind):
    """Each with its rows and its place; in tables, a column says whose a row is."""
    import pyarrow as pa

    tables = {name: candles(200 + 50 * i, seed=i) for i, name in enumerate(("A", "B", "C"))}
    tables["D"] = candles(0)
    parts = [
        (CandleRows(INTERVALS["1m"], c, len(c), symbol=name), {"next": name, "position": None})
        for name, c in tables.items()
    ]
    told = {"interval": "1m", "errors": [{"symbol": "Z", "code": "unknown_symbol"}]}
    body = text(await writer.many(kind, parts, told))
    expected = {name: [candle_row(row, final=True) for row in c.rows()] for name, c in tables.items()}
    if kind in ("json", "columns"):
        found = json.loads(body)
        assert list(found) == ["interval", "symbols", "errors"]
        assert (found["interval"], found["errors"]) == ("1m", told["errors"])
        for name, rows in expected.items():
            assert list(found["symbols"][name]) == ["candles", "next", "position"]
            assert found["symbols"][name]["next"] == name
            assert rows_of(json.dumps(found["symbols"][name]), kind) == rows
        return
    if kind == "arrow":
        table = pa.ipc.open_stream(body).read_all()
        assert json.loads(table.schema.metadata[b"ticker"])["symbols"]["B"]["next"] == "B"
        rows = table.to_pylist()
    else:
        rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
        rows = [row | {n: json.loads(row[n] or "null") for n in CANDLE_COLUMNS} for row in rows]
    assert list(rows[0]) == ["symbol", *CANDLE_COLUMNS]
    assert rows == [{"symbol": name} | row for name, found in expected.items() for row in found]


ENTRIES = [
    [b"price", b"1.5", b"size", b"2", b"time", b"10", b"seq", b"1"],
    [b"price", b"3", b"size", b"0.25", b"time", b"11", b"id", b'7, "x"', b"exchange", b"Q", b"seq", b"2"],
]


@pytest.mark.parametrize("kind", ["json", "columns", "csv", "arrow"])
async def test_ticks_have_their_optional_fields_where_one_has_them(writer, kind):
    """Left out of a row of JSON that has none; null or empty in a column."""
    body = text(await writer.one(kind, TickRows("trades", ENTRIES), {"symbol": "A"}, {"next": None, "position": None}))
    full = {"time": 11, "price": 3, "size": 0.25, "id": '7, "x"', "exchange": "Q", "seq": 2}
    bare = {"time": 10, "price": 1.5, "size": 2, "id": None, "exchange": None, "seq": 1}
    if kind == "json":
        assert json.loads(body)["trades"] == [{n: v for n, v in bare.items() if v is not None}, full]
    elif kind == "columns":
        assert json.loads(body)["trades"] == {name: [bare[name], full[name]] for name in full}
    elif kind == "csv":
        assert body == b'time,price,size,id,exchange,seq\r\n10,1.5,2,,,1\r\n11,3,0.25,"7, ""x""",Q,2\r\n'
    else:
        import pyarrow as pa

        assert pa.ipc.open_stream(body).read_all().to_pylist() == [bare, full]
    empty = text(await writer.one(kind, TickRows("quotes", []), {"symbol": "A"}, {"next": None}))
    if kind == "csv":
        assert empty == b"time,bid,bid_size,ask,ask_size,seq\r\n"


def test_arrow_is_loaded_only_when_it_is_asked_for():
    """A gateway that nobody asks for it has neither its memory nor its start."""
    program = "import sys, ticker.app; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class Turns:
    """Stands around what is made, and asks how much that was."""

    def __init__(self, amount):
        self.amount, self.most, self.inside = amount, 0, 0

    async def __aenter__(self):
        self.inside = self.amount()

    async def __aexit__(self, *_):
        self.most = max(self.most, self.amount() - self.inside)
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["json", "csv"])
@pytest.mark.parametrize("descending", [False, True])
async def test_a_long_answer_is_written_in_turns_with_all_others(cache, kind, descending, monkeypatch):
    """So that live messages go out in between: no turn takes many more rows than it may."""
    written = 0

    def counted(self):
        nonlocal written
        written += len(self)
        return columns(self)

    columns = CandleRows.columns
    monkeypatch.setattr(CandleRows, "columns", counted)
    made = candles(3_000)
    rows = CandleRows(INTERVALS["1m"], made, len(made), descending)
    turns = Turns(lambda: written)
    body = text(await Writer(cache, turns).one(kind, rows, BEFORE, AFTER))
    assert written == 3_000
    assert 0 < turns.most <= ROWS_A_TURN + 64
    assert body == text(await Writer(Cache(0)).one(kind, rows, BEFORE, AFTER))


async def test_ticks_are_written_in_turns_too(cache, monkeypatch):
    """A page has up to 10,000 of them."""
    decoded = 0

    def counted(entry):
        nonlocal decoded
        decoded += 1
        return entry_fields(entry)

    entry_fields = codec.entry_fields
    monkeypatch.setattr(codec, "entry_fields", counted)
    entries = [[b"price", b"1.5", b"size", b"2", b"time", b"3", b"seq", str(i).encode()] for i in range(1_000)]
    turns = Turns(lambda: decoded)
    body = text(await Writer(cache, turns).one("json", TickRows("trades", entries), {}, {"next": None}))
    assert [row["seq"] for row in json.loads(body)["trades"]] == list(range(1_000))
    assert 0 < turns.most <= ROWS_A_TURN
