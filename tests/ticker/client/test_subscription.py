"""Events over connections that break: waits, resumes, gives up only where there is no point in going on."""

import asyncio
import gc
import weakref

import pytest

from ticker.client import (
    Backoff,
    Candle,
    Disconnected,
    Gap,
    Position,
    Quote,
    Refused,
    Reset,
    Resumed,
    Trade,
    Unauthorized,
    Unavailable,
    UnknownSymbol,
    Unreachable,
    connect,
)
from ticker.client import subscription as module


def trade(seq, symbol="AAPL"):
    return {"type": "trade", "symbol": symbol, "price": 100.0 + seq, "size": 1, "time": seq, "seq": seq}


def at(seq, epoch="e", **more):
    return {"epoch": epoch, "seq": seq} | more


def topics(gateway):
    """What is subscribed at a gateway."""
    return [topic for one in gateway.gateway.hub.everyone() for topic in one.topics]


async def test_trades_come_as_records(gateway, market, take, tape):
    """The last one first, then each that follows; with the position of what was handed out."""
    gateway.feed.give(*tape.trades(3))
    async with market.subscribe("trades", ["AAPL"]) as trades:
        gateway.feed.give(tape.trade(101.5, 7, id="x1", exchange="XNAS"))
        events = await take(trades, 1)
        while events[-1].seq < 4:
            events += await take(trades, 1)
        assert [event.seq for event in events if not event.snapshot] == list(
            range(5 - len([e for e in events if not e.snapshot]), 5)
        )
        assert (events[-1].price, events[-1].size, events[-1].id, events[-1].exchange) == (101.5, 7, "x1", "XNAS")
        assert isinstance(events[-1], Trade)
        epoch = trades.position("AAPL").epoch
        assert market.position("trades", "AAPL") == trades.position("AAPL") == Position(epoch, 4)
        assert trades.positions == {"AAPL": Position(epoch, 4)}
    assert market.position("trades", "AAPL") == Position(epoch, 4)
    assert market.position("trades", "MSFT") is None
    assert market.position("candles", "AAPL", "1m") is None


async def test_quotes_and_candles(gateway, market, take, tape):
    """A missing side is None; a candle says whether it is closed."""
    async with (
        market.subscribe("quotes", "AAPL") as quotes,
        market.subscribe("candles", ["AAPL"], "1s") as candles,
    ):
        gateway.feed.give(tape.quote(bid=None), tape.trade(100.0, 3), clock=tape.time + 3_000_000)
        (quote,) = await take(quotes, 1)
        assert (quote.bid, quote.bid_size, quote.ask) == (None, 0, 100.01)
        assert isinstance(quote, Quote)
        found = await take(candles, 1)
        while not found[-1].final:
            found += await take(candles, 1)
        assert isinstance(found[-1], Candle)
        assert (found[-1].symbol, found[-1].interval, found[-1].volume, found[-1].seq) == ("AAPL", "1s", 3, 1)


async def test_several_at_once_and_each_ends_alone(gateway, market, take, tape, wait_until):
    """Each with a connection of its own: one that is not read, or ends, is nothing to the others."""
    first, second = market.subscribe("trades", ["AAPL"]), market.subscribe("trades", ["AAPL", "MSFT"], deliver="latest")
    async with first, second:
        assert len(topics(gateway)) == 3
        gateway.feed.give(*tape.trades(5))
        one, other = await asyncio.gather(take(first, 5), take(second, 1))
        assert [event.seq for event in one] == [1, 2, 3, 4, 5]
        assert other[0].seq + sum(e.skipped for e in other) >= 1
        await first.aclose()
        await wait_until(lambda: len(topics(gateway)) == 2)
        with pytest.raises(StopAsyncIteration):
            await anext(first)
        gateway.feed.give(tape.trade(99.0))
        while (await take(second, 1))[0].price != 99.0:
            pass
    await wait_until(lambda: topics(gateway) == [])


async def test_a_loop_that_is_left_unsubscribes(gateway, market, tape, wait_until):
    """Also by `break`, where nobody closes it."""
    gateway.feed.give(tape.trade())

    async def first():
        async for event in market.subscribe("trades", ["AAPL"]):
            seq = event.seq
            break
        return seq

    assert await first() == 1
    gc.collect()
    await wait_until(lambda: topics(gateway) == [])


