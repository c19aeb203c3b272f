import asyncio
import logging
from time import monotonic

import pytest
from noting_app import App
from raw_websocket import masked
from websockets.asyncio.client import connect

from ticker.web.frame_reader import BINARY, CLOSE, TEXT
from ticker.web.websocket_door import CLOSE_S

# What the application sends


async def test_send_waits_while_the_client_does_not_read(opened):
    """And goes on once it does; everything arrives."""
    count, sent = 200, []

    async def pour(scope, receive, send):
        await send({"type": "websocket.accept"})
        for number in range(count):
            await send({"type": "websocket.send", "text": f"{number} " + "x" * 50_000})
            sent.append(number)

    raw = await opened(App(pour), receive_bytes=4_096)
    before = -1
    async with asyncio.timeout(10):
        while before != len(sent):
            before = len(sent)
            await asyncio.sleep(0.2)
    assert 0 < len(sent) < count
    numbers = [int((await raw.frame())[1].partition(b" ")[0]) for _ in range(count)]
    assert numbers == list(range(count))
    assert await raw.close_frame() == (1000, "")


async def test_send_of_bytes(opened):
    """Binary frames where the application sends bytes, also none; an unknown event is its mistake."""

    async def bytes_only(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": b"\x00\xff"})
        await send({"type": "websocket.send", "bytes": b"", "text": None})
        await send({"type": "websocket.dance"})

    raw = await opened(App(bytes_only))
    assert [await raw.frame() for _ in range(2)] == [(BINARY, b"\x00\xff"), (BINARY, b"")]
    assert await raw.close_frame() == (1011, "the server made a mistake")


# How it ends


async def test_an_application_that_returns_closes_with_1000(opened):
    """As if it had said so."""

    async def brief(scope, receive, send):
        await send({"type": "websocket.accept"})

    assert await (await opened(App(brief))).close_frame() == (1000, "")


async def test_an_application_that_fails_closes_with_1011(opened, caplog):
    """The mistake is logged, not told."""

    async def fail(scope, receive, send):
        await send({"type": "websocket.accept"})
        raise RuntimeError("secret")

    raw = await opened(App(fail))
    assert await raw.close_frame() == (1011, "the server made a mistake")
    assert "secret" in caplog.text


class Until:
    """An application that a client leaves at some stage: it goes on when told to, and notes what it was refused."""

    def __init__(self, stage):
        self.stage = stage
        self.may_accept, self.refused = asyncio.Event(), []
        if stage != "handshake":
            self.may_accept.set()

    async def __call__(self, scope, receive, send):
        await self.may_accept.wait()
        try:
            await send({"type": "websocket.accept"})
            if self.stage == "closing":
                await send({"type": "websocket.close", "code": 4000})
            while self.stage == "full":
                await send({"type": "websocket.send", "text": "x" * 60_000})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            await send({"type": "websocket.send", "text": "too late"})
        except OSError as error:
            self.refused.append(error)
        await receive()


@pytest.mark.parametrize("how", ["reset", "end"])
@pytest.mark.parametrize("stage", ["head", "handshake", "open", "amid a frame", "full", "closing"])
async def test_a_connection_may_be_lost_at_any_stage(serve, caplog, how, stage, open_raw, wait_until):
    """The application is told, its further messages are refused, and the server goes on."""
    until = Until(stage)
    app = App(until)
    port = await serve(app)
    raw = await open_raw(port, receive_bytes=4_096)
    whole = raw.head()
    raw.writer.write(whole[:50] if stage == "head" else whole)
    if stage not in ("head", "handshake"):
        assert (await raw.answer())[0] == 101
    elif stage == "handshake":
        await wait_until(lambda: app.scope)
    raw.send(masked(TEXT, b"x" * 1_000)[:500] if stage == "amid a frame" else b"")
    await wait_until(lambda: stage != "full" or app.door._full)
    if how == "reset":
        raw.writer.transport.abort()
    else:
        raw.writer.close()
    if stage == "handshake":
        await wait_until(lambda: app.door.closing)
        until.may_accept.set()
    if stage != "head":
        assert await app.last() == {"type": "websocket.disconnect", "code": 1006, "reason": app.events[-1]["reason"]}
        assert len(until.refused) == 1
    async with connect(f"ws://127.0.0.1:{port}", proxy=None, close_timeout=0.1) as client:
        assert client.response.status_code == 101
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# The server ends


@pytest.mark.parametrize("client", ["answers", "does not answer", "never reads", "is in the handshake"])
async def test_when_the_server_ends_clients_are_told_to_come_back(serve_until, client, open_raw, wait_until):
    """With 1012; whoever does not answer, or reads nothing, holds it up for no more than about a second."""
    go_on = asyncio.Event()

    async def answer(scope, receive, send):
        if client == "is in the handshake":
            await go_on.wait()
        await send({"type": "websocket.accept"})
        while client == "never reads":
            await send({"type": "websocket.send", "text": "x" * 60_000})
        await receive()

    app = App(answer)
    async with serve_until(app) as (port, end):
        raw = await open_raw(port, receive_bytes=4_096 if client == "never reads" else None)
        if client == "is in the handshake":
            asking = asyncio.create_task(raw.ask())
            await wait_until(lambda: app.scope)
        else:
            assert (await raw.ask())[0] == 101
        if client == "never reads":
            await wait_until(lambda: app.door._full)
        begun = monotonic()
        ending = asyncio.create_task(end())
        if client == "is in the handshake":
            assert (await asking)[0] == 503
            go_on.set()
        elif client != "never reads":
            code, reason = await raw.close_frame()
            assert code == 1012
            assert reason
            if client == "answers":
                raw.send(masked(CLOSE, b"\x03\xf4"))
                await raw.writer.drain()
        await ending
        took_s = monotonic() - begun
    assert took_s < CLOSE_S + 1
    assert client != "answers" or took_s < CLOSE_S
