import asyncio
import json
from contextlib import suppress

import pytest
from raw_http import HEAD, UPGRADE, app, head_of, stop


@pytest.mark.parametrize("first", [HEAD[:-2], UPGRADE], ids=["request", "websocket"])
@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_head_may_be_as_large_as_the_limit(serve, open_http, first, pieces):
    """Not one byte more: 431, and the connection ends."""
    port = await serve(app, limits={"head_bytes": 1_000})
    for size, wanted in ((1_000, (200, 101)), (1_001, (431,))):
        client = await open_http(port)
        head = head_of(size, first)
        step = -(-len(head) // pieces)
        for begin in range(0, len(head), step):
            client.send(head[begin : begin + step])
            await asyncio.sleep(0.002 if pieces > 1 else 0)
        status, headers, body = await client.answer()
        assert status in wanted
        if status == 431:
            assert headers["connection"] == "close"
            assert "1000 bytes" in json.loads(body)["detail"]
            assert await client.ended() == b""


@pytest.mark.parametrize("endless", [b"x" * 1_000, b"X-Header: y\r\n" * 100], ids=["one header", "many headers"])
async def test_an_endless_head_is_refused(serve, open_http, endless):
    """Long before its end, which never comes; the answer arrives although the client goes on sending."""
    client = await open_http(await serve(app))
    client.send(HEAD[:-2], b"X: ")

    async def pour():
        with suppress(ConnectionError, RuntimeError):
            for _ in range(3_000):
                client.send(endless)
                await client.writer.drain()

    pouring = asyncio.create_task(pour())
    status, _, body = await client.answer()
    assert (status, "16384 bytes" in json.loads(body)["detail"]) == (431, True)
    await client.ended()
    await stop(pouring)


@pytest.mark.parametrize("path", [b"/", b"/slow"])
async def test_a_body_is_bounded_like_a_head(serve, open_http, path):
    """No request of ours needs one; a small one does no harm."""
    port = await serve(app, limits={"head_bytes": 1_000})
    client = await open_http(port)
    client.send(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" % path, b"x" * 500)
    assert (await client.answer())[0] == 200
    client.send(b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path)
    chunk = b"200\r\n" + b"x" * 512 + b"\r\n"
    for _ in range(10):
        client.send(chunk)
        await asyncio.sleep(0.002)
    assert (await client.answer())[0] == (200 if path == b"/" else 413)
    await client.ended()


async def test_trailers_are_bounded(serve, open_http):
    """What follows a body are headers again, which the parser collects."""
    client = await open_http(await serve(app))
    client.send(b"POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ")
    with suppress(ConnectionError):
        for _ in range(100):
            client.send(b"x" * 1_000)
            await client.writer.drain()
    assert (await client.answer())[0] == 413
    await client.ended()


async def test_many_requests_at_once_are_no_large_one(serve, open_http):
    """Each is counted by itself, and each is answered."""
    client = await open_http(await serve(app, limits={"head_bytes": 1_000}))
    client.send(HEAD * 200, b"GET / HTTP/1.1\r\n")
    for _ in range(200):
        assert (await client.answer())[0] == 200
    client.send(b"Host: x\r\n\r\n")
    assert (await client.answer())[0] == 200


async def test_what_is_no_http_is_answered_by_400(serve, open_http):
    """As before."""
    client = await open_http(await serve(app))
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert (await client.answer())[0] == 400
    await client.ended()
