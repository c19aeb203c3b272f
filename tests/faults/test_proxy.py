"""The proxies hand on every byte, and cut, delay and throttle only when they are told to."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from ledger.proxy import Proxies

DATA = bytes(range(256)) * 400


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server that sends back what it gets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def proxies(echo: int) -> AsyncIterator[Proxies]:
    made = Proxies({"seed": 1, "targets": {"way": echo}})
    yield made
    await made.close()


async def test_it_hands_on_every_byte_and_holds_nothing_back(proxies: Proxies) -> None:
    ports = await proxies.listen()
    reader, writer = await asyncio.open_connection("127.0.0.1", ports["way"])
    writer.write(DATA)
    assert await reader.readexactly(len(DATA)) == DATA
    assert proxies.status("way") == {"held_bytes": 0, "cut": 0, "passed": 1}
    writer.close()


async def test_what_is_delayed_comes_later_and_whole(proxies: Proxies) -> None:
    ports = await proxies.listen()
    proxies.weather("way", delay_s=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", ports["way"])
    began_s = time.monotonic()
    writer.write(b"there and back")
    assert await reader.readexactly(14) == b"there and back"
    assert time.monotonic() - began_s >= 0.1
    assert proxies.status("way")["held_bytes"] == 28
    writer.close()


async def test_what_is_throttled_comes_no_faster(proxies: Proxies) -> None:
    ports = await proxies.listen()
    proxies.weather("way", bytes_per_s=10 * len(DATA))
    reader, writer = await asyncio.open_connection("127.0.0.1", ports["way"])
    began_s = time.monotonic()
    writer.write(DATA)
    assert await reader.readexactly(len(DATA)) == DATA
    assert time.monotonic() - began_s >= 0.1
    writer.close()


async def test_a_connection_that_is_cut_is_gone_for_both(proxies: Proxies) -> None:
    ports = await proxies.listen()
    reader, writer = await asyncio.open_connection("127.0.0.1", ports["way"])
    writer.write(b"x")
    await reader.readexactly(1)
    assert proxies.cut("way")["cut"] == 2
    with suppress(ConnectionResetError):
        assert not await reader.read(1)
    writer.close()
