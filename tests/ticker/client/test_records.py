"""Records are read from messages and answers of any later version, and cannot be changed."""

from dataclasses import FrozenInstanceError

import pytest

from ticker.client import Gap, records


def test_unknown_fields_are_passed_over():
    """A newer gateway may say more."""
    row = {"symbol": "A", "price": 1, "size": 2, "time": 3, "seq": 4, "novelty": 5}
    assert records.trade(row) == records.Trade("A", 1, 2, 3, 4)


def test_records_are_frozen():
    """Whoever has one may keep it."""
    gap = Gap("trades", "A", 3, 5, "trimmed")
    assert gap.missed == 3
    with pytest.raises(FrozenInstanceError):
        gap.first = 1
