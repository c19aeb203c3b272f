import threading
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ticker.archive.archive import Archive
from ticker.archive.compaction import FILES_MAX, compact
from ticker.archive.index import Known
from ticker.archive.layout import END, FIRST, IMPORT, Place
from ticker.archive.storage import open_storage
from ticker.candles.candle import Candle, Candles
from ticker.candles.interval import INTERVALS
from ticker.errors import ArchiveError, ConfigError

NOON_MS = 1_763_985_600_000
DAY_MS = 86_400_000
M1, D1 = INTERVALS["1m"], INTERVALS["1d"]
MINUTE = M1.width


def seqs(entries):
    return [entry.seq for entry in entries]


def everything(archive, newest=False, kind="trades"):
    return archive.ticks(kind, "AAPL", FIRST, END, 10**9, newest=newest)


def candles(count, start=NOON_MS * 1000, step=MINUTE):
    times = [start + step * number for number in range(count)]
    return Candles.of([Candle(t, 5, 9, 1, 5 + i, 2, 0, 10, 1, i + 1, i + 1, t, t) for i, t in enumerate(times)])


def content(storage, path):
    with storage.open(path) as file:
        return bytes(file.read())


def test_ticks_are_read_by_place(archive, trades, new_archive, url):
    """Any range, from either end, over files and days; by another process too."""
    written = trades(1, 30_000, step_ms=5_000)
    files = archive.write_ticks("trades", "AAPL", 1, "abcdef", written[:20_000])
    files += archive.write_ticks("trades", "AAPL", 1, "abcdef", written[20_000:])
    assert [file.period for file in files] == ["2025-11-24", "2025-11-25", "2025-11-25", "2025-11-26"]
    for reader in (archive, new_archive(url)):
        assert everything(reader) == written
        assert everything(reader, newest=True) == written[::-1]
        low, high = Place(written[12_000].ms, 12_001), Place(written[25_000].ms, 25_001)
        assert reader.ticks("trades", "AAPL", low, high, 9, newest=False) == written[12_000:12_009]
        assert reader.ticks("trades", "AAPL", low, high, 9, newest=True) == written[24_991:25_000][::-1]
        assert reader.ticks("trades", "AAPL", low, high, 10**6, newest=False) == written[12_000:25_000]
        assert reader.ticks("trades", "AAPL", Place(low.at), Place(low.at + 1), 5, newest=False) == [written[12_000]]
        assert reader.oldest("trades", "AAPL") == Place(written[0].ms, 1)
        assert reader.symbols("trades") == ["AAPL"]
    assert everything(archive, kind="quotes") == []
    assert archive.oldest("trades", "MSFT") is None
    assert archive.symbols("quotes") == []


@pytest.mark.parametrize(
    ("first", "count"), [(1, 10), (16_380, 10), (20_000, 3), (29_995, 100), (30_001, 5), (1, 30_000)]
)
def test_ticks_are_read_by_number(archive, trades, first, count):
    """Over files; as many as there are."""
    written = trades(1, 30_000, step_ms=5_000)
    archive.write_ticks("trades", "AAPL", 1, "abcdef", written[:20_000])
    archive.write_ticks("trades", "AAPL", 1, "abcdef", written[20_000:])
    assert archive.read("trades", "AAPL", first, count) == written[first - 1 : first - 1 + count]


def test_numbers_are_those_of_the_current_epoch(archive, trades):
    """A lost store begins again with 1; one that lost its last writes goes on, and what it withdrew is not shown."""
    archive.write_ticks("trades", "AAPL", 1, "abcdef", trades(1, 100))
    withdrawn_from = trades(1, 100)[80]
    again = trades(81, 120, ms=withdrawn_from.ms)
    archive.write_ticks("trades", "AAPL", 2, "ghjkmn", again)
    assert seqs(archive.read("trades", "AAPL", 70, 1000)) == list(range(70, 121))
    assert seqs(everything(archive)) == list(range(1, 121))
    archive.write_ticks("trades", "AAPL", 3, "pqrstu", trades(1, 10, ms=NOON_MS + DAY_MS))
    assert seqs(archive.read("trades", "AAPL", 1, 1000)) == list(range(1, 11))
    assert archive.read("trades", "AAPL", 70, 1000) == []
    assert seqs(everything(archive)) == [*range(1, 121), *range(1, 11)]


def test_a_hole_ends_what_is_read_by_number(archive, trades):
    """A reader of history goes over it, one who resumes must know."""
    archive.write_ticks("trades", "AAPL", 1, "abcdef", trades(1, 10))
    archive.write_ticks("trades", "AAPL", 1, "abcdef", trades(15, 20, ms=NOON_MS + 20_000))
    assert seqs(archive.read("trades", "AAPL", 5, 100)) == list(range(5, 11))
    assert archive.read("trades", "AAPL", 12, 100) == []
    assert seqs(everything(archive)) == [*range(1, 11), *range(15, 21)]


