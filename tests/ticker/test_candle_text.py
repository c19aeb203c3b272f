"""Candles as text: the same numbers in each form, and a chart that fits."""

import json

import pytest

from ticker.candle_text import HEIGHT, as_chart, as_csv, as_json, as_table
from ticker.client import Candle, Position, Rows

NOON = 1_763_985_600_000_000
MINUTE = 60_000_000


def candle(number: int = 0, open_: float = 10, close: float = 11, volume: float = 5, **more: float) -> Candle:
    prices = {"high": max(open_, close), "low": min(open_, close)} | more
    return Candle(
        "AAPL", "1m", NOON + number * MINUTE, open_, prices["high"], prices["low"], close, volume, 2, None, number < 5
    )


def test_a_table_and_csv_and_json():
    """Times for people in the table, microseconds elsewhere; null is nothing, or null."""
    rows = Rows([candle(0), candle(7, 10.25)], Position("e", 9))
    table = as_table(rows).splitlines()
    assert table[0].split() == ["time", "open", "high", "low", "close", "volume", "trades", "vwap", "final"]
    assert table[1].split() == ["2025-11-24", "12:00:00Z", "10", "11", "10", "11", "5", "2", "true"]
    assert len({len(line) for line in table[1:]}) == 1
    assert as_csv(rows).splitlines()[1:] == [
        f"{NOON},10,11,10,11,5,2,,true",
        f"{NOON + 7 * MINUTE},10.25,11,10.25,11,5,2,,false",
    ]
    body = json.loads(as_json("AAPL", "1m", rows))
    assert (body["symbol"], body["interval"], body["position"]) == ("AAPL", "1m", {"epoch": "e", "seq": 9})
    assert body["candles"][0]["vwap"] is None
    assert json.loads(as_json("AAPL", "1m", Rows([], None)))["position"] is None


def column(chart: str, number: int) -> str:
    """One column of the prices, from top to bottom."""
    return "".join(line[number] if len(line) > number else " " for line in chart.splitlines()[:HEIGHT])


def test_a_chart_shows_bodies_and_wicks():
    """Filled where the price rose, light where it fell, a line where it ended where it began."""
    rows = [candle(0, 10, 20), candle(1, 20, 15, low=12.5), candle(2, 15, 15, high=20, low=10)]
    chart = as_chart(rows, 60)
    assert column(chart, 0) == "█" * HEIGHT
    assert column(chart, 1).strip() == "░" * 8 + "│" * 4
    assert column(chart, 2).replace("│", "").strip() == "─"
    lines = chart.splitlines()
    assert lines[0].endswith(" 20.00")
    assert lines[15].endswith(" 10.00")
    assert lines[16] == "███ 5 volume"
    assert lines[-1] == "2025-11-24 12:00:00Z  2025-11-24 12:02:00Z"


@pytest.mark.parametrize(("count", "width"), [(1, 80), (50, 80), (51, 80), (1_000, 80), (997, 40), (10, 5)])
def test_a_chart_fits_the_terminal(count: int, width: int) -> None:
    """However many candles there are; the last column is the newest."""
    rows = [candle(i, 10 + i % 7, 10 + (i * 3) % 7, volume=i) for i in range(count)]
    lines = as_chart(rows, width).splitlines()
    assert max(map(len, lines[:HEIGHT])) <= max(width, 40)
    assert len(lines) == HEIGHT + 4
    assert column("\n".join(lines), 0).strip()


def test_volumes_are_drawn_from_zero():
    """In eighths of three lines."""
    lines = as_chart([candle(0, volume=24), candle(1, volume=13), candle(2, volume=0)], 60).splitlines()[HEIGHT:]
    assert lines[:3] == ["█   24 volume", "█▅", "██"]


def test_a_chart_of_nothing_and_of_one_price():
    """Neither divides by zero."""
    assert as_chart([], 80) == "no candles"
    flat = as_chart([candle(0, 10, 10, volume=0)], 80)
    assert column(flat, 0).strip() == "─"


def test_colours_are_the_callers():
    """Each mark with the colour of its way."""
    chart = as_chart([candle(0, 10, 20), candle(1, 20, 10)], 60, lambda text, colour: colour[0])
    assert (column(chart, 0), column(chart, 1)) == ("g" * HEIGHT, "r" * HEIGHT)
