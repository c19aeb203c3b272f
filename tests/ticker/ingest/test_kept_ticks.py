from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.tick import Quote, Trade
from ticker.ingest.kept_ticks import KeptTicks

TRADE, QUOTE = Trade("A", 1, 1, 1), Quote("A", 1, 1, 2, 1, 1)


def numbered(symbol, kinds, after):
    """Ticks of these kinds that tell their own number by their size, and the numbers behind them."""
    trade, quote = after
    made = []
    for is_trade in kinds:
        if is_trade:
            trade += 1
            made.append(TRADE._replace(symbol=symbol, size=trade))
        else:
            quote += 1
            made.append(QUOTE._replace(symbol=symbol, bid_size=quote))
    return made, (trade, quote)


def test_the_newest_ticks_are_kept_and_the_oldest_go(new_tape):
    """Of all symbols together."""
    kept = KeptTicks(6)
    for number in range(5):
        kept.add("A", (2 * number, 0), [TRADE, TRADE])
        kept.add("B", (number, 0), [TRADE])
    assert len(kept) == 6
    assert kept.take_behind("A", (6, 0)) == ([TRADE] * 4, True)
    assert kept.take_behind("B", (1, 0))[1] is False
    kept.add("C", (0, 0), [TRADE] * 7)
    assert len(kept) == 0
    assert kept.take_behind("C", (0, 0)) == ([], False)


def test_of_an_unknown_symbol_nothing_is_kept():
    """And that is not all there ever was."""
    assert KeptTicks(5).take_behind("A", (0, 0)) == ([], False)


def test_what_was_taken_out_is_not_kept_any_more():
    """Until it is appended again; what lies below stays."""
    kept = KeptTicks(100)
    kept.add("A", (0, 0), [TRADE, QUOTE, TRADE, QUOTE, TRADE])
    assert kept.take_behind("A", (1, 1)) == ([TRADE, QUOTE, TRADE], True)
    assert (len(kept), kept.take_behind("A", (1, 1))) == (2, ([], True))
    kept.add("A", (1, 1), [TRADE])
    assert kept.take_behind("A", (0, 0)) == ([TRADE, QUOTE, TRADE], True)
    kept.add("A", (0, 0), [TRADE])
    kept.clear()
    assert (len(kept), kept.take_behind("A", (0, 0))) == (0, ([], False))


PARTS = st.lists(st.tuples(st.sampled_from("AB"), st.lists(st.booleans(), max_size=6)), max_size=12)


@given(parts=PARTS, most=st.integers(0, 30), trade=st.integers(0, 40), quote=st.integers(0, 40))
def test_what_is_taken_is_just_what_lies_behind(parts, most, trade, quote):
    """In order, and it is known whether anything of it is missing."""
    kept, ends, every = KeptTicks(most), {"A": (0, 0), "B": (0, 0)}, {"A": [], "B": []}
    for symbol, kinds in parts:
        ticks, end = numbered(symbol, kinds, ends[symbol])
        kept.add(symbol, ends[symbol], ticks)
        ends[symbol] = end
        every[symbol] += ticks
        assert len(kept) <= most
    count = len(kept)
    taken, whole = kept.take_behind("A", (trade, quote))
    wanted = [t for t in every["A"] if (t.size > trade if isinstance(t, Trade) else t.bid_size > quote)]
    assert taken == wanted[len(wanted) - len(taken) :]
    if whole:
        assert taken == wanted
    elif len(kept) + len(taken) == sum(len(ticks) for ticks in every.values()) and every["A"]:
        pytest.fail("nothing was dropped, yet it is said to be missing")
    assert len(kept) == count - len(taken)
    assert all(a != b for a, b in pairwise(taken)) or len(taken) < 2
