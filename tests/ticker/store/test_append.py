import asyncio
import json
from itertools import pairwise

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from feeds.tick import Quote, Trade
from ticker import codec
from ticker.candles.candle import Candles
from ticker.candles.packed import pack
from ticker.errors import AppendConflict, FencedError, StoreUnavailable
from ticker.store import keys
from ticker.store.append import EPOCHS_KEPT, Append, Appender, ChunkWrite, Run, StreamEnd
from ticker.store.claim import Claims
from ticker.store.connection import connect
from ticker.store.lease import Lease

TIME = 1_763_985_600_123_456
MS = TIME // 1000
NOWHERE = StreamEnd()
STATE, TRADES, QUOTES, EPOCH = keys.state("AAPL"), keys.trades("AAPL"), keys.quotes("AAPL"), keys.epoch("AAPL")


@pytest.fixture
def lease(redis_client):
    return Lease(redis_client)


@pytest.fixture
def appender(redis_client, lease):
    return Appender(redis_client, lease.id)


@pytest.fixture
def claims(redis_client, lease):
    return Claims(redis_client, lease)


@pytest.fixture
async def claimed(claims):
    (claimed,) = await claims.claim(["AAPL"])
    return claimed


def run_of(ticks, after=NOWHERE):
    """Ticks of one kind and shape as a run behind `after`."""
    quotes = isinstance(ticks[0], Quote)
    entry_of = codec.quote_entry if quotes else codec.trade_entry
    run, ms = None, after.ms
    for number, tick in enumerate(ticks, after.seq + 1):
        message, names, values = entry_of(tick, number)
        run = run or Run(quotes, after, names)
        ms = max(ms, tick.time // 1000)
        run.count += 1
        run.args += [f"{ms}-{number}", *values, message]
    return run


def trades(count, time=TIME):
    return [Trade("AAPL", 100 + i / 100, 10, time + i * 1000) for i in range(count)]


def append_of(claimed, *runs, batch=1, **changes):
    first = {"epoch": None, "new_epoch": "aaaaaa", "event": "begun", "max_len": 100_000}
    return Append("AAPL", claimed.fence, batch, runs=list(runs), **(first | changes))


async def dump(client):
    """Every key with its bytes."""
    return {key: await client.dump(key) for key in sorted(await client.keys())}


async def one(appender, append):
    """The answer to one append."""
    (result,) = await appender.append(iter([append]))
    return result


async def numbers(client, key=TRADES):
    return [int(fields[b"seq"]) for _, fields in await client.xrange(key)]


async def test_an_append_writes_everything_at_once(appender, claimed, redis_client):
    """Ticks, epoch, state, chunks: all of one append is there when it has answered."""
    candle = Candles.of([range(14)])
    append = append_of(
        claimed,
        run_of(trades(3)),
        run_of([Quote("AAPL", 99.9, 1, None, 0, TIME)]),
        state={"cursor": "here", "open": b"\x00\xff"},
        chunks=[ChunkWrite(1, "0", pack(candle))],
    )
    assert await one(appender, append) is None
    assert await redis_client.get(EPOCH) == b"aaaaaa"
    assert await numbers(redis_client) == [1, 2, 3]
    assert await numbers(redis_client, QUOTES) == [1]
    assert await redis_client.hmget(STATE, "cursor", "open", "batch") == [b"here", b"\x00\xff", b"1"]
    assert await redis_client.hgetall(keys.chunks("AAPL", "1m")) == {b"0": pack(candle)}
    assert await redis_client.zrange(keys.chunk_index("AAPL", "1m"), 0, -1, withscores=True) == [(b"0", 0)]


async def test_the_same_append_again_does_nothing(appender, claimed, redis_client):
    """Whoever got no answer may send the very same once more: it is taken for what it is."""
    append = append_of(claimed, run_of(trades(3)))
    assert await one(appender, append) is None
    before = await dump(redis_client)
    assert await appender.append(iter([append, append])) == [None, None]
    assert await dump(redis_client) == before


async def test_the_same_append_again_publishes_nothing(appender, claimed, redis_client, redis_url):
    """Tappers of the channel get each message once."""
    append = append_of(claimed, run_of(trades(2)))
    async with connect(redis_url) as client, client.pubsub() as pubsub:
        await pubsub.subscribe(TRADES, "end")
        await one(appender, append)
        await one(appender, append)
        await redis_client.publish("end", "")
        heard = [m["channel"] async for m in until_end(pubsub) if m["type"] == "message"]
    assert heard == [TRADES.encode()] * 2


async def until_end(pubsub):
    while True:
        message = await pubsub.get_message(timeout=10)
        assert message is not None, "no message in 10 s"
        if message["channel"] == b"end" and message["type"] == "message":
            return
        yield message


async def test_messages_are_the_entries_byte_for_byte(appender, claimed, redis_client, redis_url):
    """What a channel carries can be made again from the stream entry, bytes equal, optional fields and all."""
    plain, rich = (
        trades(2),
        [
            Trade("AAPL", 0.000001, 1e9, TIME + 5000, 'a"b\\', "Ünï", "@ T"),
            Trade("AAPL", 1e16 / 1e10, 0, TIME, "x", "y", "z"),
        ],
    )
    sided = [Quote("AAPL", None, 0, 12.5, 3, TIME), Quote("AAPL", 12.25, 1.5, None, 0, TIME)]
    first = run_of(plain)
    second = run_of(rich, StreamEnd(2, int(first.args[-6].split("-")[0])))
    async with connect(redis_url) as client, client.pubsub() as pubsub:
        await pubsub.subscribe(TRADES, QUOTES, "end")
        assert await one(appender, append_of(claimed, first, second, run_of(sided))) is None
        await redis_client.publish("end", "")
        heard = [(m["channel"], m["data"].decode()) async for m in until_end(pubsub) if m["type"] == "message"]
    stored = []
    for key, kind in ((TRADES, "trade"), (QUOTES, "quote")):
        for _, fields in await redis_client.xrange(key):
            flat = [part for pair in fields.items() for part in pair]
            stored.append((key.encode(), codec.entry_message(kind, "AAPL", flat)))
    assert heard == stored
    assert [json.loads(text)["seq"] for _, text in heard] == [1, 2, 3, 4, 1, 2]
    assert json.loads(heard[2][1])["exchange"] == "Ünï"


async def test_the_epoch_is_announced_before_its_first_message(appender, claimed, redis_client, redis_url):
    """A gateway must know under which name the numbers count before it gets one."""
    async with connect(redis_url) as client, client.pubsub() as pubsub:
        await pubsub.subscribe(keys.EVENTS, TRADES, keys.candles("AAPL"), "end")
        await one(appender, append_of(claimed, run_of(trades(1)), messages=["candle"]))
        await redis_client.publish("end", "")
        heard = [m["channel"].decode() async for m in until_end(pubsub) if m["type"] == "message"]
    assert heard == [keys.EVENTS, TRADES, keys.candles("AAPL")]


async def test_a_writer_that_was_replaced_is_fenced_off(appender, claimed, lease, redis_client):
    """After another ingester's claim the first one's appends fail, without a trace."""
    await lease.release()
    other = Lease(redis_client)
    (second,) = await Claims(redis_client, other).claim(["AAPL"])
    before = await dump(redis_client)
    assert isinstance(await one(appender, append_of(claimed, run_of(trades(2)))), FencedError)
    assert await dump(redis_client) == before
    assert await one(Appender(redis_client, other.id), append_of(second, run_of(trades(2)))) is None


async def test_a_claim_of_our_own_that_got_no_answer_is_a_conflict_not_a_rival(appender, claims, claimed):
    """Only another ingester's claim ends a writer."""
    await claims.claim(["AAPL"])
    assert isinstance(await one(appender, append_of(claimed, run_of(trades(1)))), AppendConflict)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda client: client.delete(STATE), id="state gone"),
        pytest.param(lambda client: client.set(EPOCH, "zzzzzz"), id="another epoch"),
        pytest.param(lambda client: client.delete(EPOCH), id="no epoch"),
        pytest.param(lambda client: client.delete(TRADES), id="trades gone"),
        pytest.param(lambda client: client.delete(QUOTES), id="quotes gone"),
        pytest.param(lambda client: client.xadd(TRADES, {"price": 1}, f"{MS + 60_000}-9"), id="a trade too many"),
        pytest.param(lambda client: client.flushall(), id="everything gone"),
    ],
)
async def test_a_conflict_leaves_nothing_written(appender, claimed, redis_client, spoil):
    """Where the store is not as the writer left it, an append is refused as a whole."""
    first = append_of(claimed, run_of(trades(2)), run_of([Quote("AAPL", 1, 1, 2, 1, TIME)]))
    assert await one(appender, first) is None
    await spoil(redis_client)
    before = await dump(redis_client)
    second = append_of(
        claimed,
        run_of(trades(2, TIME + 9000), StreamEnd(2, MS + 1)),
        run_of([Quote("AAPL", 1, 1, 2, 1, TIME)], StreamEnd(1, MS)),
        batch=2,
        epoch="aaaaaa",
        new_epoch=None,
        state={"open": "x"},
        chunks=[ChunkWrite(0, "5", b"x")],
        messages=["never"],
    )
    assert isinstance(await one(appender, second), AppendConflict)
    assert await dump(redis_client) == before


