"""Makes the candles of before a symbol's first tick, where its feed knows them, ready to be stored."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from feeds.feed import FeedError, HistoryCandles, HistoryFeed
from ticker.candles.builder import SUM_MAX
from ticker.candles.candle import FIELDS, MILLION, NO_TRADE, TRILLION, Candle, Candles, Origin
from ticker.candles.interval import INTERVALS, bounds
from ticker.candles.rollup import roll_up
from ticker.store.candle_store import CandleReader
from ticker.store.chunks import Chunk, chunks_of

log = logging.getLogger(__name__)

MINUTE, DAY = INTERVALS["1m"], INTERVALS["1d"]
SYMBOLS_AT_ONCE = 25
"""Many are made more cheaply at once than one by one, and few enough that nobody waits: some 6 MB with five days of minutes."""


@dataclass(frozen=True, slots=True)
class Backfill:
    """What was before a symbol's first tick: closed candles up to the end of the minute `until`.

    Days are the sums of their minutes where these are known; `part` is what `until` leaves of its own day.
    """

    until: int
    day: int
    """The open time of the day of `until`."""
    minutes: list[Chunk]
    days: list[Chunk]
    part: Candle | None


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back candles are made, in microseconds; `zone` bounds the days."""

    minutes_us: int
    days_us: int
    zone: ZoneInfo

    @classmethod
    def of(cls, feed: HistoryFeed, kept: Mapping[str, int | None], zone: ZoneInfo) -> "Reach":
        """What the feed offers, but no more than is kept (None: for ever)."""

        def us(name: str) -> int:
            offered = feed.history_us.get(name, 0)
            return min(offered, kept[name] or offered)

        return cls(us(MINUTE.name), us(DAY.name), zone)


def make_backfill(feed: HistoryFeed, symbols: Sequence[str], until: int, reach: Reach) -> dict[str, Backfill]:
    """What the feed says was before `until`, the end of a minute. Takes its time: call it in a thread.

    Raises `FeedError` for what cannot be candles.
    """
    day = bounds(DAY, until, reach.zone)[0]
    # Minutes begin with a day, so that every day has all of them or none.
    first_minute = _day_at_or_after(until - reach.minutes_us, reach.zone) if reach.minutes_us else until
    first_minute = min(first_minute, until)
    minute_edges = np.arange(first_minute, until + 1, MINUTE.width, dtype=np.int64)
    day_edges = _day_edges(until - reach.days_us, min(first_minute, day), reach.zone)
    minutes = feed.history(symbols, minute_edges) if len(minute_edges) > 1 else {}
    days = feed.history(symbols, day_edges) if len(day_edges) > 1 else {}
    nothing = Candles.of(())
    return {
        symbol: _backfill(
            until,
            day,
            _candles(symbol, minutes[symbol], minute_edges) if symbol in minutes else nothing,
            _candles(symbol, days[symbol], day_edges) if symbol in days else nothing,
            reach.zone,
        )
        for symbol in symbols
    }


def _backfill(until: int, day: int, minutes: Candles, days: Candles, zone: ZoneInfo) -> Backfill:
    summed = roll_up(minutes, DAY, zone)
    whole = summed.between(0, day)
    part = summed.between(day, until).rows()
    return Backfill(until, day, chunks_of(minutes), chunks_of(Candles.joined([days, whole])), part[0] if part else None)


def _day_at_or_after(time: int, zone: ZoneInfo) -> int:
    opened, end = bounds(DAY, time, zone)
    return opened if opened == time else end


def _day_edges(start: int, end: int, zone: ZoneInfo) -> npt.NDArray[np.int64]:
    """The midnights from `start` to `end`, which is one itself."""
    edges = []
    edge = _day_at_or_after(start, zone)
    while edge <= end:
        edges.append(edge)
        edge = bounds(DAY, edge, zone)[1]
    return np.array(edges, np.int64)


def _check(symbol: str, made: HistoryCandles, edges: npt.NDArray[np.int64]) -> None:
    """Refuse what cannot be candles: a feed is anybody's code."""
    prices = (made.open, made.close, made.vwap)
    within = [(made.low <= price) & (price <= made.high) for price in prices]
    rules = {
        "a time that is no edge, or not after the one before": np.isin(made.time, edges[:-1])
        & (np.diff(made.time, prepend=-1) > 0),
        "a price below 1 millionth": made.low > 0,
        "an open, close or vwap outside of low to high": np.logical_and.reduce(within),
        "no trade or no volume": (made.trades > 0) & (made.volume > 0),
        "price x size of 2^60 or more": made.high.astype(np.float64) * made.volume < float(SUM_MAX) * TRILLION,
    }
    for rule, kept in rules.items():
        if not kept.all():
            time = int(made.time[np.argmin(kept)])
            raise FeedError(f"history of {symbol}: {rule}, in the candle at {time}")


def _candles(symbol: str, made: HistoryCandles, edges: npt.NDArray[np.int64]) -> Candles:
    """A feed's columns as stored candles: no trade of the record is in them. Raises `FeedError`."""
    _check(symbol, made, edges)
    count = len(made.time)
    # Price x size in millionths does not fit 64 bits: whole units and what is behind the point are multiplied apart.
    price, price_rest = np.divmod(made.vwap, MILLION)
    size, size_rest = np.divmod(made.volume, MILLION)
    carried, rest = np.divmod(price * size_rest + price_rest * size, MILLION)
    more, rest = np.divmod(rest * MILLION + price_rest * size_rest, TRILLION)
    ends = edges[np.searchsorted(edges, made.time, side="right")]
    columns = {
        "time": made.time,
        "open": made.open,
        "high": made.high,
        "low": made.low,
        "close": made.close,
        "volume": made.volume,
        "units": price * size + carried + more,
        "rest": rest,
        "trades": made.trades,
        "first_seq": np.full(count, NO_TRADE),
        "seq": np.zeros(count, np.int64),
        "open_time": made.time,
        "close_time": ends - 1,
        "origin": np.full(count, Origin.HISTORY),
    }
    return Candles(np.array([columns[field] for field in FIELDS], np.int64).reshape(len(FIELDS), count))


class Backfiller:
    """Makes the backfills of one feed, some symbols at a time."""

    def __init__(self, feed: HistoryFeed, candles: CandleReader, reach: Reach) -> None:
        self._feed = feed
        self._candles = candles
        self._reach = reach

    async def make(self, symbols: Sequence[str], begin: int) -> dict[str, Backfill]:
        """For symbols whose ticks begin at `begin` or whose oldest candles in the store are older than that."""
        ends: dict[int, list[str]] = {}
        for symbol in symbols:
            ends.setdefault(await self._until(symbol, begin), []).append(symbol)
        made: dict[str, Backfill] = {}
        for until, alike in ends.items():
            made |= await asyncio.to_thread(make_backfill, self._feed, alike, until, self._reach)
        return made

    async def _until(self, symbol: str, begin: int) -> int:
        """The end of the last minute before which the store has nothing of the symbol."""
        until = begin - begin % MINUTE.width
        if minute := await self._candles.oldest(symbol, MINUTE):
            until = min(until, minute.time)
        day = await self._candles.oldest(symbol, DAY)
        if day is None or (day.forming and day.time == bounds(DAY, until, self._reach.zone)[0]):
            return until
        # A day that is closed already is not added to.
        return min(until, day.time)
