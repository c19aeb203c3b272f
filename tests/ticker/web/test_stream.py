import pytest

from ticker.limits import LIMITS


def is_trade(seq, symbol="AAPL"):
    return lambda m: m["type"] == "trade" and m["symbol"] == symbol and m["seq"] >= seq


async def test_a_connection_is_welcomed(service):
    """The first message says who is there, how often the heart beats, where days begin, and every limit."""
    client = await service.connect()
    welcome = client.welcome
    assert welcome["type"] == "welcome"
    assert welcome["version"] == 1
    assert welcome["connection"].startswith("c-")
    assert welcome["heartbeat_ms"] == 10_000
    assert welcome["timezone"] == "America/New_York"
    # Limits by address do not hold for this machine.
    expected = {name: None if row.per == "address" else row.default for name, row in LIMITS.items()}
    assert welcome["limits"] == expected
    assert isinstance(welcome["time"], int)
    assert (await service.connect()).welcome["connection"] != welcome["connection"]


async def test_a_ping_is_answered_by_a_pong(service):
    """With its id, whether a number or a text, or without."""
    client = await service.connect()
    for request_id in (8, "eight", 0, -1, ""):
        pong = await client.ask(op="ping", id=request_id)
        assert pong == {"type": "pong", "id": request_id, "time": pong["time"]}
    pong = await client.ask(op="ping")
    assert pong == {"type": "pong", "time": pong["time"]}


async def test_subscribe_is_answered_with_positions(service):
    """A known symbol without a tick is at seq 0 of no epoch."""
    client = await service.connect()
    reply = await client.ask(op="subscribe", id=1, channel="trades", symbols=["AAPL", "MSFT"])
    nowhere = {"epoch": None, "seq": 0}
    assert reply == {
        "type": "subscribed",
        "id": 1,
        "channel": "trades",
        "positions": {"AAPL": nowhere, "MSFT": nowhere},
        "errors": [],
    }


async def test_unknown_symbols_are_errors_of_their_own(service):
    """The others are subscribed all the same."""
    client = await service.connect()
    reply = await client.ask(op="subscribe", id=4, channel="trades", symbols=["ZZZZ", "AAPL"])
    assert list(reply["positions"]) == ["AAPL"]
    assert reply["errors"] == [{"symbol": "ZZZZ", "code": "unknown_symbol"}]
    reply = await client.ask(op="subscribe", id=5, channel="trades", symbols=["ZZZZ"])
    assert (reply["type"], reply["positions"]) == ("subscribed", {})
    reply = await client.ask(op="unsubscribe", id=6, channel="trades", symbols=["ZZZZ", "AAPL", "MSFT"])
    assert reply == {
        "type": "unsubscribed",
        "id": 6,
        "channel": "trades",
        "symbols": ["AAPL"],
        "errors": [{"symbol": "ZZZZ", "code": "unknown_symbol"}],
    }


async def test_list_shows_entries_as_they_were_written(service):
    """One entry for each channel and interval."""
    client = await service.connect()
    assert await client.ask(op="list", id=6) == {"type": "subscriptions", "id": 6, "entries": []}
    await client.subscribe("trades", "AAPL", "*")
    await client.subscribe("candles", "MSFT", interval="1m")
    await client.subscribe("candles", "MSFT", interval="5s")
    reply = await client.ask(op="list", id=7)
    assert reply["entries"] == [
        {"channel": "trades", "symbols": ["AAPL", "*"], "deliver": "all"},
        {"channel": "candles", "interval": "1m", "symbols": ["MSFT"], "deliver": "all"},
        {"channel": "candles", "interval": "5s", "symbols": ["MSFT"], "deliver": "all"},
    ]
    await client.ask(op="unsubscribe", channel="trades", symbols=["*"])
    await client.ask(op="unsubscribe", channel="candles", interval="1m", symbols=["MSFT"])
    assert (await client.ask(op="list"))["entries"] == [
        {"channel": "trades", "symbols": ["AAPL"], "deliver": "all"},
        {"channel": "candles", "interval": "5s", "symbols": ["MSFT"], "deliver": "all"},
    ]


async def test_the_address_may_carry_a_subscription(service, tape):
    """It is answered as the request with id 0, right after the welcome."""
    service.feed.give(tape.trade())
    first = await service.connect()
    await first.subscribe("trades", "AAPL")
    await first.until(is_trade(1))
    client = await service.connect("?channel=trades&symbols=AAPL,ZZZZ")
    reply = await client.receive()
    assert (reply["type"], reply["id"], reply["channel"]) == ("subscribed", 0, "trades")
    assert reply["positions"]["AAPL"]["seq"] == 1
    assert reply["errors"] == [{"symbol": "ZZZZ", "code": "unknown_symbol"}]
    assert (await client.receive())["snapshot"] is True
    client = await service.connect("?channel=candles&symbols=AAPL&interval=1m&snapshot=false&deliver=all")
    assert (await client.receive())["interval"] == "1m"
    assert await client.barrier() == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?channel=trades", "bad_request"),
        ("?channel=nope&symbols=AAPL", "unknown_channel"),
        ("?channel=candles&symbols=AAPL&interval=2m", "unknown_interval"),
        ("?channel=trades&symbols=AAPL&symbols=MSFT", "bad_request"),
        ("?channel=trades&symbols=AAPL&colour=red", "bad_request"),
        ("?channel=trades&symbols=AAPL&id=7", "bad_request"),
        ("?channel=trades&symbols=", "bad_request"),
        ("?channel=trades&symbols=AAPL&snapshot=yes", "bad_request"),
    ],
)
async def test_a_wrong_subscription_in_the_address_is_answered_as_any_other(service, query, code):
    """With id 0; the connection stays open."""
    client = await service.connect(query)
    reply = await client.receive()
    assert (reply["type"], reply["id"], reply["code"]) == ("error", 0, code)
    assert (await client.ask(op="ping"))["type"] == "pong"


