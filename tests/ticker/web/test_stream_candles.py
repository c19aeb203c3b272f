import asyncio
import json

from ticker.candles.interval import INTERVALS

SECOND = 1_000_000
MINUTE = 60 * SECOND


def is_trade(seq, symbol="AAPL"):
    return lambda m: m["type"] == "trade" and m["symbol"] == symbol and m["seq"] >= seq


async def test_a_forming_candle_equals_rest_at_the_same_seq(service, tape, noon):
    """On every interval, while it forms and after each trade."""
    client = await service.connect()
    service.feed.give(*tape.trades(7))
    for interval in INTERVALS:
        await client.subscribe("candles", "AAPL", interval=interval)
    for seq in (9, 14):
        service.feed.give(*tape.trades(seq - len(tape.ticks)))
        found = {}
        while len(found) < len(INTERVALS):
            message = await client.until(lambda m, seq=seq: m["type"] == "candle" and m["seq"] == seq)
            found[message["interval"]] = message
        for interval, message in found.items():
            page = await service.json("/v1/candles/AAPL", interval=interval, forming="true")
            assert page["position"]["seq"] == seq
            assert page["candles"][-1] | {"seq": seq} == {
                k: v for k, v in message.items() if k not in ("type", "symbol", "interval", "snapshot")
            }
    assert found["1m"]["time"] == noon
    assert list(found["1m"])[:13] == (
        [
            "type",
            "symbol",
            "interval",
            "time",
            "open",
            "high",
            "low",
            "close",
            "volume",
            "trades",
            "vwap",
            "final",
            "seq",
        ]
    )


async def test_a_candle_closes_with_the_feed_clock(service, tape, noon):
    """Once the clock is past its end and the grace, `final` is true; nothing is sent of it before."""
    client = await service.connect()
    await client.subscribe("candles", "AAPL", interval="1m")
    service.feed.give(tape.trade(100, 1), tape.trade(103, 2), clock=noon + MINUTE + 499_999)
    forming = await client.until(lambda m: m["type"] == "candle" and m["seq"] == 2)
    assert forming["final"] is False
    await wait_clock(service, noon + MINUTE + 499_999)
    assert all(not m["final"] for m in await client.barrier())
    service.feed.give(clock=noon + MINUTE + 500_000)
    final = await client.until(lambda m: m["type"] == "candle" and m["final"])
    assert final == forming | {"final": True}
    (row,) = (await service.json("/v1/candles/AAPL", interval="1m"))["candles"]
    assert row | {"seq": 2} == {k: v for k, v in final.items() if k not in ("type", "symbol", "interval")}


async def wait_clock(service, clock):
    """Until a heartbeat has told this feed clock."""
    async with asyncio.timeout(10), service.store.pubsub() as pubsub:
        await pubsub.subscribe("ticker:heartbeat")
        beats = 0
        while beats < 2:
            message = await pubsub.get_message(timeout=10)
            if message["type"] == "message":
                beats += json.loads(message["data"])["feeds"]["hand"]["clock"] == clock


async def test_a_late_trade_corrects_a_closed_candle(service, tape, noon):
    """The corrected candle goes out again, final, with the higher seq."""
    client = await service.connect()
    await client.subscribe("candles", "AAPL", interval="1m")
    service.feed.give(tape.trade(100, 1), clock=noon + MINUTE + SECOND)
    first = await client.until(lambda m: m["type"] == "candle" and m["final"])
    service.feed.give(tape.trade(90, 2, time=noon + 59 * SECOND))
    second = await client.until(lambda m: m["type"] == "candle" and m["final"])
    assert (second["time"], second["seq"], second["low"], second["trades"]) == (first["time"], 2, 90, 2)
    (row,) = (await service.json("/v1/candles/AAPL", interval="1m"))["candles"]
    assert row | {"seq": 2} == {k: v for k, v in second.items() if k not in ("type", "symbol", "interval")}


async def test_the_candle_channel_carries_the_closing_message(service, tape, noon):
    """Tappers of `candles:{AAPL}` get the very text that WebSocket clients get when a minute closes."""
    async with service.store.pubsub() as pubsub:
        await pubsub.subscribe("candles:{AAPL}")
        client = await service.connect()
        await client.subscribe("candles", "AAPL", interval="1m")
        service.feed.give(*tape.trades(5), clock=noon + MINUTE + SECOND)
        final = await client.until(lambda m: m["type"] == "candle" and m["final"])
        while (message := await pubsub.get_message(timeout=10)) and message["type"] != "message":
            pass
    assert json.loads(message["data"]) == final


async def test_a_candle_subscription_begins_with_the_newest_candle(service, tape):
    """As a snapshot, forming or closed, at the position of the reply."""
    service.feed.give(*tape.trades(5))
    first = await service.connect()
    await first.subscribe("trades", "AAPL")
    await first.until(is_trade(5))
    client = await service.connect()
    reply = await client.subscribe("candles", "AAPL", interval="1h")
    snapshot = await client.receive()
    assert (snapshot["seq"], snapshot["snapshot"], snapshot["final"]) == (5, True, False)
    assert reply["positions"]["AAPL"]["seq"] == 5
    assert reply["interval"] == "1h"
    assert await client.barrier() == []
