import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ticker.limits import LIMITS, Limits


async def test_a_binary_message_closes_with_1003(service):
    """Requests are texts."""
    client = await service.connect()
    await client.socket.send(b'{"op":"ping"}')
    assert (await client.closing())[0] == 1003


async def test_bad_utf8_closes_with_1007(service):
    """A text frame must be text."""
    client = await service.connect()
    await client.socket.send(b"\xff\xfe", text=True)
    assert (await client.closing())[0] == 1007


@pytest.mark.limit("frame_bytes")
async def test_a_huge_message_closes_with_1009(service):
    """Also one in many frames; one of exactly the limit is read."""
    limit = LIMITS["frame_bytes"].default
    client = await service.connect()
    await client.socket.send('{"op":"ping","id":"' + "x" * (limit - 21) + '"}')
    assert (await client.receive())["type"] == "pong"
    await client.socket.send("x" * (limit + 1))
    assert (await client.closing())[0] == 1009
    client = await service.connect()
    await client.socket.send(["x" * (limit // 2)] * 3)
    assert (await client.closing())[0] == 1009


@pytest.mark.limit("bad_messages_per_minute")
async def test_more_than_twenty_bad_messages_close_with_4400(service):
    """Twenty are answered; the reason text says why the next one ends it."""
    client = await service.connect()
    for _ in range(20):
        assert (await client.ask(op="dance"))["type"] == "error"
    assert (await client.ask(op="ping"))["type"] == "pong"
    await client.send(op="dance")
    code, reason = await client.closing()
    assert code == 4400
    assert "20" in reason


@pytest.mark.limit("first_subscribe_s")
async def test_who_subscribes_to_nothing_is_closed_with_4408(start_service, valkey_url):
    """Unknown symbols are nothing; who has subscribed once may stay."""
    service = await start_service(valkey_url, limits={"first_subscribe_s": 1})
    client, other = await service.connect(), await service.connect()
    await client.subscribe("trades", "ZZZZ")
    await other.subscribe("trades", "AAPL")
    await other.ask(op="unsubscribe", channel="trades", symbols=["AAPL"])
    assert (await client.closing())[0] == 4408
    assert (await other.ask(op="ping"))["type"] == "pong"


@pytest.mark.limit("messages_per_minute")
async def test_too_many_messages_close_with_4429(start_service, valkey_url):
    """Good ones too."""
    service = await start_service(valkey_url, limits={"messages_per_minute": 5})
    client = await service.connect()
    for _ in range(5):
        assert (await client.ask(op="ping"))["type"] == "pong"
    await client.send(op="ping")
    assert (await client.closing())[0] == 4429


async def test_connections_of_one_address_are_not_counted_on_loopback(start_service, valkey_url):
    """Everybody behind a proxy on this machine comes from it."""
    by_default = Limits.model_construct(_fields_set=set(), connections_per_address=1)
    service = await start_service(valkey_url, limits=by_default)
    for _ in range(3):
        assert (await service.connect()).welcome["limits"]["connections_per_address"] is None


@pytest.mark.limit("connections_per_address")
async def test_where_the_limit_of_one_address_is_set_it_holds_for_loopback_too(start_service, valkey_url):
    """One too many is let in only to be told with 4429; once somebody has left there is room again."""
    service = await start_service(valkey_url, limits={"connections_per_address": 1})
    first = await service.connect()
    assert first.welcome["limits"]["connections_per_address"] == 1
    async with connect(f"ws://127.0.0.1:{service.port}/v1/stream", proxy=None) as second:
        with pytest.raises(ConnectionClosed) as closed:
            await second.recv()
    assert closed.value.rcvd.code == 4429
    await first.socket.close()
    await service.wait_until(lambda: not service.gateway.connections_by_address)
    assert (await service.connect()).welcome["type"] == "welcome"


async def test_too_many_connections_of_one_address_close_with_4429(start_service, valkey_url, open_raw):
    """Here of one behind a proxy on this machine, which says whose they are; another's are let in."""
    service = await start_service(valkey_url, limits={"connections_per_address": 1})
    first, second, other = [await open_raw(service.port) for _ in range(3)]
    assert (await first.ask("/v1/stream", X_Forwarded_For="203.0.113.7"))[0] == 101
    assert b'"welcome"' in (await first.frame())[1]
    assert (await second.ask("/v1/stream", X_Forwarded_For="203.0.113.7"))[0] == 101
    code, reason = await second.close_frame()
    assert (code, "1 connections" in reason) == (4429, True)
    assert (await other.ask("/v1/stream", X_Forwarded_For="203.0.113.8"))[0] == 101
    assert b'"welcome"' in (await other.frame())[1]


@pytest.mark.limit("connections")
async def test_at_the_cap_the_answer_is_503_before_the_upgrade(start_service, valkey_url):
    """And once somebody has left, the next one is let in."""
    service = await start_service(valkey_url, limits={"connections": 2})
    first, second = await service.connect(), await service.connect()
    with pytest.raises(InvalidStatus) as refused:
        await service.connect()
    response = refused.value.response
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(response.body)["code"] == "unavailable"
    await first.socket.close()
    async with asyncio.timeout(5):
        while True:
            try:
                await service.connect()
                break
            except InvalidStatus:
                await asyncio.sleep(0.01)
    assert (await second.ask(op="ping"))["type"] == "pong"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1:x"]
)
async def test_a_foreign_origin_is_refused_before_the_upgrade(service, origin):
    """A page on somebody else's site must not read with its visitor's rights."""
    with pytest.raises(InvalidStatus) as refused:
        await service.connect(origin=origin)
    response = refused.value.response
    assert response.status_code == 403
    assert json.loads(response.body)["code"] == "forbidden_origin"


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1", "http://localhost"])
async def test_pages_of_this_machine_may_connect(service, origin):
    """Any port of localhost and 127.0.0.1."""
    assert (await service.connect(origin=origin)).welcome["type"] == "welcome"


async def test_listed_origins_take_the_place_of_localhost(start_service, valkey_url):
    """`server.origins` says who may connect, and nobody else may."""
    service = await start_service(valkey_url, server={"origins": ["https://desk.example"]})
    assert (await service.connect(origin="https://desk.example")).welcome["type"] == "welcome"
    with pytest.raises(InvalidStatus):
        await service.connect(origin="http://localhost:3000")
