"""The AsyncAPI document is whole; real requests and real messages, of every type, over real sockets, are as it says."""

import asyncio
import json
import os
import signal
from collections import defaultdict

import jsonschema_rs
import pytest
from closed_schemas import Validator, dangling, parts
from hypothesis import given
from hypothesis import strategies as st

from ticker import codes
from ticker.config import Config
from ticker.store.connection import connect
from ticker.web import asyncapi, messages
from ticker.web.message_schemas import EVENTS, REQUESTS

DOCUMENT = asyncapi.document(Config())
MESSAGES = DOCUMENT["components"]["messages"]
OF_REQUESTS = {op: Validator(DOCUMENT, MESSAGES[f"client.{op}"]["payload"]) for op in messages.FIELDS}
CONTRACT = {
    *("welcome", "subscribed", "unsubscribed", "subscriptions", "stats", "pong", "trade", "quote", "candle"),
    *("gap", "reset", "slow", "service", "heartbeat", "error"),
}
OF_EVENTS = {
    name.removeprefix("server."): Validator(DOCUMENT, MESSAGES[name]["payload"])
    for name in MESSAGES
    if name.startswith("server.")
}
TEXT = 1


HEARD = {
    "asked": {"welcome", "subscribed", "unsubscribed", "subscriptions", "stats", "pong"}
    | {"trade", "quote", "candle", "heartbeat", "error"},
    "missing": {"gap", "reset"},
    "away": {"service"},
    "slow": {"slow"},
}
"""What the tests below insist on having heard from a real service."""


def test_every_type_of_the_contract_is_there():
    """In both directions, and each is heard; and each message belongs to an operation."""
    assert set().union(*HEARD.values()) == set(EVENTS)
    assert set(REQUESTS) == {"subscribe", "unsubscribe", "list", "stats", "ping"} == set(messages.FIELDS)
    assert set(OF_EVENTS) == set(EVENTS) == CONTRACT
    assert dangling(DOCUMENT) == []
    used = {part["$ref"].rpartition("/")[2] for path, part in parts(DOCUMENT["operations"]) if "messages" in path}
    assert used == set(MESSAGES)
    assert set(DOCUMENT["channels"]["stream"]["x-close-codes"]) == {str(code) for code in codes.CLOSES}


def test_every_schema_is_one_and_takes_its_examples():
    """By the draft that AsyncAPI builds on; what clients may send, the service takes."""
    for name, message in MESSAGES.items():
        jsonschema_rs.meta.validate({"$schema": "http://json-schema.org/draft-07/schema#", **message["payload"]})
        assert message["examples"]
        for example in message["examples"]:
            assert Validator(DOCUMENT, message["payload"]).complaints(example["payload"]) == [], name
            if name.startswith("client."):
                messages.check(example["payload"])


# What is accepted is what the document allows

SYMBOLS = st.sampled_from(["AAPL", "MSFT", "*", "BRK.B", "aapl", "", 7])
POSITIONS = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "epoch": st.sampled_from([None, "7kzeay", "", 1]),
            "seq": st.sampled_from([0, 1, -1, messages.SEQ_MOST, messages.SEQ_MOST + 1, True, "1", None]),
            "more": st.just(1),
        },
    ),
    st.just({"epoch": "7kzeay", "seq": 5}),
    st.none(),
)
FIELDS = {
    "id": st.sampled_from([1, "a", None, True, 1.5, []]),
    "channel": st.sampled_from([*messages.CHANNELS, *messages.CHANNELS, "news", None]),
    "symbols": st.one_of(st.just(["AAPL"]), st.lists(SYMBOLS, max_size=3), st.sampled_from(["AAPL", None])),
    "interval": st.sampled_from(["1m", "1m", "1d", "2m", None, 1]),
    "deliver": st.sampled_from(["all", "latest", "latest", "newest", None]),
    "every_ms": st.sampled_from([1, 100, messages.EVERY_MS_MOST, messages.EVERY_MS_MOST + 1, 0, True, "1"]),
    "snapshot": st.sampled_from([True, False, 0, "true"]),
    "resume": st.one_of(
        st.dictionaries(st.sampled_from(["AAPL", "AAPL", "aapl", "*"]), POSITIONS, max_size=2), st.none()
    ),
    "more": st.just(1),
}


