"""Candles that are changed from beside their writer, who may come or go in between."""

import pytest
from redis import Redis as BlockingRedis

from ticker.store import keys
from ticker.store.candle_change import Change, change_candles

MINUTE = 60_000_000


@pytest.fixture
def change(valkey, valkey_url, noon):
    """Changes nothing of AAPL but that it was changed; `meanwhile` is done once the store was looked at for the first time."""

    async def change(meanwhile):
        looks = []

        def decide(held):
            looks.append(held)
            if len(looks) == 1:
                with BlockingRedis.from_url(valkey_url) as other:
                    meanwhile(other)
            return Change({"1m": held.closed["1m"]})

        await change_candles(valkey, "AAPL", {"1s": (0, 0), "1m": (noon, noon + MINUTE), "1d": (0, 0)}, decide)
        return len(looks)

    return change


async def fence(client):
    return await client.hget(keys.state("AAPL"), "fence")


async def test_a_writer_must_look_again(writer, tape, valkey, change):
    """Its fence is renewed in the same step."""
    await writer.write(*tape.trades(3))
    before = await fence(valkey)
    assert await change(lambda other: None) == 1
    assert await fence(valkey) != before


async def test_a_writer_that_stops_meanwhile_keeps_its_mark(writer, tape, valkey, change):
    """Else the next start would find a fence that no clean stop has left, and begin an epoch for nothing."""
    await writer.write(*tape.trades(3))
    before = await fence(valkey)
    assert await change(lambda other: other.hset(keys.CLEAN, "AAPL", before)) == 2
    assert await fence(valkey) == before
