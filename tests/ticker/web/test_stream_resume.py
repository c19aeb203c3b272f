"""Every sentence of the contract about `resume`, over real sockets and a real Valkey."""

import asyncio
import json
from zoneinfo import ZoneInfo

import pytest

from ticker.candles.interval import INTERVALS, bounds

SECOND = 1_000_000
MINUTE = 60 * SECOND


def is_tick(seq, kind="trade", symbol="AAPL"):
    return lambda m: m["type"] == kind and m["symbol"] == symbol and m["seq"] >= seq


def seqs(messages, kind="trade", symbol="AAPL"):
    return [m["seq"] for m in messages if m["type"] == kind and m["symbol"] == symbol]


@pytest.fixture
def stored(service, wait_until):
    """Until so many trades (or quotes) of AAPL are stored; then the epoch."""

    async def stored(count, kind="trades"):
        async def there():
            page = await service.json(f"/v1/{kind}/AAPL", limit=1)
            return (page["position"] or {"seq": 0})["seq"] == count

        await wait_until(there)
        return (await service.store.get("epoch:{AAPL}")).decode()

    return stored


def at(epoch, seq, symbol="AAPL"):
    return {symbol: {"epoch": epoch, "seq": seq}}


@pytest.mark.parametrize("channel", ["trades", "quotes"])
async def test_everything_after_the_position_then_live(service, tape, stored, channel):
    """The reply first, whole and in order, without a snapshot; then live, and each number once."""
    kind = channel[:-1]
    make = tape.trade if channel == "trades" else tape.quote
    service.feed.give(*(make() for _ in range(300)))
    epoch = await stored(300, channel)
    client = await service.connect()
    reply = await client.ask(op="subscribe", id=4, channel=channel, symbols=["AAPL"], resume=at(epoch, 120))
    assert reply == {
        "type": "subscribed",
        "id": 4,
        "channel": channel,
        "positions": {"AAPL": {"epoch": epoch, "seq": 300, "recovered": True}},
        "errors": [],
    }
    messages = await client.collect(is_tick(300, kind))
    service.feed.give(*(make() for _ in range(5)))
    messages += await client.collect(is_tick(305, kind))
    assert seqs(messages, kind) == list(range(121, 306))
    assert len(messages) == 185
    assert not any("snapshot" in m for m in messages)


async def test_what_is_replayed_is_what_was_published(service, tape, stored):
    """Byte for byte, with the optional fields too."""
    live = await service.connect()
    await live.subscribe("trades", "AAPL")
    service.feed.give(
        *tape.trades(3), tape.trade(99.5, 1, id="é/1", exchange="XNAS", conditions="@ I"), *tape.trades(2)
    )
    epoch = await stored(6)
    texts = []
    while len(texts) < 6:
        text = await live.socket.recv()
        if '"type":"trade"' in text:
            texts.append(text)
    client = await service.connect()
    await client.subscribe("trades", "AAPL", resume=at(epoch, 0))
    again = [await client.socket.recv() for _ in range(6)]
    assert again == texts


async def test_resuming_at_the_end_sends_nothing(service, tape, stored):
    """Recovered: there is nothing to recover."""
    service.feed.give(*tape.trades(10))
    epoch = await stored(10)
    client = await service.connect()
    reply = await client.subscribe("trades", "AAPL", resume=at(epoch, 10))
    assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 10, "recovered": True}
    assert await client.barrier() == []
    service.feed.give(*tape.trades(1))
    assert seqs(await client.collect(is_tick(11))) == [11]


async def test_only_what_is_resumed_says_so(service, tape, stored):
    """The other symbols of the request get their snapshots."""
    service.feed.give(*tape.trades(10))
    epoch = await stored(10)
    client = await service.connect()
    reply = await client.subscribe("trades", "AAPL", "MSFT", resume=at(epoch, 8))
    assert reply["positions"] == {
        "AAPL": {"epoch": epoch, "seq": 10, "recovered": True},
        "MSFT": {"epoch": None, "seq": 0},
    }
    assert seqs(await client.barrier()) == [9, 10]


async def test_a_symbol_without_a_tick_resumes_from_the_beginning(service, tape, stored):
    """Its position was null and 0."""
    client = await service.connect()
    reply = await client.subscribe("trades", "AAPL")
    position = reply["positions"]["AAPL"]
    assert position == {"epoch": None, "seq": 0}
    await client.socket.close()
    service.feed.give(*tape.trades(100))
    epoch = await stored(100)
    client = await service.connect()
    reply = await client.subscribe("trades", "AAPL", resume={"AAPL": position})
    assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 100, "recovered": True}
    assert seqs(await client.barrier()) == list(range(1, 101))


