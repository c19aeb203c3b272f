import pytest

from ticker.feed_state import FeedState, is_well


@pytest.mark.parametrize(
    ("state", "well"),
    [
        ("starting", True),
        ("live", True),
        ("closed", True),
        ("standby", True),
        ("waiting", False),
        ("retrying", False),
        ("stuck", False),
        ("silent", False),
        ("failed", False),
    ],
)
def test_a_feed_is_well_while_nothing_is_wrong_with_it(state, well):
    """As a word of a heartbeat too."""
    assert is_well(FeedState(state)) == is_well(state) == well


def test_every_state_is_judged():
    """A new one belongs into the table above."""
    assert {*FeedState} == {"starting", "live", "closed", "standby", "waiting", "retrying", "stuck", "silent", "failed"}


@pytest.mark.parametrize("state", ["", None, "LIVE", "resting", 1])
def test_what_is_no_state_is_not_well(state):
    """It may be a word of a newer ingester, and better be looked at."""
    assert not is_well(state)
