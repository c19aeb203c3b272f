"""Merges recordings into one stream of ticks in time order."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

from feeds.recording import Recorded
from feeds.tick import Tick

TIME = attrgetter("time")


class Block(NamedTuple):
    """Ticks that follow each other in the merged stream, and the time at which each has its place there.

    These times never fall: a row that is older than one before it in its file keeps its place after that.
    """

    times: list[int]
    ticks: list[Tick]


class Merge:
    """The merged stream of some recordings, from their first rows on.

    Rows of the same time come in the order of the files. A file is open only from its first time to its last, so that a
    year of daily files is no more than one of them.
    """

    def __init__(self, recordings: Sequence[Recorded]) -> None:
        self._names = {symbol: symbol for recording in recordings for symbol in recording.first_times}
        self._waiting = sorted(enumerate(recordings), key=lambda numbered: numbered[1].begin, reverse=True)
        self._open: list[_Source] = []

    def read(self) -> Block | None:
        """The next rows, as many as can be ordered without reading on; None after the last."""
        self._fill()
        if not self._open:
            return None
        # This source has nothing left after its last time, so nobody can go on beyond that before it is read again.
        first_done = min(self._open, key=_Source.last_time)
        until = first_done.last_time()
        parts = [source.take(until, including=source.order <= first_done.order) for source in self._open]
        return _merged([part for part in parts if part.times])

    def close(self) -> None:
        """Close the files."""
        for source in self._open:
            source.close()
        self._open, self._waiting = [], []

    def _fill(self) -> None:
        """See that each open source has rows, and that each whose time has come is open."""
        for source in self._open:
            source.fill()
        self._open = [source for source in self._open if source.times]
        while self._waiting and self._is_due(self._waiting[-1][1].begin):
            order, recording = self._waiting.pop()
            source = _Source(order, recording, self._names)
            self._open.append(source)
            source.fill()
        self._open = sorted((source for source in self._open if source.times), key=lambda source: source.order)

    def _is_due(self, begin: int) -> bool:
        return not self._open or begin <= min(map(_Source.last_time, self._open))


class _Source:
    """One open recording and the rows of it that wait to be merged."""

    def __init__(self, order: int, recording: Recorded, names: dict[str, str]) -> None:
        self.order = order
        self.times: list[int] = []
        self._ticks: list[Tick] = []
        self._chunks = recording.ticks(names)
        self._newest = 0

    def fill(self) -> None:
        """Read on where nothing is left; nothing is left after that at the end of the file."""
        if self.times:
            return
        self._ticks = list(next(self._chunks, ()))
        self.times = list(map(TIME, self._ticks))
        if self.times and (self.times[0] < self._newest or self.times != sorted(self.times)):
            self.times = list(accumulate(self.times, max, initial=self._newest))[1:]
        if self.times:
            self._newest = self.times[-1]

    def last_time(self) -> int:
        """The time of the last row that waits."""
        return self.times[-1]

    def take(self, until: int, *, including: bool) -> Block:
        """The rows up to a time, with or without those at that time; they wait no longer."""
        count = bisect_right(self.times, until) if including else bisect_left(self.times, until)
        taken = Block(self.times[:count], self._ticks[:count])
        del self.times[:count], self._ticks[:count]
        return taken

    def close(self) -> None:
        """Close the file."""
        self._chunks.close()


def _merged(parts: list[Block]) -> Block:
    if len(parts) == 1:
        return parts[0]
    times = [time for part in parts for time in part.times]
    ticks = [tick for part in parts for tick in part.ticks]
    # The sort is stable and finds the sorted parts by itself.
    order = sorted(range(len(times)), key=times.__getitem__)
    return Block([times[place] for place in order], [ticks[place] for place in order])
