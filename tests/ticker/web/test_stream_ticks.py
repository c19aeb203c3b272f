import asyncio


def seqs(messages, kind="trade", symbol="AAPL"):
    return [m["seq"] for m in messages if m["type"] == kind and m["symbol"] == symbol]


def is_trade(seq, symbol="AAPL"):
    return lambda m: m["type"] == "trade" and m["symbol"] == symbol and m["seq"] >= seq


def epoch_of(client_reply, symbol="AAPL"):
    return client_reply["positions"][symbol]["epoch"]


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
    await writer.write(*other.trades(2))
    await candles.until(lambda m: m["type"] == "candle" and m["symbol"] == "NEW" and m["seq"] == 6)
    assert (await service.json("/v1/symbols/NEW"))["name"] == "NEW Inc."