CHANNELS = pytest.mark.parametrize("more", [{"channel": "trades"}, {"channel": "candles", "interval": "1m"}], ids=str)


@CHANNELS
@pytest.mark.parametrize("quotes", ["before", "after", "never"])
async def test_whoever_came_before_the_first_trade_can_resume(service, tape, stored, more, quotes):
    """What a client knows by the first trade is a position that is taken, whoever begins the epoch, and whenever."""
    if quotes == "before":
        service.feed.give(tape.quote())
        await stored(1, "quotes")
    client = await service.connect()
    reply = await client.ask(op="subscribe", id=1, symbols=["AAPL"], **more)
    position = reply["positions"]["AAPL"]
    if quotes == "after":
        service.feed.give(tape.quote())
        await stored(1, "quotes")
    service.feed.give(*tape.trades(3))
    seen = await client.collect(lambda m: m["type"] in ("trade", "candle") and m["seq"] == 3)
    epoch = await stored(3)
    assert position == {"epoch": None, "seq": 0}
    reset = seen.pop(0)
    assert (reset["type"], reset["channel"]) == ("reset", more["channel"])
    position = {"epoch": reset["epoch"], "seq": reset["seq"]}
    assert position == {"epoch": epoch, "seq": 0}
    assert {m["type"] for m in seen} == {more["channel"].removesuffix("s")}
    again = await service.connect()
    reply = await again.ask(op="subscribe", id=1, symbols=["AAPL"], resume={"AAPL": position | {"seq": 3}}, **more)
    assert reply["positions"]["AAPL"]["recovered"] is True
    assert await again.barrier() == []


async def test_of_the_latest_nothing_old_comes_behind_a_trimmed_end(service, tape, stored):
    """The newest message is gone: a gap says so, and no older one takes its place."""
    service.feed.give(*tape.trades(5))
    epoch = await stored(5)
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    service.gateway.relay.connection_changed(False)
    service.feed.give(*tape.trades(3))
    await stored(8)
    await service.store.xtrim("trades:{AAPL}", maxlen=0, approximate=False)
    service.gateway.relay.connection_changed(True)
    await client.until(lambda m: m["type"] == "gap" and m["to"] == 8)
    late = await service.connect()
    reply = await late.subscribe("trades", "AAPL", resume=at(epoch, 5), deliver="latest")
    assert reply["positions"]["AAPL"]["recovered"] is False
    (gap,) = await late.barrier()
    assert (gap["type"], gap["from"], gap["to"]) == ("gap", 6, 8)
    fresh = await service.connect()
    await fresh.subscribe("trades", "AAPL")
    assert await fresh.barrier() == []


async def test_a_trimmed_range_is_announced_and_the_rest_sent(service, tape, stored):
    """Not recovered: a gap for exactly what is missing, then all that remains, then live."""
    service.feed.give(*tape.trades(1000))
    epoch = await stored(1000)
    assert await service.store.xtrim("trades:{AAPL}", maxlen=300, approximate=False) == 700
    client = await service.connect()
    reply = await client.subscribe("trades", "AAPL", resume=at(epoch, 40))
    assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 1000, "recovered": False}
    service.feed.give(*tape.trades(3))
    first, *messages = await client.collect(is_tick(1003))
    gap = {"type": "gap", "channel": "trades", "symbol": "AAPL", "from": 41, "to": 700, "reason": "trimmed"}
    assert first == gap
    assert seqs(messages) == list(range(701, 1004))
    assert len(messages) == 303


async def test_a_hole_in_the_stream_is_announced(service, tape, stored):
    """Somebody has deleted an entry: exactly that one is missing."""
    service.feed.give(*tape.trades(200))
    epoch = await stored(200)
    entry = (await service.store.xrange("trades:{AAPL}"))[149][0]
    await service.store.xdel("trades:{AAPL}", entry)
    client = await service.connect()
    reply = await client.subscribe("trades", "AAPL", resume=at(epoch, 10))
    assert reply["positions"]["AAPL"]["recovered"] is False
    messages = await client.barrier()
    (gap,) = [m for m in messages if m["type"] == "gap"]
    assert (gap["from"], gap["to"], gap["reason"]) == (150, 150, "store_lost")
    assert [m["seq"] if m["type"] == "trade" else "gap" for m in messages] == [
        *range(11, 150),
        "gap",
        *range(151, 201),
    ]


