import asyncio
import os
from time import monotonic

import pytest
from noting_app import App, accept_only
from raw_websocket import masked
from websockets.asyncio.client import connect

from ticker import metrics
from ticker.hub.frame import text_frame
from ticker.web.frame_reader import CLOSE, CONTINUATION, PING, PONG, TEXT
from ticker.web.websocket_door import CLOSE_S
from ticker.web.websocket_inbound import INBOUND_MOST

# Messages


async def test_messages_of_all_sizes_come_back(serve):
    """Through a client that everybody uses, text and binary, in order."""
    port = await serve(App())
    sizes = [0, 1, 125, 126, 127, 1_000, 65_535, 65_536]
    async with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
        assert client.protocol.extensions == []
        for size in sizes:
            await client.send("ü" * (size // 2))
            await client.send(os.urandom(size))
        for size in sizes:
            assert await client.recv() == "ü" * (size // 2)
            assert len(await client.recv()) == size
        await client.send(["in ", "three ", "parts"])
        assert await client.recv() == "in three parts"


async def test_pings_are_answered_with_their_payload(opened):
    """Each, in order, also amid a message in fragments."""
    raw = await opened(App())
    raw.send(masked(TEXT, b"a", fin=False), *(masked(PING, bytes((n,)) * n) for n in (0, 1, 125)))
    assert [await raw.frame() for _ in range(3)] == [(PONG, bytes((n,)) * n) for n in (0, 1, 125)]
    raw.send(masked(PONG, b"nobody asked"), masked(CONTINUATION, b"b"))
    assert await raw.frame() == (TEXT, b"ab")


def hits(limit):
    """How often a limit was met in this process."""
    return metrics.LIMIT_HITS.labels(limit)._value.get()


async def test_a_flood_of_pings_is_bounded(opened):
    """As messages are: beyond, the connection is closed; the reason says why."""
    before = hits("messages_per_minute")
    raw = await opened(App(), limits={"messages_per_minute": 100})
    raw.send(masked(PING, b"x") * 5_000)
    pongs = 0
    while (found := await raw.frame()) == (PONG, b"x"):
        pongs += 1
    assert found[0] == CLOSE
    assert int.from_bytes(found[1][:2]) == 4429
    assert b"100 pings" in found[1]
    assert 100 <= pongs <= 1_000
    assert hits("messages_per_minute") == before + 1


async def test_fragments_that_bring_nothing_are_bounded_too(opened):
    """They make a message no larger, but they cost."""
    raw = await opened(App(), limits={"messages_per_minute": 100})
    raw.send(masked(TEXT, fin=False), masked(CONTINUATION, fin=False) * 5_000)
    assert (await raw.close_frame())[0] == 4429


async def test_pings_of_a_client_that_does_not_read_cost_nothing(opened, wait_until):
    """While the kernel takes no more, only the last one is kept, and it is answered when there is room."""
    app = App(accept_only)
    raw = await opened(app, receive_bytes=4_096)
    door, size = app.door, 0
    while door.transport.get_write_buffer_size() == 0:
        door.transport.write(text_frame(b"x" * 60_000))
        size += 1
        assert size < 1_000
    waiting = door.transport.get_write_buffer_size()
    for number in range(1_000):
        raw.send(masked(PING, b"%d" % number))
        await raw.writer.drain()
    raw.send(masked(TEXT, b"behind them"))
    await wait_until(lambda: app.messages)
    assert door.transport.get_write_buffer_size() <= waiting
    frames = [await raw.frame() for _ in range(size)]
    assert [(opcode, len(payload)) for opcode, payload in frames] == [(TEXT, 60_000)] * size
    assert await raw.frame() == (PONG, b"999")


async def test_what_the_application_does_not_read_is_not_read_from_the_client(opened, wait_until):
    """No more than a few messages wait, and none is lost."""
    may_read = asyncio.Event()

    async def later(scope, receive, send):
        await send({"type": "websocket.accept"})
        await may_read.wait()
        while (await receive())["type"] == "websocket.receive":
            pass

    app = App(later)
    raw = await opened(app)
    payload = "x" * 50_000
    sent = 0
    try:
        async with asyncio.timeout(1):
            while True:
                raw.send(masked(TEXT, f"{sent} {payload}".encode()))
                sent += 1
                await raw.writer.drain()
    except TimeoutError:
        pass
    assert sent > INBOUND_MOST
    assert len(app.door._inbound) == INBOUND_MOST
    may_read.set()
    raw.send(masked(TEXT, b"the last"))
    await wait_until(lambda: "the last" in app.messages)
    assert [message.partition(" ")[0] for message in app.messages] == [*map(str, range(sent)), "the"]


async def test_many_small_messages_at_once_do_not_pile_up(opened, wait_until):
    """However many one read brings, only a few are taken out of it at a time; others get their turn."""
    turns = []

    async def slow(scope, receive, send):
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            turns.append(len(app.door._inbound or ()))
            await asyncio.sleep(0)

    app = App(slow)
    raw = await opened(app)
    raw.send(*(masked(TEXT, b"%d" % number) for number in range(2_000)))
    await wait_until(lambda: len(app.messages) == 2_000)
    assert app.messages == [str(number) for number in range(2_000)]
    assert max(turns) <= INBOUND_MOST


# The end


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_the_code_of_a_client_comes_back(opened, code):
    """The application is told it, with the reason; then the connection ends."""
    app = App()
    raw = await opened(app)
    raw.send(masked(CLOSE, code.to_bytes(2) + b"enough"))
    assert await raw.close_frame() == (code, "")
    assert await raw.ended() < CLOSE_S
    assert await app.last() == {"type": "websocket.disconnect", "code": code, "reason": "enough"}


async def test_a_close_frame_without_a_code(opened):
    """Is answered by one, and is 1005 for the application."""
    app = App()
    raw = await opened(app)
    raw.send(masked(CLOSE))
    assert await raw.frame() == (CLOSE, b"")
    assert (await app.last())["code"] == 1005


async def test_what_came_before_a_close_frame_is_answered(opened):
    """And what comes behind it is not read."""
    app = App()
    raw = await opened(app)
    raw.send(masked(TEXT, b"one"), masked(TEXT, b"two"), masked(CLOSE, b"\x03\xe8"), masked(TEXT, b"three"))
    assert [await raw.frame() for _ in range(3)] == [(TEXT, b"one"), (TEXT, b"two"), (CLOSE, b"\x03\xe8")]
    await raw.ended()
    assert app.messages == ["one", "two"]


async def test_a_client_may_close_and_shut_its_side(opened):
    """The answers still come."""
    raw = await opened(App())
    raw.send(masked(TEXT, b"one"), masked(CLOSE, b"\x03\xe8"))
    raw.writer.write_eof()
    assert [await raw.frame() for _ in range(2)] == [(TEXT, b"one"), (CLOSE, b"\x03\xe8")]
    await raw.ended()


async def test_an_application_that_does_not_read_on_cannot_hold_a_client_that_closes(opened):
    """Its close frame is answered in about a second all the same."""

    async def stuck(scope, receive, send):
        await send({"type": "websocket.accept"})
        await app.door_closed.wait()

    app = App(stuck)
    app.door_closed = asyncio.Event()
    raw = await opened(app)
    begun = monotonic()
    raw.send(masked(TEXT, b"never read"), masked(CLOSE, b"\x03\xe8"))
    assert await raw.close_frame() == (1000, "")
    assert monotonic() - begun < 2 * CLOSE_S
    await raw.ended()
    app.door_closed.set()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(b"\xc1\x80", 1002, id="compressed"),
        pytest.param(b"\xf1", 1002, id="reserved bits"),
        pytest.param(b"\x83", 1002, id="reserved opcode"),
        pytest.param(b"\x81\x01x", 1002, id="not masked"),
        pytest.param(b"\x89\xfe\x00\x7e", 1002, id="long ping"),
        pytest.param(masked(CONTINUATION, b"x"), 1002, id="continues nothing"),
        pytest.param(masked(CLOSE, b"\x03\xed"), 1002, id="code that is never sent"),
        pytest.param(masked(TEXT, b"\xff"), 1007, id="not UTF-8"),
        pytest.param(b"\x82\xff" + (1 << 20).to_bytes(8), 1009, id="too long"),
    ],
)
async def test_what_must_not_be_sent_ends_it(opened, sent, code):
    """With the code for it, behind the answer to what came before; what follows is not read."""
    app = App()
    raw = await opened(app)
    raw.send(masked(TEXT, b"good"), sent, masked(TEXT, b"more") * 3)
    assert await raw.frame() == (TEXT, b"good")
    found, reason = await raw.close_frame()
    assert found == code
    assert reason
    raw.writer.close()
    assert (await app.last())["code"] == code
    assert app.messages == ["good"]


async def test_a_client_in_the_midst_of_a_huge_message_still_learns_why_it_is_closed(opened):
    """The rest of it is read and thrown away for a moment, so that the reason is not lost with the connection."""
    before = hits("frame_bytes")
    raw = await opened(App())
    raw.send(b"\x82\xff" + (1 << 24).to_bytes(8) + b"mask")
    for _ in range(32):
        raw.send(bytes(1 << 16))
    assert (await raw.close_frame())[0] == 1009
    # A reset would be an error here, and elsewhere take the close frame with it.
    assert await raw.reader.read() == b""
    assert hits("frame_bytes") == before + 1
