import asyncio
import json
import os
import signal
import socket
from itertools import pairwise
from time import monotonic

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ticker.candles.interval import INTERVALS
from ticker.limits import LIMITS, Limits
from ticker.store.embedded import EmbeddedServer

SECOND = 1_000_000
MINUTE = 60 * SECOND


def seqs(messages, kind="trade", symbol="AAPL"):
    return [m["seq"] for m in messages if m["type"] == kind and m["symbol"] == symbol]


def is_trade(seq, symbol="AAPL"):
    return lambda m: m["type"] == "trade" and m["symbol"] == symbol and m["seq"] >= seq


def epoch_of(client_reply, symbol="AAPL"):
    return client_reply["positions"][symbol]["epoch"]


# Greeting and replies


async def test_a_connection_is_welcomed(service):
    """The first message says who is there, how often the heart beats, where days begin, and every limit."""
    client = await service.connect()
    welcome = client.welcome
    assert welcome["type"] == "welcome"
    assert welcome["version"] == 1
    assert welcome["connection"].startswith("c-")
    assert welcome["heartbeat_ms"] == 10_000
    assert welcome["timezone"] == "America/New_York"
    own = {"connections_per_address": None}
    assert welcome["limits"] == {name: row.default for name, row in LIMITS.items()} | own
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


# Ticks


async def test_ticks_look_as_promised(service, tape):
    """Each message has the fields of the contract, in its order; optional ones only where the feed has them."""
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    await client.subscribe("quotes", "AAPL")
    service.feed.give(
        tape.trade(189.23, 100), tape.quote(189.22, None), tape.trade(1, 0.5, id="t1", exchange="Q", conditions="@")
    )
    messages = await client.collect(is_trade(2))
    trade, rich = [m for m in messages if m["type"] == "trade"]
    (quote,) = [m for m in [*messages, *await client.barrier()] if m["type"] == "quote"]
    time = [tick.time for tick in tape.ticks]
    assert list(trade.items()) == [
        ("type", "trade"),
        ("symbol", "AAPL"),
        ("price", 189.23),
        ("size", 100),
        ("time", time[0]),
        ("seq", 1),
    ]
    assert quote == {
        "type": "quote",
        "symbol": "AAPL",
        "bid": 189.22,
        "bid_size": 3,
        "ask": None,
        "ask_size": 0,
        "time": time[1],
        "seq": 1,
    }
    assert (rich["id"], rich["exchange"], rich["conditions"]) == ("t1", "Q", "@")


async def test_the_first_epoch_is_announced(service, tape):
    """Who subscribed before the first tick learns under which name the numbers count."""
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    service.feed.give(*tape.trades(2))
    reset, *trades = await client.collect(is_trade(2))
    again = await (await service.connect()).subscribe("trades", "AAPL")
    assert reset == {"type": "reset", "channel": "trades", "symbol": "AAPL", "epoch": epoch_of(again), "seq": 0}
    assert seqs(trades) == [1, 2]


async def test_the_snapshot_stands_at_the_position(service, tape):
    """Reply, then the last message marked as a snapshot, then live from the next number on."""
    service.feed.give(*tape.trades(5))
    first = await service.connect()
    await first.subscribe("trades", "AAPL")
    await first.until(is_trade(5))
    client = await service.connect()
    reply = await client.ask(op="subscribe", id=1, channel="trades", symbols=["AAPL", "MSFT"])
    assert reply["positions"]["AAPL"]["seq"] == 5
    snapshot = await client.receive()
    assert (snapshot["seq"], snapshot["price"], snapshot["snapshot"]) == (5, tape.ticks[-1].price, True)
    service.feed.give(*tape.trades(3))
    live = await client.collect(is_trade(8))
    assert seqs(live) == [6, 7, 8]
    assert not any("snapshot" in message for message in live)


