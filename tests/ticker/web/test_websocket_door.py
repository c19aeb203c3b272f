import asyncio
from time import monotonic

import pytest
from noting_app import App, accept_only
from raw_websocket import masked

from ticker.hub.frame import PING as PING_FRAME
from ticker.hub.frame import text_frame
from ticker.web.frame_reader import CLOSE, PING, PONG, TEXT
from ticker.web.websocket_door import CLOSE_S

# What is written


async def test_frames_written_at_the_door_and_messages_of_the_application_keep_their_order(opened):
    """Both are whole frames, one behind the other."""
    count = 300

    async def both(scope, receive, send):
        await send({"type": "websocket.accept"})
        for number in range(count):
            if number % 3:
                app.door.transport.write(text_frame(b"%d" % number))
            else:
                app.door.transport.write(PING_FRAME)
                await send({"type": "websocket.send", "text": str(number)})
            if number % 50 == 0:
                await asyncio.sleep(0)

    app = App(both)
    raw = await opened(app)
    texts = []
    while (found := await raw.frame())[0] != CLOSE:
        if found[0] == TEXT:
            texts.append(int(found[1]))
        else:
            assert found == (PING, b"")
    assert texts == list(range(count))


async def test_the_door_tells_when_it_is_full_has_room_and_is_gone(opened, wait_until):
    """Full as soon as the kernel takes no more, room once all is taken, gone once and before anything else."""
    told = []
    app = App(accept_only)
    raw = await opened(app, receive_bytes=4_096)
    door = app.door
    door.on_full, door.on_room = lambda: told.append("full"), lambda: told.append("room")
    door.on_gone = lambda: told.append("gone")
    frames = 0
    while not told:
        door.transport.write(text_frame(b"x" * 60_000))
        frames += 1
        assert frames < 1_000
    assert told == ["full"]
    assert door.transport.get_write_buffer_size() > 0
    for _ in range(frames):
        await raw.frame()
    await wait_until(lambda: told[-1] == "room")
    assert told == ["full", "room"]
    assert door.transport.get_write_buffer_size() == 0
    assert not door.closing
    door.close(4508, "slow")
    assert told == ["full", "room", "gone"]
    assert door.closing
    assert await raw.close_frame() == (4508, "slow")
    raw.send(masked(CLOSE, b"\x11\x9c"))
    await raw.ended()
    await app.last()
    assert told == ["full", "room", "gone"]


# The end


async def test_a_client_that_answers_no_close_frame_is_cut_off(opened):
    """In about a second; whatever it sends meanwhile is not read."""

    async def close_first(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4001, "reason": "go"})
        await receive()

    app = App(close_first)
    raw = await opened(app)
    assert await raw.close_frame() == (4001, "go")
    raw.send(masked(TEXT, b"not read"), masked(PING, b"not answered"))
    assert CLOSE_S / 2 < await raw.ended() < 2 * CLOSE_S
    assert await app.last() == {"type": "websocket.disconnect", "code": 1006, "reason": "the connection was lost"}


async def test_a_client_that_answers_a_close_frame_is_let_go_at_once(opened):
    """And the application hears what it answered."""

    async def close_first(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4001})
        await receive()

    app = App(close_first)
    raw = await opened(app)
    code, _ = await raw.close_frame()
    raw.send(masked(CLOSE, code.to_bytes(2)))
    assert await raw.ended() < CLOSE_S / 2
    assert (await app.last())["code"] == 4001


async def test_after_closing_nothing_is_sent(opened):
    """A second close is nothing, a message is refused, as for a client that has gone."""
    outcome = []

    async def talkative(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4001, "reason": "ä" * 100})
        await send({"type": "websocket.close", "code": 4002})
        try:
            await send({"type": "websocket.send", "text": "late"})
        except OSError as error:
            outcome.append(error)

    raw = await opened(App(talkative))
    assert await raw.close_frame() == (4001, "ä" * 61)
    raw.send(masked(CLOSE, b"\x0f\xa1"))
    await raw.ended()
    assert len(outcome) == 1


async def test_a_client_that_still_reads_is_not_cut_off_before_its_close_frame(opened, wait_until):
    """What lies before it may take longer than the answer to it may; one that reads nothing is cut off at once."""
    app = App(accept_only)
    raw = await opened(app, receive_bytes=4_096)
    frames = 0
    while not app.door._full:
        app.door.transport.write(text_frame(b"x" * 60_000))
        frames += 1
    app.door.transport.write(text_frame(b"x" * 600_000))
    app.door.close(4508, "slow")
    begun = monotonic()
    while monotonic() - begun < 1.5 * CLOSE_S:
        await raw.reader.readexactly(2_000)
        await asyncio.sleep(0.02)
    assert not app.door.transport.is_closing()
    rest = await raw.rest()
    assert rest.endswith(b"\x88\x06\x11\x9cslow")


@pytest.mark.parametrize("how", ["the client closes", "it is lost", "the door aborts", "the application returns"])
async def test_the_door_is_gone_once_however_it_ends(opened, how):
    """Nothing is written any more from then on."""
    told, stop = [], asyncio.Event()

    async def until(scope, receive, send):
        await send({"type": "websocket.accept"})
        if how == "the application returns":
            await stop.wait()
        else:
            await receive()

    app = App(until)
    raw = await opened(app)
    app.door.on_gone = lambda: told.append(app.door.closing)
    if how == "the client closes":
        raw.send(masked(CLOSE, b"\x03\xe8"))
        await raw.close_frame()
    elif how == "it is lost":
        raw.writer.transport.abort()
    elif how == "the door aborts":
        app.door.abort()
        assert told == [True]
        await raw.ended()
    else:
        stop.set()
        await raw.close_frame()
    await app.last()
    assert told == [True]


# Signs of life


async def test_the_door_knows_whether_anything_was_heard(opened, wait_until):
    """Anything that arrives counts, also the answer to a ping."""
    app = App(accept_only)
    raw = await opened(app)
    app.door.heard = False
    app.door.transport.write(PING_FRAME)
    assert await raw.frame() == (PING, b"")
    assert app.door.heard is False
    raw.send(masked(PONG))
    await wait_until(lambda: app.door.heard)
