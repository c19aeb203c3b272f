"""Resuming on candles over real sockets: several intervals, all symbols, one without a trade, and leaving in the middle."""

import json

import pytest

from ticker.candles.interval import INTERVALS

SECOND = 1_000_000
MINUTE = 60 * SECOND


def is_candle(message):
    return message["type"] == "candle"


def numbers(messages, after):
    """Of the candles that trades behind a number touched, each once: older ones may close meanwhile, and come as `final`."""
    return list(dict.fromkeys(m["seq"] for m in messages if m["symbol"] == "AAPL" and m["seq"] > after))


async def stored(service, wait_until, seq, symbol="AAPL"):
    """Until so many trades of a symbol are stored; then its epoch."""

    async def there():
        return ((await service.json(f"/v1/trades/{symbol}", limit=1))["position"] or {"seq": 0})["seq"] == seq

    await wait_until(there)
    return (await service.store.get(f"epoch:{{{symbol}}}")).decode()


@pytest.fixture
def epoch_at(service, wait_until):
    return lambda seq, symbol="AAPL": stored(service, wait_until, seq, symbol)


async def test_intervals_of_a_symbol_go_on_each_from_its_own_position(service, tape, noon, epoch_at):
    """On one connection: leaving one of them leaves the others where they are."""
    service.feed.give(*(tape.trade(time=noon + n * MINUTE) for n in range(4)))
    epoch = await epoch_at(4)
    client = await service.connect()
    for interval, seq in (("1m", 2), ("1h", 4), ("1s", 3)):
        reply = await client.subscribe(
            "candles", "AAPL", interval=interval, resume={"AAPL": {"epoch": epoch, "seq": seq}}
        )
        assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 4, "recovered": True}
        found = await client.collect(lambda m: is_candle(m) and m["seq"] == 4) if seq < 4 else []
        found += await client.barrier()
        assert numbers([m for m in found if m["interval"] == interval], seq) == list(range(seq + 1, 5))
    await client.ask(op="unsubscribe", id="leave", channel="candles", interval="1m", symbols=["AAPL"])
    service.feed.give(tape.trade(time=noon + 3 * MINUTE + 30 * SECOND))
    found = {}
    while len(found) < 2:
        message = await client.until(lambda m: is_candle(m) and m["seq"] == 5)
        found[message["interval"]] = message["trades"]
    assert found == {"1h": 5, "1s": 1}


@pytest.mark.parametrize("deliver", [{}, {"deliver": "latest", "every_ms": 20}], ids=str)
async def test_one_symbol_of_all_goes_on_from_its_position(service, tape, new_tape, noon, epoch_at, deliver):
    """The others come with a snapshot; each candle comes once as it stands, and then live as any."""
    other = new_tape("MSFT")
    service.feed.give(*other.trades(2), *(tape.trade(time=noon + n * MINUTE) for n in range(3)))
    epoch = await epoch_at(3)
    await epoch_at(2, "MSFT")
    client = await service.connect()
    resume = {"AAPL": {"epoch": epoch, "seq": 1}}
    reply = await client.subscribe("candles", "*", interval="1m", resume=resume, **deliver)
    assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 3, "recovered": True}
    assert "recovered" not in reply["positions"]["MSFT"]
    messages = await client.collect(lambda m: is_candle(m) and m["symbol"] == "AAPL" and m["seq"] == 3)
    messages += await client.barrier()
    assert [(m["symbol"], m["seq"]) for m in messages if m.get("snapshot")] == [("MSFT", 2)]
    assert numbers(messages, 1) == [2, 3]
    assert {m.get("skipped") for m in messages if m["symbol"] == "AAPL"} == {0 if deliver else None}
    service.feed.give(tape.trade(time=noon + 2 * MINUTE + SECOND))
    await epoch_at(4)
    live = await client.collect(lambda m: is_candle(m) and m["seq"] == 4)
    assert numbers(live + await client.barrier(), 3) == [4]


