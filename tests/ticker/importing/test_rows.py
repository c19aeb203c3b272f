import gzip
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ticker.candles.interval import INTERVALS
from ticker.errors import ConfigError
from ticker.importing import values
from ticker.importing.rows import BadRow, CandleRow, Options, TickRow, look_at
from ticker.importing.values import Timing

NEW_YORK = ZoneInfo("America/New_York")
NOON = 1_763_985_600_000_000
US = Timing("us", None, NEW_YORK)


@pytest.fixture
def rows_of(tmp_path):
    """The rows of a file with this text."""

    def rows_of(text, name="file.csv", interval="1m", timing=US, **more):
        path = Path(tmp_path / name)
        content = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return [row for _, row in look_at(path, Options(timing, INTERVALS[interval], **more)).rows(lambda at: None)]

    return rows_of


@pytest.fixture
def rows_in(tmp_path):
    """The rows of a Parquet file with these columns."""

    def rows_in(columns, interval="1m", timing=US, **more):
        path = tmp_path / "file.parquet"
        pq.write_table(pa.table(columns), path)
        return [row for _, row in look_at(path, Options(timing, INTERVALS[interval], **more)).rows(lambda at: None)]

    return rows_in


@pytest.mark.parametrize("name", ["file.csv", "file.csv.gz"])
def test_trades_are_read(rows_of, name):
    """Exactly, plain and gzipped, with and without what is optional."""
    text = f"\ufefftime,symbol,price,size,id\r\n{NOON},AAPL,189.000001,3,\r\n\r\n{NOON + 1},BRK.B,-1e-6,.5,x7\r\n"
    assert rows_of(text, name) == [
        TickRow("AAPL", NOON, (189_000_001, 3_000_000), (None, None, None)),
        TickRow("BRK.B", NOON + 1, (-1, 500_000), ("x7", None, None)),
    ]


def test_quotes_are_read(rows_of):
    """A side may be missing."""
    text = f"time,symbol,bid,bid_size,ask,ask_size\n{NOON},A,1.5,2,,0\n{NOON},A,,,2,3\n{NOON},A,,4,2,3\n"
    first, second, bad = rows_of(text)
    assert first.values == (1_500_000, 2_000_000, None, 0)
    assert second.values == (None, 0, 2_000_000, 3_000_000)
    assert bad.reason == "bid_size '4': expected 0 or nothing, because there is no bid"


def test_candles_are_read(rows_of):
    """With their vwap where there is one, or the mean of high, low and close, rounded up."""
    text = f"time,symbol,open,high,low,close,volume,trades,vwap\n{NOON},A,1,3,1,2,10,4,1.5\n{NOON},A,1,3,1,1,10,,\n"
    first, second = (row.candle for row in rows_of(text))
    assert (first.vwap, first.trades, first.volume, first.origin) == (1_500_000, 4, 10_000_000, 2)
    assert (second.vwap, second.trades) == (1_666_667, 0)
    assert (first.seq, first.open_time, first.close_time) == (0, NOON, NOON + 59_999_999)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("x,A,1,1", "time 'x': expected a number of us, a date, or ISO 8601"),
        ("1.5,A,1,1", "time '1.5': expected whole microseconds"),
        ("99999999999999999,A,1,1", "time '99999999999999999': expected from 1970 to 2286, with numbers in us"),
        ("2025-11-24T12:00:00,A,1,1", "time '2025-11-24T12:00:00': expected an offset such as Z or +00:00"),
        (f"{NOON},a,1,1", "'a' is no symbol; allowed: 1 to 16 of"),
        (f"{NOON},A,1.2345678,1", "price '1.2345678': expected at most 6 decimals"),
        (f"{NOON},A,nan,1", "price 'nan': expected a number"),
        (f"{NOON},A,,1", "price '': expected a number"),
        (f"{NOON},A,{'9' * 60},1", "price '9999999999999999999999999999999999999999...': expected a number"),
        (f"{NOON},A,9007199255,1", "price '9007199255': expected less than 9007199254"),
        (f"{NOON},A,1,-1", "size '-1': expected 0 or more"),
        (f"{NOON},A,1", "found 3 fields, expected 4"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_taken(rows_of, row, reason):
    """With its line; what was found and what is allowed."""
    good = f"{NOON},A,1,1"
    first, bad, last = rows_of(f"time,symbol,price,size\n{good}\n{row}\n{good}\n")
    assert isinstance(bad, BadRow)
    assert bad.line == 3
    assert reason in bad.reason
    assert "file.csv: line 3: " in str(bad)
    assert first == last


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"{NOON + 1},A,1,1,1,1,1", "expected the open time of a candle of 1m"),
        (f"{NOON},A,4,3,1,2,1", "open 4.0: expected from low 1.0 to high 3.0"),
        (f"{NOON},A,1,3,1,0,1", "close 0.0: expected from low"),
        (f"{NOON},A,1,1,2,1,1", "expected from low 2.0 to high 1.0"),
        (f"{NOON},A,1,1,1,1,-1", "volume '-1': expected 0 or more"),
        (f"{NOON},A,9e9,9e9,9e9,9e9,1e12", "expected price x volume below 2^60"),
    ],
)
def test_what_is_no_candle_is_named(rows_of, row, reason):
    """Prices that cannot be, times that are none of the interval's."""
    (bad,) = rows_of(f"time,symbol,open,high,low,close,volume\n{row}\n")
    assert reason in bad.reason