async def test_snapshots_can_be_left_out(service, tape):
    """With `"snapshot":false` nothing comes before the first live message."""
    service.feed.give(*tape.trades(2))
    first = await service.connect()
    await first.subscribe("trades", "AAPL")
    await first.until(is_trade(2))
    client = await service.connect()
    await client.subscribe("trades", "AAPL", snapshot=False)
    assert await client.barrier() == []


async def test_subscribing_again_sends_no_second_snapshot(service, tape):
    """By name or with all symbols; what is new gets its own."""
    other = type(tape)("MSFT")
    service.feed.give(*tape.trades(2), *other.trades(2))
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    await client.until(is_trade(2))
    again = await client.subscribe("trades", "AAPL")
    assert again["positions"]["AAPL"]["seq"] == 2
    assert await client.barrier() == []
    await client.subscribe("trades", "*")
    assert [(m["symbol"], m["snapshot"]) for m in await client.barrier()] == [("MSFT", True)]
    await client.subscribe("trades", "AAPL", "MSFT")
    assert await client.barrier() == []


async def test_named_and_under_all_is_delivered_once(service, tape):
    """In whatever order it was asked for, until both entries are gone."""
    client = await service.connect()
    await client.subscribe("trades", "*")
    await client.subscribe("trades", "AAPL")
    service.feed.give(*tape.trades(3))
    assert seqs(await client.collect(is_trade(3))) == [1, 2, 3]
    await client.ask(op="unsubscribe", channel="trades", symbols=["AAPL"])
    service.feed.give(*tape.trades(2))
    assert seqs(await client.collect(is_trade(5))) == [4, 5]
    await client.subscribe("trades", "AAPL")
    await client.ask(op="unsubscribe", channel="trades", symbols=["*"])
    service.feed.give(*tape.trades(2))
    assert seqs(await client.collect(is_trade(7))) == [6, 7]


async def test_after_unsubscribing_nothing_comes(service, tape):
    """The others get theirs."""
    client, other = await service.connect(), await service.connect()
    for one in (client, other):
        await one.subscribe("trades", "AAPL")
    await client.ask(op="unsubscribe", channel="trades", symbols=["AAPL"])
    service.feed.give(*tape.trades(3))
    await other.until(is_trade(3))
    assert await client.barrier() == []


async def test_subscribing_while_ticks_pour_in_gives_each_number_once(service, tape):
    """Whenever it happens, live begins right after the position, rises by one, and ends with all the others."""

    async def pour():
        for number in range(150):
            service.feed.give(*tape.trades(20, step=1000))
            polls = service.feed.polls
            await service.wait_until(lambda polls=polls: service.feed.polls > polls)
            given.append(number)

    async def come(number):
        client = await service.connect()
        await service.wait_until(lambda: len(given) >= 10 * number)
        reply = await client.subscribe("trades", "AAPL")
        return reply["positions"]["AAPL"]["seq"], await client.collect(is_trade(3000), 30)

    given = []
    pouring = asyncio.create_task(pour())
    results = await asyncio.gather(*(come(number) for number in range(12)))
    await pouring
    begun = 0
    for position, messages in results:
        snapshots = [m["seq"] for m in messages if m.get("snapshot")]
        live = [m["seq"] for m in messages if m["type"] == "trade" and not m.get("snapshot")]
        assert snapshots == ([position] if position else [])
        assert live == list(range(position + 1, 3001))
        begun += 0 < position < 3000
    assert begun > 6