async def test_an_unknown_epoch_is_reset(service, tape, stored):
    """Nothing of what the client has can be told to be true: everything that is kept is sent."""
    service.feed.give(*tape.trades(50))
    epoch = await stored(50)
    client = await service.connect()
    reply = await client.subscribe("trades", "AAPL", resume=at("nobody", 30))
    assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 50, "recovered": False}
    first, *messages = await client.barrier()
    assert first == {"type": "reset", "channel": "trades", "symbol": "AAPL", "epoch": epoch, "seq": 0}
    assert seqs(messages) == list(range(1, 51))


async def test_an_epoch_that_has_ended_goes_on_where_it_is_still_true(service, tape, stored):
    """Up to its end nothing was lost; above it the client is reset to that end."""
    service.feed.give(*tape.trades(50))
    epoch = await stored(50)
    await service.store.hset("ticker:epochs:{AAPL}", "before", "40 7")
    client = await service.connect()
    reply = await client.subscribe("trades", "AAPL", resume=at("before", 40))
    assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 50, "recovered": True}
    assert seqs(await client.barrier()) == list(range(41, 51))
    other = await service.connect()
    reply = await other.subscribe("trades", "AAPL", resume=at("before", 44))
    assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 50, "recovered": False}
    first, *messages = await other.barrier()
    assert first == {"type": "reset", "channel": "trades", "symbol": "AAPL", "epoch": epoch, "seq": 40}
    assert seqs(messages) == list(range(41, 51))


async def test_a_position_ahead_of_the_store_is_reset_to_its_end(service, tape, stored):
    """After a moment in which the writer could have brought back what is missing."""
    service.feed.give(*tape.trades(5))
    epoch = await stored(5)
    client = await service.connect()
    reply = await client.subscribe("trades", "AAPL", resume=at(epoch, 9))
    assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 5, "recovered": False}
    service.feed.give(*tape.trades(1))
    reset, trade = await client.collect(is_tick(6))
    assert reset == {"type": "reset", "channel": "trades", "symbol": "AAPL", "epoch": epoch, "seq": 5}
    assert trade["seq"] == 6


async def test_a_position_that_the_writer_is_about_to_reach_is_waited_for(service, tape, stored):
    """A store that was set back gets the same numbers again within its second: nobody is reset."""
    service.feed.give(*tape.trades(5))
    epoch = await stored(5)
    client = await service.connect()
    await client.send(op="subscribe", id=1, channel="trades", symbols=["AAPL"], resume=at(epoch, 7))
    service.feed.give(*tape.trades(3))
    reply = await client.receive()
    assert reply["positions"]["AAPL"]["recovered"] is True
    assert seqs(await client.barrier()) == [8]


async def test_of_the_latest_only_the_newest_comes(service, tape, stored):
    """It says how many it stands for, counted from the position; also where some of those have been trimmed."""
    service.feed.give(*tape.trades(100))
    epoch = await stored(100)
    await service.store.xtrim("trades:{AAPL}", maxlen=10, approximate=False)
    client = await service.connect()
    more = {"deliver": "latest", "every_ms": 20}
    reply = await client.subscribe("trades", "AAPL", resume=at(epoch, 30), **more)
    assert reply["positions"]["AAPL"]["recovered"] is True
    (newest,) = await client.barrier()
    assert (newest["seq"], newest["skipped"]) == (100, 69)
    service.feed.give(*tape.trades(4))
    last = 100
    while last < 104:
        message = await client.receive()
        assert message["seq"] == last + 1 + message["skipped"]
        last = message["seq"]


async def test_any_symbol_under_the_star_may_be_resumed(service, tape, stored):
    """The others are joined as ever."""
    service.feed.give(*tape.trades(60))
    epoch = await stored(60)
    client = await service.connect()
    reply = await client.subscribe("trades", "*", resume=at(epoch, 50))
    assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 60, "recovered": True}
    assert "recovered" not in reply["positions"]["MSFT"]
    assert seqs(await client.barrier()) == list(range(51, 61))
    service.feed.give(*tape.trades(2))
    assert seqs(await client.collect(is_tick(62))) == [61, 62]
    assert (await client.ask(op="list"))["entries"] == [{"channel": "trades", "symbols": ["*"], "deliver": "all"}]


