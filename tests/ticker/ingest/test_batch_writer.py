import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis as BlockingRedis

from feeds.tick import Trade
from ticker import metrics
from ticker.candles.interval import STORED
from ticker.errors import FencedError, StoreUnavailable
from ticker.store import keys
from ticker.store.candle_store import TIME_MAX
from ticker.store.connection import connect
from ticker.store.embedded import EmbeddedServer

SECOND = 1_000_000
MINUTE = 60 * SECOND
NOON = 1_763_985_600_000_000


async def seqs(client, key="trades:{AAPL}"):
    return [int(fields[b"seq"]) for _, fields in await client.xrange(key)]


async def prices(client):
    return [float(fields[b"price"]) for _, fields in await client.xrange("trades:{AAPL}")]


def refused(reason):
    return metrics.REFUSED_TICKS.labels("hand", reason)._value.get()


async def candles_of(writer, symbol="AAPL"):
    """All candles that are stored: closed and forming, of each stored interval."""
    found = {}
    for interval in STORED:
        stored = await writer.candles.read(symbol, interval, 0, TIME_MAX, newest=False)
        found[interval.name] = (stored.closed.rows(), stored.open)
    return found


async def test_trades_and_quotes_are_numbered_apart(writer, tape):
    """Each from 1, in the order in which they came."""
    await writer.write(tape.trade(), tape.quote(), tape.trade(), tape.quote(), tape.quote())
    assert await seqs(writer.client) == [1, 2]
    assert await seqs(writer.client, "quotes:{AAPL}") == [1, 2, 3]


async def test_an_epoch_begins_with_the_first_tick(writer, tape):
    """Claiming alone begins none."""
    assert await writer.client.get("epoch:{AAPL}") is None
    await writer.write(clock=NOON)
    assert await writer.client.get("epoch:{AAPL}") is None
    await writer.write(tape.quote())
    assert len(await writer.client.get("epoch:{AAPL}")) == 6


async def test_after_a_flush_numbers_begin_anew_under_a_new_name(writer, tape):
    """With an event that says so, the symbols listed again; what the writer still holds is numbered anew, and not lost."""
    await writer.write(*tape.trades(5))
    before = await writer.client.get("epoch:{AAPL}")
    async with writer.client.pubsub() as pubsub:
        await pubsub.subscribe(keys.EVENTS)
        await writer.client.flushall()
        await writer.write(*tape.trades(3), tape.quote())
        events = []
        while not any(event["event"] == "epoch" for event in events):
            message = await pubsub.get_message(timeout=10)
            assert message is not None
            if message["type"] == "message":
                events.append(json.loads(message["data"]))
    after = (await writer.client.get("epoch:{AAPL}")).decode()
    assert after.encode() != before
    assert events[-1] == {"event": "epoch", "symbol": "AAPL", "epoch": after, "trades": 0, "quotes": 0}
    assert {"event": "symbols"} in events
    assert await seqs(writer.client) == list(range(1, 9))
    assert await prices(writer.client) == [tick.price for tick in tape.ticks[:8]]
    assert await writer.client.hkeys("symbols") == [b"AAPL"]
    assert (await candles_of(writer))["1d"][1][0].trades == 8


async def test_an_ordinary_restart_keeps_the_epoch_and_counts_on(writer, tape, new_writer):
    """Also where it is a restart of the store alone."""
    await writer.write(*tape.trades(5), cursor="here")
    epoch = await writer.client.get("epoch:{AAPL}")
    again = new_writer(writer.client)
    stored = await again.claim("AAPL", "MSFT")
    assert (stored["AAPL"].time, stored["AAPL"].cursor, len(stored)) == (tape.time, "here", 1)
    await again.write(*tape.trades(3))
    assert await seqs(writer.client) == list(range(1, 9))
    assert await writer.client.get("epoch:{AAPL}") == epoch


