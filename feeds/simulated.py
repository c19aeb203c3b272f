"""The simulated feed: ticks of well-known symbols, made up by a rule that any restart goes on with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from feeds.activity import DAY_S
from feeds.feed import Batch, Feed, HistoryCandles, Stored
from feeds.listings import check_symbols, profiles
from feeds.market import Market
from feeds.random_numbers import Counters
from feeds.simulated_history import CandleMaker
from feeds.simulated_second import SecondMaker, SimulatedSecond
from feeds.tick import Listing, Tick
from feeds.tick_times import SECOND_US

MADE_UP_AT_MOST_US = 10 * SECOND_US
"""After a pause so much of it is made up; older ticks never happened."""

TICKS_PER_POLL = 5_000
"""About as many are given at once: after a pause, a batch of millions would hold up everything behind it."""

YEAR_DAYS = 366

ALL_TICKS_PER_S_MAX = 500_000
"""Of all symbols together: about what one core can make."""


class SimulatedOptions(BaseModel):
    """What a feed of type `simulated` may be told in config.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbols: Annotated[int | list[str], BeforeValidator(check_symbols)] = Field(
        50, description="a number of symbols, or a list of names"
    )
    seed: int = Field(7, description="another seed gives other prices")
    ticks_per_s: float = Field(5.0, gt=0, le=10_000, description="ticks of one symbol, about 1 trade to 3 quotes")
    history_days: int = Field(5, ge=0, le=366, description="days of candles of 1m made up before the first tick")
    history_years: int = Field(2, ge=0, le=20, description="years of candles of 1d made up before the first tick")

    @model_validator(mode="after")
    def _not_too_much(self) -> "SimulatedOptions":
        count = self.symbols if isinstance(self.symbols, int) else len(self.symbols)
        if count * self.ticks_per_s > ALL_TICKS_PER_S_MAX:
            product = (
                f"{count} symbols x ticks_per_s {self.ticks_per_s:g} = {count * self.ticks_per_s:.0f} ticks a second"
            )
            raise ValueError(f"{product}; allowed: {ALL_TICKS_PER_S_MAX}")
        return self


class SimulatedFeed:
    """Gives the simulated ticks whose time has come. They are the same however often it is polled or started again."""

    def __init__(self, options: "SimulatedOptions", market: Market) -> None:
        chosen, ticks_per_s = profiles(options.symbols), options.ticks_per_s
        self._listings = [replace(profile.listing, simulated=True) for profile in chosen]
        self._profiles = {profile.listing.symbol: profile for profile in chosen}
        self._maker = SecondMaker(options.seed, chosen, ticks_per_s, market)
        self._candles = CandleMaker(options.seed, ticks_per_s, market)
        self._history_us = {
            "1m": options.history_days * DAY_S * SECOND_US,
            "1d": options.history_years * YEAR_DAYS * DAY_S * SECOND_US,
        }
        self._made: tuple[int, SimulatedSecond] | None = None
        """The second that was needed last, with its number: most polls need it again."""
        self._step_us = max(int(TICKS_PER_POLL / (len(chosen) * ticks_per_s) * SECOND_US), 1)
        """The time that one poll covers at most."""
        self._given_until_us = 0
        self._begin_us: dict[str, int] = {}
        """What each symbol had at the start: only later ticks are given."""
        self._all_begun_us = 0

    def symbols(self) -> Sequence[Listing]:
        """The simulated symbols."""
        return self._listings

    async def start(self, now_us: int, stored: Mapping[str, Stored]) -> None:
        """Go on after each symbol's newest tick; a symbol without one begins now."""
        symbols = [listing.symbol for listing in self._listings]
        self._begin_us = {symbol: stored[symbol].time if symbol in stored else now_us for symbol in symbols}
        self._given_until_us = min(self._begin_us.values())
        self._all_begun_us = max(self._begin_us.values())

    def poll(self, now_us: int) -> Batch:
        """The ticks up to `now_us` that were not given yet, in time order, or the first part of them.

        A clock set back gives none.
        """
        after_us = max(self._given_until_us, now_us - MADE_UP_AT_MOST_US)
        until_us = min(now_us, after_us + self._step_us)
        ticks: list[Tick] = []
        if until_us > after_us:
            for second in range(after_us // SECOND_US, until_us // SECOND_US + 1):
                ticks += self._second(second).between(after_us, until_us)
            if after_us < self._all_begun_us:
                ticks = [tick for tick in ticks if tick.time > self._begin_us[tick.symbol]]
            self._given_until_us = until_us
        return Batch(ticks, until_us, more=until_us < now_us)

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def history_us(self) -> Mapping[str, int]:
        """How far back candles are made up, in microseconds by interval."""
        return self._history_us

    def history(self, symbols: Sequence[str], edges_us: Counters) -> Mapping[str, HistoryCandles]:
        """One candle between each edge and the next, for each symbol; the last one closes where its next tick may be."""
        return self._candles.candles([self._profiles[symbol] for symbol in symbols], edges_us)

    def _second(self, second: int) -> SimulatedSecond:
        if self._made is None or self._made[0] != second:
            self._made = second, self._maker.make(second)
        return self._made[1]


def make_simulated(options: SimulatedOptions, market: Market) -> Feed:
    """A simulated feed from its options."""
    return SimulatedFeed(options, market)
