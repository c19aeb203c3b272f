"""Random paths in multifractal time, as a pure function of seed, name and second: what the prices of a market are made of.

A path is fixed at the ends of blocks of days by a stationary autoregression, so that it stays near 0. Inside a block it
is a Brownian bridge in trading time, found by Lévy's construction: the block is halved down to days, minutes and seconds,
and the middle of an interval is the mean of its ends plus a normal number that belongs to that instant. Trading time is
a multiplicative cascade (Mandelbrot, Fisher, Calvet 1997, A Multifractal Model of Asset Returns): at each halving a random
weight, which belongs to that instant too, says how an interval's variance is divided between its halves. Hence volatility
that clusters on all scales from months to minutes, fat tails that thin out over longer times, and returns that do not
correlate. Weights are right on average: an interval has the variance that the activity clock gives it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from feeds.activity import BLOCK_DAYS, BLOCK_S, DAY_S, MINUTE_S, ActivityClock
from feeds.random_numbers import Counters, Flags, Floats, draw, normal, normal_pair, stream_keys

REVERSION = 0.5
"""How much of its distance from 0 a path keeps from the end of a block to that of the next, 128 days later."""
MEMORY_BLOCKS = 8
"""Older shocks would count for less than 1 %: the autoregression is cut off here, which makes it a finite sum."""

ROUGHNESS = 0.55
"""The deviation of the logarithm of how much more variance one half of an interval has than the other.

