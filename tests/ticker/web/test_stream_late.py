"""Late and repeated ticks, over real sockets: what still counts reaches everybody whom it concerns, the rest is counted."""

import pytest

from ticker import metrics
from ticker.candles.interval import INTERVALS, bounds

SECOND = 1_000_000
MONDAY = 1_764_565_200 * SECOND
"""2025-12-01 00:00 in New York: a second, minute, hour, day and week end here, but no four hours (04:00 and 08:00 UTC)."""
CLOSED = [name for name in INTERVALS if name != "4h"]
NO_PART = ("type", "symbol", "interval", "snapshot", "seq")


def refused(reason):
    return metrics.REFUSED_TICKS.labels("hand", reason)._value.get()


async def candles(client, count, wanted):
    """The next candles that are wanted, of so many intervals: the newest of each."""
    found = {}

    def complete(message):
        if message["type"] == "candle" and wanted(message):
            found[message["interval"]] = message
        return len(found) == count

    await client.until(complete)
    return found


async def subscribe_all(client):
    for interval in INTERVALS:
        await client.subscribe("candles", "AAPL", interval=interval)


async def check_against_rest(service, found, zone):
    """Each candle is the one that REST gives."""
    for interval, message in found.items():
        start, end = bounds(INTERVALS[interval], message["time"], zone)
        page = await service.json("/v1/candles/AAPL", interval=interval, start=start, end=end, forming="true")
        (row,) = page["candles"]
        assert row == {name: value for name, value in message.items() if name not in NO_PART}


@pytest.fixture
async def apart(start_service, valkey, valkey_url, hand_feed):
    """A gateway, and an ingester elsewhere: they meet only through the store."""
    ingesting = await start_service(valkey_url, hand_feed("AAPL"))
    gateway = await start_service(valkey_url, None)
    gateway.feed, gateway.store = ingesting.feed, valkey

    async def known():
        return (await gateway.json("/v1/symbols"))["symbols"]

    await gateway.wait_until(known)
    return gateway


@pytest.mark.parametrize("subscribed", ["before the close", "after the close", "after a later trade"])
async def test_a_correction_reaches_every_interval_that_it_touches(apart, tape, subscribed, wait_until):
    """Those that are closed as `final` once more, with the higher seq; and each is what REST gives."""
    client, feed, zone = await apart.connect(), apart.feed, apart.gateway.config.market.zone
    if subscribed == "before the close":
        await subscribe_all(client)
    feed.give(tape.trade(100, 1, time=MONDAY - 2 * SECOND), clock=MONDAY - SECOND)
    later = tape.trade(101, 1, time=MONDAY + SECOND)
    feed.give(*([later] if subscribed == "after a later trade" else []), clock=MONDAY + 2 * SECOND)
    if subscribed == "before the close":
        first = await candles(client, len(CLOSED), lambda m: m["final"])
        assert sorted(first) == sorted(CLOSED)
    else:

        async def is_closed():
            return (await apart.json("/v1/candles/AAPL", interval="1w"))["candles"]

        await wait_until(is_closed)
        await subscribe_all(client)
    seq = 3 if subscribed == "after a later trade" else 2
    feed.give(tape.trade(90, 2, time=MONDAY - 2 * SECOND + 1), clock=MONDAY + 2 * SECOND)

    def corrected(message):
        """As it stands at last: it may be told of before the gateway has heard of the close."""
        return message["seq"] == seq and message["low"] == 90 and message["final"] is (message["interval"] in CLOSED)

    found = await candles(client, len(INTERVALS), corrected)
    assert {message["trades"] for name, message in found.items() if name != "4h"} == {2}
    assert {message["close"] for name, message in found.items() if name != "4h"} == {90}
    await check_against_rest(apart, found, zone)
    await check_against_a_resume(apart, found, seq - 1)


async def check_against_a_resume(service, found, seq):
    """Whoever was away for the correction is sent the same; whoever has it already, nothing."""
    epoch = (await service.store.get("epoch:{AAPL}")).decode()
    client = await service.connect()
    for interval, message in found.items():
        for after, wanted in ((seq, [message]), (seq + 1, [])):
            resume = {"AAPL": {"epoch": epoch, "seq": after}}
            reply = await client.subscribe("candles", "AAPL", interval=interval, resume=resume)
            assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": seq + 1, "recovered": True}
            heard = await client.collect(lambda m: m.get("seq") == seq + 1) if wanted else []
            assert heard + await client.barrier() == wanted
            await client.ask(op="unsubscribe", channel="candles", interval=interval, symbols=["AAPL"])


@pytest.mark.limit("lateness_s")
async def test_a_trade_that_is_too_late_is_counted_and_reaches_nobody(apart, tape, noon):
    """One microsecond later than allowed; the one before still counts."""
    client = await apart.connect()
    await client.subscribe("trades", "AAPL")
    await subscribe_all(client)
    clock = noon + 120 * SECOND
    apart.feed.give(tape.trade(100, 1, time=clock), clock=clock)
    await client.until(lambda m: m["type"] == "trade" and m["seq"] == 1)
    before = refused("late")
    late, edge = tape.trade(50, 1, time=clock - 60 * SECOND - 1), tape.trade(60, 1, time=clock - 60 * SECOND)
    apart.feed.give(late, edge, clock=clock)
    heard = await client.collect(lambda m: m["type"] == "trade" and m["seq"] == 2)
    assert heard[-1]["price"] == 60
    assert refused("late") == before + 1
    apart.feed.give(late, clock=clock)
    apart.feed.give(tape.trade(101, 1, time=clock + 1), clock=clock + 1)
    heard += await client.collect(lambda m: m["type"] == "trade" and m["seq"] == 3)
    heard += await client.barrier()
    assert refused("late") == before + 2
    assert all(m["low"] > 50 for m in heard if m["type"] == "candle")
    assert [m["price"] for m in heard if m["type"] == "trade"] == [60, 101]


async def test_a_tick_that_comes_again_is_counted_and_reaches_nobody(apart, tape):
    """By its id: trades and quotes may share ids, and equal ticks without one are distinct."""
    client = await apart.connect()
    await client.subscribe("trades", "AAPL")
    await client.subscribe("quotes", "AAPL")
    trade, quote, plain = tape.trade(100, id="a"), tape.quote(id="a"), tape.trade(101)
    before = refused("duplicate")
    apart.feed.give(trade, quote, trade, quote, plain, plain)
    apart.feed.give(trade, quote, tape.trade(102, id="b"))
    heard = await client.collect(lambda m: m["type"] == "trade" and m["seq"] == 4)
    heard += await client.barrier()
    assert [(m["seq"], m["price"]) for m in heard if m["type"] == "trade"] == [(1, 100), (2, 101), (3, 101), (4, 102)]
    assert [m["seq"] for m in heard if m["type"] == "quote"] == [1]
    assert refused("duplicate") == before + 4


async def test_a_tick_that_cannot_be_is_counted_and_reaches_nobody(apart, tape):
    """Numbers go on without a hole."""
    client = await apart.connect()
    await client.subscribe("trades", "AAPL")
    before = refused("bad")
    good = tape.trade(100)
    apart.feed.give(good._replace(price=1.0000001), good, good._replace(size=-1), tape.trade(101))
    heard = await client.collect(lambda m: m["type"] == "trade" and m["seq"] == 2)
    assert [m["price"] for m in heard if m["type"] == "trade"] == [100, 101]
    assert refused("bad") == before + 2
