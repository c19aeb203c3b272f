"""What the tests of ticker's parts share: configurations, a feed in the test's hands, a writer that fills a store from it."""

import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from redis.asyncio import Redis

from feeds.feed import Batch, HistoryCandles, Stored
from feeds.random_numbers import Counters
from feeds.tick import Listing, Quote, Tick, Trade
from ticker.config import Config
from ticker.config_loading import ENV_PREFIX, load_config
from ticker.errors import ConfigError
from ticker.ingest.append_queue import Parts
from ticker.ingest.batch_writer import BatchWriter
from ticker.ingest.symbol_writer import WriterRules
from ticker.store import catalog
from ticker.store.append import Appender
from ticker.store.candle_store import CandleReader
from ticker.store.claim import Claims
from ticker.store.connection import connect
from ticker.store.lease import Lease
from ticker.store.tick_stream import TickReader

NOON = 1_763_985_600_000_000
"""2025-11-24 12:00:00 UTC, a Monday, 07:00 in New York: where most tests begin."""
SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
DEADLINE_S = 15.0


def listing(symbol: str) -> Listing:
    return Listing(symbol, f"{symbol} Inc.", "XNAS", "USD", "Technology", 0.01)


class HandFeed:
    """A feed that sends what the test hands it, when the test does, by the test's own clock."""

    def __init__(self, *symbols: str) -> None:
        self.names = symbols or ("AAPL", "MSFT")
        self.clock = NOON
        self.stored: Mapping[str, Stored] = {}
        self.starts = 0
        self.polls = 0
        self.polled_at: list[int] = []
        """The times of all polls."""
        self.closed = False
        self.raises: list[Exception] = []
        self._batches: deque[Batch] = deque()

    def give(self, *ticks: Tick, clock: int | None = None, cursor: str | None = None) -> None:
        """Send these with one of the next polls; without `clock` it follows the newest tick."""
        self.clock = clock or max([self.clock, *(tick.time for tick in ticks)])
        self._batches.append(Batch(ticks, self.clock, cursor))

    def symbols(self) -> Sequence[Listing]:
        return [listing(name) for name in self.names]

    async def start(self, now_us: int, stored: Mapping[str, Stored]) -> None:
        self.starts += 1
        self.stored = stored

    def poll(self, now_us: int) -> Batch:
        self.polls += 1
        self.polled_at.append(now_us)
        if self.raises:
            raise self.raises.pop(0)
        return self._batches.popleft() if self._batches else Batch((), self.clock)

    async def close(self) -> None:
        self.closed = True


