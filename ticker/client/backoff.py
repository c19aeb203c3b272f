"""How long to wait before the next attempt: more each time, and at random, so that clients do not come back all at once."""

from collections.abc import Callable
from dataclasses import dataclass
from random import random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: anywhere between 0 and a bound that begins at `first_s` and doubles up to `most_s`, in seconds.

    `busy_most_s` is the last bound where a gateway has said that it has too much to do.
    """

    first_s: float = 0.5
    most_s: float = 3.0
    busy_most_s: float = 30.0

    def delay_s(self, attempt: int, *, busy: bool = False, chance: Callable[[], float] = random) -> float:
        """The wait before this attempt, the first being 0; `chance` is uniform in [0, 1)."""
        most = self.busy_most_s if busy else self.most_s
        bound: float = min(most, self.first_s * 2 ** min(attempt, 30))
        return bound * chance()
