import random
from zoneinfo import ZoneInfo

import pytest

from feeds.feed import CLOCK_END
from feeds.tick import Trade
from ticker.archive import tables
from ticker.archive.archive import Archive
from ticker.archive.layout import File, Place
from ticker.archive.storage import LocalStorage
from ticker.archive.verify import verify
from ticker.candles.candle import Candles
from ticker.candles.interval import INTERVALS
from ticker.ingest.archiver import Archiver

ZONE = ZoneInfo("America/New_York")
SECOND = 1_000_000
HOUR = 3600 * SECOND
M1 = INTERVALS["1m"]


@pytest.fixture
def archive(tmp_path):
    return Archive(LocalStorage(tmp_path), ZONE)


@pytest.fixture
async def filled(writer, archive, noon):
    """Three days of trades, some late over midnight, and a few quotes, archived in pieces, not compacted."""
    rng, time = random.Random(2), noon
    archiver = Archiver(archive, writer.client, ZONE, 61 * SECOND)
    for _ in range(12):
        made = []
        for _ in range(200):
            time += rng.randint(1, 200) * SECOND
            late = rng.randint(1, 50) * SECOND if rng.random() < 0.2 else 0
            made.append(Trade("AAPL", rng.randint(1, 10**6) / 100, rng.randint(1, 9), time - late))
        await writer.write(*made)
        await archiver.archive("AAPL", time)
    await writer.write(clock=CLOCK_END)
    await archiver.archive("AAPL", CLOCK_END)
    return archiver


def wrong(archive):
    archive.index.again("trades", "AAPL")
    return [line for report in verify(archive, "AAPL") for line in report.wrong]


async def test_a_good_archive_has_nothing_wrong(archive, filled):
    """Every candle is what its ticks make, before and after compaction."""
    for _ in range(2):
        reports = {report.kind: report for report in verify(archive, "AAPL")}
        assert not [line for report in reports.values() for line in report.wrong]
        assert reports["trades"].rows == 2400
        for kind in ("candles_1s", "candles_1m", "candles_1d"):
            assert reports[kind].equal == reports[kind].rows > 2
            assert not reports[kind].unchecked
        await filled.compact("AAPL")
    assert verify(archive, "MSFT") == []


async def test_a_file_that_is_missing_is_a_hole(archive, filled):
    """Named by the numbers that were in it; candles of these trades cannot be checked, the others are."""
    gone = archive.index.again("trades", "AAPL").files[5]
    archive.remove("trades", "AAPL", [gone])
    (line,) = wrong(archive)
    assert line == f"trades {gone.first.seq} to {gone.last.seq} are missing"


@pytest.mark.parametrize("at", [0.05, 0.3, 0.5])
async def test_a_bit_that_has_flipped_is_found(archive, filled, tmp_path, at):
    """Wherever in its rows: the file is named."""
    found = 0
    for file in archive.index.again("candles_1m", "AAPL").files[:3]:
        path = tmp_path / file.path
        content = bytearray(path.read_bytes())
        content[int(len(content) * at)] ^= 4
        path.write_bytes(content)
        archive.files.forget(file)
        found += any(file.path in line for line in wrong(archive))
    assert found == 3


async def test_a_candle_that_is_not_its_trades_is_found(archive, filled):
    """And one that is not there, though its trades are."""
    file = archive.index.again("candles_1m", "AAPL").files[1]
    rows = tables.candles_of(archive.files.table(file)).rows()
    rows[3] = rows[3]._replace(volume=rows[3].volume + 1)
    missing = rows.pop(5)
    archive.remove("candles_1m", "AAPL", [file])
    archive.write_candles("AAPL", M1, Candles.of(rows))
    found = wrong(archive)
    assert len(found) == 2
    assert found[0].startswith(f"1m at {rows[3].time}: archived Candle(")
    assert found[1].startswith(f"1m at {missing.time}: not archived, from its trades Candle(")


async def test_a_name_that_says_something_else_is_found(archive, filled):
    """More rows, another end."""
    file = archive.index.again("trades", "AAPL").files[0]
    table = archive.files.table(file)
    other = File("trades", "AAPL", file.period, file.first, Place(file.last.at, file.last.seq - 1), 1, file.epoch)
    archive.remove("trades", "AAPL", [file])
    archive.write_table(other, table)
    found = wrong(archive)
    assert f"{other.path}: {table.num_rows} rows, its name says {other.rows}" in found
    assert any("its rows go from" in line for line in found)


async def test_columns_of_another_type_are_found(archive, filled):
    """As somebody else would write them."""
    file = archive.index.again("candles_1m", "AAPL").files[0]
    table = archive.files.table(file)
    price = table.schema.get_field_index("open")
    archive.write_table(file, table.set_column(price, "open", table.column("open").cast("float64")))
    archive.files.forget(file)
    assert wrong(archive) == [f"{file.path}: columns of another type than ours"]


async def test_candles_without_trades_are_unchecked(archive, filled):
    """With the reason and how many."""
    archive.remove("trades", "AAPL", archive.index.again("trades", "AAPL").files)
    for report in verify(archive, "AAPL"):
        assert not report.wrong
        assert report.unchecked == {"no trades of its time are archived": report.rows}


async def test_a_lost_store_leaves_candles_of_two_epochs_unchecked(writer, valkey, new_writer, archive, filled, tape):
    """The others are checked, by the trades of their epoch."""
    last = max(file.last.at for file in archive.index.of("trades", "AAPL").files) * 1000
    await valkey.flushall()
    other = new_writer(valkey)
    await other.claim("AAPL")
    tape.time = last + HOUR
    await other.write(*tape.trades(500, step=SECOND))
    await other.write(clock=CLOCK_END)
    await filled.archive("AAPL", CLOCK_END)
    reports = {report.kind: report for report in verify(archive, "AAPL")}
    assert not [line for report in reports.values() for line in report.wrong]
    assert reports["candles_1m"].equal + sum(reports["candles_1m"].unchecked.values()) == reports["candles_1m"].rows
    assert reports["candles_1m"].equal > 500
