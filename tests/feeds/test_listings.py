import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.known_symbols import KNOWN_SYMBOLS
from feeds.listings import SYMBOL, SYMBOLS_MAX, check_symbols, made_up_symbol, profiles, replayed_listing
from feeds.tick import Listing

KNOWN = len(KNOWN_SYMBOLS)


def symbols_of(symbols):
    return [profile.listing.symbol for profile in profiles(symbols)]


def test_the_table_has_about_fifty_symbols_each_once():
    """The default of 50 simulated symbols needs nothing made up."""
    assert KNOWN >= 50
    assert len({row.symbol for row in KNOWN_SYMBOLS}) == KNOWN
    for row in KNOWN_SYMBOLS:
        assert SYMBOL.fullmatch(row.symbol)
        assert row.exchange in ("XNAS", "XNYS", "ARCX")
        assert row.name
        assert row.sector
        assert row.price > 1
        assert 0.1 <= row.volatility <= 1


def test_a_number_takes_the_first_of_the_table():
    """The best known come first, with their data."""
    (apple, microsoft) = profiles(2)
    assert apple.listing == Listing("AAPL", "Apple Inc.", "XNAS", "USD", "Technology", 0.01)
    assert (apple.price, apple.volatility) == (230.0, 0.28)
    assert microsoft.listing.symbol == "MSFT"


def test_beyond_the_table_symbols_are_made_up_and_never_collide():
    """Ten thousand symbols, all valid, all different, the known ones among them."""
    found = symbols_of(SYMBOLS_MAX)
    assert found[:KNOWN] == [row.symbol for row in KNOWN_SYMBOLS]
    assert len(set(found)) == SYMBOLS_MAX
    assert all(SYMBOL.fullmatch(symbol) and len(symbol) == 7 for symbol in found[KNOWN:])


def test_more_symbols_begin_with_those_of_fewer():
    """Asking for more changes nothing about those that were there."""
    assert profiles(80)[:60] == profiles(60)


def test_a_made_up_symbol_is_the_same_by_number_and_by_name():
    """What is made up depends on the name alone, and looks like a company."""
    by_number = profiles(KNOWN + 3)[-1]
    (by_name,) = profiles([made_up_symbol(2)])
    assert by_number == by_name
    listing = by_name.listing
    assert listing.name.startswith(listing.symbol.title() + " ")
    assert listing.exchange in ("XNAS", "XNYS")
    assert (listing.currency, listing.tick_size) == ("USD", 0.01)
    assert listing.sector


def test_what_is_made_up_stays_the_same_for_ever():
    """A change here would move the prices of everybody's simulations."""
    (profile,) = profiles(["ACME"])
    assert profile.listing == Listing("ACME", "Acme Foods", "XNYS", "USD", "Technology", 0.01)
    assert (profile.price, profile.volatility) == (6.24, 0.256)


@given(st.from_regex(SYMBOL, fullmatch=True))
def test_any_valid_name_has_a_plausible_profile(symbol):
    """Prices and volatilities of made-up symbols are like those of real ones."""
    (profile,) = profiles([symbol])
    assert profile.listing.symbol == symbol
    assert 5 <= profile.price <= 1000
    assert 0.15 <= profile.volatility <= 0.65


def test_a_list_gives_its_names_in_order():
    """Known names come with their data, others are made up."""
    assert symbols_of(["TSLA", "X-1", "AAPL"]) == ["TSLA", "X-1", "AAPL"]
    assert profiles(["TSLA"])[0].listing.name == "Tesla, Inc."


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "found 0 symbols; allowed: a number from 1 to 10000, or a list of as many symbols"),
        (10_001, "found 10001 symbols; allowed: a number from 1 to 10000"),
        (True, "found True; allowed: a number from 1 to 10000"),
        (2.5, "found 2.5; allowed: a number from 1 to 10000"),
        ("AAPL", "found 'AAPL'; allowed: a number from 1 to 10000, or a list"),
        ([], "found a list of 0 symbols; allowed: a number from 1 to 10000"),
        (["A"] * 10_001, "found a list of 10001 symbols; allowed"),
        (["AAPL", "aapl"], "'aapl' is no symbol; allowed: 1 to 16 of A-Z, 0-9, '.' and '-', beginning with"),
        (["-A"], "'-A' is no symbol; allowed"),
        ([""], "'' is no symbol; allowed"),
        (["A" * 17], f"'{'A' * 17}' is no symbol; allowed"),
        (["AAPL\n"], r"'AAPL\n' is no symbol; allowed"),
        (["IBM", True], "True is no symbol but of type bool; put it in quotes"),
        (["IBM", "BAC", "IBM"], "'IBM' is in the list twice; allowed: each symbol once"),
    ],
)
def test_bad_symbols_are_refused_by_what_was_found_and_what_is_allowed(value, message):
    """Each message names the value at fault."""
    with pytest.raises(ValueError, match=re.escape(message)):
        check_symbols(value)


def test_a_replayed_symbol_has_its_known_name_or_its_own():
    """A recording says nothing of a symbol but how it is written."""
    assert replayed_listing("IBM").name == "International Business Machines Corporation"
    assert replayed_listing("ZZZ.Q") == Listing("ZZZ.Q", "ZZZ.Q", "", "USD", "", 0.01)
