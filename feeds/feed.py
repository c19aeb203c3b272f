"""What a feed must be able to do.

The ingester calls `symbols()` once, then `start()` with what the store already holds, then `poll()` on a schedule, and
`close()` at the end. `poll` never waits: a feed that reads from a network keeps its own bounded queue and hands over
what has arrived.

A feed that keeps sessions is started whether its market is open or not, but polled in sessions only: last up to the
moment before the close, then again after the open. What comes in between is the feed's to keep or to throw away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from feeds.random_numbers import Counters
from feeds.tick import Listing, Tick

CLOCK_END = 1 << 53
"""The feed clock of a feed that has ended, in microseconds: later than any tick, still exact in a JavaScript number."""


class FeedError(Exception):
    """A feed that cannot go on, however often it is tried again; the message names the file, line or value at fault."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds of one symbol of a feed: the time of its newest tick and the cursor kept with it."""

    time: int
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll gave.

    `ticks` are in the order in which they are to be numbered. `clock` is the feed clock after them, in microseconds: for a
    live feed the time of the poll, for a replay that keeps its times the newest time read, `CLOCK_END` once nothing more
    will come. `cursor` says where to go on after these ticks; it is stored, atomically, with the ticks of every symbol
    in the batch and given back to `start`. `more` asks to be polled again at once: more is due already.
    """

    ticks: Sequence[Tick]
    clock: int
    cursor: str | None = None
    more: bool = False


class Feed(Protocol):
    """A source of ticks."""

    def symbols(self) -> Sequence[Listing]:
        """Every symbol this feed may send ticks of."""

    async def start(self, now_us: int, stored: Mapping[str, Stored]) -> None:
        """Get ready to be polled and continue after `stored` (symbols without a tick are not in it).

        Called again after an error, or after `close` where another ingester was in charge meanwhile, with what is stored
        by then. Raises `FeedError` where going on is impossible.
        """

    def poll(self, now_us: int) -> Batch:
        """The ticks that are due at `now_us`, without waiting; a session's last poll is for a moment that has passed."""

    async def close(self) -> None:
        """Give back files and connections; called also when `start` failed."""


@dataclass(frozen=True, slots=True)
class HistoryCandles:
    """Candles of one symbol that were not made of ticks: columns of int64 with a row a candle, in rising order of time.

    Prices and sizes in millionths, times in microseconds. `trades` is a number of trades, 1 or more: where there was no
    trading there is no row. `vwap` lies from `low` to `high`.
    """

    time: Counters
    open: Counters
    high: Counters
    low: Counters
    close: Counters
    volume: Counters
    trades: Counters
    vwap: Counters


@runtime_checkable
class HistoryFeed(Protocol):
    """A feed that also knows what was before its first tick, as candles."""

    @property
    def history_us(self) -> Mapping[str, int]:
        """How far back candles of `1m` and `1d` reach before the first tick, in microseconds; 0 for none."""

    def history(self, symbols: Sequence[str], edges_us: Counters) -> Mapping[str, HistoryCandles]:
        """One candle between each edge and the next, for each symbol: its time is the edge before it. Edges rise.

        Called in a thread, beside `poll`: it must not change what `poll` reads.
        """
