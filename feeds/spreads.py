"""How far a bid and an ask are apart: in price steps, and wider when a symbol is more volatile than usual.

A market maker asks more where a price may run away from him before he can react (Ho, Stoll 1981; over a day spreads go
with volatility: McInish, Wood 1992). A dear share has a spread of many steps, a cheap one seldom more than one.
"""

from collections.abc import Sequence

import numpy as np

from feeds.factors import FUND_SECTOR
from feeds.listings import Profile
from feeds.random_numbers import Counters, Floats, draw, normal, stream_keys

MILLION = 1_000_000

SPREAD = 3.3e-4
"""The spread in an average moment of a session, in prices and volatilities a year: a basis point at a volatility of 0.3."""
FUND_PART = 0.3
"""Index funds are traded more closely."""
VOLATILITY_POWER = 0.7
ACTIVITY_MAX = 8.0
NOISE = 0.35
"""The deviation of its logarithm from second to second."""


class Spreads:
    """The price grids of some symbols, with bids and asks on them. Prices on a grid are in its steps."""

    def __init__(self, seed: int, profiles: Sequence[Profile]) -> None:
        self._keys = stream_keys(seed, [profile.listing.symbol for profile in profiles], "spread")
        self.step = np.array([round(profile.listing.tick_size * MILLION) for profile in profiles], dtype=np.int64)
        """The price step of each symbol, in millionths."""
        closeness = [FUND_PART if profile.listing.sector == FUND_SECTOR else 1.0 for profile in profiles]
        self._part = SPREAD * np.array([profile.volatility for profile in profiles]) * np.array(closeness)

    def steps(self, seconds: Counters, prices: Floats, activity: Floats) -> Counters:
        """The steps between bid and ask, 1 or more, for arrays of shape (symbols, seconds); the same for a second."""
        busy = np.minimum(activity, ACTIVITY_MAX) ** VOLATILITY_POWER
        noise = np.exp(NOISE * normal(draw(self._keys[:, np.newaxis], seconds)))
        wide = prices * MILLION / self.step[:, np.newaxis] * self._part[:, np.newaxis] * busy * noise
        steps: Counters = np.maximum(np.rint(wide), 1).astype(np.int64)
        return steps


def bids(middle: Floats, wide: Counters) -> Counters:
    """The bid around a middle, both in steps; the ask is `wide` steps above it."""
    return np.maximum(np.rint(middle - 0.5 * wide).astype(np.int64), 1)
