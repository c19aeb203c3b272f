import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.replay_cursor import ReplayCursors

DIGEST = "0123456789abcdef" * 4
KEEP = ReplayCursors(DIGEST, "keep", 10)
NOW = ReplayCursors(DIGEST, "now", 10)


@given(st.integers(0, 10**9))
def test_a_cursor_says_how_many_rows_there_were(position):
    """Of all laps."""
    assert KEEP.position(KEEP.cursor(position)) == position


def test_a_cursor_is_short_and_can_be_read():
    """Times, digest, lap, row."""
    assert NOW.cursor(37) == "now:0123456789abcdef:3:7"


@pytest.mark.parametrize("cursor", [None, "", "x", "keep:0123456789abcdee:0:1", "keep:0123456789abcdef:0", "1700-0"])
def test_a_cursor_of_something_else_says_nothing(cursor):
    """Another recording, another kind of feed, none at all."""
    assert KEEP.position(cursor) is None


def test_kept_times_do_not_follow_shifted_ones():
    """What was played with its times shifted is stored under later times; the other way round there is no harm."""
    assert KEEP.position(NOW.cursor(3)) is None
    assert NOW.position(KEEP.cursor(3)) == 3
