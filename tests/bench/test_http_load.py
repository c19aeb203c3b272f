"""The HTTP load generator of bench/history.py against servers whose answers are known."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from http_load import Load, Measured, build, measure, request

EVERYWHERE = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset[int]()
BODY = b"x" * 100_000


@pytest.fixture(autouse=True, scope="module")
def compiler() -> None:
    """Needs Linux and a C compiler: may be absent on a laptop, but not in CI."""
    if not EVERYWHERE or not (shutil.which("cc") or shutil.which("gcc")):
        absent = "the load generator needs Linux and a C compiler"
        if os.environ.get("CI"):
            pytest.fail(absent)
        pytest.skip(absent)
    build()


Answer = Callable[[bytes], Awaitable[bytes]]


async def play(answer: Answer, requests: list[bytes], load: Load) -> Measured:
    """What the generator tells of a server that answers each head with these bytes."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    writer.write(await answer(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        finally:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            return await asyncio.to_thread(measure, port, requests, load, EVERYWHERE)
        finally:
            # Its clients are gone, so all of them come to their end.
            await asyncio.gather(*serving)


def whole(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def test_answers_and_their_bytes_are_counted() -> None:
    """Every request in its turn, over as many connections as wanted, head and body."""
    seen: set[bytes] = set()

    async def answer(head: bytes) -> bytes:
        seen.add(head.split()[1])
        return whole(BODY)

    found = await play(answer, [request("/a"), request("/b")], Load(clients=3, warm_s=0.1, seconds=0.3))
    assert seen == {b"/a", b"/b"}
    assert found.answers > 3
    assert found.bytes == found.answers * len(whole(BODY))
    assert 0 < found.p50_ms <= found.p99_ms <= found.max_ms + 0.01
    assert 0 < found.cpu < 1


async def test_answers_without_a_body_are_told_apart() -> None:
    """304 and no length."""

    async def answer(head: bytes) -> bytes:
        assert b"If-None-Match: x" in head
        return b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n'

    found = await play(answer, [request("/", {"If-None-Match": "x"})], Load(clients=2, warm_s=0.1, seconds=0.2))
    assert found.not_modified == found.answers > 0


async def test_on_a_schedule_waiting_counts() -> None:
    """A server that takes 20 ms for each, asked for 100 a second over one connection, is later and later."""

    async def answer(head: bytes) -> bytes:
        await asyncio.sleep(0.02)
        return whole(b"ok")

    found = await play(answer, [request("/")], Load(clients=1, warm_s=0, seconds=1, rate=100))
    assert 20 <= found.answers <= 60
    assert found.max_ms > 300


async def test_a_slow_server_is_waited_for() -> None:
    """Until everybody has an answer, so that there is something to tell."""

    async def answer(head: bytes) -> bytes:
        await asyncio.sleep(0.5)
        return whole(b"ok")

    found = await play(answer, [request("/")], Load(clients=2, warm_s=0, seconds=0.1))
    assert 2 <= found.answers <= 4
    assert found.p50_ms >= 500


async def test_wrong_answers_are_no_measurement() -> None:
    """Neither another status nor what is no HTTP, nor an end."""

    async def refuse(head: bytes) -> bytes:
        return whole(b"no", b"503 Service Unavailable")

    async def babble(head: bytes) -> bytes:
        return b"hello\r\n\r\n"

    load = Load(clients=1, warm_s=0.05, seconds=0.2)
    with pytest.raises(RuntimeError, match="neither 200 nor 304"):
        await play(refuse, [request("/")], load)
    with pytest.raises(RuntimeError, match="no HTTP: hello"):
        await play(babble, [request("/")], load)
