"""Rows of a recording into ticks: each value is checked, and a mistake is named.

There are two ways to the same result. `parse_row` reads one row, says what is wrong with it, and is the rule.
`split_columns` and `parse_columns` read many at once, several times as fast, and give up where anything is unusual.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat

import numpy as np

from feeds import columns
from feeds.tick import Quote, Tick, Trade

TRADE_COLUMNS = ("time", "symbol", "price", "size")
QUOTE_COLUMNS = ("time", "symbol", "bid", "bid_size", "ask", "ask_size")
OPTIONAL_COLUMNS = ("id", "exchange", "conditions")

TIME_MIN, TIME_MAX = 10**14, 10**16
"""Microseconds of 1973 and 2286. Times in seconds, milli- or nanoseconds of this century all lie outside."""

MILLION = 1_000_000
MILLIONTHS_MAX = 1 << 53
"""From here on, not every millionth has a floating-point number of its own."""

NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
NUMBER_TEXT_MAX = 40
EXACT_TEXT_MAX = 15
"""Two decimal numbers of at most 15 digits that differ are different floating-point numbers too."""

TEXT_MAX = 64
"""Characters of an optional text."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the header of a file says: whether it holds quotes or trades, and where each column is."""

    is_quotes: bool
    header: tuple[str, ...]

    def place(self, column: str) -> int:
        """Where a column stands in a row."""
        return self.header.index(column)

    @property
    def optional(self) -> list[str]:
        """The optional columns that are there, in the order of a tick's fields."""
        return [column for column in OPTIONAL_COLUMNS if column in self.header]


def layout_of(header: Sequence[str]) -> Layout:
    """The layout that a header gives; raises `ValueError` for columns that are unknown, missing or there twice."""
    is_quotes = any(column in header for column in QUOTE_COLUMNS[2:])
    kind, required = ("quotes", QUOTE_COLUMNS) if is_quotes else ("trades", TRADE_COLUMNS)
    rule = f"{kind} have the columns {', '.join(required)} and may have {', '.join(OPTIONAL_COLUMNS)}"
    for column in header:
        if column not in required + OPTIONAL_COLUMNS:
            raise ValueError(f"unknown column {shown(column)}; {rule}")
        if header.count(column) > 1:
            raise ValueError(f"column {column!r} is there twice; {rule}")
    if missing := [column for column in required if column not in header]:
        raise ValueError(f"no column {', '.join(map(repr, missing))}; {rule}")
    return Layout(is_quotes, tuple(header))


def parse_row(layout: Layout, row: Sequence[str]) -> Tick:
    """The tick of one row, whose symbol is known to be good; raises `ValueError` naming the value that is not."""
    check_width(layout, row)
    of = dict(zip(layout.header, row, strict=True))
    time = parse_time(of["time"])
    texts = {column: _text(of[column], column) for column in layout.optional}
    if not layout.is_quotes:
        return Trade(of["symbol"], _number(of["price"], "price"), _size(of["size"], "size"), time, **texts)
    bid, bid_size = _side(of, "bid")
    ask, ask_size = _side(of, "ask")
    return Quote(of["symbol"], bid, bid_size, ask, ask_size, time, **texts)


def check_width(layout: Layout, row: Sequence[str]) -> None:
    """Raise `ValueError` for a row that has not a field for each column."""
    if len(row) != len(layout.header):
        raise ValueError(f"found {len(row)} fields, expected {len(layout.header)}: {','.join(layout.header)}")


def parse_time(text: str) -> int:
    """Microseconds; raises `ValueError`, also for what must be another unit."""
    if text.isascii() and text.isdigit() and len(text) < NUMBER_TEXT_MAX and TIME_MIN <= int(text) < TIME_MAX:
        return int(text)
    raise ValueError(f"time {shown(text)}: expected whole microseconds since 1970, from {TIME_MIN} to {TIME_MAX}")


def split_columns(layout: Layout, text: str) -> dict[str, list[str]]:
    """The columns of whole lines; raises `ValueError`, without saying more, where they must be read row by row."""
    if '"' in text:
        raise ValueError
    text = text.replace("\r\n", "\n")
    if not text.endswith("\n"):
        text += "\n"
    width = len(layout.header)
    # Splits all lines at once, and leaves each line break at the end of its last field.
    fields = text.replace("\n", "\n,").split(",")
    fields.pop()
    last = "".join(fields[width - 1 :: width])
    # A line that is too short or too long would move a line break into another column.
    if len(fields) % width or not last.count("\n") == text.count("\n") == len(fields) // width:
        raise ValueError
    split = [fields[place::width] for place in range(width - 1)] + [last.split("\n")[:-1]]
    return dict(zip(layout.header, split, strict=True))


