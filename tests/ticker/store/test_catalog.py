import json
from dataclasses import replace

import pytest

from feeds.tick import Listing
from ticker.errors import ConfigError, StoreUnavailable
from ticker.store import catalog, keys
from ticker.store.connection import connect


def listing(symbol, name="A Company"):
    return Listing(symbol, name, "XNAS", "USD", "Technology", 0.01)


async def test_symbols_are_read_back_in_order(redis_client):
    """With all that is known of them, and the feed they come from."""
    await catalog.register(redis_client, [listing("MSFT"), listing("AAPL")], "one", "i1")
    await catalog.register(redis_client, [listing("IBM")], "two", "i1")
    found = await catalog.read(redis_client)
    assert list(found) == ["AAPL", "IBM", "MSFT"]
    assert found["IBM"] == {
        "symbol": "IBM",
        "name": "A Company",
        "exchange": "XNAS",
        "currency": "USD",
        "sector": "Technology",
        "tick_size": 0.01,
        "feed": "two",
    }


async def test_made_up_prices_are_known_as_such(redis_client):
    """Only where they are: a row without `simulated` is of a real market."""
    made_up = replace(listing("AAPL"), simulated=True)
    await catalog.register(redis_client, [made_up, listing("IBM")], "one", "i1")
    found = await catalog.read(redis_client)
    assert found["AAPL"]["simulated"] is True
    assert "simulated" not in found["IBM"]


async def test_what_is_known_anew_takes_the_place_of_the_old(redis_client):
    """Names change."""
    await catalog.register(redis_client, [listing("META", "Facebook")], "one", "i1")
    await catalog.register(redis_client, [listing("META", "Meta Platforms")], "one", "i1")
    assert (await catalog.read(redis_client))["META"]["name"] == "Meta Platforms"


async def test_gateways_hear_of_it(redis_client):
    """Once the symbols are there."""
    async with redis_client.pubsub() as pubsub:
        await pubsub.subscribe(keys.EVENTS)
        await catalog.register(redis_client, [listing("AAPL")], "one", "i1")
        while (message := await pubsub.get_message(timeout=10))["type"] != "message":
            pass
    assert json.loads(message["data"]) == {"event": "symbols"}


async def test_an_empty_store_is_marked_and_another_layout_refused(redis_client):
    """The public layout is versioned."""
    await catalog.check_schema(redis_client)
    await catalog.check_schema(redis_client)
    assert await redis_client.get("schema") == b"1"
    await redis_client.set("schema", "7")
    with pytest.raises(ConfigError, match="layout"):
        await catalog.check_schema(redis_client)


async def test_a_server_that_is_away_is_unavailable(free_port):
    """For every question."""
    async with connect(f"redis://127.0.0.1:{free_port()}") as client:
        for question in (
            catalog.read(client),
            catalog.register(client, [listing("A")], "one", "i1"),
            catalog.check_schema(client),
        ):
            with pytest.raises(StoreUnavailable):
                await question


async def test_who_writes_a_symbol_is_whoever_registered_it_last(redis_client):
    """Gateways tell by it whose silence concerns whom."""
    assert await catalog.read_owners(redis_client) == {}
    await catalog.register(redis_client, [listing("MSFT"), listing("AAPL")], "one", "i1")
    await catalog.register(redis_client, [listing("MSFT")], "one", "i2")
    assert await catalog.read_owners(redis_client) == {"MSFT": "i2", "AAPL": "i1"}
