"""The sequence that everything is compared with: always the same, and with all that a feed can do wrong."""

import math
from collections import Counter
from fractions import Fraction
from typing import Any

from ledger.produced import line_of, read
from ledger.sequence import BAD, Fate, Made, Plan, made, number_of

from feeds.tick import Quote, Trade
from ticker import codec
from ticker.errors import RefusedTick

SYMBOLS = ("L00", "L01", "L02", "L11")
GOOD = Plan(7, SYMBOLS, 1000, 1_795_000_000_000_000, 10)
HOSTILE = Plan(7, SYMBOLS, 1000, 1_795_000_000_000_000, 10, hostile=True)


def rows(plan: Plan, count: int = 4_000) -> list[Made]:
    return [made(plan, number) for number in range(count)]


def test_the_same_seed_gives_the_same_ticks_and_another_others() -> None:
    assert [repr(row) for row in rows(HOSTILE)] == [repr(row) for row in rows(HOSTILE)]
    assert rows(GOOD) != rows(Plan(8, SYMBOLS, 1000, GOOD.origin_us, 10))


def test_good_ticks_are_all_to_be_stored_in_order_of_time_and_known_by_their_number() -> None:
    before = 0
    for row in rows(GOOD):
        assert row.fate is Fate.STORED
        assert row.tick.time > before
        before = row.tick.time
        assert number_of(*entry(row)) == row.number


def entry(row: Made) -> tuple[str, dict[str, str]]:
    """Kind and fields, as the service writes them."""
    if isinstance(row.tick, Trade):
        codec.check_trade(row.tick)
        _, names, values = codec.trade_entry(row.tick, 1)
        return "trades", dict(zip(names, values, strict=True))
    assert isinstance(row.tick, Quote)
    codec.check_quote(row.tick)
    _, names, values = codec.quote_entry(row.tick, 1)
    return "quotes", dict(zip(names, values, strict=True))


def test_a_hostile_feed_has_every_kind_of_fault_and_mostly_good_ticks() -> None:
    fates = Counter(row.fate for row in rows(HOSTILE))
    assert all(fates[fate] > 10 for fate in Fate)
    assert fates[Fate.STORED] > 3_500


def test_late_ticks_are_within_lateness_or_far_beyond() -> None:
    for row in rows(HOSTILE):
        late_s = (HOSTILE.time(row.number) - row.tick.time) / 1e6
        if row.fate is Fate.LATE:
            assert late_s >= 2.5 * HOSTILE.lateness_s
        elif row.fate is Fate.STORED:
            assert late_s <= 0.8 * HOSTILE.lateness_s


def test_a_duplicate_is_an_earlier_tick_that_is_stored_and_has_an_id() -> None:
    made_rows = rows(HOSTILE)
    stored = {repr(row.tick) for row in made_rows if row.fate is Fate.STORED}
    for row in made_rows:
        if row.fate is Fate.DUPLICATE:
            assert row.tick.id
            assert repr(row.tick) in stored


def test_every_bad_tick_is_one_that_the_service_must_not_take() -> None:
    """Found impossible in itself, or by its time or symbol."""
    for row in rows(HOSTILE):
        if row.fate is Fate.BAD:
            assert impossible(row), row
    assert len(BAD) > 5


def impossible(row: Made) -> bool:
    tick: Any = row.tick
    try:
        codec.check_trade(tick) if isinstance(tick, Trade) else codec.check_quote(tick)
    except RefusedTick:
        return True
    off_us = tick.time - HOSTILE.time(row.number)
    return tick.symbol == "NOBODY" or type(tick.time) is not int or abs(off_us) > 1e9 or math.isnan(off_us)


def test_the_ledger_is_read_as_it_was_written() -> None:
    """To the last digit, with the moment at which each was made; what was made again counts once."""
    lines = [
        "@ 12.500\n",
        *(line_of(row) for row in rows(HOSTILE, 500)),
        "@ 13.000\n",
        line_of(made(HOSTILE, 3)),
        "end 500\n",
    ]
    book = read(lines)
    assert len(book.ticks) == 500
    assert (book.end, book.remade, book.differing) == (500, 1, [])
    for row in rows(GOOD, 500):
        kind, fields = entry(row)
        values = [
            fields[name] for name in (("price", "size") if kind == "trades" else ("bid", "bid_size", "ask", "ask_size"))
        ]
        expected = [None if text == "null" else int(Fraction(text) * 1_000_000) for text in values]
        found = read([line_of(row)]).ticks[row.number]
        assert list(found.row[: len(values)]) == expected
        assert found.row[len(values) :] == (row.tick.time, row.tick.id, row.tick.exchange, None)
        assert (found.kind, found.symbol) == (kind, row.tick.symbol)


def test_a_feed_that_makes_something_else_the_second_time_is_found_out() -> None:
    first, other = made(GOOD, 3), made(Plan(8, SYMBOLS, 1000, GOOD.origin_us, 10), 3)
    assert read([line_of(first), line_of(other)]).differing == [3]


def test_a_line_that_was_cut_off_was_not_made() -> None:
    assert list(read([line_of(made(GOOD, 0)), line_of(made(GOOD, 1))[:-4]]).ticks) == [0]


def test_a_feed_cannot_begin_late() -> None:
    """There is nothing newer than its first tick yet."""
    plans = [Plan(seed, SYMBOLS, 1000, GOOD.origin_us, 10, hostile=True) for seed in range(200)]
    assert {made(plan, 0).fate for plan in plans} == {Fate.STORED}
    assert {made(plan, 1).fate for plan in plans} > {Fate.STORED}
