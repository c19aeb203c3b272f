import asyncio
import json
import socket
from contextlib import suppress
from time import monotonic

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ticker import metrics
from ticker.web.uvicorn_http import TickerHttp, _HeadWithBody

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
LARGE = 3_000_000


class Http:
    """A client that sends whatever bytes the test likes."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, *pieces):
        self.writer.write(b"".join(pieces))

    async def answer(self):
        """The next answer: its status, headers and body."""
        async with asyncio.timeout(10):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            return int(first.split()[1]), headers, await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def ended(self, within_s=5):
        """What still came before the connection ended, which it must."""
        async with asyncio.timeout(within_s):
            with suppress(ConnectionError):
                return await self.reader.read()


async def app(scope, receive, send):
    """Answers `ok`, or very much on `/large`; a WebSocket is accepted and echoed; on `/slow` it takes a while."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send(event | {"type": "websocket.send"})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.2)
    body = b"x" * LARGE if scope["path"] == "/large" else b"ok"
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def open_http():
    """Opens clients, which are closed with the test; `receive_bytes` bounds what the kernel takes for one."""
    writers = []

    async def open_http(port, receive_bytes=None):
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1 << (12 if receive_bytes else 16))
        writers.append(writer)
        return Http(reader, writer)

    yield open_http
    for writer in writers:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


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


async def stop(task):
    """Have a task end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


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


# How large a request may be


def head_of(size, first=b"GET / HTTP/1.1\r\nHost: x\r\n"):
    """A whole head that counts as so many bytes: path, names, values and four for each line."""
    given = len(b"/") + sum(len(line.replace(b": ", b"")) + 4 for line in first.split(b"\r\n")[1:-1])
    return first + b"X: " + b"x" * (size - given - 5) + b"\r\n\r\n"


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


# Answers in one write, and at once


class Recorder:
    """A transport that remembers what was written together."""

    def __init__(self):
        self.writes = []
        self.closed = False

    def write(self, data):
        self.writes.append(bytes(data))

    def writelines(self, parts):
        self.writes.append(b"".join(parts))

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed


def test_a_head_leaves_with_its_body():
    """As one write; what follows goes as it comes, and so does word to go on."""
    recorder = Recorder()
    transport = _HeadWithBody(recorder)
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    assert recorder.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    transport.write(b"body")
    transport.write(b"more")
    assert recorder.writes[1:] == [b"HTTP/1.1 200 OK\r\n\r\nbody", b"more"]


def test_a_head_without_a_body_leaves_all_the_same():
    """With the end of the answer, or of the connection."""
    recorder = Recorder()
    transport = _HeadWithBody(recorder)
    transport.write(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    transport.write(b"")
    assert recorder.writes == [b"HTTP/1.1 304 Not Modified\r\n\r\n"]
    transport = _HeadWithBody(recorder)
    transport.write(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")
    assert not transport.is_closing()
    transport.close()
    assert transport.is_closing()
    assert recorder.writes[1:] == [b"HTTP/1.1 500 Internal Server Error\r\n\r\n"]


@pytest.fixture
async def remembered(service, tape, noon):
    """A service that remembers an answer, and the target that it answers."""
    service.feed.give(*tape.trades(90, step=1_000_000), clock=noon + 300_000_000)
    target = f"/v1/candles/AAPL?interval=1s&end={noon + 60_000_000}"

    async def is_remembered():
        await service.get(target)
        return len(service.gateway.answers._by_symbol) > 0

    await service.wait_until(is_remembered)
    return service, target.encode()


def taken(source):
    return metrics.REGISTRY.get_sample_value("ticker_history_answers_total", {"source": source}) or 0


def get(target, *lines, version=b"1.1"):
    return b"GET %b HTTP/%b\r\nHost: x\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n%b\r\n" % (
        target,
        version,
        b"".join(lines),
    )


async def test_many_questions_in_one_read_are_answered_in_their_order(remembered, open_http):
    """Whether remembered or not."""
    service, target = remembered
    client = await open_http(service.port)
    client.send(get(target))
    await client.answer()
    before = taken("remembered")
    targets = [target, b"/v1/symbols", target, target, b"/healthz", target]
    client.send(*[get(one) for one in targets])
    bodies = [(await client.answer())[2] for _ in targets]
    assert bodies[0] == bodies[2] == bodies[3] == bodies[5]
    assert b'"symbols"' in bodies[1]
    assert b'"ok"' in bodies[4]
    assert taken("remembered") == before + 4


async def test_a_connection_goes_on_after_answers_that_were_at_once(remembered, open_http):
    """For as long as any other, and closes where that is wanted."""
    service, target = remembered
    client = await open_http(service.port)
    for _ in range(5):
        client.send(get(target))
        status, headers, body = await client.answer()
        assert (status, len(body)) == (200, int(headers["content-length"]))
        assert {"date", "etag", "content-security-policy"} <= set(headers)
        client.send(get(b"/healthz"))
        assert (await client.answer())[0] == 200
    etag = headers["etag"].encode()
    client.send(get(target, b"If-None-Match: %b\r\n" % etag))
    status, headers, body = await client.answer()
    assert (status, headers["etag"].encode(), body) == (304, etag, b"")
    client.send(get(target, b"Connection: close\r\n"))
    status, headers, _ = await client.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert await client.ended() in (b"", None)


@pytest.mark.parametrize(
    "lines", [(b"Content-Length: 3\r\n",), (b"Transfer-Encoding: chunked\r\n",)], ids=["length", "chunks"]
)
async def test_a_question_with_a_body_is_read_to_its_end(remembered, open_http, lines):
    """Which belongs to no other question."""
    service, target = remembered
    client = await open_http(service.port)
    body = b"abc" if b"Length" in lines[0] else b"3\r\nabc\r\n0\r\n\r\n"
    client.send(get(target, *lines), body, get(target))
    answers = [await client.answer() for _ in range(2)]
    assert [status for status, *_ in answers] == [200, 200]
    assert answers[0][2] == answers[1][2]


async def test_an_old_client_gets_its_answer_and_the_end(remembered, open_http):
    """HTTP/1.0 knows no connection that stays."""
    service, target = remembered
    client = await open_http(service.port)
    client.send(get(target, version=b"1.0"))
    status, _, body = await client.answer()
    assert (status, bool(body)) == (200, True)
    assert await client.ended() in (b"", None)


async def test_a_client_that_does_not_read_is_not_given_more_and_more(remembered, open_http, monkeypatch):
    """What it asks for waits in line, not in memory."""
    service, target = remembered
    made = []
    monkeypatch.setattr(TickerHttp, "on_message_begin", lambda self: (made.append(self), begin(self)))
    client = await open_http(service.port, receive_bytes=4_096)
    asked = get(target + b"&limit=60")
    client.send(asked)
    await client.answer()
    client.send(*[asked for _ in range(2_000)])
    await service.wait_until(lambda: made[-1].flow.write_paused)
    assert made[-1].transport.get_write_buffer_size() < 1 << 20
    for _ in range(2_000):
        assert (await client.answer())[0] == 200


begin = TickerHttp.on_message_begin
