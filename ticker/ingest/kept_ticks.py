"""Keeps the newest ticks that were appended, in case the store turns out to have lost them."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from feeds.tick import Tick, Trade

Ends = tuple[int, int]
"""The numbers of the last trade and the last quote."""


@dataclass(slots=True)
class _Part:
    """Ticks that were appended together, behind these numbers."""

    symbol: str
    after: Ends
    ticks: list[Tick]


class KeptTicks:
    """The newest ticks of one feed, under the numbers of the current epoch of each symbol."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._parts: deque[_Part] = deque()
        """In the order in which they were appended; those that were taken out again are empty."""
        self._of_symbol: dict[str, deque[_Part]] = {}

    def __len__(self) -> int:
        return self._count

    def add(self, symbol: str, after: Ends, ticks: Sequence[Tick]) -> None:
        """These were appended behind these numbers; the oldest go where there are too many."""
        if not ticks:
            return
        part = _Part(symbol, after, list(ticks))
        self._parts.append(part)
        self._of_symbol.setdefault(symbol, deque()).append(part)
        self._count += len(ticks)
        while self._count > self._most:
            self._drop_oldest()

    def take_behind(self, symbol: str, ends: Ends) -> tuple[list[Tick], bool]:
        """Take out all ticks of a symbol above these numbers, and say whether those are all there ever were."""
        parts = self._of_symbol.get(symbol, deque())
        whole = bool(parts) and all(first <= end for first, end in zip(parts[0].after, ends, strict=True))
        taken: list[Tick] = []
        for part in parts:
            kept, missing = _cut(part, ends)
            part.ticks = kept
            taken += missing
        self._count -= len(taken)
        self._of_symbol[symbol] = deque(part for part in parts if part.ticks)
        return taken, whole

    def clear(self) -> None:
        """Forget all of them."""
        self._parts.clear()
        self._of_symbol.clear()
        self._count = 0

    def _drop_oldest(self) -> None:
        part = self._parts.popleft()
        if part.ticks:
            self._count -= len(part.ticks)
            self._of_symbol[part.symbol].popleft()


def _cut(part: _Part, ends: Ends) -> tuple[list[Tick], list[Tick]]:
    """The ticks up to these numbers, and those above."""
    (trade, quote), (last_trade, last_quote) = part.after, ends
    below: list[Tick] = []
    above: list[Tick] = []
    for tick in part.ticks:
        if tick.__class__ is Trade:
            trade += 1
            (above if trade > last_trade else below).append(tick)
        else:
            quote += 1
            (above if quote > last_quote else below).append(tick)
    return below, above
