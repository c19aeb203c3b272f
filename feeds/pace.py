"""When each row of a replay is due."""

FAR = 1 << 60
"""A time after all times."""


class Pace:
    """The first row is due at the beginning, the others as far from it as they were recorded, divided by the speed.

    Without a speed, each row is due at once.
    """

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._begin_us = 0
        self._first_time: int | None = None

    def begin(self, begin_us: int) -> None:
        """The next row is the first, due at `begin_us`."""
        self._begin_us = begin_us
        self._first_time = None

    def due_until(self, next_time: int, now_us: int) -> int:
        """The newest time of a row that is due by now, where the next row's time is `next_time`."""
        if self._speed is None:
            return FAR
        if self._first_time is None:
            self._first_time = next_time
        return self._first_time + int(min((now_us - self._begin_us) * self._speed, FAR))

    def due_at(self, time: int, now_us: int) -> int:
        """When a row of this time was due; where none was asked for since the beginning, at the beginning."""
        if self._speed is None:
            return now_us
        if self._first_time is None:
            return self._begin_us
        return self._begin_us + self.lasts(time - self._first_time)

    def lasts(self, recorded_us: int) -> int:
        """How long a part of the recording takes."""
        return 0 if self._speed is None else int(min(recorded_us / self._speed, FAR))

    def allow_delay(self, next_time: int, now_us: int, most_us: int) -> None:
        """Make the next row due now where it was due more than `most_us` ago, and all others as much later."""
        delay_us = now_us - self.due_at(next_time, now_us)
        if delay_us > most_us:
            self._begin_us += delay_us
