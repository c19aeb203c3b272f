"""Candles of a simulated market before its first tick, sampled from the same paths that its ticks follow.

A candle opens and closes at the bid or ask of its first and last open moment, reaches as high and low as the path at the
points where it is sampled (and a little further, for the trades between them), and has about as many trades, as large,
as ticks of that time of day would have.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from feeds.activity import DAY_S, SECOND_US, ActivityClock, TickRate
from feeds.cascade import middles
from feeds.feed import HistoryCandles
from feeds.listings import Profile
from feeds.market import Market
from feeds.price_path import PricePath
from feeds.random_numbers import Counters, Draws, Flags, Floats, draw, normal, stream_keys, upper
from feeds.spreads import MILLION, Spreads, bids
from feeds.tick_times import SWEEP, SWEEP_SHARE, TRADE_SHARE
from feeds.trade_sizes import mean_trade_size, trade_size_variation

SYMBOLS_AT_ONCE = 64
POINTS_AT_ONCE = 4096
"""About as many points are worked out together: some tens of megabytes, whatever is asked for."""

SAMPLING = ((DAY_S, 6, 8), (3600, 9, 9), (60, 14, 14), (0, 17, 17))
"""How often a day is halved for candles of so many seconds or more, and how often in its usual session, where a day has most
of its range: every 22 and every 5 minutes for a day, 20 points an hour, 8 a minute, all seconds."""

BEYOND = 0.5826
"""How far the extreme of a Brownian path is beyond that of n equal steps, in deviations of a step
(Broadie, Glasserman, Kou 1997, A Continuity Correction for Discrete Barrier Options)."""

PART_AT_SIDE = (1 - SWEEP_SHARE * (1 - 1 / SWEEP)) / 2
"""Moments at which somebody trades at the ask (or at the bid), as a part of all trades: those of a sweep are one."""

COUNT_NOISE_MAX = 0.5
"""The deviation of the logarithm of how many trades there are in a candle; with many expected it is that of a Poisson."""


@dataclass(frozen=True, slots=True)
class _Steps:
    """The time of some candles cut into steps, each inside of one candle and inside or outside of trading."""

    times_us: Counters
    """Where steps begin, and where the last one ends."""
    busy_s: Floats
    """Seconds of average trading in each step; 0 where there is none."""
    edges_us: Counters
    """Where candles begin: only those with trading in them."""
    first: Counters
    last: Counters
    """The first and the last step with trading of each candle."""

    @property
    def is_open(self) -> Flags:
        """Which steps have trading."""
        return self.busy_s > 0

    def reduced(self, function: np.ufunc, values: Floats) -> Floats:
        """Values of steps (their last axis) added up, or otherwise put together, candle by candle."""
        bounds = np.stack((self.first, self.last + 1), axis=1).ravel()
        padded = np.concatenate((values, values[..., -1:]), axis=-1)
        whole: Floats = function.reduceat(padded, bounds, axis=-1)[..., ::2]
        return whole


class CandleMaker:
    """Makes the candles of a simulated market."""

    def __init__(self, seed: int, ticks_per_s: float, market: Market) -> None:
        self._seed = seed
        self._trades_per_s = ticks_per_s * TRADE_SHARE
        self._market = market
        self._clock = ActivityClock(market)

    def candles(self, profiles: Sequence[Profile], edges_us: Counters) -> dict[str, HistoryCandles]:
        """One candle between each edge and the next, for each symbol; none where nothing was traded."""
        pieces = list(_cut(self._market, self._clock, edges_us))
        found: dict[str, HistoryCandles] = {}
        for start in range(0, len(profiles), SYMBOLS_AT_ONCE):
            chosen = profiles[start : start + SYMBOLS_AT_ONCE]
            chunk = _Chunk(self._seed, chosen, self._trades_per_s, self._clock)
            made = [chunk.candles(steps) for steps in pieces]
            for row, profile in enumerate(chosen):
                found[profile.listing.symbol] = _joined([columns[:, row] for columns in made], pieces)
        return found


@dataclass(frozen=True, slots=True)
class _Paths:
    """What the symbols do: shape (symbols, steps), one more for the prices where steps begin and end."""

    log_price: Floats
    elapsed: Floats
    activity: Floats
    weight: Floats
    """How much is traded in a step on average, in trades of one unit a second."""


class _Chunk:
    """Some symbols, with what is needed to work out their paths."""

    def __init__(self, seed: int, profiles: Sequence[Profile], trades_per_s: float, clock: ActivityClock) -> None:
        symbols = [profile.listing.symbol for profile in profiles]
        self._path = PricePath(seed, profiles, clock)
        self._spreads = Spreads(seed, profiles)
        self._count_keys, self._size_keys, self._bit_keys = (
            stream_keys(seed, symbols, f"history {purpose}")[:, np.newaxis] for purpose in ("count", "size", "bits")
        )
        self._trades_per_s = trades_per_s

    def candles(self, steps: _Steps) -> Counters:
        """Columns after the time in the order of `HistoryCandles`: shape (columns, symbols, candles)."""
        paths = self._paths(steps)
        bits = draw(self._bit_keys, steps.edges_us)
        trades = self._trades(steps, bits)
        volume = self._volume(steps, paths, trades)
        opened, high, low, close = self._prices(steps, paths, trades, bits)
        middle = np.exp(0.5 * (paths.log_price[:, 1:] + paths.log_price[:, :-1])) * MILLION
        mean = steps.reduced(np.add, paths.weight * middle) / steps.reduced(np.add, paths.weight)
        vwap = np.clip(np.rint(mean).astype(np.int64), low, high)
        return np.stack((opened, high, low, close, volume * MILLION, trades, vwap))

    def _paths(self, steps: _Steps) -> _Paths:
        seconds, which = np.unique(steps.times_us // SECOND_US, return_inverse=True)
        sampled = self._path.sampled(seconds)
        elapsed = np.maximum(np.diff(sampled.elapsed[:, which], axis=1), 0)
        activity = self._path.activity(elapsed, np.diff(steps.times_us) / SECOND_US)
        return _Paths(sampled.log_price[:, which], elapsed, activity, steps.busy_s * mean_trade_size(activity))

    def _trades(self, steps: _Steps, bits: Draws) -> Counters:
        expected = steps.reduced(np.add, steps.busy_s) * self._trades_per_s
        noise = np.minimum(1 / np.sqrt(expected), COUNT_NOISE_MAX)
        drawn = normal(draw(self._count_keys, steps.edges_us))
        return np.floor(expected * np.exp(noise * drawn - 0.5 * noise**2) + upper(bits)).astype(np.int64)

    def _volume(self, steps: _Steps, paths: _Paths, trades: Counters) -> Counters:
        mean_size = steps.reduced(np.add, paths.weight) / steps.reduced(np.add, steps.busy_s)
        noise = np.minimum(trade_size_variation() / np.sqrt(np.maximum(trades, 1)), 1.0)
        drawn = normal(draw(self._size_keys, steps.edges_us))
        volume = trades * mean_size * np.exp(noise * drawn - 0.5 * noise**2)
        return np.maximum(np.rint(volume).astype(np.int64), trades)

    def _prices(
        self, steps: _Steps, paths: _Paths, trades: Counters, bits: Draws
    ) -> tuple[Counters, Counters, Counters, Counters]:
        """Open, high, low and close in millionths; one trade has one price, and two are the open and the close."""
        step = self._spreads.step[:, np.newaxis]
        opened, open_wide = self._paid(steps, paths, steps.first, steps.first, (bits & 1) != 0)
        close, close_wide = self._paid(steps, paths, steps.last, steps.last + 1, (bits & 2) != 0)
        opened = np.where(trades > 1, opened, close)
        top, bottom = (np.exp(found) * MILLION / step for found in self._extremes(steps, paths, trades))
        wide, many = np.maximum(open_wide, close_wide), trades > 2
        high = np.maximum(np.maximum(opened, close), np.where(many, bids(top, wide) + wide, 0))
        low = np.minimum(np.minimum(opened, close), np.where(many, bids(bottom, wide), close))
        return opened * step, high * step, low * step, close * step

    def _paid(
        self, steps: _Steps, paths: _Paths, step: Counters, point: Counters, at_ask: Flags
    ) -> tuple[Counters, Counters]:
        """What a trade pays at the beginning or end of a step of each candle, and the spread there, in price steps."""
        price = np.exp(paths.log_price[:, point])
        wide = self._spreads.steps(steps.times_us[point] // SECOND_US, price, paths.activity[:, step])
        return bids(price * MILLION / self._spreads.step[:, np.newaxis], wide) + wide * at_ask, wide

    def _extremes(self, steps: _Steps, paths: _Paths, trades: Counters) -> tuple[Floats, Floats]:
        """The highest and lowest log-price of each candle, as far as so many trades see of it."""
        before, after = paths.log_price[:, :-1], paths.log_price[:, 1:]
        highest = steps.reduced(np.maximum, np.where(steps.is_open, np.maximum(before, after), -np.inf))
        lowest = steps.reduced(np.minimum, np.where(steps.is_open, np.minimum(before, after), np.inf))
        deviation = self._path.day_sigma * np.sqrt(steps.reduced(np.add, paths.elapsed * steps.is_open))
        seen = 1 / np.sqrt(steps.reduced(np.add, steps.is_open.astype(np.float64)))
        beyond = BEYOND * deviation * np.maximum(seen - 1 / np.sqrt(np.maximum(trades * PART_AT_SIDE, 1)), 0)
        return highest + beyond, lowest - beyond


def _cut(market: Market, clock: ActivityClock, edges_us: Counters) -> Iterator[_Steps]:
    """The time between the edges piece by piece, leaving out pieces without any trading."""
    if len(edges_us) < 2:
        return
    width_s = max(int(np.median(np.diff(edges_us))) // SECOND_US, 1)
    coarse, fine = next((coarse, fine) for least_s, coarse, fine in SAMPLING if width_s >= least_s)
    candles = max(POINTS_AT_ONCE * DAY_S // (width_s << coarse), 1)
    for start in range(0, len(edges_us) - 1, candles):
        piece = edges_us[start : start + candles + 1]
        steps = _steps(market, piece, _sampling_points(clock, piece, coarse, fine))
        if len(steps.first):
            yield steps


def _sampling_points(clock: ActivityClock, edges_us: Counters, coarse: int, fine: int) -> Counters:
    """Where to look at the paths between edges, in seconds: the halvings of each day, finer ones in its usual session."""
    days = np.arange(edges_us[0] // SECOND_US // DAY_S, edges_us[-1] // SECOND_US // DAY_S + 1)[:, np.newaxis] * DAY_S
    points, finer = ((days + _day_points(halvings)).ravel() for halvings in (coarse, fine))
    return points if coarse == fine else np.concatenate((points, finer[clock.in_session(finer)]))


def _steps(market: Market, edges_us: Counters, points: Counters) -> _Steps:
    """Cut at the edges, at these seconds, and where trading begins and ends."""
    start, end = int(edges_us[0]), int(edges_us[-1])
    inner = points * SECOND_US
    spans = np.array(market.hours.between(start, end), np.int64).ravel()
    times = np.unique(np.concatenate((edges_us, inner[(inner > start) & (inner < end)], spans)))
    busy = np.where(market.hours.contains(times[:-1]), np.diff(TickRate(market.hours).until(times)), 0.0)
    opens = np.flatnonzero(busy > 0)
    before = np.searchsorted(opens, np.searchsorted(times, edges_us))
    trading = before[1:] > before[:-1]
    first, last = opens[before[:-1][trading]], opens[before[1:][trading] - 1]
    return _Steps(times, busy, edges_us[:-1][trading], first, last)


def _day_points(halvings: int) -> Counters:
    """The seconds of a day at which its path is known after so many halvings: the cheapest ones to ask for."""
    points = np.array([0, DAY_S], dtype=np.int64)
    for _ in range(halvings):
        points = np.unique(np.concatenate((points, middles(points[:-1], points[1:]))))
    return points[:-1]


def _joined(columns: Sequence[Counters], pieces: Sequence[_Steps]) -> HistoryCandles:
    """The candles of one symbol from those of each piece, without those in which nobody traded."""
    times = [steps.edges_us for steps in pieces]
    if not times:
        return HistoryCandles(*np.empty((len(fields(HistoryCandles)), 0), np.int64))
    made = np.vstack((np.concatenate(times), np.concatenate(columns, axis=1)))
    trades = made[[field.name for field in fields(HistoryCandles)].index("trades")]
    return HistoryCandles(*made[:, trades > 0])
