"""Jumps of simulated prices: now and then, at a random moment, for ever a pure function of seed, name and day.

Sizes are double-exponential (Kou 2002, A Jump-Diffusion Model for Option Pricing): mostly small, sometimes large, up as
often as down. Moments follow the activity of the market, so most jumps are in its session. Over its block of days a jump
is taken back, evenly and too slowly to be seen: at the ends of blocks paths are where they would be without jumps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from feeds.activity import BLOCK_DAYS, BLOCK_S, DAY_S, ActivityClock
from feeds.random_numbers import HALF_UNIT, Counters, Floats, draw, lower, stream_keys, upper

SIZE = 0.25
"""The mean size of a jump, in deviations of a day: five minutes of a session move as much."""


@dataclass(frozen=True, slots=True)
class _Jumps:
    """The jumps of all paths in one block, by path and then by time."""

    path: Counters
    instant: Counters
    """In `1 / per_s` seconds since the block began."""
    total: Floats
    """Of the jumps of its path up to this one, after a 0 that belongs to no jump."""
    whole: Floats
    """Of all jumps of each path."""


class JumpPaths:
    """The jumps of some paths, added up. Results have a row for each name, in the order given."""

    def __init__(self, seed: int, names: Sequence[str], chances: Floats, clock: ActivityClock, per_s: int) -> None:
        """`chances`: of a jump on one day, for each name. A second has `per_s` instants, to which jumps are rounded."""
        self._day_keys = stream_keys(seed, names, "jump")[:, np.newaxis]
        self._time_keys = stream_keys(seed, names, "jump time")
        self._chances = chances[:, np.newaxis]
        self._clock = clock
        self._per_s = per_s
        self._block_length = BLOCK_S * per_s
        self._block = lru_cache(maxsize=4)(self._make_block)

    def at(self, instants: Counters) -> Floats:
        """The sum of the jumps up to and including these instants (counted since 1970), which rise."""
        blocks, starts = np.unique(instants // self._block_length, return_index=True)
        parts = zip(blocks, np.split(instants, starts[1:]), strict=True)
        return np.concatenate([self._in_block(int(block), part) for block, part in parts], axis=1)

    def _in_block(self, block: int, instants: Counters) -> Floats:
        jumps = self._block(block)
        since = instants - block * self._block_length
        # The number of the newest jump is written where it happens and carried on from there.
        newest = np.zeros((len(self._chances), len(since) + 1), np.int64)
        newest[jumps.path, np.searchsorted(since, jumps.instant)] = np.arange(1, len(jumps.path) + 1)
        newest = np.maximum.accumulate(newest[:, :-1], axis=1)
        taken_back: Floats = jumps.whole[:, np.newaxis] * (since / self._block_length)
        return jumps.total[newest] - taken_back

    def _make_block(self, block: int) -> _Jumps:
        days = np.arange(BLOCK_DAYS, dtype=np.int64)
        drawn = draw(self._day_keys, block * BLOCK_DAYS + days)
        path, day = np.nonzero(upper(drawn) < self._chances)
        moments = draw(self._time_keys[path], block * BLOCK_DAYS + day)
        second = day * DAY_S + self._clock.second_at(block, day, upper(moments))
        instant = second * self._per_s + np.floor(lower(moments) * self._per_s).astype(np.int64)
        centred = lower(drawn[path, day]) + HALF_UNIT / 2 - 0.5
        size = -SIZE * np.sign(centred) * np.log(1 - 2 * np.abs(centred))
        totals = [np.cumsum(size[path == number]) for number in range(len(self._chances))]
        whole = np.array([total[-1] if len(total) else 0.0 for total in totals])
        return _Jumps(path, instant, np.concatenate(([0.0], *totals)), whole)
