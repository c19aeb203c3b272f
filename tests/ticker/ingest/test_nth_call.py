"""The n-th call of the store fails, for n = 1, 2, 3 ... until a whole run passes without a fault; nothing is lost or doubled.

A call fails before it has reached the server, or after it took effect there but before its answer came, or whoever makes it
is cancelled. The run: start, claim, history, some polls with candles that close, a clean stop. After a stop that a fault has
cut short, a second ingester goes on.
"""

import asyncio
import gc
from collections.abc import Callable
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from feeds.feed import Batch
from feeds.tick import Trade
from ticker.check import Checker
from ticker.ingest import feed_runner, heartbeat
from ticker.ingest.ingester import Ingester
from ticker.store import keys
from ticker.store.connection import connect

NOON = 1_763_985_600_000_000
SECOND = 1_000_000
ZONE = ZoneInfo("America/New_York")
SYMBOLS = ("AAPL", "MSFT")
CALLS_MOST = 2_000
"""A run has some hundred calls; more would mean that it never ends."""


class Fault:
    """Counts the calls of the connections that it is put into, and fails one of them."""

    def __init__(self, number: int, when: str, act: Callable[[], None]) -> None:
        self.left, self.when, self.act = number, when, act
        self.done = False

    def passes(self, moment: str) -> None:
        if moment != self.when or self.done:
            return
        self.left -= 1
        if not self.left:
            self.done = True
            self.act()


def cut() -> None:
    raise RedisConnectionError("cut by the test")


def faulty(kind: type, fault: Fault) -> type:
    """Connections of a kind whose calls may fail; the one that does is closed, as a lost one is."""

    class Faulty(kind):
        async def send_packed_command(self, command, check_health=True):
            await self._pass("before")
            await super().send_packed_command(command, check_health)

        async def read_response(self, *args, **kwargs):
            try:
                return await super().read_response(*args, **kwargs)
            finally:
                await self._pass("after")

        async def _pass(self, moment):
            try:
                fault.passes(moment)
            except RedisConnectionError:
                await self.disconnect(nowait=True)
                raise
            # Where somebody was cancelled by it, it is here that he hears of it.
            await asyncio.sleep(0)

    return Faulty


class Script:
    """A feed that gives the same ticks in every run, one batch a poll, and goes on behind the cursor that is stored."""

    def __init__(self, past) -> None:
        self.past = past
        self.history_us, self.history = past.history_us, past.history
        self.symbols = past.symbols
        self.batches = [self._batch(number) for number in range(8)]
        self.place = 0
        self.behind: dict[str, int] = {}
        self.closed = 0

    def _batch(self, number: int) -> Batch:
        time = NOON + number * 25 * SECOND
        ticks = [Trade(s, 100 + number + n / 100, n + 1, time + n, f"{number}-{n}") for n in range(3) for s in SYMBOLS]
        late = [Trade("AAPL", 50, 1, time - 20 * SECOND, f"late-{number}")] if number % 3 == 2 else []
        return Batch(ticks + late, time + SECOND, str(number + 1))

    async def start(self, now_us, stored) -> None:
        self.behind = {symbol: int(stored[symbol].cursor or 0) if symbol in stored else 0 for symbol in SYMBOLS}
        self.place = min(self.behind.values())

    def poll(self, now_us) -> Batch:
        if self.place == len(self.batches):
            return Batch((), self.batches[-1].clock + 300 * SECOND, str(self.place))
        batch, self.place = self.batches[self.place], self.place + 1
        ticks = [tick for tick in batch.ticks if self.behind[tick.symbol] < self.place]
        return Batch(ticks, batch.clock, batch.cursor)

    async def close(self) -> None:
        self.closed += 1

    @property
    def prices(self) -> dict[str, list[float]]:
        ticks = [tick for batch in self.batches for tick in batch.ticks]
        return {symbol: [tick.price for tick in ticks if tick.symbol == symbol] for symbol in SYMBOLS}


@pytest.fixture
def quick(monkeypatch):
    """Nobody waits for longer than needed."""
    monkeypatch.setattr(heartbeat, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(feed_runner, "STANDBY_S", 0.0)
    monkeypatch.setattr(feed_runner, "BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr("ticker.ingest.ingester.BACKFILL_S", 0.02)


async def is_complete(client, feed: Script) -> bool:
    """Whether all ticks are stored, all candles closed, and the history is there."""
    for symbol in SYMBOLS:
        count = len(feed.prices[symbol])
        opened, backfilled = await client.hmget(keys.state(symbol), "open", "backfilled")
        if await client.xlen(keys.trades(symbol)) < count or not backfilled or not opened:
            return False
        if await client.hget(keys.CLOCKS, "hand") != str(feed.batches[-1].clock + 300 * SECOND).encode():
            return False
    return True


async def check(client, feed: Script) -> None:
    """Each tick once, numbers without a hole, ids that rise, candles of just these ticks."""
    for symbol in SYMBOLS:
        entries = await client.xrange(keys.trades(symbol))
        assert [float(fields[b"price"]) for _, fields in entries] == feed.prices[symbol]
        assert [int(fields[b"seq"]) for _, fields in entries] == list(range(1, len(entries) + 1))
        ids = [tuple(map(int, entry_id.split(b"-"))) for entry_id, _ in entries]
        assert all(one < other for one, other in pairwise(ids))
        findings = await Checker(client, ZONE).check(symbol)
        assert [line for finding in findings for line in finding.different] == []
        assert sum(finding.equal for finding in findings) > 10


async def run_once(url, feed: Script, config, fault: Fault | None, watch) -> bool:
    """One ingester from start to stop; whether it came to its end in order."""
    async with connect(url) as client:
        pool = client.connection_pool
        if fault:
            pool.connection_class = faulty(pool.connection_class, fault)
        task = asyncio.create_task(Ingester(client, config, [feed]).run())
        if fault and fault.when == "cancel":
            fault.when, fault.act = "before", task.cancel
        ended = await watch(task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert pool._in_use_connections == set()
    assert feed.closed
    return ended


@pytest.fixture
def new_run(valkey, valkey_url, make_config, past_feed, wait_until, quick):
    """Runs the scenario with a fault in one call, and with another ingester behind it; whether the fault was met."""
    config = make_config(valkey_url, feeds=[{"type": "simulated", "name": "hand", "poll_ms": 1}])
    past = past_feed(*SYMBOLS, minutes=0, days=2 * 86_400 * SECOND)

    async def new_run(number: int, when: str) -> bool:
        await valkey.flushall()
        tasks = asyncio.all_tasks()
        feed, fault = Script(past), Fault(number, when, cut)

        async def until_complete(task) -> bool:
            await wait_until(lambda: task.done() or is_complete_now(task))
            return not task.done()

        async def is_complete_now(task):
            return await is_complete(valkey, feed)

        await run_once(valkey_url, feed, config, fault, until_complete)
        if not await is_complete(valkey, feed):
            again = Script(past)
            await run_once(valkey_url, again, config, None, until_complete)
        await check(valkey, feed)
        epochs = [await valkey.get(keys.epoch(symbol)) for symbol in SYMBOLS]
        assert None not in epochs
        assert await valkey.keys("ticker:epochs:*") == []
        assert asyncio.all_tasks() == tasks
        return fault.done

    return new_run


@pytest.mark.parametrize("when", ["before", "after", "cancel"])
async def test_whichever_call_fails_each_tick_is_stored_once(new_run, when):
    """In the same epoch; neither tasks nor connections are left behind."""
    number = 0
    while await new_run(number + 1, when):
        number += 1
        assert number < CALLS_MOST
    assert number > 30
    gc.collect()
