"""What the feed has produced, as lines of a file: the book on the side of the source."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from feeds.tick import Tick, Trade
from ledger.sequence import Fate, Made

MILLION = 1_000_000
Row = tuple[int | str | None, ...]
"""What makes a tick: prices and sizes in millionths, time, texts."""


class Produced(NamedTuple):
    """A tick as the feed made it."""

    number: int
    fate: Fate
    kind: str
    symbol: str
    row: Row
    first_s: float
    """The monotonic clock when it was made for the first time."""


@dataclass(slots=True)
class ProducedBook:
    """Every tick by its number, and whether the feed came to its end."""

    ticks: dict[int, Produced] = field(default_factory=dict)
    end: int | None = None
    remade: int = 0
    """Ticks that were made again, after a restart."""
    differing: list[int] = field(default_factory=list)
    """Those that were not the same the second time: the feed itself is at fault then."""


def line_of(made: Made) -> str:
    """One tick; `repr` keeps what is not a number, too."""
    tick = made.tick
    kind = "trades" if isinstance(tick, Trade) else "quotes"
    return f"{made.number}\t{made.fate}\t{kind}\t{tick.symbol}\t{_fields(tick)}\n"


def read(lines: Iterable[str]) -> ProducedBook:
    """The book from its lines; a last line that was cut off counts as not written."""
    book = ProducedBook()
    texts: dict[int, str] = {}
    now_s = 0.0
    for line in lines:
        if not line.endswith("\n"):
            break
        if line.startswith("@ "):
            now_s = float(line[2:])
        elif line.startswith("end "):
            book.end = int(line[4:])
        else:
            number = int(line[: line.index("\t")])
            if number in texts:
                book.remade += 1
                if texts[number] != line:
                    book.differing.append(number)
                continue
            texts[number] = line
            book.ticks[number] = _produced(line, now_s)
    return book


@lru_cache(100_000)
def millionths(text: str) -> int | None:
    """A decimal number exactly, in millionths; None where it is no number of at most six decimals."""
    try:
        value = Fraction(text) * MILLION
    except ValueError:
        return None
    return int(value) if value.denominator == 1 else None


def _fields(tick: Tick) -> str:
    return "\t".join("" if value is None else _text(value) for value in tick[1:])


def _text(value: object) -> str:
    return value.replace("\n", "\\n") if isinstance(value, str) else repr(value)


def _produced(line: str, now_s: float) -> Produced:
    number, fate, kind, symbol, *texts = line.rstrip("\n").split("\t")
    numbers = 2 if kind == "trades" else 4
    values: list[int | str | None] = [millionths(text) if text else None for text in texts[:numbers]]
    values.append(int(texts[numbers]) if texts[numbers].isdigit() else None)
    values += [text or None for text in texts[numbers + 1 :]]
    return Produced(int(number), Fate(fate), kind, symbol, tuple(values), now_s)