async def test_a_symbol_without_a_trade_goes_on_from_nothing(service, tape, epoch_at):
    """Its first candle comes once, and its epoch is named before that: the next position is one to come back with."""
    client = await service.connect()
    nothing = {"epoch": None, "seq": 0}
    reply = await client.subscribe("candles", "AAPL", interval="1m", resume={"AAPL": nothing})
    assert reply["positions"]["AAPL"] == nothing | {"recovered": True}
    assert await client.barrier() == []
    service.feed.give(*tape.trades(2))
    epoch = await epoch_at(2)
    messages = await client.collect(lambda m: is_candle(m) and m["seq"] == 2)
    assert (messages[0]["type"], messages[0]["epoch"], messages[0]["seq"]) == ("reset", epoch, 0)
    assert all(is_candle(m) and not m["final"] for m in messages[1:])
    again = await service.connect()
    reply = await again.subscribe("candles", "AAPL", interval="1m", resume={"AAPL": nothing})
    assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 2, "recovered": True}
    assert [(m["seq"], m["trades"], m["final"]) for m in await again.barrier()] == [(2, 2, False)]


@pytest.fixture
async def patient(start_service, valkey, valkey_url):
    """A service that gives nobody up for reading slowly."""
    made = await start_service(valkey_url, websocket={"outbox_ms": 60_000})
    made.store = valkey
    return made


async def test_leaving_in_the_middle_of_a_replay_ends_it(patient, open_raw, tape, wait_until):
    """Nothing comes behind the reply; whoever comes back then goes on from where the last candle left it."""
    service, count = patient, 6_000
    service.feed.give(*tape.trades(count, step=SECOND))
    epoch = await stored(service, wait_until, count)
    raw = await open_raw(service.port, receive_bytes=4_096)
    assert (await raw.ask("/v1/stream"))[0] == 101
    topic = {"channel": "candles", "interval": "1s", "symbols": ["AAPL"]}
    raw.send(masked({"op": "subscribe", "id": 1, "resume": {"AAPL": {"epoch": epoch, "seq": 0}}} | topic))
    raw.send(masked({"op": "unsubscribe", "id": 2} | topic), masked({"op": "ping", "id": 3}))
    seqs, ids = [], []
    while 3 not in ids:
        message = json.loads((await raw.frame())[1])
        ids.append(message.get("id"))
        if is_candle(message):
            assert 2 not in ids
            seqs.append(message["seq"])
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) < count
    client = await service.connect()
    resume = {"AAPL": {"epoch": epoch, "seq": len(seqs)}}
    await client.subscribe("candles", "AAPL", interval="1s", resume=resume)
    messages = await client.collect(lambda m: is_candle(m) and m["seq"] == count)
    seqs += [m["seq"] for m in messages if is_candle(m)]
    assert seqs == list(range(1, count + 1))


async def test_a_store_that_is_emptied_withdraws_candles_of_every_interval(service, tape, noon, epoch_at):
    """Those who are there are told with the interval; those who come back later, the same."""
    service.feed.give(*tape.trades(3))
    old = await epoch_at(3)
    client = await service.connect()
    for interval in INTERVALS:
        await client.subscribe("candles", "AAPL", interval=interval, resume={"AAPL": {"epoch": old, "seq": 3}})
    assert await client.barrier() == []
    await service.store.flushall()
    service.feed.give(*tape.trades(2))
    epoch = await epoch_at(5)
    found = {}

    def complete(message):
        if message["type"] == "reset":
            found[message["interval"]] = [message["epoch"], message["seq"]]
        elif is_candle(message):
            found[message["interval"]].append(message["seq"])
        return len(found) == len(INTERVALS) and all(rows[-1] == 5 for rows in found.values())

    await client.collect(complete)
    assert epoch != old
    assert {tuple(rows[:2]) for rows in found.values()} == {(epoch, 0)}
    again = await service.connect()
    for interval in ("1s", "1d", "1w"):
        resume = {"AAPL": {"epoch": old, "seq": 3}}
        reply = await again.subscribe("candles", "AAPL", interval=interval, resume=resume)
        assert reply["positions"]["AAPL"] == {"epoch": epoch, "seq": 5, "recovered": False}
        reset, *candles = await again.barrier()
        assert (reset["type"], reset["interval"], reset["epoch"], reset["seq"]) == ("reset", interval, epoch, 0)
        assert candles[-1]["seq"] == 5
        assert sum(m["trades"] for m in candles) == 5


def masked(request):
    """A text frame as clients send them; the mask is 0."""
    payload = json.dumps(request).encode()
    head = bytes((0x81, 0x80 | len(payload))) if len(payload) < 126 else b"\x81\xfe" + len(payload).to_bytes(2)
    return head + bytes(4) + payload