async def test_a_market_that_ends_ends_its_subscriptions(gateway, open_market, soon, wait_until, within):
    """Whoever waits for an event finds that there are none any more."""
    async with connect(gateway.url, backoff=soon) as market:
        subscription = market.subscribe("trades", ["AAPL"])
        async with subscription:
            waiting = asyncio.ensure_future(anext(subscription, "ended"))
            await asyncio.sleep(0)
            await subscription.aclose()
            assert await within(waiting) == "ended"
        other = await market.subscribe("trades", ["AAPL"]).__aenter__()
        assert len(topics(gateway)) == 1
    assert [event async for event in other] == []
    await wait_until(lambda: topics(gateway) == [])


async def test_waiting_may_be_cancelled(scripted, open_market, take):
    """What comes later comes with the next call."""
    go = asyncio.Event()

    async def script(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(0, None))
        await go.wait()
        await visit.say(*(trade(seq) for seq in (1, 2, 3)))
        await visit.gone()

    scripted.scripts = [script]
    market = await open_market(scripted.url)
    trades = market.subscribe("trades", ["AAPL"])
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(trades)
    go.set()
    assert [event.seq for event in await take(trades, 3)] == [1, 2, 3]
    assert len(scripted.requests) == 1


async def test_a_lost_connection_is_resumed_where_it_was(scripted, open_market, take):
    """Asked for by the very number; nothing twice; and it is told how it went."""
    requests, notices = [], []

    async def first(visit):
        requests.append(await visit.welcome())
        await visit.subscribed(requests[-1], AAPL=at(5))
        await visit.say(trade(6), trade(7))
        await visit.hear()

    async def second(visit):
        requests.append(await visit.welcome())
        await visit.subscribed(requests[-1], AAPL=at(9, recovered=True))
        await visit.say(*(trade(seq) for seq in (7, 8, 9, 10)))
        await visit.gone()

    scripted.scripts = [first, second]
    market = await open_market(scripted.url)
    trades = market.subscribe("trades", ["AAPL"], on_notice=notices.append)
    assert [event.seq for event in await take(trades, 2)] == [6, 7]
    await trades._link._socket.send("{}")
    trades._link._socket.transport.abort()
    assert [event.seq for event in await take(trades, 3)] == [8, 9, 10]
    assert "resume" not in requests[0]
    assert requests[1]["resume"] == {"AAPL": {"epoch": "e", "seq": 7}}
    assert isinstance(notices[0], Disconnected)
    assert notices[0].code == 1006
    assert 0 <= notices[0].retry_s <= 0.05
    assert notices[1:] == [Resumed("trades", "AAPL", None, 7, 9, 2, 0)]


async def test_a_gateway_that_restarts(scripted, open_market, take):
    """Each code that says so is followed by another attempt, for as long as it takes."""
    codes = [1012, 1001, 1013, 4508, 4408, 1011]

    def closing(code):
        async def script(visit):
            await visit.subscribed(await visit.welcome(), AAPL=at(1, recovered=True))
            await visit.socket.close(code, "again")

        return script

    async def last(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(1, recovered=True))
        await visit.say(trade(2))
        await visit.gone()

    scripted.scripts = [*map(closing, codes), last]
    notices = []
    market = await open_market(scripted.url)
    trades = market.subscribe("trades", ["AAPL"], on_notice=notices.append)
    assert [event.seq for event in await take(trades, 1)] == [2]
    assert [n.code for n in notices if isinstance(n, Disconnected)] == codes


@pytest.mark.parametrize(("code", "error"), [(4401, Unauthorized), (4400, Refused), (1003, Refused), (4429, Refused)])
async def test_what_would_happen_again_is_an_error(scripted, open_market, take, code, error):
    """Once; after it the subscription has ended."""

    async def script(visit):
        await visit.welcome()
        await visit.socket.close(code, "no")

    scripted.scripts = [script]
    market = await open_market(scripted.url)
    trades = market.subscribe("trades", ["AAPL"])
    with pytest.raises(error, match="no") as refused:
        await take(trades, 1)
    assert type(refused.value) is error
    assert (refused.value.status, refused.value.asked.split(" at ")[0]) == (code, "trades of AAPL")
    assert [event async for event in trades] == []
    assert len(scripted.requests) == 1


async def test_too_many_connections_pass_where_one_was_lost(scripted, open_market, take):
    """The gateway may still count the lost one."""

    async def first(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(1))
        visit.socket.transport.abort()

    async def full(visit):
        await visit.socket.close(4429, "100 connections of your address")

    async def last(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(1, recovered=True))
        await visit.say(trade(2))
        await visit.gone()

    scripted.scripts = [first, full, full, last]
    market = await open_market(scripted.url)
    assert [event.seq for event in await take(market.subscribe("trades", ["AAPL"]), 1)] == [2]


