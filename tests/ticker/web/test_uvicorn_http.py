import asyncio
import json
from contextlib import suppress
from time import monotonic

import httpx
import pytest
from raw_http import HEAD, LARGE, app, head_of, stop
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ticker import metrics

# How long a head may take


async def test_a_head_that_comes_byte_by_byte_is_cut(serve, open_http):
    """However busy its sender looks."""
    client = await open_http(await serve(app, limits={"head_s": 1}))
    begun = monotonic()

    async def drip():
        with suppress(ConnectionError, RuntimeError):
            for byte in HEAD[:-2] + b"X: " + b"x" * 1_000:
                client.send(bytes((byte,)))
                await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    status, headers, body = await client.answer()
    assert 0.9 < monotonic() - begun < 3
    assert (status, headers["connection"]) == (408, "close")
    assert json.loads(body)["detail"] == "no whole request has come in 1 s"
    await client.ended()
    await stop(dripping)


async def test_a_connection_that_says_nothing_is_closed(serve, open_http):
    """Without an answer to what nobody asked; browsers open connections ahead of need."""
    client = await open_http(await serve(app, limits={"head_s": 1}))
    begun = monotonic()
    assert await client.ended() == b""
    assert 0.9 < monotonic() - begun < 3


@pytest.mark.parametrize("begun", [b"GET / HT", b"\r\n", b"GET /v1/symbols HTTP/1.1\r\nHost: x\r\nX: "])
async def test_the_next_head_of_a_connection_must_come_in_time_too(serve, open_http, begun):
    """From its first byte."""
    client = await open_http(await serve(app, limits={"head_s": 1}))
    client.send(HEAD)
    assert (await client.answer())[0] == 200
    for _ in range(3):
        client.send(begun[:1])
        begun = begun[1:] or begun
        await asyncio.sleep(0.05)
    rest = await client.ended()
    assert rest == b"" or rest.startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_dribbles_on_is_cut(serve, open_http):
    """Its request was answered long ago."""
    client = await open_http(await serve(app, limits={"head_s": 1}))
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")
    assert (await client.answer())[0] == 200
    begun = monotonic()

    async def drip():
        with suppress(ConnectionError, RuntimeError):
            while True:
                client.send(b"x")
                await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    assert await client.ended() in (b"", None)
    assert monotonic() - begun < 3
    await stop(dripping)


async def test_requests_one_after_the_other_go_on(serve):
    """A connection may be used for longer than a head may take."""
    port = await serve(app, limits={"head_s": 1})
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        begun = monotonic()
        used = set()
        while monotonic() - begun < 1.5:
            answer = await client.get("/slow")
            assert answer.text == "ok"
            used.add(id(answer.extensions["network_stream"].get_extra_info("socket")))
        assert len(used) == 1


async def test_a_websocket_is_not_cut(serve):
    """Its head has come; how long it is silent then is none of HTTP's business."""
    port = await serve(app, limits={"head_s": 1})
    async with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
        await asyncio.sleep(1.3)
        await client.send("still here")
        assert await client.recv() == "still here"


# How many connections there may be


@pytest.mark.limit("http_connections")
async def test_beyond_the_cap_the_newest_is_answered_by_503(serve, open_http):
    """Those that are there go on; once one has left there is room again."""
    port = await serve(app, limits={"http_connections": 2})
    clients = []
    for _ in range(2):
        clients.append(await open_http(port))
        clients[-1].send(HEAD)
        assert (await clients[-1].answer())[0] == 200
    refused = await open_http(port)
    refused.send(HEAD)
    status, headers, body = await refused.answer()
    assert (status, headers["connection"], json.loads(body)["code"]) == (503, "close", "unavailable")
    assert int(headers["retry-after"]) > 0
    assert await refused.ended() == b""
    for client in clients:
        client.send(HEAD)
        assert (await client.answer())[0] == 200
    clients[0].writer.close()
    await clients[0].writer.wait_closed()
    async with asyncio.timeout(5):
        while True:
            client = await open_http(port)
            client.send(HEAD)
            if (await client.answer())[0] == 200:
                break


async def test_connections_that_say_nothing_keep_nobody_out(serve, open_http):
    """Of those the oldest gives way."""
    port = await serve(app, limits={"http_connections": 3})
    idle = [await open_http(port) for _ in range(4)]
    await idle[0].ended()
    newest = await open_http(port)
    await idle[1].ended()
    for client in (newest, idle[3], idle[2]):
        client.send(HEAD)
        assert (await client.answer())[0] == 200


async def test_rest_and_websockets_do_not_starve_each_other(start_service, valkey_url, open_http):
    """Either is answered while the other is at its cap."""
    service = await start_service(valkey_url, limits={"connections": 2, "http_connections": 2})
    first = await service.connect()
    await service.connect()
    with pytest.raises(InvalidStatus) as refused:
        await service.connect()
    assert refused.value.response.status_code == 503
    assert (await service.json("/v1/symbols"))["symbols"]
    clients = []
    while True:
        clients.append(await open_http(service.port))
        clients[-1].send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        status, _, _ = await clients[-1].answer()
        if status == 503:
            break
        assert status == 200
        assert len(clients) <= 2
    await first.socket.close()
    await service.wait_until(lambda: established_websocket(service))
    assert (await first_limit_hits(clients[0]))["http_connections"] >= 1


async def established_websocket(service):
    """Whether another WebSocket is let in."""
    try:
        return (await service.connect()).welcome
    except InvalidStatus:
        return False


async def first_limit_hits(client):
    """What the limits of the process have met, as its metrics say, asked on a connection that is there."""
    client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    _, _, body = await client.answer()
    lines = [line for line in body.decode().splitlines() if line.startswith("ticker_limit_hits_total{")]
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param("head_s", marks=pytest.mark.limit("head_s")),
        pytest.param("head_bytes", marks=pytest.mark.limit("head_bytes")),
    ],
)
async def test_limits_that_are_met_are_counted(start_service, valkey_url, open_http, limit):
    """Under the name that they have in config.yaml."""
    service = await start_service(valkey_url, limits={"head_s": 1, "head_bytes": 1_000})
    watcher = await open_http(service.port)
    before = await first_limit_hits(watcher)
    client = await open_http(service.port)
    client.send(HEAD[:5] if limit == "head_s" else head_of(1_001))
    assert (await client.answer())[0] in (408, 431)
    watcher = await open_http(service.port)
    assert (await first_limit_hits(watcher)).get(limit, 0) == before.get(limit, 0) + 1


# Clients that do not read


@pytest.mark.limit("answer_s")
async def test_a_client_that_reads_nothing_of_its_answer_is_cut_off(serve, open_http, wait_until):
    """Its connection is not held for ever."""
    cut = metrics.LIMIT_HITS.labels("answer_s")._value
    before = cut.get()
    client = await open_http(await serve(app, limits={"answer_s": 1}), receive_bytes=4_096)
    client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    await wait_until(lambda: cut.get() > before)
    rest = await client.ended()
    assert rest is None or len(rest) < LARGE


async def test_a_client_that_reads_slowly_gets_its_answer(serve, open_http):
    """As long as it takes some of it in each while."""
    client = await open_http(await serve(app, limits={"answer_s": 1}), receive_bytes=4_096)
    client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.reader.readuntil(b"\r\n\r\n")
    got, begun = 0, monotonic()
    while got < LARGE:
        got += len(await client.reader.readexactly(min(150_000, LARGE - got)))
        await asyncio.sleep(0.1)
    assert got == LARGE
    assert monotonic() - begun > 1.5
