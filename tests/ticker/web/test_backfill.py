"""Clients and the history that is stored while they are connected."""

import pytest

MINUTE = 60_000_000


def same(message, row):
    names = ("time", "open", "high", "low", "close", "volume", "trades", "vwap", "final")
    return [message[name] for name in names] == [row[name] for name in names]


@pytest.mark.parametrize("interval", ["1h", "1d"])
async def test_a_forming_candle_takes_in_what_was_before(start_service, valkey_url, past_feed, tape, interval):
    """Whoever has it gets it as it now stands, equal to the one of REST, and goes on with the trades after it."""
    feed = past_feed()
    feed.clock = tape.time = tape.time + 7 * MINUTE
    feed.may_answer.clear()
    service = await start_service(valkey_url, feed)
    feed.give(tape.trade())
    client = await service.connect()
    await service.wait_until(lambda: service_has(service, interval))
    await client.subscribe("candles", "AAPL", interval=interval)
    await client.until(lambda m: m["type"] == "candle" and m["trades"] == 1)
    feed.may_answer.set()
    grown = await client.until(lambda m: m["type"] == "candle" and m["trades"] > 1)
    page = await service.json("/v1/candles/AAPL", interval=interval, forming="true")
    assert same(grown, page["candles"][-1])
    assert page["candles"][-2]["time"] < grown["time"]
    feed.give(tape.trade(time=feed.clock + 1000))
    after = await client.until(lambda m: m["type"] == "candle" and m["trades"] == grown["trades"] + 1)
    assert after["seq"] == 2


async def service_has(service, interval):
    return (await service.json("/v1/candles/AAPL", interval=interval, forming="true"))["candles"]


async def test_a_change_is_counted_from_the_last_close_of_history(start_service, valkey_url, past_feed, tape):
    """Yesterday was before the first tick."""
    feed = past_feed()
    service = await start_service(valkey_url, feed)
    feed.give(tape.trade())

    async def is_stored():
        return (await service.json("/v1/snapshots/AAPL"))["previous_close"] is not None

    await service.wait_until(is_stored)
    snapshot = await service.json("/v1/snapshots/AAPL")
    days = (await service.json("/v1/candles/AAPL", interval="1d"))["candles"]
    assert snapshot["previous_close"] == days[-1]["close"]
    assert snapshot["day"]["trades"] > 1