async def test_a_full_gateway_is_waited_for(scripted, open_market, take):
    """Also at first: it is there."""

    async def script(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(1))
        await visit.say(trade(2))
        await visit.gone()

    scripted.scripts = [script]
    scripted.answers["/v1/stream"] = [(503, {"code": "unavailable", "detail": "full"}, {}) for _ in range(2)]
    market = await open_market(scripted.url)

    class Emptying(list):
        def pop(self, index):
            made = list.pop(self, index)
            if len(self) == 1:
                scripted.answers.clear()
            return made

    scripted.answers["/v1/stream"] = Emptying([*scripted.answers["/v1/stream"], None])
    notices = []
    trades = market.subscribe("trades", ["AAPL"], on_notice=notices.append)
    assert [event.seq for event in await take(trades, 1)] == [2]
    assert [notice.reason for notice in notices] == ["503 full", "503 full"]


async def test_nobody_there_is_an_error_at_first(open_market, free_port, take):
    """With the address, and at once."""
    port = free_port()
    market = await open_market(f"http://127.0.0.1:{port}")
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}.*connection refused"):
        await take(market.subscribe("trades", ["AAPL"]), 1)


async def test_a_gateway_that_is_not_there_yet_may_be_waited_for(scripted, open_market, open_line, take, free_port):
    """For as long as the caller says."""
    line = await open_line(free_port())

    async def script(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(1))
        await visit.say(trade(2))
        await visit.gone()

    scripted.scripts = [script]
    market = await open_market(line.url, first_wait_s=10)
    refused = asyncio.Event()
    trades = market.subscribe("trades", ["AAPL"], on_notice=lambda notice: refused.set())
    events = asyncio.ensure_future(take(trades, 1))
    await refused.wait()
    line.target = scripted.port
    assert [event.seq for event in await events] == [2]
    short = await open_market(f"http://127.0.0.1:{free_port()}", first_wait_s=0.1)
    with pytest.raises(Unreachable):
        await take(short.subscribe("trades", ["AAPL"]), 1)


async def test_unknown_symbols_are_an_error(gateway, market, take):
    """By name."""
    trades = market.subscribe("trades", ["AAPL", "ZZZZ"])
    with pytest.raises(UnknownSymbol, match="ZZZZ"):
        await take(trades, 1)


async def test_a_symbol_that_was_known_may_be_away_for_a_moment(scripted, open_market, take, monkeypatch):
    """While a store is filled again; not for ever."""
    unknown = [{"symbol": "AAPL", "code": "unknown_symbol"}]

    async def known(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(1, recovered=True))
        visit.socket.transport.abort()

    async def away(visit):
        request = await visit.welcome()
        await visit.say(
            {"type": "subscribed", "id": request["id"], "channel": "trades", "positions": {}, "errors": unknown}
        )
        await visit.gone()

    async def back(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(1, recovered=True))
        await visit.say(trade(2))
        visit.socket.transport.abort()

    scripted.scripts = [known, away, away, back, away]
    market = await open_market(scripted.url)
    trades = market.subscribe("trades", ["AAPL"])
    assert [event.seq for event in await take(trades, 1)] == [2]
    monkeypatch.setattr(module, "UNKNOWN_S", 0.1)
    with pytest.raises(UnknownSymbol, match="AAPL"):
        await take(trades, 1)


@pytest.mark.parametrize(("retry", "error"), [(False, Refused), (True, Unavailable)])
async def test_a_refused_request(scripted, open_market, take, retry, error):
    """An error, where it would not succeed later, or the first one did not."""

    async def script(visit):
        request = await visit.welcome()
        code = "unavailable" if retry else "too_many_symbols"
        await visit.say({"type": "error", "id": request["id"], "code": code, "message": "no", "retry": retry})
        await visit.gone()

    scripted.scripts = [script]
    market = await open_market(scripted.url)
    with pytest.raises(error, match="no"):
        await take(market.subscribe("trades", ["AAPL"]), 1)


async def test_a_silent_gateway_is_left(scripted, open_line, open_market, take):
    """Where heartbeats are missing; and the subscription goes on over another connection."""

    async def first(visit):
        await visit.subscribed(await visit.welcome(heartbeat_ms=100), AAPL=at(1))
        await visit.say(trade(2))
        await visit.gone()

    async def second(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(3, recovered=True))
        await visit.say(trade(3))
        await visit.gone()

    scripted.scripts = [first, second]
    market = await open_market(scripted.url)
    notices = []
    trades = market.subscribe("trades", ["AAPL"], on_notice=notices.append)
    assert [event.seq for event in await take(trades, 2)] == [2, 3]
    assert notices[0].reason == "nothing heard for 0.25 s"


