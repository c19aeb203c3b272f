"""The simulated ticks of one second: for each symbol a pure function of seed, symbol, second, rate and market.

At any instant a symbol has one bid and one ask, on its grid of prices around the path. A quote reports both, a trade
happens at one of them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from feeds import columns
from feeds.activity import ActivityClock, TickRate
from feeds.listings import Profile
from feeds.market import Market
from feeds.price_path import CELL_US, PricePath, PriceSecond
from feeds.random_numbers import Counters, Flags, lower, upper
from feeds.spreads import MILLION, Spreads, bids
from feeds.tick import Tick
from feeds.tick_times import SECOND_US, SPARE_MASK, SWEEP_SHARE, TickTimer, TickTimes
from feeds.trade_sizes import ROUND_SHARE, quote_sizes, trade_sizes

ROUND_BELOW = round((ROUND_SHARE - SWEEP_SHARE) / (1 - SWEEP_SHARE) * (SPARE_MASK + 1))
"""The trades of a sweep are of round lots, and so many of the others that `ROUND_SHARE` of all are."""

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


NO_TICKS = SimulatedSecond([], np.empty(0, np.int64), np.empty(0, np.bool_), [], [])


class SecondMaker:
    """Makes the seconds of some symbols, one after another or in any other order."""

    def __init__(self, seed: int, profiles: Sequence[Profile], ticks_per_s: float, market: Market) -> None:
        self._symbols = [profile.listing.symbol for profile in profiles]
        self._path = PricePath(seed, profiles, ActivityClock(market))
        self._timer = TickTimer(seed, self._symbols, ticks_per_s)
        self._spreads = Spreads(seed, profiles)
        self._rate = TickRate(market.hours)
        self._hours = market.hours

    def make(self, second: int) -> SimulatedSecond:
        """All ticks of the second that begins `second` s after 1970."""
        begin_us = second * SECOND_US
        spans = self._hours.between(begin_us, begin_us + SECOND_US)
        if not spans:
            return NO_TICKS
        prices = self._path.second(second)
        ticks = self._timer.ticks(second, self._rate.at(spans[0][0]), prices.moves)
        if spans != [(begin_us, begin_us + SECOND_US)]:
            ticks = ticks.where(self._hours.contains(begin_us + ticks.offset))
        return self._priced(second, ticks, prices)

    def _priced(self, second: int, ticks: TickTimes, prices: PriceSecond) -> SimulatedSecond:
        bid, ask = self._market(second, ticks, prices)
        times = second * SECOND_US + ticks.offset
        sizes = self._timer.draw(second, ticks.symbol, 2 * ticks.number + 1)
        of = np.flatnonzero(ticks.is_trade)
        symbol = ticks.symbol[of]
        price = np.where(ticks.at_ask[of], ask[of], bid[of])
        is_round = ticks.is_sweep[of] | (ticks.spare[of] < ROUND_BELOW)
        trades = (symbol, price / MILLION, trade_sizes(sizes[of], is_round, prices.activity[symbol]), times[of])
        of = np.flatnonzero(~ticks.is_trade)
        sides = (bid[of] / MILLION, quote_sizes(upper(sizes[of])), ask[of] / MILLION, quote_sizes(lower(sizes[of])))
        quotes = (ticks.symbol[of], *sides, times[of])
        return SimulatedSecond(self._symbols, times, ticks.is_trade, trades, quotes)

    def _market(self, second: int, ticks: TickTimes, prices: PriceSecond) -> tuple[Counters, Counters]:
        """Bid and ask of each tick's symbol at its instant, in millionths."""
        seconds = np.array([second], dtype=np.int64)
        spread = self._spreads.steps(seconds, prices.corners[:, :1], prices.activity[:, np.newaxis])[:, 0]
        cell, rest = np.divmod(ticks.offset, CELL_US)
        before, after = prices.corners[ticks.symbol, cell], prices.corners[ticks.symbol, cell + 1]
        step, wide = self._spreads.step[ticks.symbol], spread[ticks.symbol]
        bid = bids((before + (after - before) * (rest / CELL_US)) * MILLION / step, wide)
        return bid * step, (bid + wide) * step
