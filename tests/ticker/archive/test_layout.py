from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker.archive.layout import END, File, Place, cut, folder, parse, stretches, superseded, symbol_of
from ticker.candles.interval import midnight

ZONE = ZoneInfo("America/New_York")


def ticks(first, last, generation=1, epoch="abcdef", at=1000):
    """A file of trades with these numbers, one a millisecond."""
    return File("trades", "AAPL", "2025-11-24", Place(at + first, first), Place(at + last, last), generation, epoch)


@pytest.mark.parametrize(
    "file",
    [
        ticks(1, 17),
        File("quotes", "BRK.B", "1999-01-01", Place(0, 1), Place(9, 900), 0, "import"),
        File("candles_1m", "A-1", "2025-11-24", Place(60_000_000), Place(120_000_000), candles=2),
        File("candles_1d", "AAPL", "2025", Place(1), Place(1 << 50), candles=7),
        File("candles_1d", "AAPL", "2025", Place(1), Place(1 << 50), candles=7, revision=2),
    ],
)
def test_a_path_tells_what_is_in_a_file(file):
    """And is read back as it was written."""
    assert parse(file.path) == file


@pytest.mark.parametrize(
    "path",
    [
        "archive.json",
        "trades/symbol=AAPL/date=2025-11-24/other.parquet",
        "trades/symbol=aapl/date=2025-11-24/0001.abc.1-1.2-2.parquet",
        "bars/symbol=AAPL/date=2025-11-24/1-2.parquet",
        "candles_1m/symbol=AAPL/date=2025-11-24/0001.abc.1-1.2-2.parquet",
        "trades/symbol=AAPL/date=2025-11-24/1-2.parquet",
        "trades/symbol=AAPL/date=2025-11-24/0001.abc.1-1.2-2.parquet.77.tmp",
    ],
)
def test_what_is_not_ours_is_passed_over(path):
    """Whatever else lies in the folder."""
    assert parse(path) is None


def test_folders_name_their_key():
    """As Hive does."""
    assert folder("candles_1d", "AAPL", "2025") == "candles_1d/symbol=AAPL/year=2025"
    assert folder("trades", "AAPL", "2025-11-24") == "trades/symbol=AAPL/date=2025-11-24"
    assert (symbol_of("symbol=A"), symbol_of("date=A"), symbol_of("symbol=")) == ("A", None, None)


def test_rows_are_cut_at_the_market_s_midnight():
    """By day, or by year."""
    edge = midnight(date(2026, 1, 1), ZONE)
    times = np.array([edge - 86_400_000_000, edge - 1, edge, edge + 1])
    assert cut("trades", times, ZONE) == [("2025-12-31", 0, 2), ("2026-01-01", 2, 4)]
    assert cut("candles_1d", times, ZONE) == [("2025", 0, 2), ("2026", 2, 4)]
    assert cut("trades", times[:0], ZONE) == []


def spans(found):
    return [(stretch.file.generation, stretch.low.seq, stretch.high.seq - 1) for stretch in found]


def test_files_that_overlap_give_no_row_twice():
    """The longer one counts, and what another has beyond it."""
    files = [ticks(1, 100), ticks(101, 150), ticks(1, 150), ticks(101, 200), ticks(201, 210)]
    assert spans(stretches(files)) == [(1, 1, 150), (1, 151, 200), (1, 201, 210)]
    assert set(superseded(files)) == {ticks(1, 100), ticks(101, 150)}


def test_of_files_of_the_same_candles_the_one_that_was_changed_last_counts():
    """The others are removed by the next compaction."""
    first, again, last = (
        File("candles_1m", "AAPL", "2025-11-24", Place(0), Place(120_000_000), candles=3, revision=n) for n in range(3)
    )
    assert len({first.path, again.path, last.path}) == 3
    assert [stretch.file for stretch in stretches([again, last, first])] == [last]
    assert superseded([again, first, last]) == [again, first]


def test_a_newer_generation_stands_for_the_older_ones_from_its_first_row_on():
    """A store that was lost began anew; one that lost its last writes went on below."""
    old = [ticks(1, 100), ticks(101, 200)]
    again = ticks(151, 300, 2, "ghjkmn")
    found = stretches([*old, again])
    assert [(s.file, s.low, s.high) for s in found] == [
        (old[0], Place(1001, 1), Place(1100, 101)),
        (old[1], Place(1101, 101), Place(1151, 151)),
        (again, Place(1151, 151), Place(1300, 301)),
    ]
    anew = ticks(1, 50, 2, "ghjkmn", at=5000)
    assert spans(stretches([*old, anew])) == [(1, 1, 100), (1, 101, 200), (2, 1, 50)]
    assert spans(stretches([*old, ticks(1, 50, 2, "ghjkmn")])) == [(2, 1, 50)]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 20)), max_size=12))
def test_each_row_counts_once_whatever_there_is(ranges):
    """In order of places, and none is left out."""
    files = [ticks(first, first + more) for first, more in dict.fromkeys(ranges)]
    seen = [seq for s in stretches(files) for seq in range(s.low.seq, s.high.seq)]
    assert seen == sorted({seq for first, more in ranges for seq in range(first, first + more + 1)})
    kept = [file for file in files if file not in superseded(files)]
    assert [seq for s in stretches(kept) for seq in range(s.low.seq, s.high.seq)] == seen
    assert all(s.high < END for s in stretches(files))
