"""Notices that a feed has fallen silent: nobody polls it, it gives nothing, or its poll does not return."""

import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from ticker.feed_state import FeedState

log = logging.getLogger(__name__)

UNPOLLED_S = 1.2
"""A feed that was not polled for this long is stuck, or for `UNPOLLED_POLLS` times its `poll_ms`, if that is longer."""
UNPOLLED_POLLS = 4
HUNG_S = 2.0
"""A poll must not wait. One that takes this long is told, with the place where it is."""
LOOK_S = 0.5


class Vigil:
    """Of one feed, by the monotonic clock: when it was polled last, and when it last gave something."""

    def __init__(self, poll_s: float = 0.05, silence_s: float | None = None) -> None:
        """`silence_s`: how long the feed may give nothing while it is open; None for ever."""
        self._poll_s = poll_s
        self._silence_s = silence_s
        self._polled_s = self._gave_s = monotonic()

    def polled(self, *, gave: bool, is_open: bool) -> None:
        """A turn was taken. Nothing is expected of a feed that is closed."""
        self._polled_s = monotonic()
        if gave or not is_open:
            self._gave_s = self._polled_s

    def started(self) -> None:
        """Nothing from before is held against it."""
        self._polled_s = self._gave_s = monotonic()

    def trouble(self) -> tuple[FeedState, str] | None:
        """The state of a feed that has fallen silent, and why."""
        now_s = monotonic()
        unpolled_s, quiet_s = now_s - self._polled_s, now_s - self._gave_s
        if unpolled_s > max(UNPOLLED_S, UNPOLLED_POLLS * self._poll_s):
            return FeedState.STUCK, f"it was not polled for {unpolled_s:.1f} s"
        if self._silence_s is not None and quiet_s > self._silence_s:
            return FeedState.SILENT, f"it has given nothing for {quiet_s:.1f} s, allowed are {self._silence_s:g}"
        return None


class Watchdog:
    """A thread beside the event loop that tells where a poll hangs: as long as it does, nothing else in the process can."""

    def __init__(self) -> None:
        self._running: tuple[str, float] | None = None
        self._told: tuple[str, float] | None = None
        self._watched = threading.get_ident()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="feed watchdog", daemon=True)

    @contextmanager
    def over(self, feed: str) -> Iterator[None]:
        """Around a poll."""
        self._running = (feed, monotonic())
        try:
            yield
        finally:
            self._running = None

    def start(self) -> None:
        """Watch the thread that calls this."""
        self._watched = threading.get_ident()
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(LOOK_S):
            running = self._running
            if running is not None and running != self._told and monotonic() - running[1] > HUNG_S:
                self._told = running
                frame = sys._current_frames().get(self._watched)  # noqa: SLF001
                where = "".join(traceback.format_stack(frame)) if frame else "unknown"
                log.critical(
                    "feed %s: its poll has not returned for %.1f s, and nothing else can go on; it is here:\n%s",
                    running[0],
                    monotonic() - running[1],
                    where,
                    extra={"feed": running[0]},
                )
