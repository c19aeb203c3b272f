import os
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feeds.feed import CLOCK_END, FeedError, Stored
from feeds.market import Market
from feeds.recorded_parquet import ROWS_AT_ONCE, look_at_parquet, without_parts
from feeds.replay import ReplayOptions, make_replay
from feeds.tick import Quote, Trade
from feeds.trading_hours import ALWAYS
from ticker import codec
from ticker.archive.archive import Archive
from ticker.archive.storage import LocalStorage
from ticker.store.tick_stream import Entry

NOON = 1_763_985_600_000_000
DAY = 86_400_000_000
ZONE = ZoneInfo("America/New_York")


def write(path, **columns):
    pq.write_table(pa.table(columns), path)
    return str(path)


def ticks(recording):
    names = {name: name for name in recording.first_times}
    return [tick for block in recording.ticks(names) for tick in block]


def test_plain_files_are_read_exactly(tmp_path):
    """Decimals, floating-point numbers and integers; times as numbers or with a time zone; missing sides and texts."""
    moments = [datetime.fromtimestamp(NOON // 10**6 + number, UTC) for number in range(2)]
    path = write(
        tmp_path / "quotes.parquet",
        time=pa.array(moments, pa.timestamp("ns", "UTC")),
        symbol=["A", "B"],
        bid=pa.array([Decimal("189.000001"), None]),
        bid_size=[0.5, 0],
        ask=[9007199254.5, 1e-06],
        ask_size=[3, 4],
        exchange=["Q", None],
    )
    recording = look_at_parquet(path)
    assert (recording.rows, recording.first_times, recording.begin) == (2, {"A": NOON, "B": NOON + 10**6}, NOON)
    assert ticks(recording) == [
        Quote("A", 189.000001, 0.5, 9007199254.5, 3, NOON, exchange="Q"),
        Quote("B", None, 0, 1e-06, 4, NOON + 10**6),
    ]
    count = 2 * ROWS_AT_ONCE + 3
    path = write(
        tmp_path / "t.parquet", time=[NOON] * count, symbol=["A"] * count, price=[1.5] * count, size=range(count)
    )
    assert ticks(look_at_parquet(path)) == [Trade("A", 1.5, size, NOON) for size in range(count)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"price": [0.1 + 0.2]}, "row 1: price '0.30000000000000004': expected at most 6 decimals"),
        ({"size": [-1]}, "row 1: size '-1': expected 0 or more"),
        ({"time": [5]}, "row 1: time '5': expected whole microseconds"),
        ({"time": pa.array([datetime(2025, 1, 1, tzinfo=UTC)], pa.timestamp("us"))}, "column time has times without a"),
        ({"symbol": ["a"]}, "row 1: 'a' is no symbol"),
        ({"colour": ["red"]}, "unknown column 'colour'; trades have the columns"),
        ({name: pa.array([], pa.string()) for name in ("time", "symbol", "price", "size")}, "found no rows"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, columns, message):
    """The file, the row, what was found and what is expected."""
    given = {"time": [NOON], "symbol": ["A"], "price": [1.5], "size": [1]} | columns
    path = write(tmp_path / "t.parquet", **given)
    with pytest.raises(FeedError) as told:
        ticks(look_at_parquet(path))
    assert f"{path}: {message}" in str(told.value)


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    """Whatever it is."""
    (tmp_path / "t.parquet").write_text("time,symbol\n")
    with pytest.raises(FeedError, match=r"t\.parquet: .*expected a Parquet file"):
        look_at_parquet(str(tmp_path / "t.parquet"))


def entries(trades):
    made = []
    for seq, trade in enumerate(trades, 1):
        _, names, values = codec.trade_entry(trade, seq)
        flat = [text.encode() for pair in zip(names, values, strict=True) for text in pair]
        made.append(Entry(trade.time // 1000, seq, trade.time, flat))
    return made


@pytest.fixture
def archived(tmp_path):
    """Three days of trades of two symbols in an archive, in pieces; the trades in order of time."""
    archive, made = Archive(LocalStorage(tmp_path / "archive"), ZONE), []
    for symbol, offset in (("AAPL", 0), ("MSFT", 500)):
        trades = [
            Trade(symbol, 100 + number % 999 / 1000, number % 7, NOON + offset + number * DAY // 700, exchange="Q")
            for number in range(2000)
        ]
        found = entries(trades)
        archive.write_ticks("trades", symbol, 1, "abcdef", found[:900])
        archive.write_ticks("trades", symbol, 1, "abcdef", found[900:])
        archive.write_ticks("trades", symbol, 1, "abcdef", found[900:1000])
        made += trades
    return str(tmp_path / "archive"), sorted(made, key=lambda trade: trade.time)


async def played(feed, stored=None):
    """All ticks, with the cursor after each batch."""
    await feed.start(NOON, stored or {})
    found, cursors = [], []
    while True:
        batch = feed.poll(NOON)
        found += batch.ticks
        cursors.append((len(found), batch.cursor))
        if batch.clock == CLOCK_END:
            await feed.close()
            return found, cursors


def replay(path):
    return make_replay(ReplayOptions(path=path, speed="max"), Market(ZONE, ALWAYS))


async def test_an_archive_is_played_exactly_and_in_order_of_time(archived):
    """Day after day, symbols merged, no row twice where files overlap."""
    folder, trades = archived
    feed = replay(f"{folder}/trades/*/*/*.parquet")
    assert [listing.symbol for listing in feed.symbols()] == ["AAPL", "MSFT"]
    found, _ = await played(feed)
    assert found == trades


async def test_a_replay_of_parquet_goes_on_from_its_cursor(archived, monkeypatch):
    """Wherever it was stopped."""
    monkeypatch.setattr("feeds.replay.ROWS_PER_POLL", 300)
    folder, trades = archived
    _, cursors = await played(replay(f"{folder}/trades/*/*/*.parquet"))
    assert len(cursors) > 5
    for count, cursor in cursors[:-1:3]:
        stored = {symbol: Stored(trades[count - 1].time, cursor) for symbol in ("AAPL", "MSFT")}
        found, _ = await played(replay(f"{folder}/trades/*/*/*.parquet"), stored)
        assert found == trades[count:]


async def test_csv_and_parquet_may_be_played_together(tmp_path):
    """Merged by time."""
    write(tmp_path / "a.parquet", time=[NOON, NOON + 2], symbol=["A", "A"], price=[1, 3], size=[1, 1])
    (tmp_path / "b.csv").write_text(f"time,symbol,price,size\n{NOON + 1},A,2,1\n")
    found, _ = await played(replay([str(tmp_path / "a.parquet"), str(tmp_path / "b.csv")]))
    assert [trade.price for trade in found] == [1, 2, 3]


def test_parts_of_a_longer_file_are_left_out():
    """Of the same folder and epoch only."""
    names = ["0001.abc.1-1.9-9", "0001.abc.1-1.4-4", "0001.abc.5-5.9-9", "0002.abd.5-5.8-8", "0001.abc.10-10.12-12"]
    files = [os.path.join("x/date=1", f"{name}.parquet") for name in names] + ["y/0001.abc.1-1.4-4.parquet", "z.csv"]
    assert without_parts(files) == [files[0], *files[3:]]
