"""A real gateway over a line that is cut again and again while ticks come: nothing is missing, nothing comes twice."""

import asyncio
import random
from functools import partial
from itertools import pairwise

import pytest
from redis.asyncio import Redis

from ticker.client import Candle, Disconnected, Gap, Quote, Resumed, Trade

CUTS = 12


@pytest.fixture
async def poured(gateway, tape, new_tape):
    """Begins to pour in ticks; ends when the test does, or when it says so."""
    stop, other = asyncio.Event(), new_tape("MSFT")

    async def pour():
        while not stop.is_set():
            # No faster than they are polled: on a busy machine, what was poured in would take long to come out.
            if len(gateway.feed._batches) < 10:
                gateway.feed.give(*tape.trades(5, 20_000), tape.quote(), *other.trades(3, 20_000))
            await asyncio.sleep(0.005)

    pouring = asyncio.ensure_future(pour())

    async def end():
        stop.set()
        await pouring
        return len([tick for tick in tape.ticks if isinstance(tick, type(tape.ticks[0]))]), len(other.ticks)

    yield end
    await end()


async def cut_often(line, seed, events, wait_until):
    """Cut a line at random moments, so many times, each once somebody is connected and has got something since."""
    rng = random.Random(seed)

    def grown(connections, count):
        return line.connections > connections and len(events) > count

    connections, count = 0, 0
    for _ in range(CUTS):
        await wait_until(partial(grown, connections, count))
        await asyncio.sleep(rng.random() * 0.05)
        connections, count = line.connections, len(events)
        line.cut()


async def read(subscription, events, until):
    async for event in subscription:
        events.append(event)
        if until(event):
            return


async def finish(reading, events, until, wait_until):
    """Until an event, perhaps one that has come already, is the last that is wanted."""
    await wait_until(lambda: reading.done() or any(map(until, events)))
    if reading.done():
        reading.result()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize("seed", [1, 2])
async def test_trades(gateway, open_line, open_market, poured, wait_until, seed):
    """Of two symbols; and every return is told with what it brought."""
    line = await open_line(gateway.port)
    market = await open_market(line.url)
    events, notices, last = [], [], {"AAPL": 1 << 60, "MSFT": 1 << 60}
    done = set()

    def until(event):
        if isinstance(event, Trade) and event.seq >= last[event.symbol]:
            done.add(event.symbol)
        return done == {"AAPL", "MSFT"}

    subscription = market.subscribe("trades", ["AAPL", "MSFT"], snapshot=False, on_notice=notices.append)
    reading = asyncio.ensure_future(read(subscription, events, until))
    await cut_often(line, seed, events, wait_until)
    last["AAPL"], last["MSFT"] = await poured()
    await wait_until(lambda: len([notice for notice in notices if isinstance(notice, Disconnected)]) >= CUTS)
    await finish(reading, events, until, wait_until)
    assert [event for event in events if isinstance(event, Gap)] == []
    for symbol in last:
        seqs = [event.seq for event in events if isinstance(event, Trade) and event.symbol == symbol]
        assert seqs == list(range(seqs[0], last[symbol] + 1))
    resumed = [notice for notice in notices if isinstance(notice, Resumed)]
    assert {notice.missed for notice in resumed} == {0}
    assert all(notice.replayed == notice.to - notice.after for notice in resumed)


async def test_all_symbols_of_quotes(gateway, open_line, open_market, poured, tape, wait_until):
    """Those that had no quote yet, too."""
    line = await open_line(gateway.port)
    market = await open_market(line.url)
    events, count = [], [1 << 60]
    subscription = market.subscribe("quotes", "*")

    def until(event):
        return isinstance(event, Quote) and event.seq >= count[0]

    reading = asyncio.ensure_future(read(subscription, events, until))
    await cut_often(line, 3, events, wait_until)
    await poured()
    count[0] = len([tick for tick in tape.ticks if hasattr(tick, "bid")])
    await finish(reading, events, until, wait_until)
    seqs = [event.seq for event in events if isinstance(event, Quote)]
    assert seqs == list(range(seqs[0], count[0] + 1))


