"""Simulated prices as a pure function of seed, symbol and time, past and future.

The log-price of a symbol is that of its base, plus a common path of the market, one of its sector and one of its own,
each with jumps now and then. These are known at whole seconds; a second is halved down to sixteenths by a bridge of the
symbol's own, and in between the price runs straight. Whatever is asked, and in whatever order, an instant has one price.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from feeds.activity import DAY_S, MINUTE_S, ActivityClock
from feeds.cascade import CascadePaths
from feeds.factors import factors
from feeds.jumps import JumpPaths
from feeds.listings import Profile
from feeds.random_numbers import Counters, Floats, draw, normal, stream_keys

CELLS = 16
"""Straight pieces of a second."""
CELL_US = 1_000_000 // CELLS

TRADING_DAYS = 252
"""A year's volatility is spread over as many days; a market that never closes has more of them, each like a trading day."""

TINY = 1e-9 / DAY_S
"""Trading time that passes in any second at least: differences of large numbers may be rounded to nothing."""

PIECE_S = 15
"""So many seconds are worked out together, as one costs nearly as much. A minute consists of such pieces."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Symbols at some seconds: shape (symbols, seconds)."""

    log_price: Floats
    elapsed: Floats
    """Trading time of each symbol, in average trading days: the difference is the variance relative to a day's."""


@dataclass(frozen=True, slots=True)
class PriceSecond:
    """The symbols in one second."""

    corners: Floats
    """Prices: shape (symbols, CELLS + 1). The last corner of a second is the first of the next."""
    moves: Floats
    """How far each cell goes, in deviations of an average cell of this second: shape (symbols, CELLS)."""
    activity: Floats
    """The volatility of the minute of each symbol, 1 on average in a session."""


@dataclass(frozen=True, slots=True)
class _Piece:
    first: int
    sampled: Sampled
    """Without jumps, at the beginnings of the seconds and the end of the last."""
    activity: Floats


