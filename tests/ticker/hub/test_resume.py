import pytest

from ticker import metrics
from ticker.hub.resume import Position, Start, count_outcomes, start

NOW = Position("new", 100)
ENDED = {"old": 60, "older": 40, "beyond": 500}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(Position("new", 30), Start(30, reset=False), id="behind"),
        pytest.param(Position("new", 100), Start(100, reset=False), id="at the end"),
        pytest.param(Position("new", 101), Start(100, reset=True), id="ahead of the store"),
        pytest.param(Position("new", 0), Start(0, reset=False), id="from the beginning"),
        pytest.param(Position(None, 0), Start(0, reset=False), id="without a tick"),
        pytest.param(Position("old", 60), Start(60, reset=False), id="up to the end of an epoch"),
        pytest.param(Position("old", 61), Start(60, reset=True), id="behind the end of an epoch"),
        pytest.param(Position("older", 60), Start(40, reset=True), id="each epoch has an end of its own"),
        pytest.param(Position("beyond", 200), Start(100, reset=True), id="no end lies ahead of the store"),
        pytest.param(Position("nobody", 30), Start(0, reset=True), id="an unknown epoch"),
        pytest.param(Position("nobody", 0), Start(0, reset=True), id="an unknown epoch at its beginning"),
    ],
)
def test_a_client_goes_on_where_what_it_has_is_still_true(asked, expected):
    """What it has seen above that is withdrawn."""
    assert start(asked, *NOW, ENDED) == expected


def test_in_an_empty_store_nothing_is_true():
    """Nobody has begun an epoch yet: a position of one is withdrawn whole."""
    empty = Position(None, 0)
    assert start(Position("gone", 7), *empty, {}) == Start(0, reset=True)
    assert start(empty, *empty, {}) == Start(0, reset=False)


def test_outcomes_are_counted_by_symbol():
    """Of one request, each outcome as often as it came."""

    def counted():
        labels = [{"channel": "candles", "outcome": outcome} for outcome in ("whole", "gap", "reset")]
        return [metrics.REGISTRY.get_sample_value("ticker_resumes_total", one) or 0 for one in labels]

    before = counted()
    count_outcomes("candles", ["whole", "reset", "whole"])
    assert [now - was for now, was in zip(counted(), before, strict=True)] == [2, 0, 1]