@pytest.fixture
def own_server(tmp_path, free_port):
    server = EmbeddedServer(tmp_path / "data", free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


async def test_ticks_that_wait_for_the_store_are_stored_once(own_server, new_writer, tape):
    """The server is away while three batches come: all of them follow, in order, nothing twice."""
    async with connect(own_server.url) as client:
        writer = new_writer(client)
        await writer.claim("AAPL")
        await writer.write(*tape.trades(5))
        epoch = await client.get("epoch:{AAPL}")
        for _ in range(2):
            own_server.stop()
            for _ in range(3):
                writer.put(*tape.trades(4), clock=tape.time)
                with pytest.raises(StoreUnavailable):
                    await writer.batches.drain()
            assert writer.batches.buffered == 12
            own_server.start()
            while writer.batches.buffered:
                try:
                    await writer.batches.drain()
                except StoreUnavailable:
                    continue
        assert await seqs(client) == list(range(1, 30))
        assert await prices(client) == [t.price for t in tape.ticks]
        assert await client.get("epoch:{AAPL}") == epoch
        assert (await candles_of(writer))["1d"][1][0].trades == 29


@pytest.mark.limit("lateness_s")
async def test_a_tick_that_comes_too_late_is_refused_and_counted(writer, tape):
    """One exactly as late as allowed still counts; so do those around it."""
    before = refused("late")
    clock = tape.trade(50).time
    edge, late = tape.trade(51, time=clock - MINUTE), tape.trade(52, time=clock - MINUTE - 1)
    await writer.write(tape.ticks[0], edge, late, tape.trade(53))
    assert await prices(writer.client) == [50, 51, 53]
    assert refused("late") == before + 1


async def test_a_tick_that_came_before_is_refused_and_counted(writer, tape, new_writer):
    """By its id, also after a restart; equal ticks without ids are distinct ones."""
    before = refused("duplicate")
    twice = tape.trade(50, id="a")
    await writer.write(twice, twice, tape.trade(50, id="b"), tape.quote(id="a"))
    again = new_writer(writer.client)
    await again.claim("AAPL")
    await again.write(twice, tape.trade(51, id="c"))
    assert await prices(writer.client) == [50, 50, 51]
    assert refused("duplicate") == before + 2
    plain = tape.trade(60)
    await again.write(plain, plain)
    assert await prices(writer.client) == [50, 50, 51, 60, 60]


BAD = [
    {"price": 1.0000001},
    {"price": float("nan")},
    {"price": float("inf")},
    {"price": None},
    {"price": "12"},
    {"price": 1e12},
    {"size": -1},
    {"size": 0.1234567},
    {"time": NOON / 1},
    {"time": NOON // 1000},
    {"time": NOON + 3600 * SECOND},
    {"symbol": "OTHER"},
    {"id": "x" * 65},
    {"exchange": "a\nb"},
    {"conditions": 7},
]


@pytest.mark.parametrize("change", BAD, ids=str)
async def test_a_bad_tick_is_refused_and_counted(writer, tape, change):
    """Nothing is rounded, nothing guessed; the rest of the batch is stored without a gap."""
    before = refused("bad")
    first, bad, last = tape.trade(50), tape.trade(51)._replace(**change), tape.trade(52)
    await writer.write(first, bad, last, clock=tape.time)
    assert await prices(writer.client) == [50, 52]
    assert await seqs(writer.client) == [1, 2]
    assert refused("bad") == before + 1
    assert (await candles_of(writer))["1d"][1][0].trades == 2


async def test_a_second_writer_takes_over(writer, tape, new_writer):
    """The first is refused from then on, and nothing of what it had left is stored."""
    await writer.write(*tape.trades(2))
    other = new_writer(writer.client)
    await other.claim("AAPL")
    writer.put(tape.trade(1))
    for _ in range(2):
        with pytest.raises(FencedError, match="another ingester"):
            await writer.batches.drain()
    await other.write(tape.trade(2))
    assert (await prices(writer.client))[2:] == [2]


async def test_what_a_candle_channel_says_is_what_is_stored(writer, tape):
    """A closed minute is published once, a corrected one again."""
    async with writer.client.pubsub() as pubsub:
        await pubsub.subscribe("candles:{AAPL}", "end")
        await writer.write(tape.trade(100, 2), clock=NOON + MINUTE + 500_000)
        await writer.write(clock=NOON + MINUTE + 600_000)
        await writer.write(tape.trade(90, 1, time=NOON + 59 * SECOND))
        await writer.client.publish("end", "")
        heard = []
        while True:
            message = await pubsub.get_message(timeout=10)
            if message["type"] == "message":
                if message["channel"] == b"end":
                    break
                heard.append(json.loads(message["data"]))
    assert [(m["seq"], m["low"], m["trades"], m["final"], m["interval"]) for m in heard] == [
        (1, 100, 1, True, "1m"),
        (2, 90, 2, True, "1m"),
    ]


async def test_ticks_do_not_wait_for_candles_that_close_without_any(valkey, new_writer):
    """Where a minute ends for all symbols at once; none of them is left out, and none has two appends."""
    symbols = ["AAPL", "AMZN", "MSFT", "NVDA"]
    writer = new_writer(valkey)
    await writer.claim(*symbols)
    await writer.write(*(Trade(symbol, 100, 1, NOON) for symbol in symbols))
    async with valkey.pubsub() as pubsub:
        await pubsub.subscribe(*(keys.trades(symbol) for symbol in symbols), *map(keys.candles, symbols), "end")
        late = Trade("NVDA", 101, 1, NOON + MINUTE + SECOND), Trade("AMZN", 102, 1, NOON + MINUTE + SECOND)
        await writer.write(*late, clock=NOON + MINUTE + SECOND)
        await valkey.publish("end", "")
        heard = []
        while (message := await pubsub.get_message(timeout=10))["data"] != b"":
            if message["type"] == "message":
                heard.append(message["channel"].decode())
    expected = ["trades:{NVDA}", "candles:{NVDA}", "trades:{AMZN}", "candles:{AMZN}"]
    assert heard == [*expected, "candles:{AAPL}", "candles:{MSFT}"]
    for symbol in symbols:
        stored = await writer.candles.read(symbol, STORED[1], 0, TIME_MAX, newest=False)
        assert [candle.time for candle in stored.closed.rows()] == [NOON]


TRADES = st.tuples(
    st.integers(0, 40 * SECOND),  # after the trade before
    st.integers(0, 70 * SECOND),  # late by
    st.integers(1, 10**7),  # price in cents
    st.integers(0, 10**7),  # size in millionths
)
BATCHES = st.lists(st.tuples(st.lists(TRADES, max_size=6), st.booleans()), min_size=1, max_size=14)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES)
def test_a_restart_between_any_two_batches_changes_nothing(valkey_url, new_writer, batches):
    """Ticks and candles are those of a writer that was never interrupted, also in the middle of a candle."""
    expected = asyncio.run(write_all(valkey_url, new_writer, batches, restarts=False))
    assert asyncio.run(write_all(valkey_url, new_writer, batches, restarts=True)) == expected


async def write_all(url, new_writer, batches, *, restarts):
    """Write batches into an empty store, with a new writer before those that are marked; what is stored then."""
    with BlockingRedis.from_url(url) as blocking:
        blocking.flushall()
    async with connect(url) as client:
        writer = new_writer(client)
        await writer.claim("AAPL")
        time = NOON
        for trades, restart in batches:
            ticks = []
            for gap, late, price, size in trades:
                time += gap
                ticks.append(Trade("AAPL", price / 100, size / 10**6, time - late))
            if restart and restarts:
                writer = new_writer(client)
                await writer.claim("AAPL")
            # A feed that goes on behind what is stored never goes back in time.
            await writer.write(*[tick for tick in ticks if tick.time >= time - MINUTE], clock=time)
        return await candles_of(writer), await client.xrange("trades:{AAPL}")


async def test_a_restart_does_not_let_old_ticks_in(valkey, writer, new_writer, tape):
    """What is late is measured against what is stored, so the first batch after a start has no licence."""
    tape.time = NOON
    await writer.write(*tape.trades(300, step=SECOND))
    late, again = refused("late"), new_writer(valkey)
    await again.claim("AAPL")
    old, new = tape.trade(5, time=NOON + 10 * SECOND), tape.trade(101, time=NOON + 301 * SECOND)
    await again.write(old, new)
    assert refused("late") == late + 1
    assert await seqs(valkey) == list(range(1, 302))
    stored = (await candles_of(again))["1m"]
    assert [candle.time for candle in stored[0]] == sorted({candle.time for candle in stored[0]})


async def test_candles_are_not_closed_beside_other_trades_than_their_own(valkey, writer, tape):
    """A store that has lost the last trade refuses even an append without ticks; the trade is put back first."""
    tape.time = NOON
    await writer.write(*tape.trades(3))
    epoch = await valkey.get("epoch:{AAPL}")
    # What a failover to an older copy looks like: the last trade was never there.
    entries = await valkey.xrange("trades:{AAPL}")
    await valkey.delete("trades:{AAPL}")
    for entry_id, fields in entries[:2]:
        await valkey.xadd("trades:{AAPL}", fields, id=entry_id)
    await writer.write(clock=NOON + 10 * MINUTE)
    assert await valkey.xrange("trades:{AAPL}") == entries
    await writer.write(tape.trade(101, time=NOON + 10 * MINUTE))
    assert await seqs(valkey) == [1, 2, 3, 4]
    assert await valkey.get("epoch:{AAPL}") == epoch


async def test_a_trade_that_no_sum_could_hold_is_refused_alone(valkey, writer, tape):
    """The day's volume must fit; the others are stored."""
    bad = refused("bad")
    ticks = [tape.trade(1e-6, 2**33) for _ in range(200)]
    await writer.write(*ticks, tape.trade(1, 1))
    stored = await seqs(valkey)
    assert refused("bad") == bad + 201 - len(stored)
    assert 100 < len(stored) < 200
    assert (await prices(valkey))[-1] == 1


async def test_an_entry_that_somebody_else_has_written_does_not_stop_the_feed(valkey, new_writer, tape):
    """It takes a number, and the ticks go on behind it."""
    tape.time = NOON
    first = new_writer(valkey)
    await first.claim("AAPL")
    await first.write(*tape.trades(2))
    await valkey.xadd("trades:{AAPL}", {"foo": "bar"}, id=f"{NOON // 1000 + 5_000}-3")
    again = new_writer(valkey)
    await again.claim("AAPL")
    tape.time = NOON + 10 * SECOND
    await again.write(*tape.trades(2))
    ids = [entry_id.split(b"-")[1] for entry_id, _ in await valkey.xrange("trades:{AAPL}")]
    assert ids == [b"1", b"2", b"3", b"4", b"5"]


async def test_a_symbol_that_is_behind_the_others_after_a_kill_gets_the_rest(valkey, new_writer):
    """What is late after a restart is measured symbol by symbol."""
    first = new_writer(valkey)
    await first.claim("AAPL", "MSFT")
    await first.write(Trade("MSFT", 10, 1, NOON), Trade("AAPL", 20, 1, NOON + 10 * MINUTE))
    again = new_writer(valkey)
    await again.claim("AAPL", "MSFT")
    await again.write(Trade("MSFT", 11, 1, NOON + MINUTE), clock=NOON + 10 * MINUTE)
    assert await seqs(valkey, "trades:{MSFT}") == [1, 2]
