import asyncio
import json
from contextlib import suppress
from time import monotonic

import pytest

TEXT, CLOSE = 1, 8
OUTBOX = 65_536


def is_trade(seq, symbol="AAPL"):
    return lambda m: m["type"] == "trade" and m["symbol"] == symbol and m["seq"] >= seq


def seqs(messages):
    return [m["seq"] for m in messages if m["type"] == "trade"]


async def hits(service, limit):
    """How often a limit was met in this process."""
    text = (await service.get("/metrics")).text
    name = f'ticker_limit_hits_total{{limit="{limit}"}} '
    return next((float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name)), 0.0)


class Pour:
    """Trades into a service as long as the block lasts, and a client that reads them all and misses none."""

    def __init__(self, service, tape):
        self._service, self._tape = service, tape
        self.longest_s = 0.0

    async def __aenter__(self):
        self._good = await self._service.connect()
        await self._good.subscribe("trades", "AAPL")
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self):
        given = 0
        while True:
            begun = monotonic()
            self._service.feed.give(*self._tape.trades(400, step=100))
            given += 400
            messages = await self._good.collect(is_trade(given))
            assert seqs(messages) == list(range(given - 399, given + 1))
            self.longest_s = max(self.longest_s, monotonic() - begun)

    async def __aexit__(self, *exc):
        if self._task.done():
            self._task.result()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


@pytest.fixture
def subscriber(open_raw):
    """Makes raw clients that have a small receive buffer, and are subscribed."""

    async def subscriber(service, query="?channel=trades&symbols=AAPL"):
        raw = await open_raw(service.port, receive_bytes=4_096)
        assert (await raw.ask(f"/v1/stream{query}"))[0] == 101
        return raw

    return subscriber


@pytest.mark.parametrize(
    ("limit", "settings"),
    [
        pytest.param("outbox_bytes", {"outbox_bytes": OUTBOX}, marks=pytest.mark.limit("outbox_bytes")),
        pytest.param("outbox_ms", {"outbox_bytes": 1 << 30, "outbox_ms": 300}, marks=pytest.mark.limit("outbox_ms")),
    ],
)
async def test_a_client_that_reads_nothing_is_cut_and_nobody_else_notices(
    start_service, valkey_url, tape, subscriber, limit, settings
):
    """By the bytes that wait for it, or by how long they have: soon after, its connection is gone."""
    service = await start_service(valkey_url, websocket=settings)
    async with Pour(service, tape) as pour:
        mute = await subscriber(service)
        hub = service.gateway.hub
        await service.wait_until(lambda: hub._full)
        (door,) = [s.door for s in hub._full]
        begun = monotonic()
        await service.wait_until(lambda: door.closing, 10)
        assert limit == "outbox_bytes" or 0.25 < monotonic() - begun < 1.0
        await service.wait_until(door.transport.is_closing, 2.5)
        await mute.rest()
    assert pour.longest_s < 5


async def test_a_client_that_reads_nothing_costs_no_more_than_its_outbox(start_service, valkey_url, tape, subscriber):
    """However much is published: what waits for it is bounded, here and in the kernel."""
    service = await start_service(valkey_url, websocket={"outbox_bytes": OUTBOX, "outbox_ms": 60_000})
    mute = await subscriber(service)
    async with Pour(service, tape):
        hub = service.gateway.hub
        await service.wait_until(lambda: hub._full)
        (client,) = hub._full
        most = 0
        while not client.door.closing:
            most = max(most, client.queued_bytes)
            await asyncio.sleep(0)
        assert OUTBOX / 4 < most <= OUTBOX
        rest = await mute.rest()
    # What the kernels of both sides had taken: without a bound of ours it is megabytes.
    assert len(rest) < 500_000


async def test_a_merely_slow_client_is_warned_and_then_told_why_it_is_closed(
    start_service, valkey_url, tape, subscriber
):
    """One that takes three of four messages: it reads the event `slow`, later the close code with its reason."""
    service = await start_service(valkey_url, websocket={"outbox_bytes": OUTBOX})
    before = await hits(service, "outbox_bytes")
    good, slow = await service.connect(), await subscriber(service)
    await good.subscribe("trades", "AAPL")
    found, events, closed = [], [], b""
    for given in range(40, 40_000, 40):
        service.feed.give(*tape.trades(40, step=100))
        await good.until(is_trade(given))
        while not closed and len(found) < given * 3 / 4:
            opcode, payload = await slow.frame()
            closed = payload if opcode == CLOSE else b""
            message = json.loads(payload) if opcode == TEXT else {"type": "control"}
            events.append(message)
            found += seqs([message])
        if closed:
            break
    assert int.from_bytes(closed[:2]) == 4508
    assert b"slow consumer" in closed
    assert b"resume" in closed
    (warning,) = [m for m in events if m["type"] == "slow"]
    assert warning["action"] == "closing"
    assert OUTBOX / 2 < warning["queued_bytes"] <= OUTBOX
    assert found == list(range(found[0], found[0] + len(found)))
    assert await hits(service, "outbox_bytes") == before + 1


async def test_a_slow_client_of_the_latest_stays(start_service, valkey_url, tape, subscriber):
    """What it cannot take gives way to newer messages; in the end it has the newest."""
    service = await start_service(valkey_url, websocket={"outbox_bytes": OUTBOX, "outbox_ms": 60_000})
    slow = await subscriber(service, "?channel=trades&symbols=AAPL&deliver=latest&every_ms=1")
    last, skipped = 0, 0
    async with Pour(service, tape):
        for _ in range(100):
            opcode, payload = await slow.frame()
            message = json.loads(payload) if opcode == TEXT else {}
            if message.get("type") == "trade" and not message.get("snapshot"):
                assert message["seq"] == last + 1 + message["skipped"]
                last, skipped = message["seq"], skipped + message["skipped"]
                await asyncio.sleep(0.01)
    assert skipped > 0
    while last < len(tape.ticks):
        opcode, payload = await slow.frame()
        message = json.loads(payload) if opcode == TEXT else {}
        last = message["seq"] if message.get("type") == "trade" else last


async def test_a_burst_is_not_held_against_a_client_that_reads(start_service, valkey_url, tape):
    """However much comes at once: what counts is what the client leaves waiting."""
    service = await start_service(valkey_url, websocket={"outbox_bytes": 4_096})
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    service.feed.give(*tape.trades(500, step=100))
    last = await client.until(lambda m: m["type"] == "trade" and m["seq"] == 500)
    assert last["price"] == tape.ticks[-1].price
