"""The time that a feed has reached, which closes candles and decides what is late."""

from ticker import metrics
from ticker.errors import BadTick, LateTick

TIME_MIN, TIME_MAX = 10**14, 10**16
"""Microseconds of 1973 and 2286: outside, a time is most likely counted in another unit."""


class FeedClock:
    """Follows one feed: the polls of a live one, the ticks of a replay that keeps its times.

    Within a batch the clock runs with the ticks, so that what counts as late does not depend on how a feed's ticks are cut
    into batches.
    """

    def __init__(self, lateness_us: int, ahead_us: int) -> None:
        self._lateness_us = lateness_us
        self._ahead_us = ahead_us
        self._running = 0
        self._clock = 0

    def begin(self, clock: int) -> None:
        """A batch with this clock comes next."""
        self._clock = clock

    def admit(self, time: int) -> None:
        """One tick of the batch; raises `LateTick` where it is too late, `BadTick` where its time cannot be."""
        if time.__class__ is not int or not TIME_MIN <= time < TIME_MAX:
            raise BadTick("time", time, f"whole microseconds since 1970, from {TIME_MIN} to {TIME_MAX}")
        if time > self._running:
            if time > self._clock + self._ahead_us:
                metrics.met("tick_ahead_s")
                raise BadTick(
                    "time", time, f"at most {self._clock + self._ahead_us}, this far ahead of the feed's clock"
                )
            # A tick that runs ahead of a live feed's clock does not make the others late.
            self._running = max(self._running, min(time, self._clock))
        elif time < self._running - self._lateness_us:
            raise LateTick(time, self._running, self._lateness_us)

    def end(self, clock: int) -> int:
        """The batch is over; the feed clock after it, which never goes back."""
        self._running = max(self._running, clock)
        return self._running