def test_candles_are_read_by_time(archive):
    """A bounded number from either end, and whether these are all."""
    written = candles(3000)
    files = archive.write_candles("AAPL", M1, written)
    assert [file.period for file in files] == ["2025-11-24", "2025-11-25", "2025-11-26"]
    start, end = int(written.time[100]), int(written.time[2900])
    found, complete = archive.candles("AAPL", M1, start, end, 10**6, newest=False)
    assert complete
    assert np.array_equal(found.data, written.data[:, 100:2900])
    found, complete = archive.candles("AAPL", M1, start, end, 500, newest=False)
    assert not complete
    assert np.array_equal(found.data, written.data[:, 100 : 100 + len(found)])
    assert len(found) >= 500
    found, complete = archive.candles("AAPL", M1, start, end, 500, newest=True)
    assert not complete
    assert np.array_equal(found.data, written.data[:, 2900 - len(found) : 2900])
    days = candles(800, start=1_735_707_600_000_000, step=D1.width)
    assert [file.period for file in archive.write_candles("AAPL", D1, days)] == ["2025", "2026", "2027"]
    found, complete = archive.candles("AAPL", D1, 0, 1 << 53, 10**6, newest=True)
    assert (found.rows(), complete) == (days.rows(), True)


def test_writing_the_same_again_changes_nothing(archive, trades, url):
    """Neither rows nor bytes: whoever was killed simply starts over."""
    storage, seen = open_storage(url), []
    for _ in range(2):
        archive.write_ticks("trades", "AAPL", 1, "abcdef", trades(1, 100))
        archive.write_candles("AAPL", M1, candles(10))
        seen.append({path: content(storage, path) for path in storage.files("")})
    assert len(seen[0]) == 3
    assert seen[0] == seen[1]
    assert everything(archive) == trades(1, 100)


def test_a_longer_file_takes_the_place_of_what_it_holds(archive, trades):
    """As after a run that was killed before it had told anybody."""
    written = trades(1, 200)
    archive.write_ticks("trades", "AAPL", 1, "abcdef", written[:100])
    archive.write_ticks("trades", "AAPL", 1, "abcdef", written[:150])
    archive.write_ticks("trades", "AAPL", 1, "abcdef", written[100:])
    assert everything(archive) == written
    minutes = candles(20)
    archive.write_candles("AAPL", M1, minutes.part(0, 12))
    archive.write_candles("AAPL", M1, minutes.part(8, 20))
    assert archive.candles("AAPL", M1, 0, 1 << 53, 99, newest=False)[0].rows() == minutes.rows()


def test_a_day_becomes_one_file(archive, trades, new_archive, url):
    """The newest once it has many; a reader that knew the parts finds the whole."""
    written = trades(1, 10 * (FILES_MAX + 1))
    reader = new_archive(url)
    for number in range(FILES_MAX + 1):
        archive.write_ticks("trades", "AAPL", 1, "abcdef", written[10 * number : 10 * number + 10])
        if number == FILES_MAX - 2:
            assert compact(archive, "trades", "AAPL") == 0
    assert everything(reader) == written
    assert compact(archive, "trades", "AAPL") == FILES_MAX + 1
    (file,) = archive.index.of("trades", "AAPL").files
    assert file.rows == len(written)
    assert everything(reader) == everything(archive) == written
    assert compact(archive, "trades", "AAPL") == 0


def test_each_day_before_the_newest_becomes_one_file(archive, trades):
    """For candles too; a hole stays one between two files, and epochs stay apart."""
    for first in (1, 11, 31, 41):
        archive.write_ticks("trades", "AAPL", 1, "abcdef", trades(first, first + 9, ms=NOON_MS + 1000 * first))
    archive.write_ticks("trades", "AAPL", 2, "ghjkmn", trades(51, 60, ms=NOON_MS + 60_000))
    archive.write_ticks("trades", "AAPL", 2, "ghjkmn", trades(61, 70, ms=NOON_MS + DAY_MS))
    before = everything(archive)
    assert compact(archive, "trades", "AAPL") == 4
    found = [(f.epoch, f.first.seq, f.last.seq) for f in archive.index.of("trades", "AAPL").files]
    assert found == [("abcdef", 1, 20), ("abcdef", 31, 50), ("ghjkmn", 51, 60), ("ghjkmn", 61, 70)]
    assert everything(archive) == before
    minutes = candles(1500)
    for first in range(0, 1500, 300):
        archive.write_candles("AAPL", M1, minutes.part(first, first + 300))
    compact(archive, "candles_1m", "AAPL")
    assert len({file.period for file in archive.index.of("candles_1m", "AAPL").files}) == 2
    assert archive.candles("AAPL", M1, 0, 1 << 53, 10**6, newest=False)[0].rows() == minutes.rows()