async def test_waits_grow_until_a_connection_was_a_good_one(scripted, open_market, take, wait_until, monkeypatch):
    """One that ends at once, again and again, is not tried ever faster."""
    bounds = []

    class Noted(Backoff):
        def delay_s(self, attempt, *, busy=False, chance=None):
            bounds.append(attempt)
            return 0.01

    async def brief(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(1, recovered=True))
        visit.socket.transport.abort()

    async def last(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(1, recovered=True))
        await visit.say(trade(2))
        await visit.gone()

    scripted.scripts = [brief, brief, brief, last]
    market = await open_market(scripted.url, backoff=Noted())
    trades = market.subscribe("trades", ["AAPL"])
    await take(trades, 1)
    assert bounds == [0, 1, 2]
    monkeypatch.setattr(module, "STABLE_S", 0.0)
    scripted.scripts = [last]
    trades._link._socket.transport.abort()
    events = asyncio.ensure_future(take(trades, 1))
    await wait_until(lambda: len(bounds) > 3)
    assert bounds[3] == 0
    events.cancel()


async def test_the_name_of_an_epoch_is_asked_for(scripted, open_market, take):
    """At the first heartbeat after the first tick: the reply to the subscription had none."""
    asked = []

    async def script(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(0, None))
        await visit.say(trade(1), {"type": "heartbeat", "time": 1, "sent": 1})
        asked.append(await visit.hear())
        await visit.subscribed(asked[0], AAPL=at(1))
        await visit.say(trade(2))
        await visit.gone()

    scripted.scripts = [script]
    market = await open_market(scripted.url)
    trades = market.subscribe("trades", ["AAPL"])
    await take(trades, 2)
    assert asked == [{"op": "subscribe", "id": 0, "channel": "trades", "symbols": ["AAPL"]}]
    assert trades.position("AAPL") == Position("e", 2)


async def test_a_gap_and_a_reset_are_events(scripted, open_market, take):
    """In their place among the others."""

    async def script(visit):
        request = await visit.welcome()
        assert request["resume"] == {"AAPL": {"epoch": "d", "seq": 9}}
        await visit.subscribed(request, AAPL=at(6, recovered=False))
        head = {"channel": "trades", "symbol": "AAPL"}
        await visit.say({"type": "reset", "epoch": "e", "seq": 2} | head)
        await visit.say({"type": "gap", "from": 3, "to": 4, "reason": "trimmed"} | head, trade(5), trade(6))
        await visit.gone()

    scripted.scripts = [script]
    market = await open_market(scripted.url)
    events = await take(market.subscribe("trades", ["AAPL"], resume={"epoch": "d", "seq": 9}), 4)
    assert events[:2] == [Reset("trades", "AAPL", "e", 2), Gap("trades", "AAPL", 3, 4, "trimmed")]
    assert [event.seq for event in events[2:]] == [5, 6]


async def test_a_key_goes_with_the_handshake(scripted, open_market, take):
    """As a bearer token; and is in no text."""

    async def script(visit):
        await visit.subscribed(await visit.welcome(), AAPL=at(1))
        await visit.say(trade(2))
        await visit.gone()

    scripted.scripts = [script]
    market = await open_market(scripted.url, key="sesame")
    await take(market.subscribe("trades", ["AAPL"]), 1)
    assert scripted.requests[0].headers["Authorization"] == "Bearer sesame"
    assert "sesame" not in repr(market._address)


async def test_a_password_in_the_address_is_in_no_error(open_market, free_port, take):
    """Neither of REST nor of a subscription."""
    market = await open_market(f"http://user:sesame@127.0.0.1:{free_port()}")
    for asking in (market.limits(), take(market.subscribe("trades", ["AAPL"]), 1)):
        with pytest.raises(Unreachable) as error:
            await asking
        assert "sesame" not in str(error.value)
    assert "sesame" not in repr(market._address)


async def test_nothing_is_kept_of_a_subscription_that_nobody_has(gateway, market, tape, wait_until):
    """But where it was."""
    gateway.feed.give(tape.trade())
    subscription = await market.subscribe("trades", ["AAPL"]).__aenter__()
    gone = weakref.ref(subscription)
    await subscription.aclose()
    del subscription
    gc.collect()
    assert gone() is None
    assert market.position("trades", "AAPL") is not None
