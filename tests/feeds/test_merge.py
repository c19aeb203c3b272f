import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds import recording
from feeds.merge import Merge
from feeds.recording import look_at

T = 1381132800000000


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Makes files long compared with what is read at once."""
    monkeypatch.setattr(recording, "BLOCK_CHARACTERS", 100)


@pytest.fixture
def write(tmp_path):
    """Writes a file of trades at these offsets, each with a number of its own as its size, and looks at it."""

    def write_times(name, offsets):
        rows = [f"{T + offset},{name},1.5,{number}" for number, offset in enumerate(offsets)]
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(["time,symbol,price,size", *rows]))
        return look_at(str(path))

    return write_times


def merged(recordings):
    """What a merge gives: the times of places, and of each tick symbol, offset and number."""
    merge, times, ticks = Merge(recordings), [], []
    while block := merge.read():
        assert len(block.times) == len(block.ticks) > 0
        times += block.times
        ticks += [(tick.symbol, tick.time - T, tick.size) for tick in block.ticks]
    merge.close()
    return times, ticks


def test_rows_come_in_time_order(write):
    """Whichever file they are in."""
    times, ticks = merged([write("A", [1, 4, 5]), write("B", [2, 3, 6])])
    assert "".join(tick[0] for tick in ticks) == "ABBAAB"
    assert times == [T + offset for offset in range(1, 7)]


def test_rows_of_one_time_come_in_the_order_of_files_then_of_lines(write):
    """So that a replay always numbers them alike."""
    _, ticks = merged([write("B", [1, 1]), write("A", [0, 1, 1])])
    assert ticks == [("A", 0, 0), ("B", 1, 0), ("B", 1, 1), ("A", 1, 1), ("A", 1, 2)]


def test_a_row_that_is_out_of_order_stays_after_the_one_before_it(write):
    """Each file is read in its own order; its place counts as the time before."""
    times, ticks = merged([write("A", [5, 1, 6]), write("B", [4, 7])])
    assert [tick[1] for tick in ticks] == [4, 5, 1, 6, 7]
    assert times == [T + offset for offset in (4, 5, 5, 6, 7)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=40).map(sorted), min_size=1, max_size=5))
def test_any_sorted_files_merge_like_heapq(tmp_path_factory, files):
    """The block-wise merge is the textbook one, only faster."""
    folder = tmp_path_factory.mktemp("files")
    recordings, expected = [], []
    for order, offsets in enumerate(files):
        name = f"F{order}"
        rows = [f"{T + offset},{name},1.5,{number}" for number, offset in enumerate(offsets)]
        (folder / name).write_text("\n".join(["time,symbol,price,size", *rows]))
        recordings.append(look_at(str(folder / name)))
        expected.append([(offset, order, name, number) for number, offset in enumerate(offsets)])
    _, ticks = merged(recordings)
    assert ticks == [(name, offset, number) for offset, _, name, number in heapq.merge(*expected)]


def test_files_are_open_only_from_their_first_time_to_their_last(write, monkeypatch):
    """A year of daily files needs no more open files than one."""
    recordings = [write(f"D{day}", range(day * 100, day * 100 + 50)) for day in range(30)]
    random.Random(1).shuffle(recordings)
    merge, most = Merge(recordings), 0
    while merge.read():
        most = max(most, len(merge._open))
    assert most <= 2


def test_closing_closes_files_in_the_middle(write):
    """Warnings of open files would fail this test."""
    merge = Merge([write("A", range(100)), write("B", range(100))])
    merge.read()
    merge.close()
    assert merge.read() is None
