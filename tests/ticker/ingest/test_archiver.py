import random
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from feeds.feed import CLOCK_END
from feeds.tick import Trade
from ticker import metrics
from ticker.archive.archive import Archive
from ticker.archive.layout import END, FIRST
from ticker.archive.storage import LocalStorage
from ticker.candles.interval import INTERVALS
from ticker.errors import ArchiveError, StoreError
from ticker.ingest import archiver as module
from ticker.ingest.archiver import Archiver
from ticker.store import archived

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ZONE = ZoneInfo("America/New_York")
FINAL = 60 * SECOND + 500_000
S1, M1, D1 = (INTERVALS[name] for name in ("1s", "1m", "1d"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def new_archiver(valkey, folder):
    """Makes archivers, each as a process of its own."""
    return lambda: Archiver(Archive(LocalStorage(folder), ZONE), valkey, ZONE, FINAL)


@pytest.fixture
def archive(folder):
    return Archive(LocalStorage(folder), ZONE)


def ticks(archive, kind="trades", symbol="AAPL"):
    archive.index.again(kind, symbol)
    return archive.ticks(kind, symbol, FIRST, END, 10**9, newest=False)


def candles(archive, base):
    archive.index.again(f"candles_{base.name}", "AAPL")
    return archive.candles("AAPL", base, 0, 1 << 53, 10**9, newest=False)[0].rows()


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.parquet")}


async def stream(writer, kind="trades"):
    return await writer.streams.newest(kind, "AAPL", 10**6, 10**9)


async def stored(writer, base):
    return (await writer.candles.read("AAPL", base, 0, 1 << 53, newest=False)).closed.rows()


async def test_ticks_and_candles_that_cannot_change_any_more_are_archived(writer, tape, new_archiver, archive):
    """Ticks up to the last one; candles once no late tick can correct them."""
    await writer.write(*tape.trades(900), tape.quote(), tape.quote(bid=None))
    archiver = new_archiver()
    assert await archiver.archive("AAPL", tape.time) > 900
    assert ticks(archive) == await stream(writer)
    assert ticks(archive, "quotes") == await stream(writer, "quotes")
    seconds = await stored(writer, S1)
    assert candles(archive, S1) == [c for c in seconds if c.time + SECOND + FINAL <= tape.time]
    assert 0 < len(candles(archive, S1)) < len(seconds)
    assert candles(archive, D1) == []
    assert archiver.done("trades", "AAPL", (await writer.client.get("epoch:{AAPL}")).decode()).seq == 900
    assert archived.place(await writer.client.hget("ticker:archived:{AAPL}", "trades"))[1] == 900


async def test_what_has_ended_is_archived_to_its_last_candle(writer, tape, new_archiver, archive):
    """A replay that is over will correct nothing."""
    await writer.write(*tape.trades(100), clock=CLOCK_END)
    await new_archiver().archive("AAPL", CLOCK_END)
    for base in (S1, M1, D1):
        assert candles(archive, base) == await stored(writer, base) != []


async def test_the_next_run_goes_on_and_one_without_news_writes_nothing(writer, tape, new_archiver, archive, folder):
    """By the same process, and by the next."""
    archiver = new_archiver()
    for number in range(4):
        await writer.write(*tape.trades(50), tape.quote())
        if number % 2:
            archiver = new_archiver()
        assert await archiver.archive("AAPL", tape.time) > 50
        before = files(folder)
        assert await archiver.archive("AAPL", tape.time) == 0
        assert files(folder) == before
    assert ticks(archive) == await stream(writer)
    assert len(ticks(archive, "quotes")) == 4


async def test_a_run_is_cut_into_files(writer, tape, new_archiver, archive, monkeypatch):
    """However much there is, little is held in memory."""
    monkeypatch.setattr(module, "ROWS_PER_FILE", 500)
    await writer.write(*tape.trades(2600, step=SECOND))
    await new_archiver().archive("AAPL", 0)
    assert ticks(archive) == await stream(writer)
    assert all(file.rows <= 1000 for file in archive.index.again("trades", "AAPL").files)
    assert candles(archive, S1) == []


class Killed(Exception):
    """In place of the end of a process."""


@pytest.mark.parametrize("after", range(7))
async def test_a_run_that_is_killed_anywhere_is_done_again(
    writer, tape, new_archiver, archive, folder, monkeypatch, after
):
    """Nothing is lost and nothing doubled, and the files are those of a run that was not killed."""
    await writer.write(*tape.trades(900), tape.quote(), clock=CLOCK_END)
    await new_archiver().archive("AAPL", CLOCK_END)
    whole = files(folder)
    for path in whole:
        (folder / path).unlink()
    write, count = LocalStorage.write, [0]

    def killed(self, path, content):
        if count[0] == after:
            raise Killed
        count[0] += 1
        write(self, path, content)

    with monkeypatch.context() as kill:
        kill.setattr(LocalStorage, "write", killed)
        try:
            await new_archiver().archive("AAPL", CLOCK_END)
        except Killed:
            assert len(files(folder)) < len(whole)
    await new_archiver().archive("AAPL", CLOCK_END)
    assert files(folder) == whole


async def test_a_store_that_was_lost_begins_a_new_generation(writer, valkey, new_writer, tape, new_archiver, archive):
    """What was archived stays, and goes on with the numbers of the new epoch."""
    await writer.write(*tape.trades(100))
    archiver = new_archiver()
    await archiver.archive("AAPL", tape.time)
    old = await stream(writer)
    await valkey.flushall()
    other = new_writer(valkey)
    await other.claim("AAPL")
    await other.write(*tape.trades(30))
    await archiver.archive("AAPL", tape.time)
    assert ticks(archive) == old + await stream(other)
    assert len({file.epoch for file in archive.index.again("trades", "AAPL").files}) == 2


async def test_numbers_that_were_withdrawn_are_replaced(writer, valkey, new_writer, tape, new_archiver, archive):
    """A failover to an older copy: ten ticks are gone, and others get their numbers."""
    await writer.write(*tape.trades(90))
    copies = {key: await valkey.dump(key) for key in await valkey.keys("*")}
    await writer.write(*tape.trades(10))
    archiver = new_archiver()
    await archiver.archive("AAPL", tape.time)
    await valkey.flushall()
    for key, copy in copies.items():
        await valkey.restore(key, 0, copy)
    other = new_writer(valkey)
    await other.claim("AAPL")
    other.batches._queue.writers["AAPL"].begin_epoch()
    await other.write(*tape.trades(20))
    await archiver.archive("AAPL", tape.time)
    assert ticks(archive) == await stream(other)
    assert [entry.seq for entry in archive.read("trades", "AAPL", 1, 1000)] == list(range(1, 111))


async def test_ticks_that_left_the_store_before_are_counted_as_lost(
    writer, valkey, tape, new_archiver, archive, caplog
):
    """And named in the log: nobody shall believe that the archive is whole."""
    await writer.write(*tape.trades(100))
    archiver = new_archiver()
    await archiver.archive("AAPL", tape.time)
    await writer.write(*tape.trades(100))
    await valkey.xtrim("trades:{AAPL}", maxlen=60, approximate=False)
    before = metrics.REGISTRY.get_sample_value("ticker_archive_lost_rows_total", {"kind": "trades"}) or 0
    await archiver.archive("AAPL", tape.time)
    assert metrics.REGISTRY.get_sample_value("ticker_archive_lost_rows_total", {"kind": "trades"}) == before + 40
    assert "AAPL trades: 40 ticks, 101 to 140, were trimmed before they were archived" in caplog.text
    assert [entry.seq for entry in ticks(archive)] == [*range(1, 101), *range(141, 201)]


async def test_what_somebody_else_has_put_into_a_stream_is_refused(writer, valkey, tape, new_archiver):
    """With its place; the writer of the stream is not us."""
    await writer.write(*tape.trades(3))
    await valkey.xadd("trades:{AAPL}", {"price": "x", "size": "1", "time": "5", "seq": "4"}, "9999999999999-4")
    with pytest.raises(StoreError, match="hold what is no tick of ours"):
        await new_archiver().archive("AAPL", tape.time)
    await valkey.xadd("quotes:{AAPL}", {"nothing": "x"}, "9999999999999-4")
    with pytest.raises(StoreError):
        await new_archiver().archive("AAPL", tape.time)


async def test_one_that_is_stopped_writes_no_further_file(writer, tape, new_archiver, archive, folder, monkeypatch):
    """An end must not wait for a long run; the next process goes on where it was left."""
    monkeypatch.setattr(module, "ROWS_PER_FILE", 500)
    await writer.write(*tape.trades(2600, step=SECOND), clock=CLOCK_END)
    archiver = new_archiver()
    write = LocalStorage.write

    def stop_then_write(self, path, content):
        archiver.stop()
        write(self, path, content)

    with monkeypatch.context() as stopping:
        stopping.setattr(LocalStorage, "write", stop_then_write)
        assert 0 < await archiver.archive("AAPL", CLOCK_END) <= 1000
    assert await archiver.compact("AAPL") == 0
    assert len(files(folder)) == 1
    await new_archiver().archive("AAPL", CLOCK_END)
    assert ticks(archive) == await stream(writer)
    assert candles(archive, M1) == await stored(writer, M1)


async def test_a_symbol_without_anything_is_nothing(new_archiver, folder):
    """No files, no error."""
    archiver = new_archiver()
    assert await archiver.archive("AAPL", 5) == 0
    assert await archiver.compact("AAPL") == 0
    assert files(folder) == {}
    assert archiver.done("trades", "AAPL", "abcdef") is None
    assert archiver.candles_done("AAPL", M1) is None


async def test_many_days_are_compacted(writer, new_archiver, archive, noon):
    """After any number of runs, one file a day and year."""
    rng, time, archiver = random.Random(3), noon, new_archiver()
    for _ in range(30):
        made = []
        for _ in range(40):
            time += rng.randint(1, 10 * MINUTE)
            made.append(Trade("AAPL", rng.randint(1, 900) / 100, 1, time))
        await writer.write(*made)
        await archiver.archive("AAPL", time)
    before = ticks(archive), candles(archive, M1), candles(archive, D1)
    assert await archiver.compact("AAPL") > 0
    assert (ticks(archive), candles(archive, M1), candles(archive, D1)) == before
    for kind in ("trades", "candles_1m", "candles_1s"):
        days = [file.period for file in archive.index.again(kind, "AAPL").files]
        older = [day for day in days if day != days[-1]]
        assert len(older) == len(set(older)) > 2


def test_the_archive_s_errors_are_the_store_s():
    """So that whoever asks is answered 503."""
    assert issubclass(ArchiveError, StoreError)
    assert ArchiveError.http_status == 503
