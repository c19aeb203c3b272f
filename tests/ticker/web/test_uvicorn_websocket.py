import asyncio
import base64
import hashlib
import logging
import os
from time import monotonic

import pytest
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from ticker import metrics
from ticker.hub.frame import PING as PING_FRAME
from ticker.hub.frame import text_frame
from ticker.web.frame_reader import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from ticker.web.uvicorn_websocket import CLOSE_S, INBOUND_MOST

KEY = base64.b64encode(bytes(range(16))).decode()
ACCEPT = base64.b64encode(hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


def masked(opcode, payload=b"", *, fin=True):
    return Frame(Opcode(opcode), payload, fin=fin).serialize(mask=True)


class App:
    """An echo application that notes what it is told; a subclass or a function may take its place."""

    def __init__(self, answer=None):
        self.scope = None
        self.events = []
        self.ended = asyncio.Event()
        self._answer = answer

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
            return
        self.scope = scope

        async def noting():
            event = await receive()
            self.events.append(event)
            return event

        try:
            assert (await noting())["type"] == "websocket.connect"
            await (self._answer or echo)(scope, noting, send)
        finally:
            self.ended.set()

    @property
    def door(self):
        return self.scope["extensions"]["ticker"]

    @property
    def messages(self):
        return [e.get("text", e.get("bytes")) for e in self.events if e["type"] == "websocket.receive"]

    async def last(self):
        """The last event, once the application has ended."""
        async with asyncio.timeout(5):
            await self.ended.wait()
        return self.events[-1]


async def echo(scope, receive, send):
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send(event | {"type": "websocket.send"})


async def accept_only(scope, receive, send):
    """An application that listens and says nothing."""
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


@pytest.fixture
def opened(serve, open_raw):
    """Opens raw clients of an application on a server of its own, past the handshake."""

    async def opened(app, *, receive_bytes=None, **sections):
        raw = await open_raw(await serve(app, **sections), receive_bytes=receive_bytes)
        assert (await raw.ask())[0] == 101
        return raw

    return opened


@pytest.fixture
async def raw(serve, open_raw):
    """A raw client before its handshake with an echo application."""
    return await open_raw(await serve(App()))


# The handshake


async def test_a_handshake_is_answered_as_the_rfc_wants(raw):
    """With the proof that the key was read, and no extension."""
    status, headers, _ = await raw.ask(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits")
    assert status == 101
    assert headers["sec-websocket-accept"] == ACCEPT
    assert (headers["upgrade"], headers["connection"]) == ("websocket", "Upgrade")
    assert "sec-websocket-extensions" not in headers
    assert "sec-websocket-protocol" not in headers
    raw.send(masked(TEXT, b"hello"))
    assert await raw.frame() == (TEXT, b"hello")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Connection": "keep-alive, Upgrade"}, 101),
        ({"Upgrade": "WebSocket"}, 101),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Key": base64.b64encode(bytes(15)).decode()}, 400),
        ({"Sec_WebSocket_Version": None}, 400),
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Version": "14"}, 426),
        ({"Upgrade": None}, 200),
        ({"Connection": None}, 200),
        ({"Connection": "close"}, 200),
    ],
    ids=str,
)
async def test_what_a_handshake_needs(raw, headers, status):
    """What asks for no WebSocket is an ordinary request; a wrong one gets an HTTP error and the connection ends."""
    found, answer, _ = await raw.ask(**headers)
    assert found == status
    if status == 426:
        assert answer["sec-websocket-version"] == "13"
    if status >= 400:
        await raw.ended()


async def test_a_path_may_have_any_bytes(serve, open_raw):
    """The application gets them, or the client gets an error; nothing breaks."""
    app = App()
    raw = await open_raw(await serve(app))
    status, _, _ = await raw.ask("/caf\xe9?x=\xe9")
    assert status in (101, 400)
    if status == 101:
        assert (app.scope["raw_path"], app.scope["query_string"]) == (b"/caf\xe9", b"x=\xe9")


async def test_only_get_upgrades(raw):
    """Another method is refused."""
    raw.send(raw.head(method="POST"))
    assert (await raw.answer())[0] in (400, 405)
    await raw.ended()


