import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from time import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker import metrics
from ticker.ingest import scheduler as module
from ticker.ingest.scheduler import DRIFT_S, MomentTrigger, Scheduler, SteadyTrigger

NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
MOMENTS = st.integers(-(10**9), 10**9).map(lambda s: NOW + timedelta(seconds=s))
OFTEN_S, HARDLY_EVER_S = 0.002, 3600.0


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def events(kind: str) -> float:
    return metrics.REGISTRY.get_sample_value("ticker_job_events_total", {"event": kind}) or 0.0


class Wall:
    """A wall clock that can be set; counts how often it was read."""

    def __init__(self) -> None:
        self.set_by_s = 0.0
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return time() + self.set_by_s


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    """One that has begun."""
    scheduler = Scheduler()
    scheduler.start()
    yield scheduler
    await scheduler.stop()


def test_a_job_is_due_at_once_the_first_time():
    """Then an interval after it was due, however long it took."""
    trigger = SteadyTrigger(0.05)
    assert trigger.get_next_fire_time(None, NOW) == NOW
    assert trigger.get_next_fire_time(NOW, NOW + seconds(0.03)) == NOW + seconds(0.05)


def test_a_steady_job_does_not_drift():
    """Being called a little late each time does not add up."""
    trigger, due = SteadyTrigger(0.05), NOW
    for n in range(1, 1000):
        due = trigger.get_next_fire_time(due, due + seconds(0.004))
        assert due == NOW + n * seconds(0.05)


@pytest.mark.parametrize("away_s", [0.05, 0.051, 1.0, 3600.0, 86_400.0 * 365])
def test_nothing_is_caught_up(away_s):
    """Where the next time has passed, one interval from now is the next: once, not thousands of times."""
    now = NOW + seconds(away_s)
    assert SteadyTrigger(0.05).get_next_fire_time(NOW, now) == now + seconds(0.05)


@pytest.mark.parametrize("back_s", [0.001, 1.0, 3600.0, 86_400.0 * 365])
def test_a_clock_set_back_does_not_stop_a_job(back_s):
    """It is due an interval from now, not when the old time comes again."""
    now = NOW - seconds(back_s)
    assert SteadyTrigger(0.05).get_next_fire_time(NOW, now) == now + seconds(0.05)


@given(
    st.floats(0.001, 10_000),
    MOMENTS,
    MOMENTS,
)
def test_the_next_time_lies_ahead_by_an_interval_at_most(interval_s, previous, now):
    """Wherever the clock was set."""
    trigger = SteadyTrigger(interval_s)
    assert now < trigger.get_next_fire_time(previous, now) <= now + trigger.interval


NOW_US = int(NOW.timestamp()) * 1_000_000
MINUTE_US = 60_000_000


def after(*moments: int) -> Callable[[int], int | None]:
    return lambda now_us: min((moment for moment in moments if moment > now_us), default=None)


@pytest.mark.parametrize(
    ("moments_s", "due_s"),
    [((0, 90), 90), ((-5,), 3600), ((), 3600), ((7200, 0.25), 0.25), ((0, 7200), 3600)],
    ids=["the next", "none is left", "none", "the first", "a far one"],
)
def test_a_job_of_moments_is_due_at_the_next(moments_s, due_s):
    """Or in an hour, to look whether all is as it should be; the first time, at once."""
    trigger = MomentTrigger(after(*(NOW_US + int(s * 1_000_000) for s in moments_s)), NOW.timestamp)
    assert trigger.get_next_fire_time(None, NOW) == NOW
    assert trigger.get_next_fire_time(NOW - seconds(5), NOW) == NOW + seconds(due_s)


@given(MOMENTS, MOMENTS, st.lists(st.integers(-(10**9), 10**9), max_size=5))
def test_the_next_moment_lies_ahead_wherever_the_clock_was_set(previous, now, moments_s):
    """So that APScheduler, which looks for all times that were missed, finds an end at once."""
    moments = [NOW_US + s * 1_000_000 for s in moments_s]
    due = MomentTrigger(after(*moments), now.timestamp).get_next_fire_time(previous, now)
    assert now < due <= now + module.LOOK_AGAIN
    ahead = [moment for moment in moments if moment > now.timestamp() * 1_000_000]
    assert not ahead or due.timestamp() * 1_000_000 <= min(ahead)


async def test_a_job_of_moments_runs_at_the_start_and_at_each_of_them(scheduler, wait_until):
    """Not in between: what is due by another reading of the clock may be due a trifle early."""
    runs = []

    async def job() -> None:
        runs.append(time())

    scheduler.at(lambda now_us: now_us + 20_000, "moments", job)
    await wait_until(lambda: len(runs) >= 4)
    assert all(later - earlier > 0.01 for earlier, later in pairwise(runs))


