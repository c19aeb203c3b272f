import csv
import random
from dataclasses import asdict
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from feeds.tick import Trade
from ticker.archive.archive import Archive
from ticker.archive.layout import END, FIRST
from ticker.archive.storage import LocalStorage
from ticker.archive.verify import verify
from ticker.candles.candle import NO_TRADE, Origin
from ticker.candles.interval import INTERVALS
from ticker.errors import ConfigError
from ticker.importing.existing import days_free_before, live_since, tell
from ticker.importing.importer import Importer
from ticker.importing.rows import Options, look_at
from ticker.importing.values import Timing
from ticker.ingest.archiver import Archiver
from ticker.store import catalog

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
ZONE = ZoneInfo("America/New_York")
NOON = 1_763_985_600_000_000
MIDNIGHT = NOON - 7 * 3600 * SECOND
"""Of Monday, 2025-11-24, in New York."""
M1, D1 = INTERVALS["1m"], INTERVALS["1d"]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "archive"


@pytest.fixture
def archive(folder):
    return Archive(LocalStorage(folder), ZONE)


@pytest.fixture
def trades(tmp_path):
    """A file of trades of three days of two symbols, the last three before Monday, and its rows."""
    rng, rows = random.Random(8), []
    for day in (3, 2, 1):
        for symbol in ("AAPL", "MSFT"):
            time = MIDNIGHT - day * DAY + 10 * 3600 * SECOND
            for _ in range(200):
                time += rng.randint(0, 60) * SECOND
                rows.append((time, symbol, f"{rng.randint(1, 10**7) / 1000:g}", rng.randint(0, 500)))
    rows.sort(key=lambda row: row[0])
    path = tmp_path / "trades.csv"
    write(path, ("time", "symbol", "price", "size"), rows)
    return path, rows


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def load(archive, *paths, limits=None, interval="1m", now=NOON, dry_run=False, strict=False):
    """Import files as the command does; the counts by kind and symbol."""
    options = Options(Timing("us", None, ZONE), INTERVALS[interval])
    importer = Importer(archive, options.interval, limits or {}, now, dry_run=dry_run, strict=strict)
    for path in paths:
        importer.take(look_at(Path(path), options), lambda at: None)
    return importer.finish()


def counts(result):
    return {key: tuple(asdict(count).values())[:3] for key, count in result.counts.items()}


def ticks(archive, symbol="AAPL", kind="trades"):
    archive.index.again(kind, symbol)
    return archive.ticks(kind, symbol, FIRST, END, 10**9, newest=False)


def candles(archive, base, symbol="AAPL"):
    archive.index.again(f"candles_{base.name}", symbol)
    return archive.candles(symbol, base, 0, 1 << 53, 10**9, newest=False)[0].rows()


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.parquet")}


def test_trades_and_their_candles_are_added(archive, trades):
    """Every row once, in order, and candles of all stored intervals that are what the trades make."""
    path, rows = trades
    result = load(archive, path)
    assert counts(result) == {("trades", "AAPL"): (600, 0, 0), ("trades", "MSFT"): (600, 0, 0)}
    found = [(entry.time, entry.fields[1].decode(), entry.fields[-1]) for entry in ticks(archive)]
    assert found == [(time, price, b"0") for time, symbol, price, _ in rows if symbol == "AAPL"]
    for base in INTERVALS.values():
        if base.stored:
            made = candles(archive, base)
            assert made
            assert {(c.origin, c.seq, c.first_seq) for c in made} == {(Origin.IMPORT, 0, NO_TRADE)}
            assert sum(c.trades for c in made) == 600
    reports = {report.kind: report for report in verify(archive, "AAPL")}
    assert [report.wrong for report in reports.values() if report.wrong] == []
    assert reports["candles_1d"].equal == 3


def test_a_second_run_adds_nothing(archive, trades, folder):
    """It says that all is there; the files do not change."""
    load(archive, trades[0])
    before = files(folder)
    assert counts(load(Archive(LocalStorage(folder), ZONE), trades[0]))["trades", "AAPL"] == (0, 600, 0)
    assert files(folder) == before


def test_a_dry_run_changes_nothing(archive, trades, folder):
    """It counts what would be."""
    result = load(archive, trades[0], dry_run=True)
    assert counts(result)["trades", "AAPL"] == (600, 0, 0)
    assert result.made["candles_1m", "AAPL"] > 100
    assert files(folder) == {}


