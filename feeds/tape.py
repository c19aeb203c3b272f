"""The rows of a replay as one numbered sequence, lap after lap, that can be read on from any row."""

from bisect import bisect_right
from collections.abc import Sequence

from feeds.merge import Block, Merge
from feeds.recording import Recorded
from feeds.tick import Tick

NOTHING = Block([], [])


class Tape:
    """The merged recordings. After the last row of a lap, it stands still until `next_lap`."""

    def __init__(self, recordings: Sequence[Recorded]) -> None:
        self._recordings = recordings
        self._merge = Merge(recordings)
        self.lap_rows = sum(recording.rows for recording in recordings)
        self.position = 0
        """The rows passed so far, of all laps: the number of the next row."""
        self.time = 0
        """The time of the row that was passed last; within a lap it never falls."""
        self._block = NOTHING
        self._passed = 0
        """How many rows of the block."""

    def seek(self, position: int, *, laps: bool) -> None:
        """Go to a row. With no more `laps` to come, the first row of another lap is the end of the one before it."""
        self._rewind()
        rows = position % self.lap_rows
        if position and not rows and not laps:
            rows = self.lap_rows
        self.position = position - rows
        while rows and self.fill():
            rows -= len(self.take(rows).ticks)

    def fill(self) -> bool:
        """See that there is a next row; False at the end of the lap."""
        while self._passed == len(self._block.ticks):
            block = self._merge.read()
            if block is None:
                return False
            self._block, self._passed = block, 0
        return True

    def ahead(self) -> list[Tick]:
        """The rows that are read already; some, after a `fill` that found one."""
        return self._block.ticks[self._passed :]

    def next_time(self) -> int:
        """The time of the next row, after a `fill` that found one."""
        return self._block.times[self._passed]

    def take(self, count: int, until: int | None = None) -> Block:
        """Pass and give at most `count` of the rows ahead, those up to the time `until`."""
        start, stop = self._passed, min(self._passed + count, len(self._block.ticks))
        if until is not None:
            stop = bisect_right(self._block.times, until, start, stop)
        taken = Block(self._block.times[start:stop], self._block.ticks[start:stop])
        if taken.times:
            self.time = taken.times[-1]
            self.position += stop - start
            self._passed = stop
        return taken

    def next_lap(self) -> None:
        """Begin again with the first row."""
        self._rewind()

    def close(self) -> None:
        """Close the files."""
        self._merge.close()

    def _rewind(self) -> None:
        self._merge.close()
        self._merge = Merge(self._recordings)
        self._block, self._passed = NOTHING, 0
