"""How much is traded and quoted: log-normal sizes, most of them round lots, larger when the market is busy.

Volume and volatility rise together (Karpoff 1987, The Relation Between Price Changes and Trading Volume); a bit less than
half of all trades are smaller than a lot of 100, or no multiple of it (O'Hara, Yao, Ye 2014, What's Not There: Odd Lots
and Market Data).
"""

from functools import lru_cache

import numpy as np

from feeds.random_numbers import Counters, Draws, Flags, Floats, normal

LOT = 100
QUOTED_LOTS_MAX = 20

ODD_LOG_MEAN, ODD_LOG_DEVIATION = 3.7, 1.0
"""Half of them are of fewer than 40 units."""
ROUND_LOG_MEAN, ROUND_LOG_DEVIATION = 4.8, 0.9
"""Before they are rounded to lots, half of them are of fewer than 122 units."""

SCALE_MIN, SCALE_MAX = 0.2, 5.0
"""How far sizes follow the activity of a symbol."""

ROUND_SHARE = 0.58
"""Of all trades."""


def trade_sizes(drawn: Draws, is_round: Flags, activity: Floats) -> Counters:
    """The size of each trade: whole numbers, multiples of a lot where they are to be round."""
    return _sizes(normal(drawn), is_round, np.clip(activity, SCALE_MIN, SCALE_MAX))


def quote_sizes(u: Floats) -> Counters:
    """Round lots, small ones most often, from uniform numbers."""
    return LOT * (1 + np.floor(QUOTED_LOTS_MAX * u * u * u).astype(np.int64))


def mean_trade_size(activity: Floats) -> Floats:
    """The size of a trade on average, at such activity."""
    scales, means, _ = _moments()
    mean: Floats = np.interp(np.log(np.clip(activity, SCALE_MIN, SCALE_MAX)), scales, means)
    return mean


def trade_size_variation() -> float:
    """The deviation of the size of a trade, in average sizes."""
    return _moments()[2]


def _sizes(deviation: Floats, is_round: Flags, scale: Floats) -> Counters:
    log_mean = np.where(is_round, ROUND_LOG_MEAN, ODD_LOG_MEAN)
    log_deviation = np.where(is_round, ROUND_LOG_DEVIATION, ODD_LOG_DEVIATION)
    unit = np.where(is_round, LOT, 1)
    sizes = np.exp(log_mean + log_deviation * deviation) * scale
    return unit * np.maximum(np.rint(sizes / unit), 1).astype(np.int64)


@lru_cache(maxsize=1)
def _moments() -> tuple[Floats, Floats, float]:
    """Mean sizes over a grid of scales (by their logarithms), and the variation at scale 1: sums over the normal density."""
    deviation = np.linspace(-6.0, 6.0, 2001)
    density = np.exp(-0.5 * deviation**2)
    density /= density.sum()
    scales = np.linspace(np.log(SCALE_MIN), np.log(SCALE_MAX), 61)

    def moment(scale: float, power: int) -> float:
        parts = ((ROUND_SHARE, True), (1 - ROUND_SHARE, False))
        sizes = [(share, _sizes(deviation, np.full(len(deviation), kind), np.array(scale))) for share, kind in parts]
        return float(sum(share * (density * size.astype(np.float64) ** power).sum() for share, size in sizes))

    means = np.array([moment(scale, 1) for scale in np.exp(scales)])
    mean = moment(1.0, 1)
    return scales, means, (moment(1.0, 2) / mean**2 - 1) ** 0.5
