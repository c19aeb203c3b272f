import pytest

from feeds import recording
from feeds.recording import look_at
from feeds.tape import Tape

T = 1381132800000000
ROWS = 10


@pytest.fixture
def tape(tmp_path, monkeypatch):
    """Ten rows, a microsecond apart, read a few at a time."""
    monkeypatch.setattr(recording, "BLOCK_CHARACTERS", 100)
    path = tmp_path / "a.csv"
    path.write_text("time,symbol,price,size\n" + "".join(f"{T + row},A,1.5,{row}\n" for row in range(ROWS)))
    tape = Tape([look_at(str(path))])
    yield tape
    tape.close()


def taken(tape, count, until=None):
    """The numbers of up to `count` rows."""
    found = []
    while len(found) < count and tape.fill():
        block = tape.take(count - len(found), until)
        if not block.ticks:
            break
        found += [tick.size for tick in block.ticks]
    return found


def test_rows_are_taken_one_after_another(tape):
    """The position and the time follow them."""
    assert tape.lap_rows == ROWS
    assert taken(tape, 4) == [0, 1, 2, 3]
    assert (tape.position, tape.time) == (4, T + 3)
    assert tape.fill()
    assert tape.next_time() == T + 4
    assert taken(tape, 100) == [4, 5, 6, 7, 8, 9]
    assert not tape.fill()


def test_rows_are_taken_up_to_a_time(tape):
    """And including it."""
    assert taken(tape, 100, T + 5) == [0, 1, 2, 3, 4, 5]
    assert taken(tape, 100, T + 5) == []
    assert tape.position == 6


def test_another_lap_goes_on_counting(tape):
    """Positions tell laps apart."""
    taken(tape, ROWS)
    tape.next_lap()
    assert taken(tape, 2) == [0, 1]
    assert tape.position == ROWS + 2


@pytest.mark.parametrize(("position", "rest"), [(0, 10), (7, 3), (10, 10), (13, 7), (20, 10)])
def test_a_tape_can_be_read_from_any_row_of_any_lap(tape, position, rest):
    """As if all before it had been taken."""
    taken(tape, 3)
    tape.seek(position, laps=True)
    assert tape.position == position
    assert len(taken(tape, 100)) == rest


@pytest.mark.parametrize(("position", "rest"), [(0, 10), (7, 3), (10, 0), (13, 7), (20, 0)])
def test_without_more_laps_the_end_of_one_is_no_beginning(tape, position, rest):
    """A recording that was played stays at its end."""
    tape.seek(position, laps=False)
    assert tape.position == position
    assert len(taken(tape, 100)) == rest
