"""What may happen while a replay runs, over real sockets and a real Valkey: the client has not read yet."""

import asyncio
import json
from time import monotonic

import pytest

CLOSE, TEXT = 8, 1
MANY = 20_000
"""Trades that no kernel takes for a client that reads nothing."""


def text_frame(**request):
    """A masked text frame, as clients send them; the mask is 0."""
    payload = json.dumps(request).encode()
    head = bytes((0x81, 0x80 | len(payload))) if len(payload) < 126 else b"\x81\xfe" + len(payload).to_bytes(2)
    return head + bytes(4) + payload


class Reader:
    """A client with a small receive buffer that reads only when it is told to."""

    def __init__(self, raw):
        self.raw = raw

    def ask(self, **request):
        self.raw.send(text_frame(**request))

    async def read(self, wanted):
        """All messages up to and with the first that `wanted` accepts, without heartbeats."""
        found = []
        while True:
            opcode, payload = await self.raw.frame()
            assert opcode == TEXT, payload
            message = json.loads(payload)
            if message["type"] not in ("heartbeat", "service", "welcome"):
                found.append(message)
                if wanted(message):
                    return found


@pytest.fixture
def resume(open_raw, wait_until):
    """A service with many trades, and a client that resumes from their beginning and reads nothing yet."""

    async def resume(service, tape, symbols=("AAPL",), **more):
        service.feed.give(*tape.trades(MANY, step=100))

        async def stored():
            page = await service.json("/v1/trades/AAPL", limit=1)
            return (page["position"] or {"seq": 0})["seq"] == MANY

        await wait_until(stored)
        epoch = (await service.json("/v1/trades/AAPL", limit=1))["position"]["epoch"]
        raw = await open_raw(service.port, receive_bytes=4_096)
        assert (await raw.ask("/v1/stream"))[0] == 101
        reader = Reader(raw)
        positions = {"AAPL": {"epoch": epoch, "seq": 0}}
        reader.ask(op="subscribe", id=1, channel="trades", symbols=list(symbols), resume=positions, **more)
        # Full: it is in the middle of the replay.
        await wait_until(lambda: service.gateway.hub._full)
        return reader

    return resume


def seqs(messages):
    return [m["seq"] for m in messages if m["type"] == "trade"]


def is_trade(seq):
    return lambda m: m["type"] == "trade" and m["seq"] == seq


def is_reply(number):
    return lambda m: m.get("id") == number


async def test_a_client_that_reads_nothing_of_its_replay_is_cut(start_service, valkey_url, tape, resume):
    """By the same rule as any other: after `outbox_ms`, and what it cost is let go of."""
    service = await start_service(valkey_url, websocket={"outbox_ms": 400})
    reader = await resume(service, tape)
    hub = service.gateway.hub
    (client,) = hub._full
    begun = monotonic()
    await service.wait_until(lambda: client.door.closing, 3)
    assert 0.2 < monotonic() - begun < 1.5
    await service.wait_until(lambda: not hub._recordings)
    await reader.raw.rest()


async def test_a_replay_takes_no_more_than_a_slice_of_memory(service, tape, resume):
    """However much there is to replay: the rest stays in the store until the client reads."""
    reader = await resume(service, tape)
    (client,) = service.gateway.hub._full

    def held():
        # All of it: what a client has asked for itself does not count as waiting for it.
        waiting = sum(len(one.data) for one in client._held or ())
        return waiting + client.door.transport.get_write_buffer_size()

    until = monotonic() + 0.5
    while monotonic() < until:
        assert held() <= 1 << 17
        await asyncio.sleep(0)
    messages = await reader.read(is_trade(MANY))
    assert seqs(messages) == list(range(1, MANY + 1))


async def test_what_comes_meanwhile_follows(service, tape, resume):
    """In order, each once, more than is recorded too; then live."""
    reader = await resume(service, tape)
    service.feed.give(*tape.trades(5_000, step=100))
    messages = await reader.read(is_trade(MANY + 5_000))
    service.feed.give(*tape.trades(3))
    messages += await reader.read(is_trade(MANY + 5_003))
    assert messages[0]["positions"]["AAPL"]["recovered"] is True
    assert seqs(messages) == list(range(1, MANY + 5_004))


async def test_unsubscribing_ends_a_replay(service, tape, resume, wait_until):
    """Nothing comes behind the reply, and nothing is kept."""
    reader = await resume(service, tape)
    reader.ask(op="unsubscribe", id=2, channel="trades", symbols=["AAPL"])
    messages = await reader.read(is_reply(2))
    assert seqs(messages) == list(range(1, len(messages) - 1))
    assert len(messages) < MANY
    await wait_until(lambda: not service.gateway.hub._recordings)
    service.feed.give(*tape.trades(3))
    reader.ask(op="ping", id=3)
    assert [m["type"] for m in await reader.read(is_reply(3))] == ["pong"]