class Killed(Exception):
    """In place of the end of a process."""


@pytest.mark.parametrize("after", range(0, 24, 3))
def test_a_run_that_is_stopped_anywhere_goes_on(archive, trades, folder, monkeypatch, after):
    """The result is that of a run that was not."""
    load(archive, trades[0])
    whole = files(folder)
    for path in whole:
        (folder / path).unlink()
    write_file, count = LocalStorage.write, [0]

    def killed(self, path, content):
        if count[0] == after:
            raise Killed
        count[0] += 1
        write_file(self, path, content)

    with monkeypatch.context() as kill:
        kill.setattr(LocalStorage, "write", killed)
        try:
            load(Archive(LocalStorage(folder), ZONE), trades[0])
        except Killed:
            assert len(files(folder)) < len(whole)
    load(Archive(LocalStorage(folder), ZONE), trades[0])
    assert {str(path) for path in files(folder) if "candles_1d" not in str(path)} == {
        str(path) for path in whole if "candles_1d" not in str(path)
    }
    other = Archive(LocalStorage(folder), ZONE)
    assert len(candles(other, D1)) == len(candles(other, D1, "MSFT")) == 3
    assert len(ticks(other)) == len(ticks(other, "MSFT")) == 600
    assert [line for symbol in ("AAPL", "MSFT") for report in verify(other, symbol) for line in report.wrong] == []


def test_days_of_the_live_record_are_left_out(archive, trades):
    """And the day that is not over; earlier ones are added."""
    result = load(archive, trades[0], limits={"AAPL": MIDNIGHT - 2 * DAY})
    assert counts(result)["trades", "AAPL"] == (200, 0, 400)
    assert counts(result)["trades", "MSFT"] == (600, 0, 0)
    early = load(Archive(archive._storage, ZONE), trades[0], now=NOON - DAY)
    assert counts(early)["trades", "MSFT"] == (0, 400, 200)


def test_a_day_that_has_other_rows_is_left_out(archive, trades, tmp_path):
    """Nothing is mixed; days without any are added, also between others."""
    _, rows = trades
    middle = [row for row in rows if MIDNIGHT - 2 * DAY <= row[0] < MIDNIGHT - DAY]
    other = tmp_path / "other.csv"
    write(other, ("time", "symbol", "price", "size"), [row for row in rows if row not in middle])
    assert counts(load(archive, other))["trades", "AAPL"] == (400, 0, 0)
    changed = tmp_path / "changed.csv"
    write(changed, ("time", "symbol", "price", "size"), rows[5:])
    result = load(archive, changed)
    assert counts(result)["trades", "AAPL"][0] == 200
    assert counts(result)["trades", "AAPL"][2] in range(190, 200)
    assert len(ticks(archive)) == 600
    assert len(candles(archive, D1)) == 3


def test_candles_are_added_with_their_days(archive, tmp_path):
    """Minutes are rolled up where no day is there; what comes twice or changed is left out."""
    path = tmp_path / "minutes.csv"
    rows = [(MIDNIGHT - 2 * DAY + number * MINUTE, "AAPL", 5, 7, 4, 6, 10, 3) for number in range(2000)]
    header = ("time", "symbol", "open", "high", "low", "close", "volume", "trades")
    write(path, header, [*rows, rows[-1]])
    result = load(archive, path)
    assert counts(result) == {("candles_1m", "AAPL"): (2000, 0, 1)}
    assert result.made == {("candles_1d", "AAPL"): 2}
    assert [(c.volume, c.trades, c.open, c.close) for c in candles(archive, D1)] == [
        (1440 * 10_000_000, 4320, 5_000_000, 6_000_000),
        (560 * 10_000_000, 1680, 5_000_000, 6_000_000),
    ]
    assert counts(load(archive, path)) == {("candles_1m", "AAPL"): (0, 2000, 1)}
    write(path, header, [(*row[:-1], 9) for row in rows[:10]])
    assert counts(load(archive, path)) == {("candles_1m", "AAPL"): (0, 0, 10)}


