"""What moves a symbol besides itself."""

import numpy as np
import pytest

from feeds.factors import MARKET, MARKET_SHARE, SECTOR_SHARE, factors
from feeds.listings import SYMBOL, profiles


def test_the_paths_are_the_market_the_sectors_and_the_symbols():
    """In this order; nothing but the last can be a symbol's name."""
    found = factors(profiles(["AAPL", "JPM", "MSFT"]))
    assert found.names == [MARKET, "sector/Technology", "sector/Financials", "AAPL", "JPM", "MSFT"]
    assert [SYMBOL.fullmatch(name) is not None for name in found.names] == [False] * 3 + [True] * 3
    assert found.sector.tolist() == [1, 2, 1]
    assert found.names[found.own] == ["AAPL", "JPM", "MSFT"]
    assert len(found.jump_chances) == 6


def test_shares_make_up_the_whole_variance():
    """Each within its bounds, also for made-up symbols."""
    shares = factors([profile for profile in profiles(500) if profile.listing.sector != "Fund"]).shares
    assert shares.sum(axis=0).tolist() == pytest.approx([1.0] * shares.shape[1])
    for row, (low, high) in zip(shares, (MARKET_SHARE, SECTOR_SHARE), strict=False):
        assert low <= row.min() < row.max() <= high
        assert row.mean() == pytest.approx((low + high) / 2, abs=0.01)


def test_an_index_fund_is_nearly_the_market():
    shares = factors(profiles(["SPY", "QQQ", "IBM"])).shares
    assert (shares[0, :2] > 0.9).all()
    assert shares[0, 2] < 0.5


def test_the_share_of_a_symbol_depends_on_its_name_alone():
    alone, together = factors(profiles(["ACME"])), factors(profiles(["IBM", "ACME", "ZZZ"]))
    assert np.array_equal(alone.shares[:, 0], together.shares[:, 1])
