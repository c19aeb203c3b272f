"""Cursors of a replay: which recording, which lap, how many of its rows."""

import re

CURSOR = re.compile(r"(keep|now):([0-9a-f]+):([0-9]{1,15}):([0-9]{1,15})")
DIGEST_LETTERS = 16


class ReplayCursors:
    """Reads and writes the cursors of one recording."""

    def __init__(self, digest: str, times: str, lap_rows: int) -> None:
        """`digest`: of all files; `times`: `keep` or `now`; `lap_rows`: how many rows there are."""
        self._digest = digest[:DIGEST_LETTERS]
        self._times = times
        self._lap_rows = lap_rows

    def cursor(self, position: int) -> str:
        """The cursor after so many rows of all laps."""
        lap, row = divmod(position, self._lap_rows)
        return f"{self._times}:{self._digest}:{lap}:{row}"

    def position(self, cursor: str | None) -> int | None:
        """How many rows a cursor counts; None for one of something else.

        A replay that keeps its times cannot go on where one that shifted them left off: that one's times are later.
        """
        found = CURSOR.fullmatch(cursor or "")
        if not found or found[2] != self._digest or (self._times == "keep" and found[1] != "keep"):
            return None
        return int(found[3]) * self._lap_rows + int(found[4])
