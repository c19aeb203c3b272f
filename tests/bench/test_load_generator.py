"""The load generator of bench/fanout against a server that makes every mistake on purpose: what it counts is what was done."""

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from time import time_ns
from typing import Any

import pytest
from fanout.generator import Generator, Load, build
from websockets.asyncio.server import ServerConnection, serve

Script = Callable[[ServerConnection], Awaitable[None]]
EVERYWHERE = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset[int]()


@pytest.fixture(autouse=True, scope="module")
def compiler() -> None:
    """Needs Linux and a C compiler: may be absent on a laptop, but not in CI."""
    if not EVERYWHERE or not (shutil.which("cc") or shutil.which("gcc")):
        absent = "the load generator needs Linux and a C compiler"
        if os.environ.get("CI"):
            pytest.fail(absent)
        pytest.skip(absent)
    build()


def tick(seq: int, symbol: int = 0, late_ms: float = 0.0, **more: int) -> str:
    time_us = time_ns() // 1000 - int(1000 * late_ms)
    body = {"type": "trade", "symbol": f"SYM{symbol}", "price": 1, "size": 1, "time": time_us, "seq": seq}
    return json.dumps(body | more, separators=(",", ":"))


async def play(script: Script, load: Load, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What the generator reports of a server that does this to each client once it has subscribed."""
    generator: Generator | None = None
    begun = asyncio.Event()

    async def handler(websocket: ServerConnection) -> None:
        json.loads(await websocket.recv())
        await websocket.send('{"type":"subscribed"}')
        await begun.wait()
        await script(websocket)
        await websocket.wait_closed()

    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        generator = Generator(port, "/", load, EVERYWHERE)
        await asyncio.to_thread(generator.__enter__)
        try:
            generator.begin()
            report = await asyncio.to_thread(generator.report)
            begun.set()
            async with asyncio.timeout(10):
                while not until(report):
                    report = await asyncio.to_thread(generator.report)
        finally:
            await asyncio.to_thread(generator.__exit__, None, None, None)
    return report


async def test_even_delivery_is_counted_and_timed() -> None:
    """So that the other counts mean something: three clients, two symbols, nothing wrong."""

    async def script(websocket: ServerConnection) -> None:
        for seq in range(1, 101):
            await websocket.send(tick(seq, 0, late_ms=20))
            await websocket.send(tick(seq, 1, late_ms=20))

    load = Load(clients=3, per_client=2, symbols=2, head='{"symbols":[')
    report = await play(script, load, lambda found: bool(found["ticks"] == 600))
    wrong = {name: report[name] for name in ("lost", "repeated", "reordered", "bad", "gaps", "closed", "skipped")}
    assert not any(wrong.values()), wrong
    assert (report["least_ticks"], report["most_ticks"]) == (200, 200)
    assert 20 <= report["p50_ms"] <= report["p99_ms"] <= report["max_ms"] < 5_000


@pytest.mark.parametrize(
    ("seqs", "counted"),
    [
        ([1, 2, 5, 6], {"lost": 2}),
        ([3], {"lost": 2}),
        ([1, 2, 2, 3], {"repeated": 1}),
        ([1, 3, 2, 4], {"lost": 1, "reordered": 1}),
    ],
)
async def test_a_broken_sequence_is_seen(seqs: list[int], counted: dict[str, int]) -> None:
    async def script(websocket: ServerConnection) -> None:
        for seq in seqs:
            await websocket.send(tick(seq))

    report = await play(script, Load(clients=1), lambda found: bool(found["ticks"] == len(seqs)))
    assert {name: n for name in ("lost", "repeated", "reordered") if (n := report[name])} == counted


async def test_skipped_ticks_are_not_lost() -> None:
    """Those that a message says it stands for; one more is."""

    async def script(websocket: ServerConnection) -> None:
        await websocket.send(tick(4, skipped=3))
        await websocket.send(tick(8, skipped=2))

    report = await play(script, Load(clients=1), lambda found: bool(found["ticks"] == 2))
    assert (report["lost"], report["skipped"]) == (1, 5)


@pytest.mark.parametrize(
    "message",
    ["[]", tick(1)[:-1], tick(1, symbol=7), '{"type":"trade","symbol":"SYM0","seq":1}', tick(1).replace("}", " }")],
    ids=["a list", "cut off", "another symbol", "without a price", "another layout"],
)
async def test_a_message_that_is_no_tick_is_bad(message: str) -> None:
    async def script(websocket: ServerConnection) -> None:
        await websocket.send(message)

    report = await play(script, Load(clients=1), lambda found: bool(found["bad"]))
    assert (report["bad"], report["ticks"]) == (1, 0)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\xc1\x02{}", id="reserved bit"),
        pytest.param(b"\x81\x82\0\0\0\0{}", id="masked"),
        pytest.param(b"\x01\x02{}", id="fragment"),
        pytest.param(b"\x82\x02{}", id="binary"),
        pytest.param(b"\x83\x02{}", id="unknown opcode"),
        pytest.param(b"\x81\x7e\x00\x02{}", id="length not in its shortest form"),
        pytest.param(b"\x89\x7e\x00\x80" + b"x" * 128, id="long ping"),
    ],
)
async def test_a_frame_that_must_not_be_ends_the_client(frame: bytes) -> None:
    async def script(websocket: ServerConnection) -> None:
        websocket.transport.write(frame)

    report = await play(script, Load(clients=1), lambda found: bool(found["closed"]))
    assert (report["bad"], report["closed"]) == (1, 1)


async def test_pings_are_answered_and_frames_may_come_in_pieces() -> None:
    async def script(websocket: ServerConnection) -> None:
        await (await websocket.ping())
        text = tick(1).encode()
        for byte in bytes((0x81, len(text))) + text:
            websocket.transport.write(bytes((byte,)))
            await asyncio.sleep(0)

    report = await play(script, Load(clients=1), lambda found: bool(found["ticks"]))
    assert (report["pings"], report["ticks"], report["bad"]) == (1, 1, 0)


async def test_stalled_clients_never_read() -> None:
    """The last ones; what is sent to them stays where it is until they are cut off."""

    async def script(websocket: ServerConnection) -> None:
        await websocket.send(tick(1))

    load = Load(clients=3, stalled=2)
    report = await play(script, load, lambda found: bool(found["ticks"]))
    assert (report["all_ticks"], report["lost"], load.share) == (1, 0, 1)


async def test_closed_candles_are_timed_by_minute() -> None:
    async def script(websocket: ServerConnection) -> None:
        for time_us, final in ((60_000_000, "true"), (60_000_000, "true"), (120_000_000, "false")):
            await websocket.send(
                f'{{"type":"candle","symbol":"SYM0","interval":"1m","time":{time_us},"final":{final},"seq":9}}'
            )
        await websocket.send(tick(1))

    report = await play(script, Load(clients=2), lambda found: bool(found["ticks"] == 2))
    (minute,) = report["minutes"]
    assert (minute["time"], minute["count"]) == (60_000_000, 4)
    assert minute["first_us"] <= minute["last_us"]


async def test_a_refusal_ends_it_with_the_servers_own_words() -> None:
    """Numbers of clients that were turned away would be numbers of nothing."""

    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.send('{"type":"error","code":"bad_request"}')
        await websocket.wait_closed()

    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        generator = Generator(server.sockets[0].getsockname()[1], "/", Load(clients=1), EVERYWHERE)
        with pytest.raises(RuntimeError, match=r"the server refused: .*bad_request"):
            await asyncio.to_thread(generator.__enter__)