async def test_symbols_that_appear_later_join_all(service, tape, new_writer, new_tape):
    """A `subscribed` without id tells of each before its first message; for candles likewise."""
    ticks, candles = await service.connect(), await service.connect()
    await ticks.subscribe("trades", "*")
    await candles.subscribe("candles", "*", interval="1m")
    other = new_tape("NEW")
    writer = new_writer(service.store)
    await writer.claim("NEW")
    await writer.write(*other.trades(2))
    reply, *messages = await ticks.collect(
        lambda m: is_trade(2, "NEW")(m) or m.get("positions", {}).get("NEW", {}).get("seq") == 2
    )
    assert reply["type"] == "subscribed"
    assert "id" not in reply
    assert reply["channel"] == "trades"
    assert list(reply["positions"]) == ["NEW"]
    position = reply["positions"]["NEW"]["seq"]
    assert seqs(messages, symbol="NEW") == list(range(position + 1, 3))
    await writer.write(*other.trades(2))
    assert seqs(await ticks.collect(is_trade(4, "NEW")), symbol="NEW") == [3, 4]
    reply = await candles.until(lambda m: m["type"] == "subscribed")
    assert (reply["interval"], list(reply["positions"])) == ("1m", ["NEW"])
    await candles.until(lambda m: m["type"] == "candle" and m["symbol"] == "NEW" and m["seq"] == 4)
    assert (await service.json("/v1/symbols/NEW"))["name"] == "NEW Inc."


# Candles


async def test_a_forming_candle_equals_rest_at_the_same_seq(service, tape, noon):
    """On every interval, while it forms and after each trade."""
    client = await service.connect()
    service.feed.give(*tape.trades(7))
    for interval in INTERVALS:
        await client.subscribe("candles", "AAPL", interval=interval)
    for seq in (9, 14):
        service.feed.give(*tape.trades(seq - len(tape.ticks)))
        found = {}
        while len(found) < len(INTERVALS):
            message = await client.until(lambda m, seq=seq: m["type"] == "candle" and m["seq"] == seq)
            found[message["interval"]] = message
        for interval, message in found.items():
            page = await service.json("/v1/candles/AAPL", interval=interval, forming="true")
            assert page["position"]["seq"] == seq
            assert page["candles"][-1] | {"seq": seq} == {
                k: v for k, v in message.items() if k not in ("type", "symbol", "interval", "snapshot")
            }
    assert found["1m"]["time"] == noon
    assert list(found["1m"])[:13] == (
        [
            "type",
            "symbol",
            "interval",
            "time",
            "open",
            "high",
            "low",
            "close",
            "volume",
            "trades",
            "vwap",
            "final",
            "seq",
        ]
    )


async def test_a_candle_closes_with_the_feed_clock(service, tape, noon):
    """Once the clock is past its end and the grace, `final` is true; nothing is sent of it before."""
    client = await service.connect()
    await client.subscribe("candles", "AAPL", interval="1m")
    service.feed.give(tape.trade(100, 1), tape.trade(103, 2), clock=noon + MINUTE + 499_999)
    forming = await client.until(lambda m: m["type"] == "candle" and m["seq"] == 2)
    assert forming["final"] is False
    await wait_clock(service, noon + MINUTE + 499_999)
    assert all(not m["final"] for m in await client.barrier())
    service.feed.give(clock=noon + MINUTE + 500_000)
    final = await client.until(lambda m: m["type"] == "candle" and m["final"])
    assert final == forming | {"final": True}
    (row,) = (await service.json("/v1/candles/AAPL", interval="1m"))["candles"]
    assert row | {"seq": 2} == {k: v for k, v in final.items() if k not in ("type", "symbol", "interval")}


async def wait_clock(service, clock):
    """Until a heartbeat has told this feed clock."""
    async with asyncio.timeout(10), service.store.pubsub() as pubsub:
        await pubsub.subscribe("ticker:heartbeat")
        beats = 0
        while beats < 2:
            message = await pubsub.get_message(timeout=10)
            if message["type"] == "message":
                beats += json.loads(message["data"])["feeds"]["hand"]["clock"] == clock


async def test_a_late_trade_corrects_a_closed_candle(service, tape, noon):
    """The corrected candle goes out again, final, with the higher seq."""
    client = await service.connect()
    await client.subscribe("candles", "AAPL", interval="1m")
    service.feed.give(tape.trade(100, 1), clock=noon + MINUTE + SECOND)
    first = await client.until(lambda m: m["type"] == "candle" and m["final"])
    service.feed.give(tape.trade(90, 2, time=noon + 59 * SECOND))
    second = await client.until(lambda m: m["type"] == "candle" and m["final"])
    assert (second["time"], second["seq"], second["low"], second["trades"]) == (first["time"], 2, 90, 2)
    (row,) = (await service.json("/v1/candles/AAPL", interval="1m"))["candles"]
    assert row | {"seq": 2} == {k: v for k, v in second.items() if k not in ("type", "symbol", "interval")}


