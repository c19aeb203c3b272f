"""The book of a feed, from beat to beat."""

from ticker.feed_state import FeedState
from ticker.ingest.outage_log import OutageLog
from ticker.store.outages import Beat, Outage

SECOND = 1_000_000
NOW = 1_763_985_600 * SECOND


def opened(before=None):
    log = OutageLog()
    log.open("hand", before, NOW, 50.0)
    return log


def beat(log, after_s, state=FeedState.LIVE, reason="", *, noted=True, set_s=0.0, store_failed=True):
    """One beat so many seconds after the opening; the wall clock may have been set meanwhile."""
    now_us, now_s = NOW + int((after_s + set_s) * SECOND), 50.0 + after_s
    lasting, over = log.beat("hand", state, reason, now_us, now_s, store_failed=store_failed)
    if noted:
        log.noted("hand", lasting, now_us, now_s)
    return lasting, over


def test_a_feed_that_is_well_has_no_outage():
    log = opened()
    assert [beat(log, n / 4) for n in range(8)] == [(None, [])] * 8


def test_a_feed_in_trouble_is_away_until_it_is_well():
    """With the reason that it had first."""
    log = opened()
    lasting, over = beat(log, 0.25, FeedState.RETRYING, "OSError: gone")
    assert lasting == Outage(NOW + SECOND // 4, None, "feed", "retrying: OSError: gone")
    assert over == []
    assert beat(log, 0.5, FeedState.RETRYING, "another")[0] == lasting
    assert beat(log, 0.75) == (None, [Outage(NOW + SECOND // 4, NOW + 3 * SECOND // 4, "feed", lasting.reason)])
    assert beat(log, 1.0) == (None, [])


def test_a_heart_that_could_not_beat_was_without_the_store():
    """However the wall clock was set meanwhile; and what was not noted is said again."""
    log = opened()
    beat(log, 0.0)
    away = Outage(NOW - 57 * SECOND, NOW - 54 * SECOND, "store", "the store did not answer")
    assert beat(log, 3.0, FeedState.WAITING, "away", noted=False, set_s=-57.0) == (None, [away])
    assert beat(log, 3.0, set_s=-57.0) == (None, [away])
    assert beat(log, 3.25, set_s=-57.0) == (None, [])


def test_a_heart_that_did_not_try_to_beat_was_not_without_the_store():
    """Its process was stopped, or a poll did not return: that is the ingester's absence."""
    log = opened()
    beat(log, 0.0)
    away = Outage(NOW, NOW + 3 * SECOND, "ingest", "the ingester could not go on")
    assert beat(log, 3.0, store_failed=False) == (None, [away])


def test_the_time_without_an_ingester_is_known_from_the_last_beat():
    """And what was wrong then ended with it."""
    lasting = Outage(NOW - 20 * SECOND, None, "feed", "failed: no")
    log = opened(Beat(NOW - 10 * SECOND, lasting))
    over = [
        Outage(NOW - 20 * SECOND, NOW - 10 * SECOND, "feed", "failed: no"),
        Outage(NOW - 10 * SECOND, NOW, "ingest", "no ingester was there"),
    ]
    assert beat(log, 0.0, noted=False) == (None, over)
    assert beat(log, 0.0) == (None, over)
    assert beat(log, 0.25) == (None, [])


def test_a_quick_restart_is_no_outage():
    assert beat(opened(Beat(NOW - SECOND)), 0.0) == (None, [])


def test_whoever_writes_instead_keeps_the_book():
    log = opened()
    assert log.knows("hand")
    log.forget("hand")
    assert not log.knows("hand")
