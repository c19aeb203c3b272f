"""The same rows in four shapes."""

import sys
import warnings

import pytest

from ticker.client import MissingExtra, Misuse, Position, Rows
from ticker.client.records import trade
from ticker.client.shapes import Columns, check_shape, shaped

AT = Position("e", 2)
TRADES = [
    {"time": 1_763_985_600_000_001, "price": 100, "size": 5, "seq": 1},
    {"time": 1_763_985_600_500_000, "price": 100.25, "size": 0.5, "seq": 2, "exchange": "XNAS"},
]
CANDLE = {"open": 1, "high": 2.5, "low": 1, "close": 2, "volume": 0, "trades": 1, "vwap": None, "final": False}
QUOTE = {"time": 1_763_985_600_000_001, "bid": None, "bid_size": 0, "ask": 2, "ask_size": 1, "seq": 1}


def test_rows():
    """A sequence of records."""
    rows = shaped("trades", TRADES, AT, "rows", lambda row: trade(row, "AAPL"))
    assert isinstance(rows, Rows)
    assert (len(rows), rows[0].price, rows[-1].exchange, rows.position) == (2, 100, "XNAS", AT)
    assert [row.seq for row in rows] == [1, 2]
    assert [row.seq for row in rows[1:]] == [2]
    assert "2 rows" in repr(rows)


def test_columns():
    """A mapping of lists; what only some rows have is None in the others."""
    columns = shaped("trades", TRADES, AT, "columns", trade)
    assert isinstance(columns, Columns)
    assert dict(columns) == {
        "time": [1_763_985_600_000_001, 1_763_985_600_500_000],
        "price": [100, 100.25],
        "size": [5, 0.5],
        "seq": [1, 2],
        "exchange": [None, "XNAS"],
    }
    assert (len(columns), columns.position) == (5, AT)
    assert repr(columns).startswith("Columns(time, price")


def test_pandas():
    """Indexed by time in UTC; each column of one type, also where nothing is in it."""
    import pandas as pd

    frame = shaped("candles", [CANDLE | {"time": 1_763_985_600_000_000}], AT, "pandas", trade)
    assert frame.position == AT
    assert frame.index.name == "time"
    assert frame.index[0] == pd.Timestamp("2025-11-24T12:00:00Z")
    types = {"open": "float64", "volume": "float64", "trades": "int64", "vwap": "float64", "final": "bool"}
    assert {name: str(frame[name].dtype) for name in types} == types
    assert frame["vwap"].isna().all()
    empty = shaped("candles", [], None, "pandas", trade)
    assert (len(empty), list(empty.columns), empty.position) == (0, list(frame.columns), None)
    assert str(empty.index.dtype) == str(frame.index.dtype) == "datetime64[us, UTC]"
    assert str(shaped("quotes", [QUOTE], None, "pandas", trade)["bid"].dtype) == "float64"


def test_polars():
    """With time as a column; missing values are null."""
    import polars as pl

    frame = shaped("trades", TRADES, AT, "polars", trade)
    assert frame.position == AT
    assert frame.schema["time"] == pl.Datetime("us", "UTC")
    assert frame["price"].to_list() == [100.0, 100.25]
    assert frame["exchange"].to_list() == [None, "XNAS"]
    candles = shaped("candles", [CANDLE | {"time": 1}], None, "polars", trade)
    assert (candles["vwap"].to_list(), candles.schema["trades"], candles.schema["final"]) == (
        [None],
        pl.Int64,
        pl.Boolean,
    )
    assert shaped("quotes", [], None, "polars", trade).columns == ["time", "bid", "bid_size", "ask", "ask_size", "seq"]


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch):
    """Before anything is asked for."""
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtra, match=r"pip install 'ticker\[polars\]'"):
        check_shape("polars")
    check_shape("pandas")


def test_another_shape_is_refused():
    """With those there are."""
    with warnings.catch_warnings(), pytest.raises(Misuse, match="rows, columns, pandas, polars"):
        check_shape("arrow")