async def test_what_cannot_be_resumed_is_told_by_symbol(service, tape, stored):
    """Unknown, or subscribed already: the others of the request are subscribed, and what was there stays as it was."""
    service.feed.give(*tape.trades(10))
    epoch = await stored(10)
    client = await service.connect()
    await client.subscribe("trades", "MSFT")
    resume = {symbol: {"epoch": epoch, "seq": 7} for symbol in ("AAPL", "MSFT", "ZZZZ")}
    reply = await client.subscribe("trades", "AAPL", "MSFT", "ZZZZ", resume=resume, deliver="latest")
    assert reply["errors"] == [
        {"symbol": "ZZZZ", "code": "unknown_symbol"},
        {"symbol": "MSFT", "code": "already_subscribed"},
    ]
    assert list(reply["positions"]) == ["AAPL"]
    entries = (await client.ask(op="list"))["entries"] if await client.barrier() else None
    assert [(e["symbols"], e["deliver"]) for e in entries] == [(["MSFT"], "all"), (["AAPL"], "latest")]


async def test_a_request_that_is_wrong_as_a_whole_is_refused(service):
    """Nothing is subscribed, and the connection stays."""
    client = await service.connect()
    error = await client.ask(op="subscribe", id=3, channel="trades", symbols=["AAPL"], resume=at("k3x9", 1, "MSFT"))
    assert error == {
        "type": "error",
        "id": 3,
        "code": "bad_request",
        "message": "'MSFT' is in 'resume' and not in 'symbols'",
        "retry": False,
    }
    assert (await client.ask(op="list"))["entries"] == []


async def test_rest_and_stream_meet_without_a_hole_or_a_repeat(service, tape, stored):
    """Positions of trades pages, quotes pages, snapshots and candles are positions like any other."""
    service.feed.give(*tape.trades(20), *(tape.quote() for _ in range(5)))
    await stored(20)
    positions = {
        "trades": [
            (await service.json("/v1/trades/AAPL", limit=3))["position"],
            (await service.json("/v1/snapshots/AAPL"))["positions"]["trades"],
            (await service.json("/v1/candles/AAPL", interval="1m", forming="true"))["position"],
        ],
        "quotes": [
            (await service.json("/v1/quotes/AAPL", limit=3))["position"],
            (await service.json("/v1/snapshots/AAPL"))["positions"]["quotes"],
        ],
    }
    service.feed.give(*tape.trades(5), *(tape.quote() for _ in range(2)))
    await stored(25)
    for channel, found in positions.items():
        for position in found:
            client = await service.connect()
            reply = await client.subscribe(channel, "AAPL", resume={"AAPL": position})
            assert reply["positions"]["AAPL"]["recovered"] is True
            expected = [21, 22, 23, 24, 25] if channel == "trades" else [6, 7]
            assert seqs(await client.barrier(), channel[:-1]) == expected


async def test_ticks_pour_in_while_clients_resume(service, tape, stored):
    """Wherever a client comes back, it has each number once, in order."""
    service.feed.give(*tape.trades(2000, step=1000))
    epoch = await stored(2000)

    async def pour():
        while True:
            service.feed.give(*tape.trades(40, step=1000))
            await asyncio.sleep(0.005)

    async def follow(seq):
        client = await service.connect()
        reply = await client.subscribe("trades", "AAPL", resume=at(epoch, seq))
        assert reply["positions"]["AAPL"]["recovered"] is True
        last = seq
        while last < 6000:
            message = await client.receive()
            if message["type"] != "service":
                # A machine that is too slow for what pours in is told of as stale; nothing is missing for that.
                assert (message["type"], message.get("seq")) == ("trade", last + 1), message
                last = message["seq"]
        await client.socket.close()

    pouring = asyncio.create_task(pour())
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(24):
                group.create_task(follow(number * 83))
    finally:
        pouring.cancel()


async def test_another_gateway_goes_on_where_one_stopped(service, start_service, tape, stored):
    """Positions belong to the record, not to the process that served them."""
    service.feed.give(*tape.trades(30))
    epoch = await stored(30)
    address = service.store.connection_pool.connection_kwargs
    other = await start_service(f"redis://{address['host']}:{address['port']}", feed=None)
    client = await other.connect()
    await client.subscribe("trades", "AAPL", resume=at(epoch, 10))
    assert seqs(await client.barrier()) == list(range(11, 31))