async def test_a_job_of_moments_runs_again_after_the_clock_was_set_over_one(monkeypatch, wait_until):
    """Forward over it and back: at once, whatever was planned before."""
    monkeypatch.setattr(module, "WATCH_S", 0.001)
    wall, found = Wall(), []
    scheduler = Scheduler(wall)
    noon_us = int((time() + 1800) * 1_000_000)

    async def job() -> None:
        found.append(wall() * 1_000_000 >= noon_us)

    scheduler.at(after(noon_us), "noon", job)
    scheduler.start()
    watching = asyncio.ensure_future(scheduler.watch())
    try:
        await wait_until(lambda: found == [False] and wall.reads >= 4)
        wall.set_by_s = 3600
        await wait_until(lambda: found == [False, True])
        wall.set_by_s = 0
        await wait_until(lambda: found == [False, True, False])
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await scheduler.stop()


async def test_a_job_runs_again_and_again(scheduler, wait_until):
    """From the first moment on."""
    runs = []

    async def job() -> None:
        runs.append(1)

    scheduler.every(OFTEN_S, "often", job)
    await wait_until(lambda: len(runs) >= 5)


async def test_a_job_added_later_runs_too(scheduler, wait_until):
    """Beside those that run already."""
    ran = set()

    def job(name: str) -> Callable:
        async def run() -> None:
            ran.add(name)

        return run

    scheduler.every(HARDLY_EVER_S, "first", job("first"))
    await wait_until(lambda: ran == {"first"})
    scheduler.every(HARDLY_EVER_S, "second", job("second"))
    await wait_until(lambda: ran == {"first", "second"})


async def test_a_job_runs_one_at_a_time_while_others_go_on(scheduler, wait_until):
    """A slow one is not started again before it is done; that it was due is counted."""
    done, slow_runs, most, quick_runs = asyncio.Event(), [0], [0], [0]
    before = events("still_running")

    async def slow() -> None:
        slow_runs[0] += 1
        most[0] = max(most[0], slow_runs[0])
        await done.wait()
        slow_runs[0] -= 1

    async def quick() -> None:
        quick_runs[0] += 1

    scheduler.every(OFTEN_S, "slow", slow)
    scheduler.every(OFTEN_S, "quick", quick)
    await wait_until(lambda: quick_runs[0] >= 10 and events("still_running") >= before + 3)
    assert slow_runs == [1]
    done.set()
    await wait_until(lambda: slow_runs[0] == 0)
    assert most == [1]


class Broken(Exception):
    """What a job may raise."""


async def test_an_error_is_counted_and_told_and_stops_nothing(scheduler, wait_until, caplog):
    """Neither the job itself, which runs again, nor the others."""
    failed, quick_runs = [], []
    before = events("error")

    async def job() -> None:
        failed.append(1)
        raise Broken("no luck")

    async def quick() -> None:
        quick_runs.append(1)

    with caplog.at_level(logging.ERROR):
        scheduler.every(OFTEN_S, "unlucky", job)
        scheduler.every(OFTEN_S, "quick", quick)
        await wait_until(lambda: events("error") >= before + 3 and len(quick_runs) >= 3)
    assert len(failed) >= 3
    assert "job unlucky failed: Broken('no luck')" in caplog.messages
    assert all(record.name == module.__name__ for record in caplog.records)


async def test_a_job_that_ends_by_cancellation_is_an_error_too(scheduler, wait_until):
    """It must not take the scheduler with it."""
    before, runs = events("error"), []

    async def job() -> None:
        runs.append(1)
        raise asyncio.CancelledError

    scheduler.every(OFTEN_S, "cancelled", job)
    await wait_until(lambda: len(runs) >= 3 and events("error") >= before + 3)


async def test_stopping_waits_for_the_job_under_way(wait_until):
    """It is not cancelled: an append half sent would be worse than a second of waiting."""
    scheduler = Scheduler()
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), []

    async def job() -> None:
        begun.set()
        await go_on.wait()
        ended.append("in full")

    scheduler.every(OFTEN_S, "slow", job)
    scheduler.start()
    await begun.wait()
    stopping = asyncio.ensure_future(scheduler.stop())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not stopping.done()
    go_on.set()
    await stopping
    assert ended == ["in full"]


async def test_after_stopping_no_job_is_started(wait_until):
    """Not even one that was due; what it does in the meantime is nobody's concern any more."""
    scheduler, runs, other = Scheduler(), [], []

    async def job() -> None:
        runs.append(1)

    async def beside() -> None:
        other.append(1)

    scheduler.every(OFTEN_S, "often", job)
    scheduler.start()
    await wait_until(lambda: len(runs) >= 2)
    await scheduler.stop()
    count = len(runs)
    second = Scheduler()
    second.every(OFTEN_S, "beside", beside)
    second.start()
    await wait_until(lambda: len(other) >= 10)
    await second.stop()
    assert len(runs) == count