def test_columns_may_be_called_otherwise(rows_of):
    """And a symbol be given for all; a column that is renamed is not taken for what its own name says."""
    text = "Date,Open,High,Low,Close,time,Volume\n2025-11-24,1,3,1,2,nonsense,7\n"
    columns = {"time": "Date", "volume": "Volume"} | {name: name.title() for name in ("open", "high", "low", "close")}
    (row,) = rows_of(text, interval="1d", symbol="A", columns=columns)
    assert isinstance(row, CandleRow)
    assert row.time == int(datetime(2025, 11, 24, tzinfo=NEW_YORK).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column 'time', 'price', 'symbol'; it has a, b; name others with --column"),
        ("time,price,size\n", "no column 'symbol'; it has time, price, size"),
        ("time,time,price\n", "line 1: a column is there twice"),
        ("", "no column 'time'"),
        (b"time,symbol,price,size\n\xff\xff,A,1,1\n", "expected UTF-8"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused(rows_of, text, message):
    """By its name, in one line."""
    with pytest.raises(ConfigError, match=r"file\.csv") as told:
        rows_of(text)
    assert message in str(told.value)


def test_files_that_are_not_what_their_names_say_are_refused(tmp_path):
    """Not there, no gzip, cut off, no Parquet."""
    options = Options(US, INTERVALS["1m"])
    whole = gzip.compress(f"time,symbol,price,size\n{NOON},A,1,1\n".encode() * 9)
    for name, content in (("a.csv.gz", b"time"), ("b.csv.gz", whole[:-9]), ("c.parquet", b"x"), ("d.csv", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=name):
            list(look_at(tmp_path / name, options).rows(lambda at: None))
    (tmp_path / "e.csv").write_text("time,symbol,price,size\n")
    with pytest.raises(ConfigError, match=r"no column 'x'; it has"):
        look_at(tmp_path / "e.csv", Options(US, INTERVALS["1m"], columns={"price": "x"}))


def test_parquet_is_read_exactly(rows_in):
    """Decimals, floating-point numbers that are as good as their text, times of any unit."""
    moment = datetime(2025, 11, 24, 12, 0, 0, 1, tzinfo=UTC)
    for time in (
        pa.array([NOON + 1]),
        pa.array([moment], pa.timestamp("ns", "UTC")),
        pa.array([moment], pa.timestamp("us", "UTC")),
    ):
        columns = {"time": time, "symbol": ["A"], "price": pa.array([Decimal("1.50")]), "size": [0.25]}
        assert rows_in(columns) == [TickRow("A", NOON + 1, (1_500_000, 250_000), (None, None, None))]
    (bad,) = rows_in({"time": [NOON], "symbol": ["A"], "price": [0.1 + 0.2], "size": [1]})
    assert (bad.line, bad.reason) == (1, "price '0.30000000000000004': expected at most 6 decimals")
    (bad,) = rows_in({"time": [None], "symbol": ["A"], "price": [1], "size": [1]})
    assert bad.reason.startswith("time '': expected")


@pytest.mark.parametrize(
    ("value", "unit", "zone", "wanted"),
    [
        ("1763985600", "s", None, NOON),
        ("1763985600.5", "s", None, NOON + 500_000),
        (1_763_985_600_000, "ms", None, NOON),
        ("1763985600000000000", "ns", None, NOON),
        ("2025-11-24T12:00:00Z", "us", None, NOON),
        ("2025-11-24 07:00:00-05:00", "us", None, NOON),
        ("2025-11-24 07:00:00", "us", NEW_YORK, NOON),
        (datetime.fromisoformat("2025-11-24T12:00"), "us", ZoneInfo("UTC"), NOON),
        (date(2025, 11, 24), "us", None, NOON - 7 * 3_600_000_000),
    ],
)
def test_times_have_many_forms(value, unit, zone, wanted):
    """Each means one moment."""
    assert values.time(value, Timing(unit, zone, NEW_YORK)) == wanted
