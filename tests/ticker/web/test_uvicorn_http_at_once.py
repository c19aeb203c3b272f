import pytest

from ticker import metrics
from ticker.web.uvicorn_http import TickerHttp, _HeadWithBody


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
