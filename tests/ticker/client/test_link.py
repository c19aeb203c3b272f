"""How connections end, and what that means: come back, come back later, or never."""

import asyncio

import pytest

from ticker.client import NotTicker, Refused, Unauthorized
from ticker.client.link import Link, Lost

PROBLEM = {"title": "No", "status": 503, "detail": "20000 connections are open", "code": "unavailable"}


async def open_link(scripted, **headers):
    return await Link.open(scripted.url.replace("http", "ws"), headers, "trades of AAPL")


def closing(code, reason="why"):
    async def script(visit):
        await visit.welcome()
        await visit.socket.close(code, reason)

    return script


@pytest.mark.parametrize(
    ("code", "busy", "fatal", "error"),
    [
        (1000, False, False, None),
        (1001, False, False, None),
        (1011, False, False, None),
        (1012, False, False, None),
        (1013, True, False, None),
        (4508, False, False, None),
        (4408, False, False, None),
        (4429, True, False, Refused),
        (4400, False, True, Refused),
        (4401, False, True, Unauthorized),
        (1003, False, True, Refused),
        (1009, False, True, Refused),
    ],
)
async def test_close_codes(scripted, within, code, busy, fatal, error):
    """The reason is told; those that are our fault are errors."""
    scripted.scripts = [closing(code)]
    link = await open_link(scripted)
    await link.send({"op": "ping"})
    with pytest.raises(Lost) as lost:
        await within(link.receive())
    assert (lost.value.code, lost.value.reason, lost.value.busy, lost.value.fatal) == (code, "why", busy, fatal)
    assert type(lost.value.error) is (error or type(None))
    if error:
        assert lost.value.error.status == code


async def test_a_cut_has_no_code(scripted, within):
    """1006, as the protocol has it."""

    async def script(visit):
        await visit.welcome()
        visit.socket.transport.abort()

    scripted.scripts = [script]
    link = await open_link(scripted)
    await link.send({"op": "ping"})
    with pytest.raises(Lost, match="was cut") as lost:
        await within(link.receive())
    assert (lost.value.code, lost.value.fatal) == (1006, False)


@pytest.mark.parametrize("status", [503, 429])
async def test_a_full_gateway_is_tried_later(scripted, status):
    """When it says."""
    scripted.answer("/", PROBLEM, status, Retry_After="7")
    with pytest.raises(Lost, match="20000 connections are open") as lost:
        await open_link(scripted)
    assert (lost.value.busy, lost.value.retry_after_s, lost.value.error) == (True, 7.0, None)


@pytest.mark.parametrize(("status", "error"), [(401, Unauthorized), (403, Unauthorized), (404, Refused)])
async def test_a_refusal_is_final(scripted, status, error):
    """With what the answer says, problem or not."""
    scripted.answer("/", PROBLEM | {"code": "no", "request_id": "r7"}, status)
    with pytest.raises(Lost) as lost:
        await open_link(scripted)
    assert lost.value.fatal
    found = lost.value.error
    assert type(found) is error
    assert (found.status, found.code, found.detail, found.request_id) == (
        status,
        "no",
        "20000 connections are open",
        "r7",
    )
    assert str(found) == f"trades of AAPL: {status} no: 20000 connections are open (request r7)"


async def test_a_proxys_error_page_is_no_reason_to_give_up(scripted):
    """While the gateway behind it starts again."""
    scripted.answer("/", b"<html>bad gateway</html>", 502)
    with pytest.raises(Lost) as lost:
        await open_link(scripted)
    assert not lost.value.fatal


@pytest.mark.parametrize("greeting", ["hello", '{"a":1}', '{"type":"trade"}', "[1]", '{"type":"welcome"}'])
async def test_something_else_is_not_taken_for_a_gateway(scripted, greeting):
    """It says what was found."""

    async def script(visit):
        await visit.socket.send(greeting)
        await visit.gone()

    scripted.scripts = [script]
    with pytest.raises(Lost) as lost:
        await open_link(scripted)
    assert lost.value.fatal
    assert isinstance(lost.value.error, NotTicker)


async def test_silence_is_a_lost_connection(scripted, within):
    """Where two and a half heartbeats have not come, and somebody waits."""

    async def script(visit):
        await visit.welcome(heartbeat_ms=100)
        await visit.gone()

    scripted.scripts = [script]
    link = await open_link(scripted)
    await link.send({"op": "ping"})
    begun = asyncio.get_running_loop().time()
    with pytest.raises(Lost, match=r"nothing heard for 0\.25 s") as lost:
        await within(link.receive())
    assert 0.24 < asyncio.get_running_loop().time() - begun < 5
    assert lost.value.code == 1006


async def test_heartbeats_keep_a_connection(scripted, within):
    """However little else comes; and who does not read for a while finds what came meanwhile."""
    stop = asyncio.Event()

    async def script(visit):
        await visit.welcome(heartbeat_ms=100)
        for _ in range(8):
            await visit.say({"type": "heartbeat"})
            await asyncio.sleep(0.1)
        await stop.wait()

    scripted.scripts = [script]
    link = await open_link(scripted)
    await link.send({"op": "ping"})
    for _ in range(4):
        assert (await within(link.receive()))["type"] == "heartbeat"
    await asyncio.sleep(0.6)
    for _ in range(4):
        assert (await within(link.receive()))["type"] == "heartbeat"
    stop.set()
    await link.close()


async def test_a_gateway_that_never_greets_is_given_up(scripted, monkeypatch):
    """Within a bound."""
    monkeypatch.setattr("ticker.client.link.OPEN_TIMEOUT_S", 0.2)
    scripted.scripts = [lambda visit: visit.gone()]
    with pytest.raises(Lost, match=r"no answer within 0\.2 s"):
        await open_link(scripted)


async def test_a_reader_that_stops_holds_up_the_gateway(scripted, within, wait_until):
    """What is read ahead is bounded: the rest stays with the gateway, whose rules for slow clients hold."""
    sent = 0

    async def script(visit):
        nonlocal sent
        await visit.welcome()
        while True:
            await visit.say({"type": "trade", "pad": "x" * 10_000})
            sent += 1

    scripted.scripts = [script]
    link = await open_link(scripted)
    await link.send({"op": "ping"})
    before = -1

    async def stuck():
        nonlocal before
        same, before = sent == before, sent
        await asyncio.sleep(0.3)
        return same and sent > 0

    await wait_until(stuck)
    assert len(link._socket.recv_messages.frames) < 2_000
    for _ in range(before):
        await within(link.receive())
    await wait_until(lambda: sent > before)
    link.abort()
