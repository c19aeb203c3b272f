"""The records that everything else carries: a trade, a quote, and what a symbol is.

Times are integer microseconds since the Unix epoch, UTC. Prices and sizes are plain numbers with at most six decimals; a
feed hands them on as it got them, and the store refuses a number with more decimals instead of rounding it.
Records are named tuples, not dataclasses: they are as frozen and several times cheaper to make, and tens of thousands
are made each second.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Trade(NamedTuple):
    """A print: `size` units of `symbol` changed hands at `price`."""

    symbol: str
    price: float
    size: float
    time: int
    id: str | None = None
    exchange: str | None = None
    conditions: str | None = None


class Quote(NamedTuple):
    """The best bid and ask of `symbol`; a missing side is None with size 0."""

    symbol: str
    bid: float | None
    bid_size: float
    ask: float | None
    ask_size: float
    time: int
    id: str | None = None
    exchange: str | None = None
    conditions: str | None = None


Tick = Trade | Quote


@dataclass(frozen=True, slots=True)
class Listing:
    """What is known of a symbol besides its ticks.

    `tick_size` is the price step, in `currency`. `simulated` says that the prices are made up: whoever shows them must say so.
    """

    symbol: str
    name: str
    exchange: str
    currency: str
    sector: str
    tick_size: float
    simulated: bool = False
