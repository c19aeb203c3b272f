"""The figures by which returns of a market are told from a random walk (Cont 2001, Empirical Properties of Asset Returns).

Returns and what goes with them are arrays with a row for each symbol, in order of time.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def excess_kurtosis(returns: Floats) -> float:
    """How much heavier tails are than those of a normal distribution, for which it is 0; the median of all symbols."""
    centred = returns - returns.mean(axis=1, keepdims=True)
    found = (centred**4).mean(axis=1) / (centred**2).mean(axis=1) ** 2 - 3
    return float(np.median(found))


def autocorrelation(values: Floats, lag: int) -> float:
    """How values correlate with those `lag` places later; the mean of all symbols."""
    centred = values - values.mean(axis=1, keepdims=True)
    products = (centred[:, lag:] * centred[:, :-lag]).mean(axis=1)
    return float((products / (centred**2).mean(axis=1)).mean())


def without_shape(returns: Floats, per_day: int) -> Floats:
    """Returns divided by what is usual at their time of day, over all days and symbols.

    Otherwise the shape of a day alone would make absolute returns correlate (Andersen, Bollerslev 1997).
    """
    days = returns.reshape(len(returns), -1, per_day)
    scaled = days / np.abs(days).mean(axis=(1, 2), keepdims=True)
    usual = np.abs(scaled).mean(axis=(0, 1))
    smooth = np.convolve(np.pad(usual, 7, mode="wrap"), np.ones(15) / 15, mode="valid")
    return (days / smooth).reshape(returns.shape)


def correlations(returns: Floats, sectors: Sequence[str]) -> tuple[float, float]:
    """The mean correlation of two symbols of one sector, and of two of different ones."""
    matrix = np.atleast_2d(np.corrcoef(returns))
    upper = np.triu(np.ones_like(matrix, dtype=bool), k=1)
    same = np.array([[one == other for other in sectors] for one in sectors])
    return float(matrix[upper & same].mean()), float(matrix[upper & ~same].mean())


def joint(one: Floats, other: Floats) -> float:
    """How two measures of the same minutes correlate, by ranks within each symbol; the mean of all symbols."""
    ranks = [values.argsort(axis=1).argsort(axis=1).astype(np.float64) for values in (one, other)]
    return float(np.mean([np.corrcoef(left, right)[0, 1] for left, right in zip(*ranks, strict=True)]))