class PricePath:
    """The price paths of a few symbols under one seed. Results have a row for each symbol, in the order given."""

    def __init__(self, seed: int, profiles: Sequence[Profile], clock: ActivityClock) -> None:
        self._clock = clock
        self._factors = factors(profiles)
        self._paths = CascadePaths(seed, self._factors.names, clock)
        self._jumps = JumpPaths(seed, self._factors.names, self._factors.jump_chances, clock, CELLS)
        self._cell_keys = stream_keys(seed, [profile.listing.symbol for profile in profiles], "cell")[:, np.newaxis]
        self._log_base: Floats = np.log(np.array([[profile.price] for profile in profiles]))
        self.day_sigma: Floats = np.array([[profile.volatility] for profile in profiles]) / TRADING_DAYS**0.5
        """The deviation of each symbol's log-price in an average trading day: shape (symbols, 1)."""
        self._piece = lru_cache(maxsize=2)(self._make_piece)

    def at(self, times_us: Counters) -> Floats:
        """The prices at any times: shape (symbols, times).

        Takes about 1 kB of memory a symbol and distinct second; long histories are best sampled.
        """
        seconds, which = np.unique(times_us // 1_000_000, return_inverse=True)
        cell, rest = np.divmod(times_us % 1_000_000, CELL_US)
        corners = self.corners(seconds)
        before, after = corners[:, which, cell], corners[:, which, cell + 1]
        prices: Floats = before + (after - before) * (rest / CELL_US)
        return prices

    def corners(self, seconds: Counters) -> Floats:
        """The prices at the corners of the path in these seconds, in any order: shape (symbols, seconds, CELLS + 1)."""
        ends = np.stack((seconds, seconds + 1))
        distinct, which = np.unique(ends, return_inverse=True)
        at_ends = self._continuous(distinct)
        left, right = which.reshape(ends.shape)
        prices: Floats = np.exp(self._refine(seconds, at_ends, left, right) + self._jumps_within(seconds))
        return prices

    def second(self, second: int) -> PriceSecond:
        """One second, for which those around it are worked out as well."""
        piece = self._piece(second // PIECE_S)
        seconds, left = np.array([second]), np.array([second - piece.first])
        smooth = self._refine(seconds, piece.sampled, left, left + 1)
        corners = (smooth + self._jumps_within(seconds))[:, 0]
        variance = piece.sampled.elapsed[:, left + 1] - piece.sampled.elapsed[:, left]
        deviation = self.day_sigma * np.sqrt(np.maximum(variance, TINY) / CELLS)
        return PriceSecond(np.exp(corners), np.abs(np.diff(corners, axis=1)) / deviation, piece.activity)

    def sampled(self, seconds: Counters) -> Sampled:
        """The symbols at the beginning of these seconds, which rise."""
        smooth = self._continuous(seconds)
        jumps = self._combined(self._jumps.at(seconds * CELLS))
        return Sampled(smooth.log_price + self.day_sigma * jumps, smooth.elapsed)

    def activity(self, elapsed: Floats, seconds: Floats) -> Floats:
        """The volatility of symbols to which so much trading time passed in so many seconds, 1 on average in a session."""
        volatility: Floats = np.sqrt(elapsed / (seconds * self._clock.session_rate))
        return volatility

    def _make_piece(self, number: int) -> _Piece:
        first = number * PIECE_S
        minute = first // MINUTE_S * MINUTE_S
        asked = np.unique(np.concatenate(([minute, minute + MINUTE_S], first + np.arange(PIECE_S + 1))))
        sampled = self._continuous(asked)
        activity = self.activity(sampled.elapsed[:, -1] - sampled.elapsed[:, 0], np.array(float(MINUTE_S)))
        within = slice(int(np.searchsorted(asked, first)), int(np.searchsorted(asked, first + PIECE_S)) + 1)
        return _Piece(first, Sampled(sampled.log_price[:, within], sampled.elapsed[:, within]), activity)

    def _continuous(self, seconds: Counters) -> Sampled:
        """The symbols without their jumps."""
        walk = self._paths.at(seconds)
        own, sector = self._factors.own, self._factors.sector
        log_price = self._log_base + self.day_sigma * self._combined(walk.position)
        shares = self._factors.shares[:, :, np.newaxis]
        elapsed = shares[0] * walk.elapsed[0] + shares[1] * walk.elapsed[sector] + shares[2] * walk.elapsed[own]
        return Sampled(log_price, elapsed)

    def _combined(self, paths: Floats) -> Floats:
        """Symbols made of their factors, of the variance of each."""
        # No matrix product: its rounding depends on how many symbols there are.
        weights = np.sqrt(self._factors.shares)[:, :, np.newaxis]
        own, sector = self._factors.own, self._factors.sector
        combined: Floats = weights[0] * paths[0] + weights[1] * paths[sector] + weights[2] * paths[own]
        return combined

    def _jumps_within(self, seconds: Counters) -> Floats:
        instants = seconds[:, np.newaxis] * CELLS + np.arange(CELLS + 1)
        distinct, which = np.unique(instants, return_inverse=True)
        jumps = self._combined(self._jumps.at(distinct))
        within: Floats = (self.day_sigma * jumps)[:, which.reshape(instants.shape)]
        return within

    def _refine(self, seconds: Counters, sampled: Sampled, left: Counters, right: Counters) -> Floats:
        """The log-prices, without jumps, at the corners inside each second; `left` and `right` are where its ends are."""
        corners = np.empty((len(self._log_base), len(seconds), CELLS + 1))
        corners[..., 0], corners[..., CELLS] = sampled.log_price[:, left], sampled.log_price[:, right]
        elapsed = np.maximum(sampled.elapsed[:, right] - sampled.elapsed[:, left], TINY)
        deviation = (self.day_sigma * np.sqrt(elapsed))[..., np.newaxis]
        instants = seconds[:, np.newaxis] * CELLS + np.arange(CELLS)
        shocks = normal(draw(self._cell_keys, instants.ravel())).reshape(-1, *instants.shape)
        step = CELLS // 2
        while step:
            middle = slice(step, None, 2 * step)
            mean = 0.5 * (corners[..., : -2 * step : 2 * step] + corners[..., 2 * step :: 2 * step])
            corners[..., middle] = mean + deviation * (step / (2 * CELLS)) ** 0.5 * shocks[..., middle]
            step //= 2
        return corners