async def test_the_candle_channel_carries_the_closing_message(service, tape, noon):
    """Tappers of `candles:{AAPL}` get the very text that WebSocket clients get when a minute closes."""
    async with service.store.pubsub() as pubsub:
        await pubsub.subscribe("candles:{AAPL}")
        client = await service.connect()
        await client.subscribe("candles", "AAPL", interval="1m")
        service.feed.give(*tape.trades(5), clock=noon + MINUTE + SECOND)
        final = await client.until(lambda m: m["type"] == "candle" and m["final"])
        while (message := await pubsub.get_message(timeout=10)) and message["type"] != "message":
            pass
    assert json.loads(message["data"]) == final


async def test_a_candle_subscription_begins_with_the_newest_candle(service, tape):
    """As a snapshot, forming or closed, at the position of the reply."""
    service.feed.give(*tape.trades(5))
    first = await service.connect()
    await first.subscribe("trades", "AAPL")
    await first.until(is_trade(5))
    client = await service.connect()
    reply = await client.subscribe("candles", "AAPL", interval="1h")
    snapshot = await client.receive()
    assert (snapshot["seq"], snapshot["snapshot"], snapshot["final"]) == (5, True, False)
    assert reply["positions"]["AAPL"]["seq"] == 5
    assert reply["interval"] == "1h"
    assert await client.barrier() == []


# Errors


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


# Closing


async def test_a_binary_message_closes_with_1003(service):
    """Requests are texts."""
    client = await service.connect()
    await client.socket.send(b'{"op":"ping"}')
    assert (await client.closing())[0] == 1003


async def test_bad_utf8_closes_with_1007(service):
    """A text frame must be text."""
    client = await service.connect()
    await client.socket.send(b"\xff\xfe", text=True)
    assert (await client.closing())[0] == 1007