def test_a_compaction_that_was_interrupted_is_finished(archive, trades, monkeypatch):
    """The whole is there and the parts are too: no row is read twice, and the next run removes them."""
    for first in (1, 11, 21):
        archive.write_ticks("trades", "AAPL", 1, "abcdef", trades(first, first + 9, ms=NOON_MS + 1000 * first))
    archive.write_ticks("trades", "AAPL", 1, "abcdef", trades(31, 40, ms=NOON_MS + DAY_MS))
    before = everything(archive)
    with monkeypatch.context() as killed:
        killed.setattr(Archive, "remove", lambda *args: (_ for _ in ()).throw(ArchiveError("gone")))
        with pytest.raises(ArchiveError):
            compact(archive, "trades", "AAPL")
    assert len(archive.index.again("trades", "AAPL").files) == 5
    assert everything(archive) == before
    assert compact(archive, "trades", "AAPL") == 3
    assert everything(archive) == before
    assert len(archive.index.again("trades", "AAPL").files) == 2


def test_what_another_process_is_known_to_have_written_is_seen_at_once(archive, trades, new_archive, url):
    """What it is not known to have written, after a while."""
    reader = new_archive(url)
    archive.write_ticks("trades", "AAPL", 1, "abcdef", trades(1, 10))
    assert seqs(everything(reader)) == list(range(1, 11))
    more = trades(11, 20, ms=NOON_MS + 20_000)
    archive.write_ticks("trades", "AAPL", 1, "abcdef", more)
    assert len(everything(reader)) == 10
    assert len(reader.ticks("trades", "AAPL", FIRST, END, 99, newest=False, known=Known(Place(more[-1].ms, 20)))) == 20


def test_an_archive_of_another_kind_is_refused(url, archive, trades):
    """Days of another time zone would not be those of its folders."""
    archive.write_ticks("trades", "AAPL", 1, "abcdef", trades(1, 10))
    other = Archive(open_storage(url), ZoneInfo("Europe/London"))
    with pytest.raises(
        ConfigError, match=r"archive\.json has timezone 'America/New_York', this configuration 'Europe/London'"
    ):
        other.write_ticks("trades", "AAPL", 1, "abcdef", trades(1, 10))
    open_storage(url).write("archive.json", b"[")
    with pytest.raises(ArchiveError, match=r"archive\.json is no JSON"):
        Archive(open_storage(url), ZoneInfo("America/New_York")).oldest("trades", "AAPL")


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing", b"x" * 5000])
def test_a_broken_file_is_named(archive, trades, url, content):
    """In one line, whatever it is instead."""
    (file,) = archive.write_ticks("trades", "AAPL", 1, "abcdef", trades(1, 10))
    open_storage(url).write(file.path, content)
    with pytest.raises(ArchiveError, match=f"the archive: {file.path} cannot be read"):
        everything(archive)


@pytest.mark.limit("archive_footers")
def test_footers_in_memory_are_bounded(new_archive, url, trades):
    """The one longest unused goes."""
    archive = new_archive(url, footers_max=2)
    for day in range(4):
        archive.write_ticks(
            "trades", "AAPL", 1, "abcdef", trades(1 + 10 * day, 10 + 10 * day, ms=NOON_MS + DAY_MS * day)
        )
    assert len(everything(archive)) == 40
    assert len(archive.files._footers) == 2


@pytest.mark.limit("archive_listings")
def test_listings_in_memory_are_bounded(new_archive, url, trades):
    """What was let go of is listed anew."""
    archive = new_archive(url, listings_max=2)
    for symbol in ("A", "B", "C", "D"):
        archive.write_ticks("trades", symbol, 1, "abcdef", trades(1, 10))
    assert len(archive.index._listings) == 2
    for symbol in ("A", "B", "C", "D"):
        assert len(archive.read("trades", symbol, 1, 99)) == 10


def test_threads_share_an_archive(new_archive, url, trades):
    """With few footers, so that they take them from each other."""
    archive = new_archive(url, footers_max=1)
    for day in range(3):
        archive.write_ticks(
            "trades", "AAPL", 1, "abcdef", trades(1 + 10 * day, 10 + 10 * day, ms=NOON_MS + DAY_MS * day)
        )
    wrong = []

    def read():
        for _ in range(20):
            if seqs(everything(archive)) != list(range(1, 31)):
                wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_was_imported_comes_before_what_was_live(archive, trades):
    """And has no number anybody could resume from."""
    archive.write_ticks("trades", "AAPL", 1, "abcdef", trades(1, 10))
    archive.write_ticks("trades", "AAPL", 0, IMPORT, trades(1, 5, ms=NOON_MS - DAY_MS))
    found = everything(archive)
    assert [entry.fields[-1] for entry in found] == [b"0"] * 5 + [b"%d" % seq for seq in range(1, 11)]
    assert seqs(archive.read("trades", "AAPL", 1, 100)) == list(range(1, 11))
