from feeds import columns
from feeds.tick import Quote, Trade


def test_rows_of_columns_become_trades():
    """Columns in the order of the fields; the optional ones that are left out are None."""
    assert columns.trades(["A", "B"], [1.5, 2.0], [10, 20], [100, 200]) == [
        Trade("A", 1.5, 10, 100),
        Trade("B", 2.0, 20, 200),
    ]


def test_rows_of_columns_become_quotes():
    """All fields may be given."""
    (quote,) = columns.quotes(["A"], [1.0], [5], [1.1], [6], [100], ["7"], ["P"], [None])
    assert quote == Quote("A", 1.0, 5, 1.1, 6, 100, "7", "P", None)
    assert type(quote) is Quote
    assert quote.ask_size == 6


def test_no_rows_are_no_ticks():
    """An empty poll makes nothing."""
    assert columns.trades([], [], [], []) == []
