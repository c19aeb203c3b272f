"""The simulated ticks of one second: for each symbol a pure function of seed, symbol, second and rate.

At any instant a symbol has one bid and one ask, on its grid of prices around the path. A quote reports both, a trade
happens at one of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from feeds import columns
from feeds.listings import Profile
from feeds.price_path import CELL_US, PricePath
from feeds.random_numbers import HALF_BITS, Counters, Draws, Flags, Floats, draw, lower, normal, stream_keys, upper
from feeds.tick import Tick

SECOND_US = 1_000_000
MILLION = 1_000_000

NUMBER_BITS = 16
"""Room in the counter of a draw for the number of a tick within its second, two draws each."""

KIND_MASK = 3
"""Two bits, both 0 for a trade: one tick in four."""
SIDE_MASK = 4
"""The bit of a trade that says at which side it happens."""

LOT = 100
LOTS_MAX = 20
TRADE_SIZE_LOG_MEAN, TRADE_SIZE_LOG_DEVIATION = 4.3, 1.1
"""Half of the trades are of fewer than 74 units, one in 35 of more than 600."""

Columns = Sequence[npt.NDArray[Any]]
"""Numbers of symbols first, then the other fields of a tick in its order."""


class SimulatedSecond:
    """The ticks of one second, in time order, kept as columns until they are due."""

    def __init__(
        self, symbols: Sequence[str], times: Counters, is_trade: Flags, trades: Columns, quotes: Columns
    ) -> None:
        self._symbols = symbols
        self._times = times
        self._is_trade = is_trade
        self._trades_before = np.concatenate(([0], np.cumsum(is_trade)))
        self._trades = trades
        self._quotes = quotes

    def between(self, after_us: int, until_us: int) -> list[Tick]:
        """The ticks later than `after_us`, up to and including `until_us`."""
        start, stop = (int(found) for found in np.searchsorted(self._times, (after_us, until_us), side="right"))
        if start == stop:
            return []
        trade_start, trade_stop = int(self._trades_before[start]), int(self._trades_before[stop])
        trades = columns.trades(*self._fields(self._trades, trade_start, trade_stop))
        quotes = columns.quotes(*self._fields(self._quotes, start - trade_start, stop - trade_stop))
        each: tuple[Iterator[Tick], Iterator[Tick]] = (iter(quotes), iter(trades))
        return [next(each[is_trade]) for is_trade in self._is_trade[start:stop].tolist()]

    def _fields(self, kept: Columns, start: int, stop: int) -> list[list[Any]]:
        numbers, *rest = (column[start:stop].tolist() for column in kept)
        return [[self._symbols[number] for number in numbers], *rest]


@dataclass(frozen=True, slots=True)
class _Outline:
    """Ticks in time order, before they have prices and sizes."""

    symbol: Counters
    number: Counters
    """Within its symbol and second."""
    offset: Counters
    """Microseconds since the second began."""
    bits: Draws
    """Kind and side, by `KIND_MASK` and `SIDE_MASK`."""


class SecondMaker:
    """Makes the seconds of some symbols, one after another or in any other order."""

    def __init__(self, seed: int, profiles: Sequence[Profile], ticks_per_s: float) -> None:
        self._symbols = [profile.listing.symbol for profile in profiles]
        self._path = PricePath(seed, profiles)
        self._second_keys = stream_keys(seed, self._symbols, "second")
        self._tick_keys = stream_keys(seed, self._symbols, "tick")
        self._grid = np.array([round(profile.listing.tick_size * MILLION) for profile in profiles], dtype=np.int64)
        """The price step of each symbol, in millionths."""
        self._ticks_per_s = ticks_per_s

    def make(self, second: int) -> SimulatedSecond:
        """All ticks of the second that begins `second` s after 1970."""
        drawn = draw(self._second_keys, np.array([second], dtype=np.int64))
        # A whole number that is right on average: a rate of 2.3 gives 2 ticks, and 3 in three seconds of ten.
        counts = np.floor(self._ticks_per_s + upper(drawn)).astype(np.int64)
        outline = self._outline(second, counts)
        bid, ask = self._market(second, outline, _spread(drawn))
        sizes = self._draw(second, outline.symbol, 2 * outline.number + 1)
        times = second * SECOND_US + outline.offset
        is_trade = (outline.bits & KIND_MASK) == 0
        of = np.flatnonzero(is_trade)
        price = np.where((outline.bits[of] & SIDE_MASK) == 0, bid[of], ask[of])
        trades = (outline.symbol[of], price / MILLION, _trade_sizes(sizes[of]), times[of])
        of = np.flatnonzero(~is_trade)
        bids = (bid[of] / MILLION, _quote_sizes(upper(sizes[of])))
        asks = (ask[of] / MILLION, _quote_sizes(lower(sizes[of])))
        quotes = (outline.symbol[of], *bids, *asks, times[of])
        return SimulatedSecond(self._symbols, times, is_trade, trades, quotes)

    def _outline(self, second: int, counts: Counters) -> _Outline:
        """So many ticks of each symbol, at their times."""
        symbol = np.repeat(np.arange(len(counts)), counts)
        begins = np.cumsum(counts) - counts
        number = np.arange(len(symbol)) - begins[symbol]
        bits = self._draw(second, symbol, 2 * number)
        offset = _stratified(number, counts[symbol], bits)
        order = np.argsort(offset, kind="stable")
        return _Outline(symbol[order], number[order], offset[order], bits[order])

    def _market(self, second: int, outline: _Outline, spread: Counters) -> tuple[Counters, Counters]:
        """Bid and ask of each tick's symbol at its instant, in millionths."""
        corners = self._path.corners(np.array([second], dtype=np.int64))[:, 0]
        cell, rest = np.divmod(outline.offset, CELL_US)
        before, after = corners[outline.symbol, cell], corners[outline.symbol, cell + 1]
        grid, wide = self._grid[outline.symbol], spread[outline.symbol]
        middle = (before + (after - before) * (rest / CELL_US)) * MILLION / grid
        bid = np.maximum(np.rint(middle - 0.5 * wide).astype(np.int64), 1)
        return bid * grid, (bid + wide) * grid

    def _draw(self, second: int, symbol: Counters, which: Counters) -> Draws:
        return draw(self._tick_keys[symbol], (second << NUMBER_BITS) + which)


def _stratified(number: Counters, count: Counters, drawn: Draws) -> Counters:
    """A random microsecond of the number-th of `count` equal parts of the second.

    The ends of the parts are whole microseconds, so that no two ticks of a symbol have the same time.
    """
    begin = number * SECOND_US // count
    width = ((number + 1) * SECOND_US // count - begin).astype(np.uint64)
    return begin + ((drawn >> HALF_BITS) * width >> HALF_BITS).astype(np.int64)


def _spread(drawn: Draws) -> Counters:
    """The steps between bid and ask, the same for a second: mostly 1, seldom more than 3."""
    return 1 + np.searchsorted(np.array([0.5, 0.8, 0.95]), lower(drawn)).astype(np.int64)


def _quote_sizes(u: Floats) -> Counters:
    """Round lots, small ones most often."""
    return LOT * (1 + np.floor(LOTS_MAX * u * u * u).astype(np.int64))


def _trade_sizes(drawn: Draws) -> Counters:
    """Whole numbers, log-normal."""
    sizes = np.exp(TRADE_SIZE_LOG_MEAN + TRADE_SIZE_LOG_DEVIATION * normal(drawn))
    return np.maximum(np.rint(sizes), 1).astype(np.int64)