@pytest.mark.parametrize("steps", range(8))
async def test_a_job_is_either_run_to_its_end_or_not_at_all(steps):
    """Whichever step on its way from being due to running the stop comes upon."""
    scheduler, begun, ended = Scheduler(), [], []

    async def job() -> None:
        begun.append(1)
        for _ in range(5):
            await asyncio.sleep(0)
        ended.append(1)

    scheduler.every(HARDLY_EVER_S, "once", job)
    scheduler.start()
    for _ in range(steps):
        await asyncio.sleep(0)
    await scheduler.stop()
    count = len(ended)
    assert len(begun) == count
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(begun) == len(ended) == count


async def test_a_job_that_fails_while_stopping_does_not_stop_the_stopping(wait_until):
    """Its error is counted like any other."""
    scheduler, begun, go_on = Scheduler(), asyncio.Event(), asyncio.Event()
    before = events("error")

    async def job() -> None:
        begun.set()
        await go_on.wait()
        raise Broken

    scheduler.every(OFTEN_S, "unlucky", job)
    scheduler.start()
    await begun.wait()
    stopping = asyncio.ensure_future(scheduler.stop())
    go_on.set()
    await stopping
    await wait_until(lambda: events("error") == before + 1)


@pytest.fixture
async def watched(monkeypatch, wait_until):
    """A scheduler whose only job is due hardly ever, its wall clock, and the number of times the job ran."""
    monkeypatch.setattr(module, "WATCH_S", 0.001)
    wall, runs = Wall(), []
    scheduler = Scheduler(wall)

    async def job() -> None:
        runs.append(1)

    scheduler.every(HARDLY_EVER_S, "hardly ever", job)
    scheduler.start()
    watching = asyncio.ensure_future(scheduler.watch())
    await wait_until(lambda: len(runs) == 1 and wall.reads >= 2)
    yield wall, runs
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    await scheduler.stop()


@pytest.mark.parametrize("step_s", [DRIFT_S + 0.1, 3600.0, -DRIFT_S - 0.1, -3600.0])
async def test_all_jobs_are_planned_anew_when_the_wall_clock_is_set(watched, wait_until, caplog, step_s):
    """Forward or back: they run at once, and once for each step."""
    wall, runs = watched
    with caplog.at_level(logging.WARNING):
        wall.set_by_s += step_s
        await wait_until(lambda: len(runs) == 2)
    assert [f"{step_s:+.1f} s" in message for message in caplog.messages] == [True]
    reads = wall.reads
    await wait_until(lambda: wall.reads >= reads + 10)
    assert len(runs) == 2
    wall.set_by_s -= step_s
    await wait_until(lambda: len(runs) == 3)


async def test_a_job_under_way_while_the_clock_is_set_runs_once_more(monkeypatch, wait_until):
    """It may have looked at the clock before: what it is for must not wait for the next time."""
    monkeypatch.setattr(module, "WATCH_S", 0.001)
    wall, runs, going_on = Wall(), [], asyncio.Event()
    scheduler = Scheduler(wall)

    async def job() -> None:
        runs.append(1)
        await going_on.wait()

    scheduler.every(HARDLY_EVER_S, "hardly ever", job)
    scheduler.start()
    watching = asyncio.ensure_future(scheduler.watch())
    try:
        await wait_until(lambda: len(runs) == 1 and wall.reads >= 2)
        wall.set_by_s = 3600
        reads = wall.reads
        await wait_until(lambda: wall.reads >= reads + 5)
        assert len(runs) == 1
        going_on.set()
        await wait_until(lambda: len(runs) == 2)
        reads = wall.reads
        await wait_until(lambda: wall.reads >= reads + 5)
        assert len(runs) == 2
    finally:
        watching.cancel()
        await scheduler.stop()


async def test_small_corrections_of_the_wall_clock_are_let_be(watched, wait_until):
    """Time servers make them all the time."""
    wall, runs = watched
    for step_s in (0.3, -0.3, -0.3):
        wall.set_by_s += step_s
        reads = wall.reads
        await wait_until(lambda reads=reads: wall.reads >= reads + 5)
    assert len(runs) == 1


async def test_small_corrections_add_up(watched, wait_until):
    """What APScheduler sees is the sum."""
    wall, runs = watched
    wall.set_by_s += 0.3
    reads = wall.reads
    await wait_until(lambda: wall.reads >= reads + 5)
    wall.set_by_s += 0.3
    await wait_until(lambda: len(runs) == 2)
