"""Simulated prices as a pure function of seed, symbol and time, past and future.

The log-price of a symbol is fixed at each midnight UTC by a stationary autoregression, so that it stays near its base,
and between two midnights it is a Brownian bridge, found by Lévy's construction: the middle of an interval is the mean
of its ends plus a normal number that belongs to that instant. Halving goes down to whole seconds and then to sixteenths
of a second; in between the price runs straight. Whatever is asked, and in whatever order, an instant has one price.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from feeds.listings import Profile
from feeds.random_numbers import Counters, Flags, Floats, draw, normal, stream_keys

DAY_S = 86_400
HALVINGS = 17
"""2**17 s is more than a day: after as many halvings every interval is one second long."""

CELLS = 16
"""Straight pieces of a second."""
CELL_US = 1_000_000 // CELLS

REVERSION = 0.98
"""How much of its distance from the base a price keeps until the next day: half of it is gone after 34 days."""
MEMORY_DAYS = 256
"""Older shocks would count for less than 1 %: the autoregression is cut off here, which makes it a finite sum."""
TRADING_DAYS = 252
"""A year's volatility is spread over as many days: with no nights and weekends off, a day moves like a trading day."""


class PricePath:
    """The price paths of a few symbols under one seed. Results have a row for each symbol, in the order given."""

    def __init__(self, seed: int, profiles: Sequence[Profile]) -> None:
        symbols = [profile.listing.symbol for profile in profiles]
        self._day_keys = stream_keys(seed, symbols, "day")[:, np.newaxis]
        self._bridge_keys = stream_keys(seed, symbols, "bridge")[:, np.newaxis]
        self._log_base: Floats = np.log(np.array([profile.price for profile in profiles]))
        self._day_sigma = np.array([profile.volatility for profile in profiles]) / TRADING_DAYS**0.5
        self._weights = REVERSION ** np.arange(MEMORY_DAYS, dtype=np.float64)
        # Every second of a day needs the same two midnights.
        self._midnight = lru_cache(maxsize=4)(self._log_price_at_midnight)

    def at(self, times_us: Counters) -> Floats:
        """The prices at any times: shape (symbols, times).

        Takes about 1 kB of memory a symbol and distinct second; long histories are best asked for in pieces.
        """
        seconds, which = np.unique(times_us // 1_000_000, return_inverse=True)
        cell, rest = np.divmod(times_us % 1_000_000, CELL_US)
        corners = self.corners(seconds)
        before, after = corners[:, which, cell], corners[:, which, cell + 1]
        prices: Floats = before + (after - before) * (rest / CELL_US)
        return prices

    def corners(self, seconds: Counters) -> Floats:
        """The prices at the corners of the path in these seconds: shape (symbols, seconds, CELLS + 1).

        The last corner of a second is the first of the next.
        """
        prices: Floats = np.exp(self._refine(seconds, *self._ends(seconds)))
        return prices

    def _log_price_at_midnight(self, day: int) -> Floats:
        """Where each path is fixed: an AR(1) of the days' shocks, written as the weighted sum of the last of them."""
        days = np.arange(day, day - MEMORY_DAYS, -1, dtype=np.int64)
        shocks = normal(draw(self._day_keys, days))
        # No matrix product: its rounding depends on how many symbols there are.
        distance: Floats = self._day_sigma * (shocks * self._weights).sum(axis=1)
        return self._log_base + distance

    def _ends(self, seconds: Counters) -> tuple[Floats, Floats]:
        """The log-prices at the beginning and end of each second: shape (symbols, seconds)."""
        days, which = np.unique(seconds // DAY_S, return_inverse=True)
        left = np.stack([self._midnight(int(day)) for day in days], axis=1)[:, which]
        right = np.stack([self._midnight(int(day) + 1) for day in days], axis=1)[:, which]
        starts, middles, stops, later = _halvings(seconds)
        shocks = self._shocks(middles * CELLS)
        for level in range(HALVINGS):
            start, middle, stop = starts[level], middles[level], stops[level]
            share = (middle - start) / (stop - start)
            deviation = np.sqrt(share * (stop - middle) / DAY_S)
            value = left + (right - left) * share + self._day_sigma[:, np.newaxis] * deviation * shocks[:, level]
            left, right = np.where(later[level], value, left), np.where(later[level], right, value)
        return left, right

    def _refine(self, seconds: Counters, left: Floats, right: Floats) -> Floats:
        """The log-prices at the corners inside each second, where those at its ends are known."""
        corners = np.empty((*left.shape, CELLS + 1))
        corners[..., 0], corners[..., CELLS] = left, right
        shocks = self._shocks(seconds[:, np.newaxis] * CELLS + np.arange(CELLS))
        step = CELLS // 2
        while step:
            middle = slice(step, None, 2 * step)
            mean = 0.5 * (corners[..., : -2 * step : 2 * step] + corners[..., 2 * step :: 2 * step])
            deviation = self._day_sigma * (step / (2 * CELLS * DAY_S)) ** 0.5
            corners[..., middle] = mean + deviation[:, np.newaxis, np.newaxis] * shocks[..., middle]
            step //= 2
        return corners

    def _shocks(self, instants: Counters) -> Floats:
        """The normal number of each symbol and instant, counted in sixteenths of a second."""
        drawn = normal(draw(self._bridge_keys, instants.ravel()[np.newaxis, :]))
        return drawn.reshape(-1, *instants.shape)


def _halvings(seconds: Counters) -> tuple[Counters, Counters, Counters, Flags]:
    """The intervals met on the way from the day to each second: start, middle, end, and which half comes next.

    Middles are rounded down to whole seconds, and the bridge allows for that. An interval of one second has its start
    as its middle: halving it changes nothing.
    """
    start = seconds // DAY_S * DAY_S
    stop = start + DAY_S
    starts: list[Counters] = []
    middles: list[Counters] = []
    stops: list[Counters] = []
    for _ in range(HALVINGS):
        middle = (start + stop) // 2
        starts.append(start)
        middles.append(middle)
        stops.append(stop)
        later = seconds >= middle
        start, stop = np.where(later, middle, start), np.where(later, stop, middle)
    return np.stack(starts), np.stack(middles), np.stack(stops), seconds >= np.stack(middles)