async def test_the_application_sees_the_request_as_it_was(serve, open_raw):
    """Path, query, headers in any bytes, addresses and subprotocols."""
    app = App()
    raw = await open_raw(await serve(app))
    status, _, _ = await raw.ask("/a%20b?x=1&y=%20", Sec_WebSocket_Protocol="one, two", X_Odd="caf\xe9", Cookie="a=b")
    assert status == 101
    scope = app.scope
    assert (scope["type"], scope["scheme"], scope["http_version"]) == ("websocket", "ws", "1.1")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"x=1&y=%20")
    assert dict(scope["headers"])[b"x-odd"] == b"caf\xe9"
    assert scope["subprotocols"] == ["one", "two"]
    assert scope["client"] == raw.writer.get_extra_info("sockname")
    assert scope["server"] == raw.writer.get_extra_info("peername")
    assert scope["extensions"]["websocket.http.response"] == {}


async def test_the_application_may_add_to_the_answer(serve, open_raw):
    """A subprotocol, and headers of its own."""

    async def choosy(scope, receive, send):
        extra = [(b"x-one", b"1"), (b"x-two", b"2")]
        await send({"type": "websocket.accept", "subprotocol": "two", "headers": extra})
        await receive()

    raw = await open_raw(await serve(App(choosy)))
    status, headers, _ = await raw.ask(Sec_WebSocket_Protocol="one, two")
    assert (status, headers["sec-websocket-protocol"]) == (101, "two")
    assert (headers["x-one"], headers["x-two"]) == ("1", "2")
    assert "date" in headers


@pytest.mark.parametrize(("status", "phrase"), [(403, b"Forbidden"), (503, b"Service Unavailable"), (499, b"")])
async def test_the_application_may_deny_with_an_answer_of_its_own(serve, status, phrase, open_raw):
    """Its body may come in pieces; then the connection ends."""

    async def deny(scope, receive, send):
        headers = [(b"content-type", b"text/plain"), (b"retry-after", b"5")]
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"not ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"here"})

    raw = await open_raw(await serve(App(deny)))
    found, headers, body = await raw.ask()
    assert (found, body) == (status, b"not here")
    assert (headers["retry-after"], headers["connection"]) == ("5", "close")
    assert "date" in headers
    await raw.ended()


async def fails(scope, receive, send):
    raise RuntimeError("a mistake of the application")


async def half_denies(scope, receive, send):
    await send({"type": "websocket.http.response.start", "status": 403, "headers": []})


async def closes(scope, receive, send):
    await send({"type": "websocket.close"})


async def sends_too_early(scope, receive, send):
    await send({"type": "websocket.send", "text": "x"})


async def returns(scope, receive, send):
    pass


@pytest.mark.parametrize(
    ("answer", "status", "logged"),
    [
        (fails, 500, True),
        (half_denies, 500, False),
        (closes, 403, False),
        (sends_too_early, 500, True),
        (returns, 500, False),
    ],
)
async def test_without_being_accepted_a_handshake_ends_in_http(serve, caplog, answer, status, logged, open_raw):
    """Whatever the application does instead; what it raises is logged."""
    app = App(answer)
    raw = await open_raw(await serve(app))
    assert (await raw.ask())[0] == status
    await raw.ended()
    assert ("the application failed" in caplog.text) is logged


async def test_frames_that_come_with_the_handshake_do_no_harm(serve, open_raw, wait_until):
    """A client must wait for the answer; one that does not has sent them in vain or gets them answered, no more."""
    may_accept = asyncio.Event()

    async def slow(scope, receive, send):
        await may_accept.wait()
        await echo(scope, receive, send)

    app = App(slow)
    raw = await open_raw(await serve(app))
    asking = asyncio.create_task(raw.ask())
    await wait_until(lambda: app.scope)
    raw.send(masked(PING, b"early"), masked(TEXT, b"bird"), masked(CLOSE, b"\x03\xe8"))
    await raw.writer.drain()
    await asyncio.sleep(0.05)
    may_accept.set()
    assert (await asking)[0] == 101
    assert [await raw.frame() for _ in range(3)] == [(PONG, b"early"), (TEXT, b"bird"), (CLOSE, b"\x03\xe8")]
    await raw.ended()


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


# The door


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
