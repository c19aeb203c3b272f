"""What is known, or made up, of the symbols of a feed: their listings, and where their simulated prices begin."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from feeds.known_symbols import KNOWN_SYMBOLS, KnownSymbol
from feeds.tick import Listing

SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-]{0,15}")
SYMBOL_RULE = "1 to 16 of A-Z, 0-9, '.' and '-', beginning with a letter or digit"
SYMBOLS_MAX = 10_000
SYMBOLS_RULE = f"a number from 1 to {SYMBOLS_MAX}, or a list of as many symbols"

CURRENCY = "USD"
TICK_SIZE = 0.01

FIRST_SYLLABLES = (
    *("ALT", "BEL", "BRI", "CAS", "COR", "DAL", "DOR", "ELM", "FEN", "GAR", "HAL", "JOR", "KEL"),
    *("LAN", "MER", "NOR", "PEL", "RIV", "SOL", "TAR", "VAL", "WIN", "XEN", "YOR", "ZEN"),
)
MIDDLE_SYLLABLES = (
    *("BA", "DO", "KA", "LE", "LI", "LO", "MA", "MO", "NA", "NE"),
    *("NO", "RA", "RE", "RI", "RO", "SA", "TA", "TE", "TO", "VA"),
)
LAST_SYLLABLES = (
    *("CO", "DA", "DE", "GO", "KA", "LA", "LI", "LO", "MA", "ME", "MI", "NA", "NE"),
    *("NI", "NO", "RA", "RE", "RI", "RO", "SA", "TA", "TE", "TI", "VA", "VO"),
)
WORDS = len(FIRST_SYLLABLES) * len(MIDDLE_SYLLABLES) * len(LAST_SYLLABLES)
WORD_STEP = 7_919
"""Shares no factor with `WORDS`, so steps of it meet every word once, far apart."""

SUFFIXES = ("Holdings", "Group", "Industries", "Systems", "Partners", "Energy", "Labs", "Foods")
SECTORS = ("Technology", "Health Care", "Financials", "Industrials", "Energy", "Materials", "Utilities", "Real Estate")
EXCHANGES = ("XNAS", "XNYS")

_BY_SYMBOL = {known.symbol: known for known in KNOWN_SYMBOLS}


@dataclass(frozen=True, slots=True)
class Profile:
    """A listing with the price that its simulation swings around, and the volatility of its log-price a year."""

    listing: Listing
    price: float
    volatility: float


def profiles(symbols: int | Sequence[str]) -> list[Profile]:
    """The first `symbols` of the known ones and, beyond these, of made-up ones; or those that are named.

    What is made up depends on the symbol's name alone. Raises `ValueError` like `check_symbols`.
    """
    wanted = check_symbols(symbols)
    if isinstance(wanted, int):
        known = [row.symbol for row in KNOWN_SYMBOLS[:wanted]]
        wanted = known + [made_up_symbol(index) for index in range(wanted - len(known))]
    return [_known(_BY_SYMBOL[symbol]) if symbol in _BY_SYMBOL else _made_up(symbol) for symbol in wanted]


def replayed_listing(symbol: str) -> Listing:
    """What is known of a symbol of a recording: a recording itself says nothing but its name."""
    known = _BY_SYMBOL.get(symbol)
    return _known(known).listing if known else Listing(symbol, symbol, "", CURRENCY, "", TICK_SIZE)


def check_symbols(value: object) -> int | list[str]:
    """A number of symbols or a list of them; raises `ValueError` saying what was found and what is allowed."""
    if isinstance(value, int) and not isinstance(value, bool):
        if 1 <= value <= SYMBOLS_MAX:
            return value
        raise ValueError(f"found {value} symbols; allowed: {SYMBOLS_RULE}")
    if not isinstance(value, list | tuple):
        raise ValueError(f"found {value!r}; allowed: {SYMBOLS_RULE}")
    if not 1 <= len(value) <= SYMBOLS_MAX:
        raise ValueError(f"found a list of {len(value)} symbols; allowed: {SYMBOLS_RULE}")
    seen: dict[str, None] = {}
    for symbol in value:
        check_symbol(symbol)
        if symbol in seen:
            raise ValueError(f"{symbol!r} is in the list twice; allowed: each symbol once")
        seen[symbol] = None
    return list(seen)


def check_symbol(symbol: object) -> None:
    """Raise `ValueError` for what cannot be a symbol."""
    if not isinstance(symbol, str):
        # YAML reads a bare ON, NO or 700 as something else than text.
        raise ValueError(f"{symbol!r} is no symbol but of type {type(symbol).__name__}; put it in quotes")
    if not SYMBOL.fullmatch(symbol):
        raise ValueError(f"{symbol!r} is no symbol; allowed: {SYMBOL_RULE}")


def made_up_symbol(index: int) -> str:
    """The symbol number `index` of nobody: seven letters, which no symbol on a US exchange has."""
    rest, last = divmod(index * WORD_STEP % WORDS, len(LAST_SYLLABLES))
    first, middle = divmod(rest, len(MIDDLE_SYLLABLES))
    return FIRST_SYLLABLES[first] + MIDDLE_SYLLABLES[middle] + LAST_SYLLABLES[last]


def _known(row: KnownSymbol) -> Profile:
    listing = Listing(row.symbol, row.name, row.exchange, CURRENCY, row.sector, TICK_SIZE)
    return Profile(listing, row.price, row.volatility)


def _made_up(symbol: str) -> Profile:
    # Not hash(): that differs from process to process.
    digest = hashlib.blake2b(symbol.encode(), digest_size=16).digest()
    suffix, sector, exchange = (
        choices[byte % len(choices)] for byte, choices in zip(digest, (SUFFIXES, SECTORS, EXCHANGES), strict=False)
    )
    part = int.from_bytes(digest[8:12]) / 2**32
    price = round(5 * 100**part, 2)  # as many between $5 and $50 as between $50 and $500
    volatility = round(0.15 + 0.45 * int.from_bytes(digest[12:16]) / 2**32, 3)
    listing = Listing(symbol, f"{symbol.title()} {suffix}", exchange, CURRENCY, sector, TICK_SIZE)
    return Profile(listing, price, volatility)