def test_days_are_added_around_those_that_are_there(archive, tmp_path):
    """No file spans another; a changed day is left out."""
    path = tmp_path / "days.csv"
    header = ("time", "symbol", "open", "high", "low", "close", "volume")
    days = [f"2025-{month:02}-{day:02}" for month in (3, 11) for day in range(1, 21)]
    write(path, header, [(day, "AAPL", 5, 7, 4, 6, 10) for day in days[10:12]])
    assert counts(load(archive, path, interval="1d"))["candles_1d", "AAPL"] == (2, 0, 0)
    write(path, header, [(day, "AAPL", 5, 7, 4, 6, 11 if day == days[10] else 10) for day in days])
    assert counts(load(archive, path, interval="1d"))["candles_1d", "AAPL"] == (38, 1, 1)
    found = candles(archive, D1)
    assert len(found) == 40
    assert [c.time for c in found] == sorted({c.time for c in found})
    assert {c.volume for c in found} == {10_000_000}


def test_bad_rows_are_counted_and_the_first_ones_shown(archive, tmp_path):
    """Or stop the import, where that is asked for."""
    path = tmp_path / "bad.csv"
    good = [(MIDNIGHT - DAY + number * SECOND, "AAPL", 1, 1) for number in range(5)]
    late = (MIDNIGHT - 2 * DAY, "AAPL", 1, 1)
    write(path, ("time", "symbol", "price", "size"), [late, *good, late, *[(NOON, "AAPL", "x", 1)] * 30])
    result = load(archive, path)
    assert (result.bad, len(result.bad_rows)) == (31, 20)
    assert "line 8: time" in str(result.bad_rows[0])
    assert "was complete before; expected rows in order of time" in result.bad_rows[0].reason
    assert counts(result)["trades", "AAPL"] == (6, 0, 0)
    with pytest.raises(ConfigError, match=r"bad\.csv: line 8: .*stopped at the first bad row"):
        load(archive, path, strict=True)


def test_a_day_that_is_too_large_is_refused(archive, tmp_path):
    """Its sums would not be exact any more."""
    path = tmp_path / "large.csv"
    write(
        path, ("time", "symbol", "price", "size"), [(MIDNIGHT - DAY + i, "AAPL", 1, 9_000_000_000) for i in range(200)]
    )
    with pytest.raises(ConfigError, match="AAPL has a day with a volume"):
        load(archive, path)


def test_quotes_are_added_beside_trades(archive, trades, tmp_path):
    """They make no candles."""
    load(archive, trades[0])
    path = tmp_path / "quotes.csv"
    rows = [(MIDNIGHT - DAY + number * SECOND, "AAPL", 5, 7, "", 0) for number in range(50)]
    write(path, ("time", "symbol", "bid", "bid_size", "ask", "ask_size"), rows)
    assert counts(load(archive, path)) == {("quotes", "AAPL"): (50, 0, 0)}
    assert [entry.fields[5] for entry in ticks(archive, kind="quotes")] == [b"null"] * 50


async def test_the_live_record_is_found_in_redis_and_in_the_archive(writer, valkey, archive, trades, new_writer):
    """Whichever reaches further back; imports are none of it."""
    assert await days_free_before(valkey, archive) == {}
    load(archive, trades[0])
    assert live_since(archive, "AAPL") is None
    times = [MIDNIGHT + 10 * MINUTE + number * MINUTE for number in range(60 * 48)]
    await writer.write(*[Trade("AAPL", 5, 1, time) for time in times])
    assert await days_free_before(valkey, archive) == {"AAPL": MIDNIGHT}
    await Archiver(archive, valkey, ZONE, MINUTE).archive("AAPL", times[-1])
    await valkey.flushall()
    other = new_writer(valkey)
    await other.claim("AAPL")
    await other.write(Trade("AAPL", 5, 1, times[-1] + 3 * DAY))
    assert await days_free_before(valkey, archive) == {"AAPL": MIDNIGHT}
    archive.remove("trades", "AAPL", [f for f in archive.index.of("trades", "AAPL").files if f.generation])
    assert live_since(archive, "AAPL") == MIDNIGHT


async def test_new_symbols_are_written_down(writer, valkey):
    """Those that the store knows keep what it knows of them."""
    before = await catalog.read(valkey)
    assert await tell(valkey, ["AAPL", "IBM"]) == ["IBM"]
    after = await catalog.read(valkey)
    assert after["AAPL"] == before["AAPL"]
    assert after["IBM"]["feed"] == "import"
