"""A small memory of candles: what was handed out is not handed out again, and it does not grow."""

from ticker.client.candles_seen import KEPT, CandlesSeen


def test_the_newest_are_remembered():
    """Older ones than it holds would be taken for new ones."""
    seen = CandlesSeen()
    for time in range(KEPT + 10):
        assert seen.take(time, time, final=True)
    assert not any(seen.take(time, time, final=True) for time in range(10, KEPT + 10))
    assert len(seen._states) == KEPT


def test_what_is_older_than_all_that_is_remembered_comes_through():
    """A correction must not be lost because the memory is full."""
    seen = CandlesSeen()
    for time in range(10, KEPT + 10):
        seen.take(time, time, final=True)
    assert seen.take(5, 500, final=True)
    assert len(seen._states) == KEPT


def test_a_resume_begins_before_the_oldest_that_is_not_final():
    """At the newest number where all are."""
    seen = CandlesSeen()
    assert seen.resume_after(9) == 9
    seen.take(60, 5, final=True)
    seen.take(120, 7, final=False)
    seen.take(180, 9, final=False)
    assert seen.resume_after(9) == 6
    seen.take(120, 7, final=True)
    assert seen.resume_after(9) == 8
    seen.withdraw(8)
    assert seen.resume_after(8) == 8
