import asyncio
import base64
import hashlib

import pytest
from noting_app import App, echo
from raw_websocket import masked

from ticker.web.frame_reader import CLOSE, PING, PONG, TEXT

KEY = base64.b64encode(bytes(range(16))).decode()
ACCEPT = base64.b64encode(hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


@pytest.fixture
async def raw(serve, open_raw):
    """A raw client before its handshake with an echo application."""
    return await open_raw(await serve(App()))


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
