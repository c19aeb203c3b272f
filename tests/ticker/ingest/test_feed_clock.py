import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker.errors import BadTick, LateTick, RefusedTick
from ticker.ingest.feed_clock import TIME_MAX, TIME_MIN, FeedClock

NOW = 1_763_933_333_333_333
SECOND = 1_000_000
LATENESS, AHEAD = 60 * SECOND, 30 * SECOND


@pytest.fixture
def clock():
    """In a batch whose clock is now."""
    clock = FeedClock(LATENESS, AHEAD)
    clock.begin(NOW)
    return clock


def test_the_clock_after_a_batch_is_that_of_the_feed(clock):
    """A tick that runs ahead of it does not close candles, nor make the others late."""
    clock.admit(NOW - 5)
    assert clock.end(NOW) == NOW
    clock.begin(NOW)
    clock.admit(NOW + 7)
    assert clock.end(NOW) == NOW


def test_the_clock_never_goes_back(clock):
    """Not even where the feed's own does."""
    clock.end(NOW)
    clock.begin(NOW - 10 * SECOND)
    clock.admit(NOW - 20 * SECOND)
    assert clock.end(NOW - 10 * SECOND) == NOW


def test_a_tick_is_late_by_what_came_before_it_in_the_batch(clock):
    """As far back as lateness is still allowed, a microsecond more is not."""
    clock.admit(NOW)
    clock.admit(NOW - LATENESS)
    with pytest.raises(LateTick, match=f"is {LATENESS + 1} us behind the feed's clock, allowed are {LATENESS}"):
        clock.admit(NOW - LATENESS - 1)


def test_a_late_or_bad_tick_does_not_move_the_clock(clock):
    """What comes after it is judged as if it had not been."""
    for time in (NOW + AHEAD + 1, TIME_MAX, 5):
        with pytest.raises(BadTick):
            clock.admit(time)
    clock.admit(NOW - 10 * LATENESS)
    assert clock.end(0) == NOW - 10 * LATENESS


@pytest.mark.limit("tick_ahead_s")
def test_how_far_ahead_a_tick_may_be_is_counted_from_the_clock_of_the_batch(clock):
    """Not from tick to tick: a feed cannot run away step by step."""
    clock.admit(NOW + AHEAD)
    with pytest.raises(BadTick, match=f"time is {NOW + AHEAD + 1}, expected at most {NOW + AHEAD}, this far ahead"):
        clock.admit(NOW + AHEAD + 1)
    clock.end(NOW)
    clock.begin(NOW + 1)
    clock.admit(NOW + AHEAD + 1)


@pytest.mark.parametrize(
    "time",
    [
        0,
        -1,
        5,
        TIME_MIN - 1,
        TIME_MAX,
        10**19,
        float(NOW),
        float("nan"),
        float("inf"),
        None,
        "x",
        str(NOW),
        True,
        b"",
        [],
    ],
)
@pytest.mark.parametrize("before", [[], [NOW]], ids=["first", "later"])
def test_what_cannot_be_a_time_is_refused(clock, time, before):
    """As the very first tick of a feed and behind others."""
    for earlier in before:
        clock.admit(earlier)
    with pytest.raises(BadTick, match=r"^time is .*, expected "):
        clock.admit(time)


def test_the_ends_of_what_can_be_a_time():
    """Microseconds of 1973 and 2286."""
    clock = FeedClock(LATENESS, AHEAD)
    clock.begin(TIME_MIN)
    clock.admit(TIME_MIN)
    clock.begin(TIME_MAX)
    clock.admit(TIME_MAX - 1)
    assert clock.end(0) == TIME_MAX - 1


OFFSETS = st.lists(st.integers(-2 * LATENESS, AHEAD), max_size=30)


def admitted(clock: FeedClock, times: list[int]) -> list[bool]:
    found = []
    for time in times:
        try:
            clock.admit(time)
        except RefusedTick:
            found.append(False)
        else:
            found.append(True)
    return found


@given(OFFSETS, st.data())
def test_how_ticks_are_cut_into_batches_does_not_change_which_are_late(offsets, data):
    """A replay may be read in any portions, with its own newest time as the clock of each."""
    times = [NOW + offset for offset in offsets]
    whole, parts = FeedClock(LATENESS, 10 * AHEAD), FeedClock(LATENESS, 10 * AHEAD)
    whole.begin(max(times, default=NOW))
    expected = admitted(whole, times)
    found, newest = [], 0
    while times:
        count = data.draw(st.integers(1, len(times)))
        portion, times = times[:count], times[count:]
        newest = max([newest, *portion])
        parts.begin(newest)
        found += admitted(parts, portion)
        parts.end(newest)
    assert found == expected


@given(OFFSETS, st.integers(0, LATENESS))
def test_a_tick_is_admitted_unless_it_is_too_far_behind_the_newest(offsets, lateness):
    """The rule, told once more in another way; what runs ahead of the feed's clock counts as being at it."""
    clock = FeedClock(lateness, AHEAD)
    clock.begin(NOW)
    times = [NOW + offset for offset in offsets]
    newest = 0
    for time, let_in in zip(times, admitted(clock, times), strict=True):
        assert let_in == (time >= newest - lateness)
        newest = max(newest, min(time, NOW))