@st.composite
def requests(draw):
    """Of any `op`, some fields of any, mostly with values that could be."""
    op = draw(st.sampled_from([*messages.FIELDS, *["subscribe"] * 5]))
    base = {"op": op} | ({"channel": "trades", "symbols": ["AAPL"]} if "channel" in messages.FIELDS[op] else {})
    return base | {name: draw(FIELDS[name]) for name in draw(st.sets(st.sampled_from(list(FIELDS)), max_size=4))}


@given(requests())
def test_the_document_allows_what_is_accepted(request):
    """And nothing else, but for what no schema can say: that what is resumed stands in `symbols`."""
    try:
        messages.check(request)
        accepted, why = True, ""
    except messages.RequestError as error:
        accepted, why = False, str(error)
    if "not in 'symbols'" not in why:
        assert OF_REQUESTS[request["op"]].accepts(request) == accepted, why


# What is sent is what the document says


class Listener:
    """Keeps what clients have sent and got, by its type; whatever the document does not allow fails at once."""

    def __init__(self):
        self.sent = defaultdict(list)
        self.heard = defaultdict(list)

    async def ask(self, client, **request):
        """Send what the document allows; the reply, which is no refusal."""
        assert OF_REQUESTS[request["op"]].complaints(request) == []
        self.sent[request["op"]].append(request)
        await client.send(**request)
        reply = await self.until(client, lambda m: m.get("id") == request["id"] and m["type"] not in ("trade", "quote"))
        assert reply["type"] == asyncapi.REPLIES[request["op"]], reply
        return reply

    async def until(self, client, wanted):
        """The first message that `wanted` accepts."""
        async with asyncio.timeout(15):
            while True:
                message = self.note(json.loads(await client.socket.recv()))
                if wanted(message):
                    return message

    def note(self, message):
        assert message["type"] in OF_EVENTS, f"the document lacks {message['type']}"
        assert OF_EVENTS[message["type"]].complaints(message) == [], message
        self.heard[message["type"]].append(message)
        return message


def of(kind, **fields):
    return lambda message: message["type"] == kind and all(message.get(name) == fields[name] for name in fields)


@pytest.fixture
async def spoken(start_service, own_server, tape):
    """A service with a few ticks, and a client that has asked for everything; what both have said so far."""
    service = await start_service(own_server.url, websocket={"heartbeat_ms": 100, "outbox_bytes": 1 << 20})
    found, client = Listener(), await service.connect()
    found.note(client.welcome)
    await found.ask(client, op="subscribe", id=1, channel="trades", symbols=["AAPL", "MSFT", "ZZZZ"])
    await found.ask(client, op="subscribe", id=2, channel="quotes", symbols=["*"], deliver="latest", every_ms=1)
    await found.ask(client, op="subscribe", id="three", channel="candles", interval="1s", symbols=["AAPL"])
    service.feed.give(*tape.trades(60), tape.quote(), tape.trade(99.5, 1, id="7", exchange="Q", conditions="@ I"))
    await found.until(client, of("trade", seq=61))
    service.feed.give(tape.quote(None), *(tape.quote() for _ in range(30)), clock=tape.time + 10_000_000)
    await found.until(client, of("quote", seq=32))
    await found.until(client, of("candle", final=True))
    return service, client, found


async def test_requests_and_what_follows_are_as_described(spoken):
    """Each request and its reply; a refusal; ticks with all fields, snapshots, what was skipped, signs of life."""
    service, client, found = spoken
    for number, op in enumerate(("list", "stats", "ping"), 10):
        await found.ask(client, op=op, id=number)
    await found.ask(client, op="unsubscribe", id=14, channel="trades", symbols=["MSFT", "YYYY"])
    await client.send(op="jump", id=15)
    await found.until(client, of("error", id=15))
    late = await service.connect("?channel=trades&symbols=AAPL,*")
    await found.until(late, of("trade", snapshot=True))
    await found.until(client, of("heartbeat"))
    assert set(found.sent) == set(REQUESTS)
    assert any(quote["skipped"] for quote in found.heard["quote"] if "skipped" in quote)
    assert any(trade.get("exchange") == "Q" for trade in found.heard["trade"])
    assert set(found.heard) >= HEARD["asked"]