class PastFeed(HandFeed):
    """One that also knows what was before: a price that only depends on the time, one trade of 3 units a minute."""

    def __init__(self, *symbols: str, minutes: int = 2 * DAY, days: int = 30 * DAY) -> None:
        super().__init__(*symbols)
        self.history_us = {"1m": minutes, "1d": days}
        self.asked: list[list[str]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def history(self, symbols: Sequence[str], edges_us: Counters) -> Mapping[str, HistoryCandles]:
        self.may_answer.wait(DEADLINE_S)
        self.asked.append(list(symbols))
        time, end = edges_us[:-1], edges_us[1:]
        minutes = (end - time) // MINUTE
        opened, closed = (100_000_000 + times // MINUTE % 1009 * 10_000 for times in (time, end))
        high, low = np.maximum(opened, closed) + 20_000, np.minimum(opened, closed) - 10_000
        vwap = (high + low) // 2 + time % 7
        candles = HistoryCandles(time, opened, high, low, closed, 3_000_000 * minutes, minutes, vwap)
        return dict.fromkeys(symbols, candles)


@dataclass
class Tape:
    """Makes ticks and remembers them: 100 ms apart unless told otherwise, prices on a grid of a cent."""

    symbol: str = "AAPL"
    time: int = NOON
    ticks: list[Tick] = field(default_factory=list)

    def trade(self, price: float = 100.0, size: float = 10, time: int | None = None, **more: Any) -> Trade:
        self.time += 100_000
        made = Trade(self.symbol, price, size, self.time if time is None else time, **more)
        self.ticks.append(made)
        return made

    def trades(self, count: int, step: int = 100_000) -> list[Trade]:
        """Trades that wander: `step` microseconds apart, prices and sizes from a fixed pattern."""
        made = []
        for _ in range(count):
            self.time += step - 100_000
            number = len(self.ticks)
            made.append(self.trade(round(100 + (number * 37 % 101) / 100, 2), 1 + number % 7))
        return made

    def quote(self, bid: float | None = 99.99, ask: float | None = 100.01, **more: Any) -> Quote:
        self.time += 100_000
        sizes = 0 if bid is None else 3, 0 if ask is None else 4
        made = Quote(self.symbol, bid, sizes[0], ask, sizes[1], self.time, **more)
        self.ticks.append(made)
        return made


async def let_leases_run_out(client: Redis) -> None:
    """All ingesters so far count as dead."""
    if found := await client.keys("ticker:writer:*"):
        await client.delete(*found)


class Writer:
    """A batch writer of a feed called `hand`, with the store's doors beside it."""

    def __init__(self, client: Redis, **rules: Any) -> None:
        self.client = client
        self.candles, self.streams = CandleReader(client), TickReader(client)

        self.lease = Lease(client)

        async def check_layout() -> None:
            await catalog.check_schema(client)

        async def register(listings: Sequence[Listing], feed: str) -> None:
            await catalog.register(client, listings, feed, self.lease.id)

        claims, appender = Claims(client, self.lease), Appender(client, self.lease.id)
        parts = Parts(claims, appender, self.candles, self.streams, check_layout, register)
        made = {"grace_us": 500_000, "lateness_us": 60 * SECOND, "max_len": 1_000_000, "kept_ticks": 50_000} | rules
        self.batches = BatchWriter("hand", WriterRules(ZoneInfo("America/New_York"), **made), 60 * SECOND, parts)

    async def claim(self, *symbols: str, others_live: bool = False) -> dict[str, Stored]:
        """Become the writer of symbols; whoever was it before counts as dead unless told otherwise."""
        if not others_live:
            await let_leases_run_out(self.client)
        return await self.batches.claim([listing(symbol) for symbol in symbols or ("AAPL",)])

    async def write(self, *ticks: Tick, clock: int | None = None, cursor: str | None = None) -> None:
        """One batch, stored; the feed clock that goes into the store with the heartbeat is kept too."""
        self.put(*ticks, clock=clock, cursor=cursor)
        await self.batches.drain()
        await self.client.hset("ticker:clocks", "hand", self.batches.clock)

    def put(self, *ticks: Tick, clock: int | None = None, cursor: str | None = None) -> None:
        newest = max([self.batches.clock, *(tick.time for tick in ticks)]) or NOON
        self.batches.put(Batch(ticks, clock or newest, cursor))


@pytest.fixture
def noon() -> int:
    """The moment at which most tests begin, in microseconds: a Monday, 12:00 UTC."""
    return NOON


@pytest.fixture
def tape() -> Tape:
    """Ticks of AAPL."""
    return Tape()


@pytest.fixture
def new_tape() -> type[Tape]:
    """Makes tapes of other symbols."""
    return Tape


@pytest.fixture
def hand_feed() -> type[HandFeed]:
    """Makes feeds that are in the test's hands."""
    return HandFeed


@pytest.fixture
def past_feed() -> type[PastFeed]:
    """Makes feeds that know what was before their first tick."""
    return PastFeed


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator[Redis]:
    """A client of an empty Valkey."""
    async with connect(valkey_url) as client:
        yield client


@pytest.fixture
def new_writer() -> type[Writer]:
    """Makes writers for a client."""
    return Writer


@pytest.fixture
def bury() -> Callable[[Redis], Awaitable[None]]:
    """Lets the leases of all ingesters run out at once, as if all were dead."""
    return let_leases_run_out


@pytest.fixture
async def writer(valkey: Redis) -> Writer:
    """A writer that has claimed AAPL in an empty Valkey."""
    made = Writer(valkey)
    await made.claim("AAPL")
    return made


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """A configuration with one feed called `hand`, polled every 5 ms; sections are given by name."""

    def make_config(url: str, **sections: Any) -> Config:
        given = {
            "redis": {"url": url},
            "feeds": [{"type": "simulated", "name": "hand", "poll_ms": 5}],
            "candles": {"publish_ms": 20},
        }
        return Config.model_validate(given | sections)

    return make_config


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """An empty folder and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def load(nowhere, tmp_path):
    """Loads a configuration from the text of its file."""

    def load(text: str, **flags: object) -> Config:
        path = tmp_path / "given.yaml"
        path.write_text(text, "utf-8")
        return load_config(path, flags)

    return load


@pytest.fixture
def refusal(load):
    """What is said of a configuration that is refused: always one line."""

    def refusal(text: str, **flags: object) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, **flags)
        said = str(caught.value)
        assert said
        assert "\n" not in said
        assert "pydantic" not in said
        return said

    return refusal
