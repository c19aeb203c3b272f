"""Runs jobs on a schedule; the only user of APScheduler, whose traps it keeps away from everyone else.

APScheduler computes run times from the wall clock. A step of that clock would stop jobs or make them catch up thousands
of runs, so a monotonic watchdog plans all jobs anew when the two clocks part, and the trigger never looks back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from time import monotonic, time

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    JobEvent,
    JobSubmissionEvent,
)
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from ticker import metrics

log = logging.getLogger(__name__)

DRIFT_S = 0.5
WATCH_S = 0.25
LOOK_AGAIN = timedelta(hours=1)
EVENTS = {EVENT_JOB_ERROR: "error", EVENT_JOB_MISSED: "missed", EVENT_JOB_MAX_INSTANCES: "still_running"}


class SteadyTrigger(BaseTrigger):  # type: ignore[misc]
    """Due an interval after the last time it was due, or an interval from now where that has passed: nothing is caught up."""

    __slots__ = ("interval",)

    def __init__(self, interval_s: float) -> None:
        self.interval = timedelta(seconds=interval_s)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """When the job is due next."""
        if previous_fire_time is None:
            return now
        due = previous_fire_time + self.interval
        return due if now < due <= now + self.interval else now + self.interval


class MomentTrigger(BaseTrigger):  # type: ignore[misc]
    """Due at once, then at each of certain moments, and every hour: a moment that a slow correction hid is not missed for long.

    When it is due follows from now alone, so that a clock that was set has left nothing behind that could be wrong.
    """

    __slots__ = ("_next_us", "_wall_s")

    def __init__(self, next_us: Callable[[int], int | None], wall_s: Callable[[], float]) -> None:
        """`next_us`: the first moment after this one, in microseconds since the Unix epoch; None where there is none."""
        self._next_us = next_us
        self._wall_s = wall_s

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """When the job is due next."""
        if previous_fire_time is None:
            return now
        wall_us = int(self._wall_s() * 1_000_000)
        moment = self._next_us(wall_us)
        wait = LOOK_AGAIN if moment is None else min(timedelta(microseconds=moment - wall_us), LOOK_AGAIN)
        # By two readings of the clock: where this comes a trifle early, it is due once more.
        return now + wait


class Scheduler:
    """Jobs that run one at a time each, until `stop`, which waits for those under way."""

    def __init__(self, wall_s: Callable[[], float] = time) -> None:
        """`wall_s`: the wall clock, in seconds since the Unix epoch."""
        # Its own loggers tell of every single run.
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=defaults)
        self._scheduler.add_listener(self._note, sum(EVENTS))
        self._scheduler.add_listener(self._note_start, EVENT_JOB_SUBMITTED)
        self._wall_s = wall_s
        self._triggers: dict[str, BaseTrigger] = {}
        self._running: dict[str, asyncio.Future[None]] = {}
        self._again: set[str] = set()
        """Jobs under way that may have looked at the clock before it was set."""
        self._stopping = False

    def every(self, interval_s: float, name: str, job: Callable[[], Awaitable[None]]) -> None:
        """Run `job` at once and then every so many seconds."""
        self._add(SteadyTrigger(interval_s), name, job)

    def at(self, next_us: Callable[[int], int | None], name: str, job: Callable[[], Awaitable[None]]) -> None:
        """Run `job` at certain moments: `next_us` tells the first after a given one, in microseconds.

        It also runs at the start, after the clock was set and every hour: it must look at the time, and do nothing where
        nothing is to be done.
        """
        self._add(MomentTrigger(next_us, self._wall_s), name, job)

    def start(self) -> None:
        """Begin; a loop must be running."""
        self._scheduler.start()

    async def watch(self) -> None:
        """Plan all jobs anew whenever the wall clock has been set; runs until cancelled."""
        offset = self._wall_s() - monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            drift = self._wall_s() - monotonic() - offset
            if abs(drift) > DRIFT_S:
                offset += drift
                log.warning("the wall clock was set by %+.1f s; all jobs are planned anew", drift)
                # One that is under way is not begun a second time beside itself, but once more when it has ended.
                self._again |= self._running.keys()
                for name, trigger in self._triggers.items():
                    self._scheduler.reschedule_job(name, trigger=trigger)

    async def stop(self) -> None:
        """Start no job any more and wait for those under way."""
        self._stopping = True
        self._scheduler.pause()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._scheduler.shutdown(wait=False)

    def _add(self, trigger: BaseTrigger, name: str, job: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await run_once()
            while name in self._again:
                await run_once()

        async def run_once() -> None:
            self._again.discard(name)
            # APScheduler may have handed it to the loop before it was paused.
            if self._stopping:
                return
            # Held on to here, since APScheduler's own shutdown does not wait for what is under way.
            began_s = monotonic()
            task = self._running[name] = asyncio.ensure_future(job())
            task.add_done_callback(lambda _: self._running.pop(name, None))
            await asyncio.shield(task)
            took.observe(monotonic() - began_s)

        took = metrics.TASK_SECONDS.labels(name)
        self._triggers[name] = trigger
        self._scheduler.add_job(run, trigger, id=name, name=name)

    def _note_start(self, event: JobSubmissionEvent) -> None:
        late_s = self._wall_s() - event.scheduled_run_times[-1].timestamp()
        metrics.TASK_LATE.labels(event.job_id).observe(max(late_s, 0.0))

    def _note(self, event: JobEvent) -> None:
        kind = EVENTS[event.code]
        metrics.JOB_EVENTS.labels(kind).inc()
        if kind == "error":
            fields = {"task": event.job_id}
            log.error("job %s failed: %r", event.job_id, event.exception, exc_info=event.exception, extra=fields)