async def test_what_is_missing_or_withdrawn_is_told_as_described(spoken, own_server):
    """`gap` and `reset`, of ticks and of candles."""
    service, _, found = spoken
    async with connect(own_server.url) as store:
        epoch = (await store.get("epoch:{AAPL}")).decode()
        await store.xtrim("trades:{AAPL}", maxlen=5, approximate=False)
    for number, (epoch_of, told) in enumerate(((epoch, "gap"), ("another", "reset"))):
        client = await service.connect()
        resume = {"AAPL": {"epoch": epoch_of, "seq": 1}}
        await found.ask(client, op="subscribe", id=1, channel="trades", symbols=["AAPL"], resume=resume)
        await found.until(client, of(told, channel="trades"))
        if number:
            candles = {"op": "subscribe", "id": 2, "channel": "candles", "interval": "1s", "symbols": ["AAPL"]}
            await found.ask(client, **candles, resume=resume)
            await found.until(client, of(told, channel="candles"))
    assert set(found.heard) >= HEARD["missing"]


async def test_a_store_that_is_away_is_told_as_described(spoken, own_server):
    """`service`, stale and live again."""
    _, client, found = spoken
    os.kill(own_server.pid, signal.SIGSTOP)
    await found.until(client, of("service", state="stale", reason="store"))
    os.kill(own_server.pid, signal.SIGCONT)
    await found.until(client, of("service", state="live"))
    assert set(found.heard) >= HEARD["away"]


@pytest.mark.parametrize(("query", "action"), [("", "closing"), ("&deliver=latest&every_ms=1", "conflating")])
async def test_a_slow_client_is_told_as_described(start_service, valkey_url, new_tape, open_raw, query, action):
    """`slow`, whatever follows from it."""
    names = ["AAPL", *(f"S{number}" for number in range(300))]
    settings = {"outbox_bytes": 1 << 24, "outbox_ms": 4_000}
    service = await start_service(valkey_url, symbols=names, websocket=settings)
    found, hub = Listener(), service.gateway.hub
    fast, slow = await service.connect(), await open_raw(service.port, receive_bytes=4_096)
    await found.ask(fast, op="subscribe", id=1, channel="trades", symbols=["AAPL"])
    assert (await slow.ask(f"/v1/stream?channel=trades&symbols=*{query}"))[0] == 101
    tapes, given = [new_tape(name) for name in names], 0
    while not hub._full:
        service.feed.give(*(trade for tape in tapes for trade in tape.trades(1)))
        given += 1
        await found.until(fast, of("trade", seq=given))
    # Reads nothing for half of the time that a message may wait.
    await service.wait_until(lambda: any(client.warned for client in hub._full))
    while not found.heard["slow"]:
        opcode, payload = await slow.frame()
        if opcode == TEXT:
            found.note(json.loads(payload))
    assert found.heard["slow"][0]["action"] == action
    assert set(found.heard) >= HEARD["slow"]


def test_a_type_that_the_document_lacks_is_found():
    """As is a field."""
    with pytest.raises(AssertionError, match="the document lacks novelty"):
        Listener().note({"type": "novelty"})
    good = {"type": "pong", "time": 1_795_569_646_000_000}
    Listener().note(good)
    for bad in (good | {"more": 1}, {"type": "pong"}, good | {"time": "now"}):
        with pytest.raises(AssertionError):
            Listener().note(bad)


@pytest.mark.parametrize(
    ("host", "found"), [("0.0.0.0", "127.0.0.1:8000"), ("::1", "[::1]:8000"), ("ticks.example", "ticks.example:8000")]
)
def test_its_server_is_one_that_can_be_gone_to(host, found):
    """Also where the service listens on all addresses, or has one of IPv6."""
    document = asyncapi.document(Config(server={"host": host}))
    assert document["servers"]["gateway"]["host"] == found


async def test_the_document_is_served(service):
    """With a tag, as the other one."""
    answer = await service.get("/asyncapi.json")
    assert answer.json()["asyncapi"] == "3.0.0"
    again = await service.get("/asyncapi.json", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