WRONG = [
    ("{", "bad_json"),
    ("", "bad_json"),
    ("[]", "bad_request"),
    ("3", "bad_request"),
    ('{"op":"ping","id":1.5}', "bad_request"),
    ('{"op":"ping","id":true}', "bad_request"),
    ('{"op":"ping","id":{}}', "bad_request"),
    ('{"op":"ping","extra":1}', "bad_request"),
    ('{"id":1}', "unknown_op"),
    ('{"op":"dance"}', "unknown_op"),
    ('{"op":["ping"]}', "unknown_op"),
    ('{"op":"subscribe","symbols":["AAPL"]}', "unknown_channel"),
    ('{"op":"subscribe","channel":"news","symbols":["AAPL"]}', "unknown_channel"),
    ('{"op":"subscribe","channel":["trades"],"symbols":["AAPL"]}', "unknown_channel"),
    ('{"op":"subscribe","channel":"candles","symbols":["AAPL"]}', "bad_request"),
    ('{"op":"subscribe","channel":"candles","interval":"7m","symbols":["AAPL"]}', "unknown_interval"),
    ('{"op":"subscribe","channel":"candles","interval":1,"symbols":["AAPL"]}', "unknown_interval"),
    ('{"op":"subscribe","channel":"trades","interval":"1m","symbols":["AAPL"]}', "bad_request"),
    ('{"op":"subscribe","channel":"trades"}', "bad_request"),
    ('{"op":"subscribe","channel":"trades","symbols":[]}', "bad_request"),
    ('{"op":"subscribe","channel":"trades","symbols":"AAPL"}', "bad_request"),
    ('{"op":"subscribe","channel":"trades","symbols":["aapl"]}', "bad_request"),
    ('{"op":"subscribe","channel":"trades","symbols":["A\\u0000"]}', "bad_request"),
    ('{"op":"subscribe","channel":"trades","symbols":[null]}', "bad_request"),
    ('{"op":"subscribe","channel":"trades","symbols":["ABCDEFGHIJKLMNOPQ"]}', "bad_request"),
    ('{"op":"subscribe","channel":"trades","symbols":["AAPL"],"deliver":"some"}', "bad_request"),
    ('{"op":"subscribe","channel":"trades","symbols":["AAPL"],"snapshot":1}', "bad_request"),
    ('{"op":"unsubscribe","channel":"trades","symbols":["AAPL"],"snapshot":true}', "bad_request"),
    ("[" * 5000, "bad_json"),
]


@pytest.mark.parametrize(("text", "code"), WRONG, ids=[text[:70] for text, _ in WRONG])
async def test_a_wrong_message_is_answered_by_an_error(service, text, code):
    """The code says what is wrong, the message what was found and allowed, and the connection stays open."""
    client = await service.connect()
    await client.socket.send(text)
    reply = await client.receive()
    assert (reply["type"], reply["code"], reply["retry"]) == ("error", code, False)
    assert reply["message"]
    assert (await client.ask(op="ping", id=1))["type"] == "pong"


async def test_an_error_carries_the_id_of_its_request(service):
    """Where the request has one that can be read."""
    client = await service.connect()
    reply = await client.ask(op="subscribe", id="seven", channel="candles", symbols=["AAPL"])
    assert reply == {
        "type": "error",
        "id": "seven",
        "code": "bad_request",
        "message": "'interval' is needed for channel 'candles'",
        "retry": False,
    }


@pytest.mark.limit("subscriptions")
async def test_too_many_symbols_are_refused_as_a_whole(start_service, valkey_url):
    """The limit counts what is subscribed on all channels."""
    service = await start_service(valkey_url, symbols=["A", "B", "C"], limits={"subscriptions": 3})
    client = await service.connect()
    await client.subscribe("trades", "A", "B")
    reply = await client.ask(op="subscribe", id=2, channel="quotes", symbols=["A", "B"])
    assert (reply["type"], reply["id"], reply["code"]) == ("error", 2, "too_many_symbols")
    await client.subscribe("quotes", "A")
    await client.subscribe("trades", "A", "B")
    reply = await client.ask(op="subscribe", channel="quotes", symbols=["*"])
    assert reply["code"] == "too_many_symbols"
    assert (await client.ask(op="list"))["entries"][1]["symbols"] == ["A"]


async def test_a_subscription_in_the_address_is_refused_like_any_other(start_service, valkey_url):
    """As `"id":0`, with the connection left open."""
    service = await start_service(valkey_url, limits={"subscriptions": 1})
    client = await service.connect("?channel=trades&symbols=AAPL,MSFT")
    reply = await client.until(lambda m: m["type"] == "error")
    assert (reply["id"], reply["code"]) == (0, "too_many_symbols")
    assert (await client.ask(op="ping", id=1))["type"] == "pong"


async def test_deeply_nested_json_is_answered(start_service, valkey_url):
    """Whatever can be read can be refused."""
    service = await start_service(valkey_url)
    client = await service.connect()
    await client.socket.send('{"op":"subscribe","id":1,"channel":' + "[" * 990 + "]" * 990 + "}")
    reply = await client.until(lambda m: m["type"] == "error")
    assert reply["code"] == "unknown_channel"
    assert len(reply["message"]) < 300