async def test_candles(gateway, open_line, open_market, poured, tape, wait_until):
    """Each ends as REST has it, closed ones are told to be, and no state comes twice."""
    line = await open_line(gateway.port)
    market = await open_market(line.url)
    events = []
    subscription = market.subscribe("candles", "AAPL", "1s", resume={"epoch": None, "seq": 0})
    reading = asyncio.ensure_future(read(subscription, events, lambda event: False))
    await cut_often(line, 4, events, wait_until)
    await poured()
    gateway.feed.give(clock=tape.time + 5_000_000)
    closed = {}

    async def all_closed():
        nonlocal closed
        rows = await market.candles("AAPL", "1s", start="2020-01-01")
        closed = {row.time: (row.open, row.high, row.low, row.close, row.volume, row.trades, row.vwap) for row in rows}
        last_us = max(tick.time for tick in tape.ticks if hasattr(tick, "price"))
        return rows[-1].time == last_us // 1_000_000 * 1_000_000

    await wait_until(all_closed)

    def told():
        finals = [event for event in events if isinstance(event, Candle) and event.final]
        return {e.time: (e.open, e.high, e.low, e.close, e.volume, e.trades, e.vwap) for e in finals}

    await wait_until(lambda: told().keys() == closed.keys())
    reading.cancel()
    assert told() == closed
    states = [(event.time, event.seq, event.final) for event in events]
    assert len(states) == len(set(states))


async def test_the_latest(gateway, open_line, open_market, poured, tape, wait_until):
    """Numbers and those that gave way to them add up, over all connections."""
    line = await open_line(gateway.port)
    market = await open_market(line.url)
    events, last = [], [1 << 60]
    subscription = market.subscribe("trades", "AAPL", deliver="latest", every_ms=20, snapshot=False)

    def until(event):
        return isinstance(event, Trade) and event.seq >= last[0]

    reading = asyncio.ensure_future(read(subscription, events, until))
    await cut_often(line, 5, events, wait_until)
    last[0], _ = await poured()
    await finish(reading, events, until, wait_until)
    assert {type(event) for event in events} == {Trade}
    assert all(b.seq == a.seq + 1 + b.skipped for a, b in pairwise(events))


async def test_rows_go_on_in_events(gateway, open_market, poured):
    """From REST's position, on every channel."""
    market = await open_market(gateway.url)
    async with asyncio.timeout(15):
        while not (rows := await market.trades("AAPL", start="2020-01-01", limit=1_000)).position:
            pass
    seqs = [row.seq for row in rows]
    async with asyncio.timeout(15):
        async for event in market.subscribe("trades", "AAPL", resume=rows.position):
            seqs.append(event.seq)
            if len(seqs) >= len(rows) + 50:
                break
    assert seqs == list(range(1, len(seqs) + 1))


async def test_what_is_trimmed_is_told(gateway, open_line, open_market, tape, valkey_url, take, wait_until):
    """Exactly, and counted."""
    line = await open_line(gateway.port)
    market = await open_market(line.url)
    notices = []
    gateway.feed.give(*tape.trades(5))
    async with market.subscribe("trades", "AAPL", on_notice=notices.append) as trades:
        while (await take(trades, 1))[0].seq < 5:
            pass
        port, line.target = line.target, 1
        line.cut()
        gateway.feed.give(*tape.trades(20))
        async with Redis.from_url(valkey_url) as store:

            async def there():
                return await store.xlen("trades:{AAPL}") == 25

            await wait_until(there)
            await store.xtrim("trades:{AAPL}", maxlen=10, approximate=False)
        line.target = port
        events = await take(trades, 11)
        gateway.feed.give(tape.trade())
        await take(trades, 1)
    assert events[0] == Gap("trades", "AAPL", 6, 15, "trimmed")
    assert [event.seq for event in events[1:]] == list(range(16, 26))
    assert notices[-1] == Resumed("trades", "AAPL", None, 5, 25, 10, 10)