def parse_columns(layout: Layout, of: Mapping[str, Sequence[str]], names: Mapping[str, str]) -> Sequence[Tick]:
    """The ticks of many rows; raises `ValueError` or `KeyError`, without saying more, where `parse_row` must look.

    `names` has each symbol of the recording as key and value: the ticks share these texts.
    """
    symbols = list(map(names.__getitem__, of["symbol"]))
    times = _times(of["time"])
    texts = [_texts(of[column], column) if column in of else repeat(None) for column in OPTIONAL_COLUMNS]
    if not layout.is_quotes:
        return columns.trades(symbols, _numbers(of["price"]), _sizes(of["size"]), times, *texts)
    bids, bid_sizes = _numbers(of["bid"]), _sizes(of["bid_size"])
    asks, ask_sizes = _numbers(of["ask"]), _sizes(of["ask_size"])
    return columns.quotes(symbols, bids, bid_sizes, asks, ask_sizes, times, *texts)


def shown(text: str) -> str:
    """A found value as a message shows it: in quotes, and not too long."""
    return repr(text if len(text) <= NUMBER_TEXT_MAX else text[:NUMBER_TEXT_MAX] + "...")


def _number(text: str, column: str) -> float:
    if len(text) > NUMBER_TEXT_MAX or not NUMBER.fullmatch(text):
        raise ValueError(f"{column} {shown(text)}: expected a number")
    value = float(text)
    if abs(value) * MILLION >= MILLIONTHS_MAX:
        raise ValueError(f"{column} {shown(text)}: expected less than {MILLIONTHS_MAX // MILLION}")
    # The text decides, not its floating-point number, which may be as near to six decimals as to more.
    if (Fraction(text) * MILLION).denominator != 1:
        raise ValueError(f"{column} {shown(text)}: expected at most 6 decimals")
    return value


def _size(text: str, column: str) -> float:
    """A whole size as an integer."""
    value = _number(text, column)
    if value < 0:
        raise ValueError(f"{column} {shown(text)}: expected 0 or more")
    return int(value) if value.is_integer() else value


def _side(of: dict[str, str], side: str) -> tuple[float | None, float]:
    """The price and size of one side of a quote; without a price, the side is missing."""
    size = f"{side}_size"
    if of[side]:
        return _number(of[side], side), _size(of[size], size)
    if of[size] and _size(of[size], size):
        raise ValueError(f"{size} {shown(of[size])}: expected 0 or nothing, because there is no {side}")
    return None, 0


def _text(text: str, column: str) -> str | None:
    """An optional text; nothing is None."""
    if len(text) > TEXT_MAX or not text.isprintable():
        raise ValueError(f"{column} {shown(text)}: expected at most {TEXT_MAX} printable characters")
    return text or None


def _times(texts: Sequence[str]) -> list[int]:
    _only_digits("".join(texts))
    times = list(map(int, texts))
    if min(times) < TIME_MIN or max(times) >= TIME_MAX:
        raise ValueError
    return times


def _numbers(texts: Sequence[str]) -> list[float]:
    return list(map(_distinct_numbers(texts).__getitem__, texts))


def _sizes(texts: Sequence[str]) -> list[float]:
    numbers = _distinct_numbers(texts)
    sizes = {text: int(number) if number.is_integer() else number for text, number in numbers.items()}
    return list(map(sizes.__getitem__, texts))


def _distinct_numbers(texts: Sequence[str]) -> dict[str, float]:
    """The number of each text. Prices and sizes repeat themselves, so this is far less to read."""
    distinct = list(set(texts))
    _only_digits("".join(distinct).replace(".", ""))
    if max(map(len, distinct)) > EXACT_TEXT_MAX:
        raise ValueError
    numbers = list(map(float, distinct))
    exact = np.array(numbers)
    millionths = np.rint(exact * MILLION)
    if millionths.max() >= MILLIONTHS_MAX or (millionths / MILLION != exact).any():
        raise ValueError
    return dict(zip(distinct, numbers, strict=True))


def _texts(texts: Sequence[str], column: str) -> list[str | None]:
    # Few texts, many times: each is checked once, and kept once.
    known = {text: _text(text, column) for text in dict.fromkeys(texts)}
    return list(map(known.__getitem__, texts))


def _only_digits(text: str) -> None:
    if not (text.isascii() and text.isdigit()):
        raise ValueError
