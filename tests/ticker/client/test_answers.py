"""Answers of any later version become records."""

from ticker.client import Limit, Outage, Symbol, answers


def test_unknown_fields_are_passed_over():
    """A newer gateway may say more, and a feed less."""
    assert answers.symbol({"symbol": "A", "novelty": 5}) == Symbol("A", "", "", "", "", None, "", False)
    assert answers.limit("l", {"value": 3, "unit": "rows", "novelty": 5}) == Limit("l", 3, "rows", *[None] * 4)
    row = {"from": 1, "to": None, "kind": "feed", "reason": "stuck", "novelty": 5}
    assert answers.outage(row) == Outage(1, None, "feed", "stuck")
