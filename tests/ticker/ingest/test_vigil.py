"""Feeds that have fallen silent."""

import logging

import pytest

from ticker.ingest import vigil
from ticker.ingest.vigil import Vigil, Watchdog


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock, in the test's hands."""

    class Clock:
        now_s = 100.0

        def __call__(self):
            return self.now_s

    found = Clock()
    monkeypatch.setattr(vigil, "monotonic", found)
    return found


def test_a_feed_that_is_not_polled_is_stuck(clock):
    watched = Vigil(poll_s=0.05)
    clock.now_s += 1.0
    assert watched.trouble() is None
    clock.now_s += 0.5
    assert watched.trouble() == ("stuck", "it was not polled for 1.5 s")
    watched.polled(gave=False, is_open=True)
    assert watched.trouble() is None


def test_a_feed_that_is_polled_seldom_has_its_time(clock):
    watched = Vigil(poll_s=60)
    clock.now_s += 200
    assert watched.trouble() is None
    clock.now_s += 50
    assert watched.trouble()[0] == "stuck"


def test_a_feed_that_gives_nothing_is_silent_after_its_own_time(clock):
    """Only while it is open, and only where a time is set."""
    watched, patient = Vigil(silence_s=3), Vigil()

    def pass_polls(count, *, is_open=True):
        for _ in range(count):
            clock.now_s += 1
            for one in (watched, patient):
                one.polled(gave=False, is_open=is_open)

    pass_polls(3)
    assert watched.trouble() is None
    pass_polls(1)
    assert watched.trouble() == ("silent", "it has given nothing for 4.0 s, allowed are 3")
    assert patient.trouble() is None
    pass_polls(1, is_open=False)
    assert watched.trouble() is None
    pass_polls(4)
    watched.polled(gave=True, is_open=True)
    assert watched.trouble() is None


def test_the_place_where_a_poll_hangs_is_told_once(caplog, monkeypatch, block_until):
    monkeypatch.setattr(vigil, "LOOK_S", 0.01)
    monkeypatch.setattr(vigil, "HUNG_S", 0.05)
    watchdog = Watchdog()
    watchdog.start()
    try:
        with caplog.at_level(logging.CRITICAL), watchdog.over("slow"):
            block_until(lambda: "feed slow: its poll has not returned" in caplog.text)
        assert "test_the_place_where_a_poll_hangs_is_told_once" in caplog.text
        with watchdog.over("quick"):
            pass
    finally:
        watchdog.stop()
    assert len(caplog.records) == 1