async def test_a_second_run_that_does_not_fit_undoes_the_first(appender, claimed, redis_client):
    """Runs are checked, all of them, before one is written."""
    append = append_of(claimed, run_of(trades(2)), run_of(trades(2), StreamEnd(7, MS)))
    assert isinstance(await one(appender, append), AppendConflict)
    assert await redis_client.keys("*{AAPL}*") == [STATE.encode()]


async def test_what_is_behind_a_refused_append_is_still_stored(appender, claims, redis_client):
    """Symbols do not depend on each other."""
    claims = await claims.claim(["AAPL", "MSFT"])
    bad = append_of(claims[0], run_of(trades(1), StreamEnd(5, MS)))
    good = Append("MSFT", claims[1].fence, 1, 1000, None, "bbbbbb", runs=[run_of(trades(1))])
    results = await appender.append(iter([bad, good]))
    assert isinstance(results[0], AppendConflict)
    assert results[1] is None
    assert await redis_client.xlen(keys.trades("MSFT")) == 1


async def test_ids_only_rise_also_with_late_ticks(writer, tape):
    """A late tick gets the milliseconds of the one before it; its own time stands in the entry."""
    late = tape.trade(time=tape.time - 30_000_000)
    ticks = [tape.trade(), late, tape.trade(), tape.trade(time=tape.time - 1_000_000), tape.trade()]
    await writer.write(*ticks)
    entries = await writer.client.xrange(TRADES)
    ids = [tuple(map(int, entry_id.split(b"-"))) for entry_id, _ in entries]
    assert all(a < b for a, b in pairwise(ids))
    assert [seq for _, seq in ids] == [1, 2, 3, 4, 5]
    assert [int(fields[b"time"]) for _, fields in entries] == [tick.time for tick in ticks]
    assert [ms for ms, _ in ids] == [t.time // 1000 for t in (ticks[0], ticks[0], ticks[2], ticks[2], ticks[4])]


async def test_streams_are_trimmed_as_they_grow(appender, claimed, redis_client):
    """`MAXLEN ~`: about as many entries as configured stay, the newest ones, and numbers go on."""
    after, epoch = StreamEnd(), None
    for batch in range(1, 21):
        run = run_of(trades(200, TIME + batch * 1_000_000), after)
        new = "aaaaaa" if epoch is None else None
        append = append_of(claimed, run, batch=batch, max_len=1000, epoch=epoch, new_epoch=new)
        assert await one(appender, append) is None
        after, epoch = StreamEnd(200 * batch, int(run.args[-6].split("-")[0])), "aaaaaa"
    kept = await numbers(redis_client)
    assert 1000 <= len(kept) < 1200
    assert kept == list(range(4001 - len(kept), 4001))


async def test_a_server_that_lost_its_scripts_gets_them_again(appender, claimed, redis_client):
    """SCRIPT FLUSH costs one turn, and nothing is stored twice."""
    assert await one(appender, append_of(claimed, run_of(trades(1)))) is None
    await redis_client.script_flush()
    append = append_of(claimed, run_of(trades(1), StreamEnd(1, MS)), batch=2, epoch="aaaaaa", new_epoch=None)
    with pytest.raises(StoreUnavailable, match="anew"):
        await one(appender, append)
    assert await one(appender, append) is None
    assert await numbers(redis_client) == [1, 2]


async def test_a_server_that_does_not_answer_is_unavailable(free_port):
    """The error of our own tree, not redis-py's."""
    async with connect(f"redis://127.0.0.1:{free_port()}") as client:
        with pytest.raises(StoreUnavailable):
            await Appender(client, "me").append(iter([Append("AAPL", "1-me", 1, 1000, None)]))


async def test_a_server_that_takes_no_writes_is_unavailable_and_keeps_what_it_has(appender, claimed, redis_client):
    """A refusal for want of memory is no conflict: the same append is taken later."""
    append = append_of(claimed, run_of(trades(2)))
    await redis_client.config_set("maxmemory", 1)
    try:
        result = await one(appender, append)
    finally:
        await redis_client.config_set("maxmemory", 0)
    assert isinstance(result, StoreUnavailable)
    assert await redis_client.keys("*{AAPL}*") == [STATE.encode()]
    assert await one(appender, append) is None


async def test_a_round_trip_ends_at_its_limit(appender, claims, redis_client):
    """What was not asked for is left in the iterator, for the next round trip."""
    symbols = [f"S{i}" for i in range(40)]
    claims = await claims.claim(symbols)
    appends = iter(
        [
            Append(symbol, claim.fence, 1, 100_000, None, "aaaaaa", runs=[run_of(trades(500))])
            for symbol, claim in zip(symbols, claims, strict=True)
        ]
    )
    answered = len(await appender.append(appends))
    assert 1 < answered < 40
    while more := len(await appender.append(appends)):
        answered += more
    assert answered == 40
    assert [await redis_client.xlen(keys.trades(symbol)) for symbol in symbols] == [500] * 40


async def test_a_connection_cut_at_any_moment_makes_no_hole_and_no_duplicate(redis_client, redis_url):
    """CLIENT KILL again and again while appends are under way; the same is sent again until it is answered."""
    async with connect(redis_url, name="victim") as client:
        lease = Lease(client)
        appender = Appender(client, lease.id)
        (claim,) = await Claims(redis_client, lease).claim(["AAPL"])
        done, cuts = asyncio.Event(), 0

        async def cut():
            nonlocal cuts
            while not done.is_set() and cuts < 25:
                victims = [c["id"] for c in await redis_client.client_list() if c["name"] == "victim"]
                for victim in victims:
                    cuts += await redis_client.client_kill_filter(_id=victim)
                await asyncio.sleep(0)

        killer = asyncio.create_task(cut())
        after, epoch, failed = StreamEnd(), None, 0
        for batch in range(1, 61):
            run = run_of(trades(300, TIME + batch * 1_000_000), after)
            new = None if epoch else "aaaaaa"
            append = append_of(claim, run, batch=batch, epoch=epoch, new_epoch=new)
            while True:
                try:
                    assert await one(appender, append) is None
                    break
                except StoreUnavailable:
                    failed += 1
            after, epoch = StreamEnd(300 * batch, int(run.args[-6].split("-")[0])), "aaaaaa"
        done.set()
        await killer
    assert cuts > 0
    assert failed > 0
    assert await numbers(redis_client) == list(range(1, 60 * 300 + 1))


async def test_an_answer_that_is_lost_after_the_write_is_no_duplicate(appender, claimed, redis_client, monkeypatch):
    """The server has stored it, the answer never came: the second call finds it done."""
    append = append_of(claimed, run_of(trades(2)))
    read = "ticker.store.script_calls._reply"
    with monkeypatch.context() as patch:

        async def lost(connection):
            await connection.read_response(disable_decoding=True)
            raise RedisConnectionError("cut")

        patch.setattr(read, lost)
        with pytest.raises(StoreUnavailable):
            await one(appender, append)
    assert await numbers(redis_client) == [1, 2]
    assert await one(appender, append) is None
    assert await numbers(redis_client) == [1, 2]


async def begin_epochs(appender, claimed, client, ends):
    """One epoch after another, each ended by the next: `ends` are numbers of trades and quotes that each leaves behind."""
    epoch, trade_end, quote_end = None, NOWHERE, NOWHERE
    for number, (trade_seq, quote_seq) in enumerate(ends):
        runs = []
        if trade_seq > trade_end.seq:
            runs.append(run_of(trades(trade_seq - trade_end.seq), trade_end))
        if quote_seq > quote_end.seq:
            quotes = [Quote("AAPL", 1, 1, 2, 1, TIME)] * (quote_seq - quote_end.seq)
            runs.append(run_of(quotes, quote_end))
        new = f"epoch{number}"
        assert await one(appender, append_of(claimed, *runs, batch=number + 1, epoch=epoch, new_epoch=new)) is None
        last = [(await client.xinfo_stream(key))["last-generated-id"] for key in (TRADES, QUOTES)]
        (trade_ms, _), (quote_ms, _) = (map(int, entry_id.split(b"-")) for entry_id in last)
        epoch, trade_end, quote_end = new, StreamEnd(trade_seq, trade_ms), StreamEnd(quote_seq, quote_ms)


async def test_where_an_epoch_has_ended_is_written_down_with_the_next(appender, claimed, redis_client):
    """Trades and quotes apart: positions up to there are still true."""
    await begin_epochs(appender, claimed, redis_client, [(3, 1), (3, 5), (9, 6)])
    assert await redis_client.hgetall(keys.epochs("AAPL")) == {b"epoch0": b"3 1", b"epoch1": b"3 5"}
    assert await redis_client.get(EPOCH) == b"epoch2"


async def test_an_epoch_ends_where_a_later_one_does_if_that_is_lower(appender, claimed, redis_client):
    """What a later loss has taken from the numbers of an earlier epoch is not true any more."""
    await begin_epochs(appender, claimed, redis_client, [(9, 4), (9, 8)])
    await redis_client.delete(TRADES)
    append = append_of(claimed, run_of(trades(2)), batch=3, epoch="epoch1", new_epoch="epoch2")
    assert await one(appender, append) is None
    assert await redis_client.hgetall(keys.epochs("AAPL")) == {b"epoch0": b"0 4", b"epoch1": b"0 8"}


async def test_of_the_epochs_that_have_ended_the_newest_are_kept(appender, claimed, redis_client):
    """The list does not grow for ever."""
    await begin_epochs(appender, claimed, redis_client, [(number, 1) for number in range(1, 71)])
    found = await redis_client.hgetall(keys.epochs("AAPL"))
    newest = range(69 - EPOCHS_KEPT, 69)
    assert found == {f"epoch{number}".encode(): f"{number + 1} 1".encode() for number in newest}


async def test_an_append_that_is_refused_ends_no_epoch(appender, claimed, redis_client):
    """All or nothing."""
    await begin_epochs(appender, claimed, redis_client, [(3, 1)])
    before = await dump(redis_client)
    bad = append_of(claimed, run_of(trades(2), StreamEnd(7, MS)), batch=2, epoch="epoch0", new_epoch="epoch1")
    assert isinstance(await one(appender, bad), AppendConflict)
    assert await dump(redis_client) == before
