"""When a market trades: the spans of time, open to close, in which a feed has ticks."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from feeds.random_numbers import Counters, Flags, Floats


class TradingHours:
    """Spans of trading, in microseconds since the Unix epoch: open <= time < close.

    A session with a lunch break is two spans. Without spans there is never any trading; `ALWAYS` is one span without ends.
    """

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        """`spans`: opens and closes, in rising order, none touching the next; raises `ValueError` where they are not."""
        found = list(spans)
        edges = [edge for span in found for edge in span]
        if any(after <= before for before, after in pairwise(edges)):
            raise ValueError("spans of trading must rise and must not touch each other")
        self._opens = [opened for opened, _ in found]
        self._closes = [closed for _, closed in found]
        self._open_times = np.array(self._opens, np.int64)
        self._close_times = np.array(self._closes, np.int64)
        self._open_until = np.concatenate(([0], np.cumsum(self._close_times - self._open_times))).astype(np.float64)
        """How much time the first spans add up to."""

    def is_open(self, time_us: int) -> bool:
        """Whether there is trading at this moment."""
        number = bisect_right(self._opens, time_us) - 1
        return number >= 0 and time_us < self._closes[number]

    def next_change(self, time_us: int) -> int | None:
        """The first open or close after this moment; None where it stays as it is."""
        later = [
            edges[at] for edges in (self._opens, self._closes) if (at := bisect_right(edges, time_us)) < len(edges)
        ]
        found = min(later, default=None)
        return None if found is None or found >= FOREVER_US else found

    def between(self, start_us: int, end_us: int) -> list[tuple[int, int]]:
        """The parts of the spans that lie in start <= time < end."""
        first = bisect_right(self._closes, start_us)
        last = bisect_right(self._opens, end_us - 1)
        spans = zip(self._opens[first:last], self._closes[first:last], strict=True)
        return [(max(opened, start_us), min(closed, end_us)) for opened, closed in spans]

    def contains(self, times_us: Counters) -> Flags:
        """`is_open` of many moments at once."""
        if not self._opens:
            return np.zeros(len(times_us), np.bool_)
        number = np.searchsorted(self._open_times, times_us, side="right") - 1
        inside: Flags = (number >= 0) & (times_us < self._close_times[number])
        return inside

    def share_open(self, edges_us: Counters) -> Floats:
        """How much of the time between each edge and the next is trading, 0 to 1; edges rise."""
        number = np.searchsorted(self._open_times, edges_us, side="right")
        passed = self._open_until[number]
        inside = number > 0
        passed[inside] -= np.maximum(self._close_times[number[inside] - 1] - edges_us[inside], 0)
        share: Floats = np.diff(passed) / np.diff(edges_us)
        return share


FOREVER_US = 1 << 53
"""Beyond any time that a tick can have, and exact as a float."""

ALWAYS = TradingHours([(-FOREVER_US, FOREVER_US)])
"""A market that never closes."""