async def test_other_requests_are_answered_while_a_replay_runs(service, open_raw, tape, stored):
    """The client has not read a byte of the replay when they are: they come behind what was written before."""
    service.feed.give(*tape.trades(20_000, step=100))
    epoch = await stored(20_000)
    raw = await open_raw(service.port, receive_bytes=4_096)
    assert (await raw.ask("/v1/stream"))[0] == 101
    request = {"op": "subscribe", "id": 1, "channel": "trades", "symbols": ["AAPL"], "resume": at(epoch, 0)}
    raw.send(text_frame(request), text_frame({"op": "ping", "id": 2}), text_frame({"op": "list", "id": 3}))
    ids, trades = [], []
    while 3 not in ids:
        message = json.loads((await raw.frame())[1])
        ids.append(message.get("id"))
        trades += [message["seq"]] if message["type"] == "trade" else []
    assert [i for i in ids if i in (1, 2, 3)] == [1, 2, 3]
    assert len(trades) < 20_000
    while trades[-1] < 20_000:
        message = json.loads((await raw.frame())[1])
        trades += [message["seq"]] if message["type"] == "trade" else []
    assert trades == list(range(1, 20_001))


def text_frame(request):
    """A masked text frame, as clients send them; the mask is 0."""
    payload = json.dumps(request).encode()
    head = bytes((0x81, 0x80 | len(payload))) if len(payload) < 126 else b"\x81\xfe" + len(payload).to_bytes(2)
    return head + bytes(4) + payload


# Candles.


async def test_candles_that_trades_have_touched_come_once_as_they_stand(service, tape, noon, stored):
    """Also those that closed long ago, also corrected ones, also long intervals; then live."""
    service.feed.give(*tape.trades(30, step=SECOND))
    epoch = await stored(30)
    service.feed.give(*tape.trades(400, step=SECOND))
    service.feed.give(tape.trade(90, 1, time=tape.time - 50 * SECOND))
    await stored(431)
    for interval in ("1s", "5s", "1m", "1h", "1d"):
        page = await service.json(
            "/v1/candles/AAPL", interval=interval, forming="true", limit=1000, start=noon - 86_400 * SECOND
        )
        client = await service.connect()
        reply = await client.subscribe("candles", "AAPL", interval=interval, resume=at(epoch, 30))
        assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 431, "recovered": True}
        found = {}
        seq = 30
        for message in await client.collect(lambda m: m["seq"] == 431):
            assert message["time"] not in found
            # Cut off here, it would go on from this number: what was not sent yet must have a higher one.
            assert message["seq"] > seq
            seq = message["seq"]
            assert message["seq"] == last_trade_of(message, interval, tape)
            assert "snapshot" not in message
            found[message["time"]] = {k: v for k, v in message.items() if k not in NOT_IN_REST}
        assert found == {row["time"]: row for row in page["candles"] if last_trade_of(row, interval, tape) > 30}
        assert await client.barrier() == []


NOT_IN_REST = ("type", "symbol", "interval", "seq")


def last_trade_of(row, interval, tape):
    """The number of the last trade of a candle."""
    end = bounds(INTERVALS[interval], row["time"], ZoneInfo("America/New_York"))[1]
    return max(n for n, trade in enumerate(tape.ticks, 1) if row["time"] <= trade.time < end)


async def test_candles_go_on_live_after_a_resume(service, tape, stored):
    """From the very next trade."""
    service.feed.give(*tape.trades(5))
    epoch = await stored(5)
    client = await service.connect()
    await client.subscribe("candles", "AAPL", interval="1m", resume=at(epoch, 5))
    assert await client.barrier() == []
    service.feed.give(*tape.trades(1))
    candle = await client.until(lambda m: m["type"] == "candle")
    assert (candle["seq"], candle["trades"]) == (6, 6)


async def test_candles_of_an_unknown_epoch_are_reset(service, tape, stored):
    """Then all that trades have made of them."""
    service.feed.give(*tape.trades(5))
    epoch = await stored(5)
    client = await service.connect()
    reply = await client.subscribe("candles", "AAPL", interval="1m", resume=at("nobody", 3))
    assert reply["positions"]["AAPL"]["recovered"] is False
    reset, candle = await client.barrier()
    assert reset == {
        "type": "reset",
        "channel": "candles",
        "interval": "1m",
        "symbol": "AAPL",
        "epoch": epoch,
        "seq": 0,
    }
    assert (candle["seq"], candle["final"]) == (5, False)
