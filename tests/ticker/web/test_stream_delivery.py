from time import monotonic

import pytest


def trades_of(messages, symbol="AAPL"):
    return [m for m in messages if m["type"] == "trade" and m["symbol"] == symbol and not m.get("snapshot")]


def is_trade(seq, symbol="AAPL"):
    return lambda m: m["type"] == "trade" and m["symbol"] == symbol and m["seq"] >= seq


async def pour(service, tape, seconds):
    """Give trades in every poll for a while; how many."""
    given, until = 0, monotonic() + seconds
    while monotonic() < until:
        service.feed.give(*tape.trades(5, step=1_000))
        given += 5
        polls = service.feed.polls
        await service.wait_until(lambda polls=polls: service.feed.polls > polls)
    return given


def check_skipped(messages, begin):
    """Each `seq` is the previous one, plus one, plus what was skipped."""
    for message in messages:
        assert message["seq"] == begin + 1 + message["skipped"]
        begin = message["seq"]


async def test_the_latest_comes_at_most_every_so_often_and_ends_on_the_newest(service, tape):
    """With the number of those that it stands for; whoever wants all gets all beside it."""
    latest, every = await service.connect(), await service.connect()
    await latest.subscribe("trades", "AAPL", deliver="latest", every_ms=200)
    await every.subscribe("trades", "AAPL")
    begun = monotonic()
    given = await pour(service, tape, 1.0)
    found = trades_of(await latest.collect(is_trade(given)))
    check_skipped(found, 0)
    assert found[-1]["price"] == tape.ticks[-1].price
    assert 3 <= len(found) <= (monotonic() - begun) / 0.2 + 2
    assert await latest.barrier() == []
    assert [m["seq"] for m in trades_of(await every.collect(is_trade(given)))] == list(range(1, given + 1))


async def test_a_single_message_is_not_kept_back(service, tape):
    """The first after a pause comes at once, with nothing skipped."""
    client = await service.connect()
    await client.subscribe("trades", "AAPL", deliver="latest", every_ms=5_000)
    begun = monotonic()
    service.feed.give(*tape.trades(1))
    trade = await client.until(is_trade(1))
    assert monotonic() - begun < 2
    assert trade["skipped"] == 0


async def test_each_symbol_has_its_latest(service, tape, new_tape):
    """A busy one does not take the place of a quiet one."""
    other = new_tape("MSFT")
    client = await service.connect()
    await client.subscribe("trades", "*", deliver="latest", every_ms=100)
    service.feed.give(*tape.trades(50, step=1_000), *other.trades(1))
    messages = await client.collect(is_trade(1, "MSFT"))
    messages += [] if any(is_trade(50)(m) for m in messages) else await client.collect(is_trade(50))
    check_skipped(trades_of(messages), 0)
    check_skipped(trades_of(messages, "MSFT"), 0)


async def test_the_default_is_a_tenth_of_a_second(service):
    """And the list says so."""
    client = await service.connect()
    await client.subscribe("quotes", "*", deliver="latest")
    entries = (await client.ask(op="list"))["entries"]
    assert entries == [{"channel": "quotes", "symbols": ["*"], "deliver": "latest", "every_ms": 100}]


async def test_subscribing_again_changes_the_delivery(service, tape):
    """Both ways, without a second snapshot and without a number lost or twice."""
    service.feed.give(*tape.trades(5))
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    await client.until(is_trade(5))
    reply = await client.subscribe("trades", "AAPL", deliver="latest", every_ms=300)
    assert reply["positions"]["AAPL"]["seq"] == 5
    assert await client.barrier() == []
    service.feed.give(*tape.trades(20, step=1_000))
    found = trades_of(await client.collect(is_trade(25)))
    check_skipped(found, 5)
    assert len(found) < 20
    service.feed.give(*tape.trades(20, step=1_000))
    await service.wait_until(lambda: position(service, 45))
    await client.send(op="subscribe", id="back", channel="trades", symbols=["AAPL"], deliver="all")
    before = await client.collect(lambda m: m.get("id") == "back")
    assert before.pop()["positions"]["AAPL"]["seq"] == 45
    behind = await client.barrier()
    check_skipped(trades_of(before) + trades_of(behind), 25)
    assert not [m for m in behind if m.get("snapshot")]
    service.feed.give(*tape.trades(20, step=1_000))
    found = trades_of(await client.collect(is_trade(65)))
    assert [m["seq"] for m in found] == list(range(46, 66))
    assert not any("skipped" in m for m in found)


async def position(service, seq):
    rows = await service.json("/v1/trades/AAPL", limit=1)
    return rows["position"]["seq"] == seq


async def test_stats_tell_what_was_sent_and_skipped(service, tape):
    """Of this connection: messages sent before, messages that gave way, bytes that wait, and how late ticks come."""
    client, idle = await service.connect(), await service.connect()
    stats = await idle.ask(op="stats", id=7)
    sent = 1 + idle.heartbeats
    assert stats == {"type": "stats", "id": 7, "queued_bytes": 0, "sent": sent, "skipped": 0, "lag_ms": stats["lag_ms"]}
    await client.subscribe("trades", "AAPL", deliver="latest", every_ms=100)
    given = await pour(service, tape, 0.5)
    messages = await client.collect(is_trade(given))
    skipped = sum(m["skipped"] for m in trades_of(messages))
    stats = await client.ask(op="stats")
    assert stats["skipped"] == skipped == given - len(trades_of(messages))
    # The welcome, the reply, and what came since.
    assert stats["sent"] == 2 + len(messages) + client.heartbeats
    assert stats["queued_bytes"] == 0
    assert isinstance(stats["lag_ms"], float)
    assert (await idle.ask(op="stats"))["sent"] == 2 + idle.heartbeats


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"deliver": "some"}, "bad_request"),
        ({"deliver": "latest", "every_ms": 0}, "bad_request"),
        ({"deliver": "latest", "every_ms": "100"}, "bad_request"),
        ({"deliver": "all", "every_ms": 100}, "bad_request"),
        ({"every_ms": 100}, "bad_request"),
    ],
)
async def test_a_delivery_that_makes_no_sense_is_refused(service, more, code):
    """With what is allowed."""
    client = await service.connect()
    reply = await client.ask(op="subscribe", id=1, channel="trades", symbols=["AAPL"], **more)
    assert (reply["type"], reply["code"]) == ("error", code)
