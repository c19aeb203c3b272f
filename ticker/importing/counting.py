"""Counts what becomes of imported rows."""

from collections import Counter
from dataclasses import dataclass, field

from ticker.importing.rows import BadRow

BAD_SHOWN = 20
"""Bad rows that are kept to be shown; all are counted."""


@dataclass(slots=True)
class Count:
    """What became of the rows of one kind and symbol."""

    added: int = 0
    there: int = 0
    """In the archive already, from an earlier run."""
    overlap: int = 0
    """Of days that something else has rows of."""
    filled: int = 0
    """In candles of an outage; ticks are in these and nowhere else."""
    no_place: int = 0
    """Quotes of an outage: no candle is made of them."""


@dataclass(slots=True)
class Result:
    """What an import has done."""

    counts: dict[tuple[str, str], Count] = field(default_factory=dict)
    made: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Candles that were folded from ticks, or rolled up from smaller candles."""
    bad: int = 0
    bad_rows: list[BadRow] = field(default_factory=list)

    @property
    def symbols(self) -> list[str]:
        """Those of which something was added."""
        return sorted({symbol for (_, symbol), count in self.counts.items() if count.added})