For halvings of log-normal weights it means an intermittency of 0.027, as measured for stocks: 0.02 to 0.03 (Bacry,
Kozhemyak, Muzy 2008, Continuous cascade models for asset returns).
"""
COMMON = 0.7
"""How far the weights of a path follow those of the first path: when the market is nervous, so is everything in it."""
OWN = (1 - COMMON**2) ** 0.5


@dataclass(frozen=True, slots=True)
class Walk:
    """Paths at some seconds: shape (paths, seconds)."""

    position: Floats
    elapsed: Floats
    """Trading time of each path, in average trading days: the variance of its moves is the difference."""


@dataclass(frozen=True, slots=True)
class _Intervals:
    """Intervals that are still to be halved, with the paths at both ends."""

    start: Counters
    stop: Counters
    left: Walk
    right: Walk


class CascadePaths:
    """Paths of unit variance a trading day. Results have a row for each name, in the order given."""

    def __init__(self, seed: int, names: Sequence[str], clock: ActivityClock) -> None:
        """The first of `names` is the one that the volatility of the others follows in part."""
        self._block_keys = stream_keys(seed, names, "block")[:, np.newaxis]
        self._keys = stream_keys(seed, names, "cascade")[:, np.newaxis]
        self._clock = clock
        self._block_variance = BLOCK_DAYS * clock.mean_day
        # All that is asked for within some days needs the same two ends of a block.
        self._end = lru_cache(maxsize=4)(self._position_at_block)

    def at(self, seconds: Counters) -> Walk:
        """The paths at these seconds, which rise. Takes time and memory for each distinct halving on the way to them."""
        blocks, starts = np.unique(seconds // BLOCK_S, return_index=True)
        parts = [
            self._in_block(int(block), part) for block, part in zip(blocks, np.split(seconds, starts[1:]), strict=True)
        ]
        if len(parts) == 1:
            return parts[0]
        return Walk(
            np.concatenate([part.position for part in parts], axis=1),
            np.concatenate([part.elapsed for part in parts], axis=1),
        )

    def _position_at_block(self, block: int) -> Floats:
        """Where the paths are when a block begins: an AR(1), written as the weighted sum of its last shocks."""
        blocks = np.arange(block, block - MEMORY_BLOCKS, -1, dtype=np.int64)
        shocks = normal(draw(self._block_keys, blocks))
        # No matrix product: its rounding depends on how many paths there are.
        weighted = shocks * REVERSION ** np.arange(MEMORY_BLOCKS, dtype=np.float64)
        position: Floats = self._block_variance**0.5 * weighted.sum(axis=1, keepdims=True)
        return position

    def _in_block(self, block: int, seconds: Counters) -> Walk:
        """Descend from the block to all its seconds at once, halving each interval that one of them lies inside of."""
        found = Walk(np.empty((len(self._keys), len(seconds))), np.empty((len(self._keys), len(seconds))))
        intervals, left = self._whole(block), np.arange(len(seconds))
        which = np.zeros(len(seconds), np.int64)
        while True:
            reached = seconds[left] == intervals.start[which]
            found.position[:, left[reached]] = intervals.left.position[:, which[reached]]
            found.elapsed[:, left[reached]] = intervals.left.elapsed[:, which[reached]]
            left, which = left[~reached], which[~reached]
            if not len(left):
                return found
            intervals, which = self._halves(block, intervals, which, seconds[left])

    def _whole(self, block: int) -> _Intervals:
        edges = np.array([block, block + 1], dtype=np.int64) * BLOCK_S
        # Trading time counts from 1970, so that it goes on from one block to the next.
        passed = np.full((len(self._keys), 1), block * self._block_variance)
        left, right = Walk(self._end(block), passed), Walk(self._end(block + 1), passed + self._block_variance)
        return _Intervals(edges[:1], edges[1:], left, right)

    def _halves(
        self, block: int, intervals: _Intervals, which: Counters, seconds: Counters
    ) -> tuple[_Intervals, Counters]:
        """The halves in which the seconds lie, and in which of them each one does. `which` says it of the intervals."""
        parent, which = _distinct(which)
        start, stop = intervals.start[parent], intervals.stop[parent]
        left, right = _take(intervals.left, parent), _take(intervals.right, parent)
        middle = middles(start, stop)
        between = self._between(block, (start, middle, stop), left, right)
        child, which = _distinct(2 * which + (seconds >= middle[which]))
        parent, later = child >> 1, (child & 1).astype(np.bool_)
        halves = _Intervals(
            np.where(later, middle[parent], start[parent]),
            np.where(later, stop[parent], middle[parent]),
            _choose(later, _take(between, parent), _take(left, parent)),
            _choose(later, _take(right, parent), _take(between, parent)),
        )
        return halves, which

    def _between(self, block: int, at: tuple[Counters, Counters, Counters], left: Walk, right: Walk) -> Walk:
        """The paths in the middle of intervals: where trading time is then, and the bridge at that trading time."""
        begin, middle, end = (self._clock.reading(block, seconds) for seconds in at)
        shock, noise = normal_pair(draw(self._keys, at[1]))
        noise[1:] = COMMON * noise[0] + OWN * noise[1:]
        share = (middle - begin) / (end - begin)
        # Symmetric around the share, hence right on average; where halves are alike, the logistic function of the noise.
        weight = share + np.minimum(share, 1 - share) * np.tanh(0.5 * ROUGHNESS * noise)
        # Rounding may put the end of a very quiet interval before its beginning.
        duration = np.maximum(right.elapsed - left.elapsed, 0)
        position = left.position + (right.position - left.position) * weight
        position += np.sqrt(duration * weight * (1 - weight)) * shock
        return Walk(position, left.elapsed + duration * weight)


def middles(start: Counters, stop: Counters) -> Counters:
    """Where intervals are halved: at a midnight, at a whole minute of a day, at a whole second of a minute."""
    length = stop - start
    unit = np.where(length > DAY_S, DAY_S, np.where(length > MINUTE_S, MINUTE_S, 1))
    return (start // unit + stop // unit) // 2 * unit


def _distinct(rising: Counters) -> tuple[Counters, Counters]:
    """The distinct ones of rising numbers, and which of these each number is."""
    is_new = np.concatenate(([True], rising[1:] != rising[:-1]))
    return rising[is_new], np.cumsum(is_new) - 1


def _take(walk: Walk, which: Counters) -> Walk:
    return Walk(walk.position[:, which], walk.elapsed[:, which])


def _choose(condition: Flags, yes: Walk, no: Walk) -> Walk:
    return Walk(np.where(condition, yes.position, no.position), np.where(condition, yes.elapsed, no.elapsed))
