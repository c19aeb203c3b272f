"""What each part takes of the cores, looked at all the time."""

import threading
import time
from contextlib import suppress
from itertools import pairwise
from typing import Self

import rig

EVERY_S = 0.05


class Processors:
    """Processor time of programs by their names; those of one name are added up."""

    def __init__(self) -> None:
        self._pids: dict[str, list[int]] = {}
        self._seen: dict[int, list[tuple[float, float]]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def names(self) -> list[str]:
        """Of all that are watched."""
        return sorted(self._pids)

    def watch(self, name: str, pid: int) -> None:
        """Look at one more."""
        self._seen[pid] = []
        self._pids.setdefault(name, []).append(pid)

    def share(self, name: str, from_s: float, to_s: float) -> float:
        """How many cores it took in this time."""
        return sum(share(self._seen[pid], from_s, to_s) for pid in self._pids[name])

    def _look(self) -> None:
        while not self._ended.wait(EVERY_S):
            for pid, seen in list(self._seen.items()):
                with suppress(OSError):
                    seen.append((time.monotonic(), rig.cpu_s_of(pid)))


def share(seen: list[tuple[float, float]], from_s: float, to_s: float) -> float:
    """How many cores, from processor time that was seen at some moments; it is taken to be even between two of them."""
    used = 0.0
    for (first_s, first), (last_s, last) in pairwise(seen):
        inside_s = min(last_s, to_s) - max(first_s, from_s)
        if inside_s > 0:
            used += (last - first) * inside_s / (last_s - first_s)
    return used / (to_s - from_s) if to_s > from_s else 0.0
