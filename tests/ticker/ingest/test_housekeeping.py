from zoneinfo import ZoneInfo

import pytest

from ticker.archive.archive import Archive
from ticker.archive.storage import LocalStorage
from ticker.errors import ArchiveError
from ticker.ingest.archiver import Archiver
from ticker.ingest.housekeeping import Housekeeping

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ZONE = ZoneInfo("America/New_York")
RETENTION = {"max_len": 1000, "ticks": "1h", "candles": {"1s": "1h", "1m": "1d", "1d": "forever"}}


@pytest.fixture
def make(valkey, valkey_url, make_config, tmp_path):
    """Housekeeping beside an archiver; the limits may be given."""

    def make(**limits):
        archiver = Archiver(Archive(LocalStorage(tmp_path), ZONE), valkey, ZONE, MINUTE)
        config = make_config(valkey_url, retention=RETENTION, limits=limits)
        return archiver, Housekeeping(valkey, config, archiver)

    return make


@pytest.fixture
def unwritable(monkeypatch):
    """An archive that takes nothing."""

    def refuse(self, path, content):
        raise ArchiveError("full")

    monkeypatch.setattr(LocalStorage, "write", refuse)


async def first_seq(writer, kind="trades"):
    """The number of the oldest tick that is kept; 0 where none is."""
    page = await writer.streams.read(kind, "AAPL", "-", "+")
    return page[0].seq if page else 0


async def chunks(writer):
    return await writer.client.zcard("ticker:index:{AAPL}:1s")


async def test_what_is_archived_goes_by_age(writer, tape, make):
    """And what is not stays, however old."""
    archiver, housekeeping = make()
    await writer.write(*tape.trades(600, step=SECOND))
    await archiver.archive("AAPL", tape.time)
    await writer.write(*tape.trades(300, step=SECOND))
    await housekeeping.trim("AAPL", tape.time + DAY)
    assert 500 < await first_seq(writer) <= 601
    assert await chunks(writer) > 5
    await archiver.archive("AAPL", tape.time + DAY)
    await housekeeping.trim("AAPL", tape.time + DAY)
    assert await first_seq(writer) == 0 or await first_seq(writer) > 800
    assert await chunks(writer) == 1


async def test_what_was_imported_into_an_outage_stays_until_it_is_archived_too(writer, tape, make, valkey):
    """The rest of its time is archived, but this is not."""
    archiver, housekeeping = make()
    await writer.write(*tape.trades(900, step=SECOND))
    await archiver.archive("AAPL", tape.time + DAY)
    begin = tape.time - 600 * SECOND
    await valkey.hset("ticker:archived:{AAPL}", "again_1s", f"{begin}-{begin + 60 * SECOND}")
    before = await chunks(writer)
    await housekeeping.trim("AAPL", tape.time + DAY)
    assert 8 < await chunks(writer) < before
    await archiver.archive("AAPL", tape.time + DAY)
    await housekeeping.trim("AAPL", tape.time + DAY)
    assert await chunks(writer) == 1


async def test_what_is_young_stays(writer, tape, make):
    """Though it is archived."""
    archiver, housekeeping = make()
    await writer.write(*tape.trades(600, step=SECOND))
    await archiver.archive("AAPL", tape.time)
    await housekeeping.trim("AAPL", tape.time)
    assert await first_seq(writer) == 1


async def test_a_stream_that_is_too_long_is_archived_and_trimmed(writer, tape, make):
    """Without waiting for the next run of the archive job."""
    archiver, housekeeping = make()
    await writer.write(*tape.trades(3000, step=1000))
    await housekeeping.trim("AAPL", tape.time)
    epoch = (await writer.client.get("epoch:{AAPL}")).decode()
    assert archiver.done("trades", "AAPL", epoch).seq == 3000
    assert 1800 < await first_seq(writer) <= 2001


async def test_nothing_goes_while_the_archive_takes_nothing(writer, tape, make, unwritable):
    """Neither by length nor by age; candles neither."""
    _, housekeeping = make()
    await writer.write(*tape.trades(3000, step=SECOND))
    before = await chunks(writer)
    await housekeeping.trim("AAPL", tape.time + DAY)
    assert await first_seq(writer) == 1
    assert await chunks(writer) == before


@pytest.mark.limit("unarchived_s")
async def test_what_is_overdue_by_far_goes_all_the_same(writer, tape, make, unwritable, caplog):
    """The store must not grow for ever; it is said loudly."""
    _, housekeeping = make(unarchived_s=3600)
    await writer.write(*tape.trades(3000, step=SECOND))
    await housekeeping.trim("AAPL", tape.time + HOUR)
    assert await first_seq(writer) == 1
    await housekeeping.trim("AAPL", tape.time + 3 * HOUR)
    assert await first_seq(writer) == 0 or await first_seq(writer) > 2900
    assert await chunks(writer) == 1
    assert "AAPL: trades are trimmed though they are not archived, as limits.unarchived_s says" in caplog.text
    assert "AAPL: candles of 1s are trimmed though they are not archived" in caplog.text


@pytest.mark.limit("unarchived_ticks")
async def test_a_stream_that_waits_too_long_is_trimmed_all_the_same(writer, tape, make, unwritable, caplog):
    """By its length."""
    _, housekeeping = make(unarchived_ticks=2000)
    await writer.write(*tape.trades(3000, step=1000))
    await housekeeping.trim("AAPL", tape.time)
    assert 900 <= await first_seq(writer) <= 1001
    assert "AAPL: trades are trimmed though they are not archived, as limits.unarchived_ticks says" in caplog.text


async def test_a_new_epoch_is_not_taken_for_archived(writer, valkey, new_writer, tape, make):
    """Though the numbers of the last one were."""
    archiver, housekeeping = make()
    await writer.write(*tape.trades(900, step=SECOND))
    await archiver.archive("AAPL", tape.time)
    await valkey.flushall()
    other = new_writer(valkey)
    await other.claim("AAPL")
    await other.write(*tape.trades(500, step=SECOND))
    await housekeeping.trim("AAPL", tape.time + DAY)
    assert await first_seq(other) == 1


async def test_without_an_archive_age_alone_decides(writer, valkey, valkey_url, make_config, tape):
    """As ever."""
    await writer.write(*tape.trades(900, step=SECOND))
    await Housekeeping(valkey, make_config(valkey_url, retention=RETENTION), None).trim("AAPL", tape.time + DAY)
    assert await first_seq(writer) == 0 or await first_seq(writer) > 700
