"""How many ticks each symbol has in a second, at which microseconds, and which of them are trades.

Ticks come in bursts on three scales. Over four seconds their number is fixed, but divided among the seconds by random
weights, as the cascade divides variance. Within a second they gather where the price moves most. And now and then a large
order takes all there is at one side: several trades within a millisecond. (Trades cluster: Engle, Russell 1998,
Autoregressive Conditional Duration; they do where prices move: Clark 1973.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feeds.price_path import CELL_US, CELLS
from feeds.random_numbers import HALF_BITS, Counters, Draws, Flags, Floats, draw, normal, stream_keys, upper

SECOND_US = 1_000_000

NUMBER_BITS = 20
"""Room in the counter of a draw for the number of a tick within its second, two draws each."""

BURST_S = 4
BURST_ROUGHNESS = 0.8
BURST_SHARE_MIN = 0.15
"""No half of four or two seconds has less than this part of their ticks: no second has more than 2.9 times the average."""

EVEN = 0.3
"""How many ticks there are where the price does not move, in ticks where it moves by one deviation."""
MOVE_MAX = 4.0
"""In deviations; what moves further, as in a jump, has no more ticks."""

SWEEP = 4
"""Trades in which a large order is filled."""
SWEEP_MASK = 0b1111 << 1
"""Four bits, all 0 for a sweep: so are one in sixteen of the groups of four ticks."""
SIDE_MASK = 1
"""The bit of a trade that says at which side it happens."""
SPARE_SHIFT, SPARE_MASK = 5, 0xFF
"""Eight bits: the pause between the trades of a sweep; for another trade, whether it is of round lots."""
SWEEP_PAUSE_US = 5
"""At least; at most 255 more."""
KIND_SHIFT, KIND_MASK = 16, 0xFFFF
TRADE_BELOW = (KIND_MASK + 1) // 5
"""Sixteen bits: outside of sweeps one tick in five is a trade."""

TRADE_SHARE = 1 / 16 + (1 - 1 / 16) / 5
"""Of all ticks: one in four, and of these again one in four is part of a sweep."""
SWEEP_SHARE = 1 / 16 / TRADE_SHARE


@dataclass(frozen=True, slots=True)
class TickTimes:
    """Ticks in time order, before they have prices and sizes."""

    symbol: Counters
    number: Counters
    """Within its symbol and second."""
    offset: Counters
    """Microseconds since the second began, strictly rising for each symbol."""
    is_trade: Flags
    is_sweep: Flags
    at_ask: Flags
    """For a trade: the side at which it happens."""
    spare: Counters
    """Eight random bits."""

    def where(self, chosen: Flags) -> "TickTimes":
        """Only some of the ticks."""
        symbol, number, offset, spare = (
            column[chosen] for column in (self.symbol, self.number, self.offset, self.spare)
        )
        is_trade, is_sweep, at_ask = (column[chosen] for column in (self.is_trade, self.is_sweep, self.at_ask))
        return TickTimes(symbol, number, offset, is_trade, is_sweep, at_ask, spare)


class TickTimer:
    """Times the ticks of some symbols under one seed."""

    def __init__(self, seed: int, symbols: Sequence[str], ticks_per_s: float) -> None:
        self._count_keys = stream_keys(seed, symbols, "count")
        self._burst_keys = stream_keys(seed, symbols, "burst")
        self._tick_keys = stream_keys(seed, symbols, "tick")
        self._ticks_per_s = ticks_per_s

    def ticks(self, second: int, multiple: float, moves: Floats) -> TickTimes:
        """The ticks of a second with so many times the average, in whose cells the prices move by so much."""
        counts = self._counts(second, multiple)
        symbol = np.repeat(np.arange(len(counts)), counts)
        begins = np.cumsum(counts) - counts
        number = np.arange(len(symbol)) - begins[symbol]
        bits = self.draw(second, symbol, 2 * number)
        first = bits[np.arange(len(symbol)) - number % SWEEP]
        is_sweep = (first & SWEEP_MASK) == 0
        offset = _offsets(number, counts[symbol], _gathered(symbol, number, counts, bits, moves), is_sweep, first)
        order = np.argsort(offset, kind="stable")
        bits, first, is_sweep = bits[order], first[order], is_sweep[order]
        is_trade = is_sweep | ((bits >> KIND_SHIFT & KIND_MASK) < TRADE_BELOW)
        at_ask = (np.where(is_sweep, first, bits) & SIDE_MASK) != 0
        spare = (bits >> SPARE_SHIFT & SPARE_MASK).astype(np.int64)
        return TickTimes(symbol[order], number[order], offset[order], is_trade, is_sweep, at_ask, spare)

    def draw(self, second: int, symbol: Counters, which: Counters) -> Draws:
        """Draws that belong to ticks: an odd number is for their sizes, the even one before it used here."""
        return draw(self._tick_keys[symbol], (second << NUMBER_BITS) + which)

    def _counts(self, second: int, multiple: float) -> Counters:
        """Whole numbers that are right on average: a rate of 2.3 gives 2 ticks, and 3 in three seconds of ten."""
        rounding = upper(draw(self._count_keys, np.array([second], dtype=np.int64)))
        rate = self._ticks_per_s * multiple * self._burst(second)
        return np.floor(rate + rounding).astype(np.int64)

    def _burst(self, second: int) -> Floats:
        """The part of the ticks of four seconds that fall into this one, 1 on average."""
        group, within = divmod(second, BURST_S)
        half, quarter = divmod(within, 2)
        early, first = (self._share(BURST_S * group + which) for which in (0, 1 + half))
        return 4 * (1 - early if half else early) * (1 - first if quarter else first)

    def _share(self, counter: int) -> Floats:
        drawn = normal(draw(self._burst_keys, np.array([counter], dtype=np.int64)))
        return np.clip(1 / (1 + np.exp(BURST_ROUGHNESS * drawn)), BURST_SHARE_MIN, 1 - BURST_SHARE_MIN)


def _gathered(symbol: Counters, number: Counters, counts: Counters, drawn: Draws, moves: Floats) -> Counters:
    """A random microsecond for each tick, more of them in cells where the price moves.

    Each is in its own of as many equal parts of the second's ticks, so that they come out in order.
    """
    place = ((number << HALF_BITS) + (drawn >> HALF_BITS).astype(np.int64)) // counts[symbol]
    weights = EVEN + np.minimum(moves, MOVE_MAX)
    until = np.cumsum(weights, axis=1)
    # Whole numbers, with room for that of the symbol: what is compared must not depend on which other symbols there are.
    bounds = np.zeros((len(moves), CELLS + 1), np.int64)
    bounds[:, 1:] = np.rint(until / until[:, -1:] * 2**HALF_BITS)
    rows = np.arange(len(moves))[:, np.newaxis] << HALF_BITS + 1
    found = np.searchsorted((rows + bounds[:, 1:]).ravel(), (symbol << HALF_BITS + 1) + place, side="right")
    cell = found - symbol * CELLS
    left, right = bounds[symbol, cell], bounds[symbol, cell + 1]
    offset: Counters = cell * CELL_US + (place - left) * CELL_US // (right - left)
    return offset


def _offsets(number: Counters, count: Counters, gathered: Counters, is_sweep: Flags, first: Draws) -> Counters:
    """The same with the trades of a sweep close behind its first, and no two ticks of a symbol at the same time."""
    member = number % SWEEP
    leader = gathered[np.arange(len(number)) - member]
    pause = SWEEP_PAUSE_US + (first >> SPARE_SHIFT & SPARE_MASK).astype(np.int64)
    offset = np.where(is_sweep, leader + member * pause, gathered)
    # The n-th tick of a symbol leaves room for those before and after it; without n, times need only not fall.
    slack = np.minimum(offset - number, SECOND_US - count)
    # A step that is wider than a second keeps the symbols apart.
    symbol_step = np.cumsum(number == 0) * (2 * SECOND_US)
    rising: Counters = np.maximum.accumulate(slack + symbol_step) - symbol_step + number
    return rising
