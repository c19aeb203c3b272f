"""The plain candles against figures made by hand, and against those of the service on random trades."""

import random
from zoneinfo import ZoneInfo

import pytest
from ledger.naive_candles import INTERVALS, Bar, Print, made_of, shown

from ticker.candles.builder import CandleBuilder
from ticker.candles.interval import INTERVALS as THEIRS

ZONE = ZoneInfo("America/New_York")
NOON = 1_795_608_000_000_000
MILLION = 1_000_000


def test_a_candle_made_by_hand() -> None:
    prints = [
        Print(1, NOON + 5, 10 * MILLION, 2 * MILLION),
        Print(2, NOON + 9, 11 * MILLION, MILLION),
        Print(3, NOON + 5, 12 * MILLION, MILLION),
        Print(4, NOON + 1, 9 * MILLION, 0),
    ]
    bar, seq = made_of(prints, "1s", ZONE)[NOON]
    # 10 x 2 + 11 + 12 = 43, over 4 = 10.75; the earliest is number 4, the latest number 2.
    assert bar == Bar(NOON, 9 * MILLION, 12 * MILLION, 9 * MILLION, 11 * MILLION, 4 * MILLION, 4, 10_750_000)
    assert seq == 4


def test_a_half_is_rounded_to_even() -> None:
    def vwap(price: int) -> int | None:
        return made_of([Print(1, NOON, price, 1), Print(2, NOON, price + 1, 1)], "1s", ZONE)[NOON][0].vwap

    assert (vwap(2), vwap(3)) == (2, 4)
    assert made_of([Print(1, NOON, 5, 0)], "1s", ZONE)[NOON][0].vwap is None


@pytest.mark.parametrize("interval", INTERVALS)
def test_they_equal_those_of_the_service(interval: str) -> None:
    """Two ways to the same figures, in every interval, over a clock change."""
    dice = random.Random(interval)
    begin = 1_793_400_000_000_000  # the day before clocks are set back in New York
    prints = [
        Print(seq, begin + dice.randrange(3 * 86_400 * MILLION), dice.randrange(1, 10**9), dice.randrange(10**8))
        for seq in range(1, 400)
    ]
    builder = CandleBuilder(THEIRS[interval], ZONE, 0, 1 << 60)
    for one in prints:
        builder.add(one.time, one.price, one.size, one.seq)
    theirs = {
        c.time: (Bar(c.time, c.open, c.high, c.low, c.close, c.volume, c.trades, c.vwap), c.seq)
        for c in builder.unclosed()
    }
    assert made_of(prints, interval, ZONE) == theirs


def test_an_answer_is_read_to_the_last_digit() -> None:
    row = {
        "time": "1",
        "open": "0.1",
        "high": "0.3",
        "low": "1e-06",
        "close": "2",
        "volume": "3",
        "trades": "4",
        "vwap": None,
    }
    assert shown(row) == Bar(1, 100_000, 300_000, 1, 2 * MILLION, 3 * MILLION, 4, None)
    with pytest.raises(ValueError, match="six decimals"):
        shown(row | {"high": "0.30000000000000004"})