@pytest.mark.limit("frame_bytes")
async def test_a_huge_message_closes_with_1009(service):
    """Also one in many frames; one of exactly the limit is read."""
    limit = LIMITS["frame_bytes"].default
    client = await service.connect()
    await client.socket.send('{"op":"ping","id":"' + "x" * (limit - 21) + '"}')
    assert (await client.receive())["type"] == "pong"
    await client.socket.send("x" * (limit + 1))
    assert (await client.closing())[0] == 1009
    client = await service.connect()
    await client.socket.send(["x" * (limit // 2)] * 3)
    assert (await client.closing())[0] == 1009


@pytest.mark.limit("bad_messages_per_minute")
async def test_more_than_twenty_bad_messages_close_with_4400(service):
    """Twenty are answered; the reason text says why the next one ends it."""
    client = await service.connect()
    for _ in range(20):
        assert (await client.ask(op="dance"))["type"] == "error"
    assert (await client.ask(op="ping"))["type"] == "pong"
    await client.send(op="dance")
    code, reason = await client.closing()
    assert code == 4400
    assert "20" in reason


@pytest.mark.limit("first_subscribe_s")
async def test_who_subscribes_to_nothing_is_closed_with_4408(start_service, valkey_url):
    """Unknown symbols are nothing; who has subscribed once may stay."""
    service = await start_service(valkey_url, limits={"first_subscribe_s": 1})
    client, other = await service.connect(), await service.connect()
    await client.subscribe("trades", "ZZZZ")
    await other.subscribe("trades", "AAPL")
    await other.ask(op="unsubscribe", channel="trades", symbols=["AAPL"])
    assert (await client.closing())[0] == 4408
    assert (await other.ask(op="ping"))["type"] == "pong"


@pytest.mark.limit("messages_per_minute")
async def test_too_many_messages_close_with_4429(start_service, valkey_url):
    """Good ones too."""
    service = await start_service(valkey_url, limits={"messages_per_minute": 5})
    client = await service.connect()
    for _ in range(5):
        assert (await client.ask(op="ping"))["type"] == "pong"
    await client.send(op="ping")
    assert (await client.closing())[0] == 4429


async def test_connections_of_one_address_are_not_counted_on_loopback(start_service, valkey_url):
    """Everybody behind a proxy on this machine comes from it."""
    by_default = Limits.model_construct(_fields_set=set(), connections_per_address=1)
    service = await start_service(valkey_url, limits=by_default)
    for _ in range(3):
        assert (await service.connect()).welcome["limits"]["connections_per_address"] is None


@pytest.mark.limit("connections_per_address")
async def test_where_the_limit_of_one_address_is_set_it_holds_for_loopback_too(start_service, valkey_url):
    """One too many is let in only to be told with 4429; once somebody has left there is room again."""
    service = await start_service(valkey_url, limits={"connections_per_address": 1})
    first = await service.connect()
    assert first.welcome["limits"]["connections_per_address"] == 1
    async with connect(f"ws://127.0.0.1:{service.port}/v1/stream", proxy=None) as second:
        with pytest.raises(ConnectionClosed) as closed:
            await second.recv()
    assert closed.value.rcvd.code == 4429
    await first.socket.close()
    await service.wait_until(lambda: connections(service, 0))
    assert (await service.connect()).welcome["type"] == "welcome"


@pytest.mark.limit("connections")
async def test_at_the_cap_the_answer_is_503_before_the_upgrade(start_service, valkey_url):
    """And once somebody has left, the next one is let in."""
    service = await start_service(valkey_url, limits={"connections": 2})
    first, second = await service.connect(), await service.connect()
    with pytest.raises(InvalidStatus) as refused:
        await service.connect()
    response = refused.value.response
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(response.body)["code"] == "unavailable"
    await first.socket.close()
    async with asyncio.timeout(5):
        while True:
            try:
                await service.connect()
                break
            except InvalidStatus:
                await asyncio.sleep(0.01)
    assert (await second.ask(op="ping"))["type"] == "pong"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1:x"]
)
async def test_a_foreign_origin_is_refused_before_the_upgrade(service, origin):
    """A page on somebody else's site must not read with its visitor's rights."""
    with pytest.raises(InvalidStatus) as refused:
        await service.connect(origin=origin)
    response = refused.value.response
    assert response.status_code == 403
    assert json.loads(response.body)["code"] == "forbidden_origin"


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1", "http://localhost"])
async def test_pages_of_this_machine_may_connect(service, origin):
    """Any port of localhost and 127.0.0.1."""
    assert (await service.connect(origin=origin)).welcome["type"] == "welcome"


async def test_listed_origins_take_the_place_of_localhost(start_service, valkey_url):
    """`server.origins` says who may connect, and nobody else may."""
    service = await start_service(valkey_url, server={"origins": ["https://desk.example"]})
    assert (await service.connect(origin="https://desk.example")).welcome["type"] == "welcome"
    with pytest.raises(InvalidStatus):
        await service.connect(origin="http://localhost:3000")


@pytest.mark.parametrize(
    ("limit", "settings"),
    [
        pytest.param("outbox_bytes", {"outbox_bytes": 65_536}, marks=pytest.mark.limit("outbox_bytes")),
        pytest.param(
            "outbox_ms", {"outbox_bytes": 100_000_000, "outbox_ms": 1_000}, marks=pytest.mark.limit("outbox_ms")
        ),
    ],
)
async def test_a_client_that_never_reads_is_cut_and_nobody_else_notices(
    start_service, valkey_url, tape, limit, settings
):
    """It is gone within five seconds of the limit, with 4508 counted, while the other gets every number."""
    service = await start_service(valkey_url, websocket=settings)
    met = f'ticker_limit_hits_total{{limit="{limit}"}}'
    good = await service.connect()
    await good.subscribe("trades", "AAPL")
    mute = socket.socket()
    mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    mute.setblocking(False)
    loop = asyncio.get_running_loop()
    with mute:
        await loop.sock_connect(mute, ("127.0.0.1", service.port))
        await loop.sock_sendall(
            mute,
            b"GET /v1/stream?channel=trades&symbols=AAPL HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        )
        await service.wait_until(lambda: connections(service, 2))
        cut = await gauge(service, met)
        given = 0
        async with asyncio.timeout(30):
            while await gauge(service, met) == cut:
                service.feed.give(*tape.trades(400, step=100))
                given += 400
                messages = await good.collect(is_trade(given))
                assert seqs(messages) == list(range(given - 399, given + 1))
        await service.wait_until(lambda: connections(service, 1), 5)
        await service.wait_until(lambda: established(service.port) <= 1, 2)
    service.feed.give(*tape.trades(1))
    await good.until(is_trade(given + 1))


async def connections(service, count):
    return await gauge(service, "ticker_websocket_connections") == count


async def gauge(service, name):
    text = (await service.get("/metrics")).text
    return next((float(line.rsplit(" ")[-1]) for line in text.splitlines() if line.startswith(name + " ")), 0)


def established(port):
    """The server's open connections on this port, as the kernel counts them; ours to /metrics is not kept open."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


async def test_a_burst_is_not_held_against_a_client_that_reads(start_service, valkey_url, tape):
    """However much comes at once: what counts is what the client leaves waiting."""
    service = await start_service(valkey_url, websocket={"outbox_bytes": 4_096})
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    service.feed.give(*tape.trades(500, step=100))
    last = await client.until(lambda m: m["type"] == "trade" and m["seq"] == 500)
    assert last["price"] == tape.ticks[-1].price


# Heartbeats and the service's own state


async def test_heartbeats_flow(start_service, valkey_url):
    """Every `heartbeat_ms`, with the number of messages sent before."""
    service = await start_service(valkey_url, websocket={"heartbeat_ms": 100})
    client = await service.connect()
    beats = [json.loads(await client.socket.recv()) for _ in range(4)]
    assert [beat["type"] for beat in beats] == ["heartbeat"] * 4
    assert client.welcome["heartbeat_ms"] == 100
    assert all(60_000 < b["time"] - a["time"] < 2_000_000 for a, b in pairwise(beats))
    assert [b["sent"] - a["sent"] for a, b in pairwise(beats)] == [1, 1, 1]


@pytest.fixture
def own_server(tmp_path, free_port):
    """A store that the test may stop."""
    server = EmbeddedServer(tmp_path / "data", free_port())
    server.start()
    try:
        yield server
    finally:
        if server.is_running():
            os.kill(server.pid, signal.SIGCONT)
        server.stop()


def is_service(state):
    return lambda m: m["type"] == "service" and m["state"] == state


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
async def test_clients_learn_of_a_lost_store_within_two_seconds(start_service, own_server, tape, how):
    """`stale` with reason `store`, then `live` again; every tick that came meanwhile follows, without a hole."""
    service = await start_service(own_server.url, websocket={"heartbeat_ms": 100})
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    await client.subscribe("candles", "AAPL", interval="1m")
    service.feed.give(*tape.trades(10))
    await client.until(is_trade(10))
    os.kill(own_server.pid, how)
    begun = monotonic()
    stale = await client.until(is_service("stale"), 2.5)
    assert monotonic() - begun < 2
    assert stale == {"type": "service", "state": "stale", "reason": "store", "time": stale["time"]}
    late = await service.connect()
    standing = await late.receive()
    assert standing == stale | {"time": standing["time"]}
    service.feed.give(*tape.trades(10))
    assert json.loads(await client.socket.recv())["type"] == "heartbeat"
    if how == signal.SIGSTOP:
        os.kill(own_server.pid, signal.SIGCONT)
    else:
        assert not own_server.is_running()
        own_server.start()
    messages = await client.collect(is_trade(20), 20)
    if not any(is_service("live")(m) for m in messages):
        messages += await client.collect(is_service("live"))
    (live,) = [m for m in messages if is_service("live")(m)]
    assert (live["state"], live["reason"]) == ("live", "store")
    assert seqs(messages) == list(range(11, 21))
    service.feed.give(*tape.trades(1))
    messages += await client.collect(lambda m: m["type"] == "candle" and m["seq"] == 21)
    assert not [m for m in messages if m["type"] in ("gap", "reset")]


async def test_clients_learn_of_a_silent_ingester_within_two_seconds(
    start_service, valkey, valkey_url, make_config, hand_feed
):
    """A gateway whose ingester has gone says so, and says when there is one again."""
    gateway = await start_service(valkey_url, feed=None)
    client = await gateway.connect()
    await client.until(is_service("stale"), 3)
    beating = asyncio.Event()

    async def beat():
        while not beating.is_set():
            await valkey.publish("ticker:heartbeat", b'{"time":1,"feeds":{}}')
            await asyncio.sleep(0.1)

    task = asyncio.create_task(beat())
    live = await client.until(is_service("live"))
    assert live["reason"] == "ingest"
    beating.set()
    await task
    begun = monotonic()
    stale = await client.until(is_service("stale"), 3)
    assert monotonic() - begun < 2
    assert stale["reason"] == "ingest"


async def test_a_failed_feed_is_told_with_its_symbols(service):
    """`stale` with reason `feed` names the symbols that stand still."""
    client = await service.connect()
    service.feed.raises.append(RuntimeError("the far end hung up"))
    stale = await client.until(is_service("stale"))
    assert (stale["reason"], stale["symbols"]) == ("feed", ["AAPL", "MSFT"])
    live = await client.until(is_service("live"))
    assert live == {"type": "service", "state": "live", "reason": "feed", "time": live["time"]}


async def test_a_subscription_while_the_store_is_away_may_be_tried_again(start_service, own_server):
    """The error says `unavailable` and `retry`, is not counted as a bad message, and later it works."""
    service = await start_service(own_server.url)
    client = await service.connect()
    os.kill(own_server.pid, signal.SIGSTOP)
    await client.until(is_service("stale"))
    for _ in range(25):
        reply = await client.ask(op="subscribe", id=3, channel="trades", symbols=["AAPL"])
        assert (reply["type"], reply["code"], reply["retry"], reply["id"]) == ("error", "unavailable", True, 3)
    os.kill(own_server.pid, signal.SIGCONT)
    await client.until(is_service("live"))
    await client.subscribe("trades", "AAPL")


async def test_an_emptied_store_begins_a_new_epoch(service, tape):
    """After FLUSHALL clients get a `reset` and then the numbers of the new epoch from 1."""
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    service.feed.give(*tape.trades(5))
    await client.until(is_trade(5))
    await service.store.flushall()
    service.feed.give(*tape.trades(2))
    reset = await client.until(lambda m: m["type"] == "reset")
    assert (reset["channel"], reset["symbol"], reset["seq"]) == ("trades", "AAPL", 0)
    assert seqs(await client.collect(is_trade(2))) == [1, 2]
    reply = await (await service.connect()).subscribe("trades", "AAPL")
    assert reply["positions"]["AAPL"] == {"epoch": reset["epoch"], "seq": 2}


async def test_a_message_that_got_lost_is_read_from_the_stream(service, tape):
    """A hole in live delivery is filled before anything newer goes out."""
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    service.feed.give(*tape.trades(3))
    await client.until(is_trade(3))
    for client_info in await service.store.client_list(_type="pubsub"):
        await service.store.client_kill_filter(_id=client_info["id"])
    service.feed.give(*tape.trades(5))
    service.feed.give(*tape.trades(5))
    messages = await client.collect(is_trade(13))
    assert seqs(messages) == list(range(4, 14))


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
