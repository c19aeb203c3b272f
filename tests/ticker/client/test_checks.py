"""What cannot be asked for is refused before anything is sent."""

import pytest

from ticker.client import Misuse, Position, connect
from ticker.client.checks import (
    check_channel,
    check_delivery,
    check_interval,
    check_symbol,
    checked_symbols,
    positions_of,
)


@pytest.mark.parametrize(
    ("check", "given", "told"),
    [
        (check_channel, ("candle", None), "allowed: trades, quotes, candles"),
        (check_channel, ("trades", "1m"), "'1m' goes with channel 'candles'"),
        (check_channel, ("candles", None), "interval is None; allowed: 1s"),
        (check_interval, ("2m",), "'2m'; allowed: 1s"),
        (check_delivery, ("some", None), "allowed: all, latest"),
        (check_delivery, ("all", 100), "goes with deliver='latest'"),
        (check_delivery, ("latest", 0), "allowed: 1 to 60000"),
        (check_delivery, ("latest", True), "allowed: 1 to 60000"),
        (check_symbol, ("AAPL/..",), "is no symbol"),
        (check_symbol, ("*",), "is no symbol"),
        (checked_symbols, ([],), "symbols is empty"),
        (checked_symbols, (["AAPL", "aapl"],), "'aapl' is no symbol"),
        (checked_symbols, ([7],), "7 is no symbol"),
        (positions_of, ({"epoch": "e", "seq": 1}, ["A", "B"]), "one position for 2 symbols"),
        (positions_of, (Position("e", 1), ["*"]), "one position for 1 symbols"),
        (positions_of, ({"B": Position("e", 1)}, ["A"]), "resume names 'B'"),
        (positions_of, ({"A": {"epoch": "e", "seq": -1}}, ["A"]), "expected a Position"),
        (positions_of, ({"A": {"epoch": 5, "seq": 1}}, ["A"]), "expected a Position"),
        (positions_of, ({"A": {"epoch": None, "seq": 1}}, ["A"]), "expected a Position"),
        (positions_of, ({"A": {"epoch": "e", "seq": True}}, ["A"]), "expected a Position"),
        (connect, ("127.0.0.1:8000",), "such as http://127.0.0.1:8000"),
        (connect, ("ws://127.0.0.1:8000",), "such as http://127.0.0.1:8000"),
        (connect, ("http://127.0.0.1:8000/?a=1",), "such as http://127.0.0.1:8000"),
    ],
)
def test_what_is_refused(check, given, told):
    """With what was found and what is allowed; a ValueError for whoever knows no other."""
    with pytest.raises(Misuse) as error:
        check(*given)
    assert told in str(error.value)
    assert isinstance(error.value, ValueError)


def test_what_is_let_through():
    """A name alone is a list of one; repeats are dropped."""
    assert checked_symbols("AAPL") == ("AAPL",)
    assert checked_symbols(iter(["BRK.B", "AAPL", "BRK.B", "*"])) == ("BRK.B", "AAPL", "*")
    check_channel("candles", "1w")
    check_delivery("latest", 60_000)
    at = Position("e", 1)
    assert positions_of(None, ["A"]) == {}
    assert positions_of(at, ["A"]) == positions_of(at.as_dict(), ["A"]) == {"A": at}
    assert positions_of({"A": at, "B": {"epoch": None, "seq": 0}}, ["*"]) == {"A": at, "B": Position(None, 0)}
