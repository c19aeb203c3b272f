import asyncio
import json
import os
import signal
from itertools import pairwise
from time import monotonic

import pytest

from ticker.store.connection import connect


def seqs(messages, kind="trade", symbol="AAPL"):
    return [m["seq"] for m in messages if m["type"] == kind and m["symbol"] == symbol]


def is_trade(seq, symbol="AAPL"):
    return lambda m: m["type"] == "trade" and m["symbol"] == symbol and m["seq"] >= seq


async def test_heartbeats_flow(start_service, valkey_url):
    """Every `heartbeat_ms`, with the number of messages sent before."""
    service = await start_service(valkey_url, websocket={"heartbeat_ms": 100})
    client = await service.connect()
    beats = [json.loads(await client.socket.recv()) for _ in range(4)]
    assert [beat["type"] for beat in beats] == ["heartbeat"] * 4
    assert client.welcome["heartbeat_ms"] == 100
    assert all(60_000 < b["time"] - a["time"] < 2_000_000 for a, b in pairwise(beats))
    assert [b["sent"] - a["sent"] for a, b in pairwise(beats)] == [1, 1, 1]


def is_service(state):
    return lambda m: m["type"] == "service" and m["state"] == state


async def on_disk(url):
    """Until what was written is synced: while an earlier sync takes long, the server answers before it writes."""
    async with connect(url) as store:
        await store.set("ticker:test", "1")
        assert (await store.execute_command("WAITAOF", 1, 0, 10_000))[0] == 1


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
async def test_clients_learn_of_a_lost_store_within_two_seconds(start_service, own_server, tape, how):
    """`stale` with reason `store`, then `live` again; every tick that came meanwhile follows, without a hole."""
    service = await start_service(own_server.url, websocket={"heartbeat_ms": 100})
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    await client.subscribe("candles", "AAPL", interval="1m")
    service.feed.give(*tape.trades(10))
    await client.until(lambda m: m["type"] == "candle" and m["seq"] == 10)
    await on_disk(own_server.url)
    os.kill(own_server.pid, how)
    begun = monotonic()
    stale = await client.until(is_service("stale"), 2.5)
    assert monotonic() - begun < 2
    assert stale == {"type": "service", "state": "stale", "reason": "store", "time": stale["time"]}
    late = await service.connect()
    standing = await late.receive()
    assert standing == stale | {"time": standing["time"]}
    service.feed.give(*tape.trades(10))
    assert json.loads(await client.socket.recv())["type"] == "heartbeat"
    if how == signal.SIGSTOP:
        os.kill(own_server.pid, signal.SIGCONT)
    else:
        assert not own_server.is_running()
        own_server.start()
    messages = await client.collect(is_trade(20), 20)
    if not any(is_service("live")(m) for m in messages):
        messages += await client.collect(is_service("live"))
    (live,) = [m for m in messages if is_service("live")(m)]
    assert (live["state"], live["reason"]) == ("live", "store")
    assert seqs(messages) == list(range(11, 21))
    service.feed.give(*tape.trades(1))
    messages += await client.collect(lambda m: m["type"] == "candle" and m["seq"] == 21)
    assert not [m for m in messages if m["type"] in ("gap", "reset")]


async def test_clients_learn_of_a_silent_ingester_within_two_seconds(
    start_service, valkey, valkey_url, make_config, hand_feed
):
    """A gateway whose ingester has gone says so, and says when there is one again."""
    gateway = await start_service(valkey_url, feed=None)
    client = await gateway.connect()
    await client.until(is_service("stale"), 3)
    beating = asyncio.Event()

    async def beat():
        while not beating.is_set():
            await valkey.publish("ticker:heartbeat", b'{"time":1,"feeds":{}}')
            await asyncio.sleep(0.1)

    task = asyncio.create_task(beat())
    live = await client.until(is_service("live"))
    assert live["reason"] == "ingest"
    beating.set()
    await task
    begun = monotonic()
    stale = await client.until(is_service("stale"), 3)
    assert monotonic() - begun < 2
    assert stale["reason"] == "ingest"


async def test_a_failed_feed_is_told_with_its_symbols(service):
    """`stale` with reason `feed` names the symbols that stand still."""
    client = await service.connect()
    service.feed.raises.append(RuntimeError("the far end hung up"))
    stale = await client.until(is_service("stale"))
    assert (stale["reason"], stale["symbols"]) == ("feed", ["AAPL", "MSFT"])
    live = await client.until(is_service("live"))
    assert live == {"type": "service", "state": "live", "reason": "feed", "time": live["time"]}


async def test_a_subscription_while_the_store_is_away_may_be_tried_again(start_service, own_server):
    """The error says `unavailable` and `retry`, is not counted as a bad message, and later it works."""
    service = await start_service(own_server.url)
    client = await service.connect()
    os.kill(own_server.pid, signal.SIGSTOP)
    await client.until(is_service("stale"))
    for _ in range(25):
        reply = await client.ask(op="subscribe", id=3, channel="trades", symbols=["AAPL"])
        assert (reply["type"], reply["code"], reply["retry"], reply["id"]) == ("error", "unavailable", True, 3)
    os.kill(own_server.pid, signal.SIGCONT)
    await client.until(is_service("live"))
    await client.subscribe("trades", "AAPL")


async def test_an_emptied_store_begins_a_new_epoch(service, tape):
    """After FLUSHALL clients get a `reset`; the numbers of the new epoch begin at 1, with what the ingester still holds."""
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    service.feed.give(*tape.trades(5))
    await client.until(is_trade(5))
    await service.store.flushall()
    service.feed.give(*tape.trades(2))
    reset = await client.until(lambda m: m["type"] == "reset")
    assert (reset["channel"], reset["symbol"], reset["seq"]) == ("trades", "AAPL", 0)
    messages = await client.collect(is_trade(7))
    assert seqs(messages) == list(range(1, 8))
    assert [message["time"] for message in messages] == [tick.time for tick in tape.ticks]
    reply = await (await service.connect()).subscribe("trades", "AAPL")
    assert reply["positions"]["AAPL"] == {"epoch": reset["epoch"], "seq": 7}


async def test_a_message_that_got_lost_is_read_from_the_stream(service, tape):
    """A hole in live delivery is filled before anything newer goes out."""
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    service.feed.give(*tape.trades(3))
    await client.until(is_trade(3))
    for client_info in await service.store.client_list(_type="pubsub"):
        await service.store.client_kill_filter(_id=client_info["id"])
    service.feed.give(*tape.trades(5))
    service.feed.give(*tape.trades(5))
    messages = await client.collect(is_trade(13))
    assert seqs(messages) == list(range(4, 14))