async def test_a_replay_goes_on_while_an_entry_covers_it(service, tape, resume):
    """The symbol was named and falls under `*` too: leaving the one leaves the other."""
    reader = await resume(service, tape, ["AAPL", "*"])
    reader.ask(op="unsubscribe", id=2, channel="trades", symbols=["AAPL"])
    messages = await reader.read(is_trade(MANY))
    service.feed.give(*tape.trades(3))
    messages += await reader.read(is_trade(MANY + 3))
    assert seqs(messages) == list(range(1, MANY + 4))


async def test_subscribing_again_changes_only_how_it_is_delivered(service, tape, resume):
    """To the latest, in the middle of a replay: what is left gives way to the newest, which says so."""
    reader = await resume(service, tape)
    reader.ask(op="subscribe", id=2, channel="trades", symbols=["AAPL"], deliver="latest", every_ms=10)
    messages = await reader.read(is_trade(MANY))
    assert [m["id"] for m in messages if m["type"] == "subscribed"] == [1, 2]
    *before, newest = [m for m in messages if m["type"] == "trade"]
    assert [m["seq"] for m in before] == list(range(1, len(before) + 1))
    assert newest["skipped"] == MANY - len(before) - 1 > 0


async def test_resuming_again_is_an_error_of_the_symbol(service, tape, resume):
    """It is subscribed already, and its replay goes on."""
    reader = await resume(service, tape)
    reader.ask(op="subscribe", id=2, channel="trades", symbols=["AAPL"], resume={"AAPL": {"epoch": "k3x9", "seq": 5}})
    messages = await reader.read(is_trade(MANY))
    (reply,) = [m for m in messages if m.get("id") == 2]
    assert (reply["positions"], reply["errors"]) == ({}, [{"symbol": "AAPL", "code": "already_subscribed"}])
    assert seqs(messages) == list(range(1, MANY + 1))


async def test_trimming_that_overtakes_a_replay_is_announced(service, valkey, tape, resume):
    """By one gap for exactly what is missing; then all that remains."""
    reader = await resume(service, tape)
    await valkey.xtrim("trades:{AAPL}", maxlen=1_000, approximate=False)
    messages = await reader.read(is_trade(MANY))
    (gap,) = [m for m in messages if m["type"] == "gap"]
    at = messages.index(gap)
    assert (gap["from"], gap["to"], gap["reason"]) == (messages[at - 1]["seq"] + 1, MANY - 1_000, "trimmed")
    assert seqs(messages[:at]) == list(range(1, gap["from"]))
    assert seqs(messages[at:]) == list(range(gap["to"] + 1, MANY + 1))


async def test_a_reset_while_a_replay_runs_is_told_once(service, valkey, tape, resume, wait_until):
    """The store was emptied: what the client has is withdrawn, and the new epoch follows from its beginning."""
    reader = await resume(service, tape)
    await valkey.flushall()
    service.feed.give(*tape.trades(10))

    async def begun():
        return await valkey.get("epoch:{AAPL}")

    await wait_until(begun)
    epoch = (await valkey.get("epoch:{AAPL}")).decode()
    messages = await reader.read(lambda m: m["type"] == "reset")
    assert (messages[-1]["epoch"], messages[-1]["seq"]) == (epoch, 0)
    assert seqs(messages) == list(range(1, len(seqs(messages)) + 1))
    service.feed.give(*tape.trades(2))
    after = await reader.read(is_trade(12))
    assert [m["type"] for m in after] == ["trade"] * len(after)
    assert seqs(after) == list(range(1, 13))


async def test_a_client_that_goes_leaves_nothing(service, tape, resume, wait_until):
    """Its replay ends with its connection."""
    reader = await resume(service, tape)
    hub = service.gateway.hub
    reader.raw.writer.transport.abort()
    await wait_until(lambda: not hub._recordings and not len(hub))
    assert not hub.wanted(next(iter(service.gateway.relay._tracks)))


async def test_a_store_that_is_away_holds_a_replay_up(start_service, own_server, tape, resume):
    """It goes on where it was once the store is back."""
    service = await start_service(own_server.url, websocket={"outbox_ms": 30_000})
    reader = await resume(service, tape)
    own_server.stop()
    messages = await reader.read(is_trade(100))
    own_server.start()
    messages += await reader.read(is_trade(MANY))
    assert seqs(messages) == list(range(1, MANY + 1))
