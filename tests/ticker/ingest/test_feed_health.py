import pytest

from feeds.trading_hours import ALWAYS, TradingHours
from ticker.feed_state import FeedState
from ticker.ingest.feed_health import FeedHealth
from ticker.ingest.opening import Opening

NOON = 1_763_985_600_000_000
OPEN = Opening("", ALWAYS, NOON, 0)
CLOSED = Opening("XNYS", TradingHours([(NOON + 10, NOON + 20)]), NOON, 0)
STUCK = FeedState.STUCK, "it was not polled"

WEIGHTS = [("failure", "failed"), ("error", "retrying"), ("standby", "standby"), ("store_away", "waiting")]
"""What is wrong, the heaviest first, and the state that it makes."""


@pytest.mark.parametrize("lightest", range(1, len(WEIGHTS) + 1))
def test_what_weighs_more_hides_the_rest(lightest):
    """And the rest shows once it is over."""
    health = FeedHealth(started=True)
    for name, _ in WEIGHTS[:lightest]:
        setattr(health, name, f"the {name}")
    for name, state in WEIGHTS[:lightest]:
        assert health.status(OPEN, STUCK) == (state, f"the {name}")
        setattr(health, name, None)
    assert health.status(OPEN, STUCK) == STUCK
    assert health.status(OPEN, None) == ("live", "")


def test_a_feed_that_was_not_started_is_starting_whatever_the_hours_are():
    """Unless it failed, or somebody else writes its symbols."""
    assert FeedHealth().status(CLOSED, STUCK) == ("starting", "")
    assert FeedHealth(store_away="x").status(OPEN, STUCK) == ("starting", "")
    assert FeedHealth(standby="x").status(OPEN, STUCK) == ("standby", "x")


def test_nothing_is_expected_of_a_feed_that_is_closed():
    """Its silence is none."""
    assert FeedHealth(started=True).status(CLOSED, STUCK) == ("closed", "XNYS opens 2025-11-24 12:00Z")
