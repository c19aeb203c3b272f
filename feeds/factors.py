"""What moves a symbol besides itself: how much of its variance comes from the market and from its sector.

A share r of the market in two symbols' variance makes their returns correlate by r. About 0.3 is usual for large US
stocks, and more within a sector (Roll 1988, R²; Campbell, Lettau, Malkiel, Xu 2001, Have Individual Stocks Become More
Volatile?).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feeds.listings import Profile
from feeds.random_numbers import HALF_UNIT, Counters, Floats

MARKET = "market"
"""No symbol is written in small letters."""
FUND_SECTOR = "Fund"

MARKET_SHARE = (0.24, 0.44)
SECTOR_SHARE = (0.12, 0.24)
FUND_SHARES = (0.96, 0.02)
"""An index fund is the market, but for a trace of its own."""

MARKET_JUMP_CHANCE, SECTOR_JUMP_CHANCE, OWN_JUMP_CHANCE = 1 / 60, 1 / 40, 1 / 8
"""Jumps a day: the market's every second month, a symbol's own every week or two."""


@dataclass(frozen=True, slots=True)
class Factors:
    """The paths that some symbols are made of, the market's first, then sectors, then each symbol's own."""

    names: Sequence[str]
    jump_chances: Floats
    sector: Counters
    """Where among the paths each symbol's sector is."""
    shares: Floats
    """Of market, sector and own path in the variance of each symbol: shape (3, symbols)."""

    @property
    def own(self) -> slice:
        """Where the symbols' own paths are."""
        return slice(len(self.names) - len(self.sector), None)


def factors(profiles: Sequence[Profile]) -> Factors:
    """The factors of these symbols. What a symbol gets depends on its name and sector alone."""
    sectors = list(dict.fromkeys(profile.listing.sector for profile in profiles))
    own = [profile.listing.symbol for profile in profiles]
    chances = [MARKET_JUMP_CHANCE, *[SECTOR_JUMP_CHANCE] * len(sectors), *[OWN_JUMP_CHANCE] * len(own)]
    return Factors(
        [MARKET, *(f"sector/{sector}" for sector in sectors), *own],
        np.array(chances),
        np.array([1 + sectors.index(profile.listing.sector) for profile in profiles]),
        np.array([_shares(profile) for profile in profiles]).T.copy(),
    )


def _shares(profile: Profile) -> tuple[float, float, float]:
    market, sector = FUND_SHARES
    if profile.listing.sector != FUND_SECTOR:
        digest = hashlib.blake2b(f"{profile.listing.symbol}/shares".encode(), digest_size=8).digest()
        first, second = (int.from_bytes(part) * HALF_UNIT for part in (digest[:4], digest[4:]))
        market = MARKET_SHARE[0] + (MARKET_SHARE[1] - MARKET_SHARE[0]) * first
        sector = SECTOR_SHARE[0] + (SECTOR_SHARE[1] - SECTOR_SHARE[0]) * second
    return market, sector, 1 - market - sector
