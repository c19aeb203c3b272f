"""What the store has lost while its ingester lived: appended again under the same numbers, or in a new epoch."""

import os
import shutil
from zoneinfo import ZoneInfo

import pytest

from ticker import metrics
from ticker.check import Checker
from ticker.errors import StoreUnavailable
from ticker.ingest import append_queue
from ticker.store import keys
from ticker.store.connection import connect
from ticker.store.embedded import EmbeddedServer

SECOND = 1_000_000
ZONE = ZoneInfo("America/New_York")
SYMBOLS = ("AAPL", "MSFT", "QUIET")


@pytest.fixture
def server(tmp_path, free_port):
    """A server of this test alone, whose data may be touched."""
    made = EmbeddedServer(tmp_path / "data", free_port())
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
async def client(server):
    async with connect(server.url) as made:
        yield made


@pytest.fixture
async def busy(client, new_writer, new_tape):
    """A writer with ticks of several symbols; one of them has had none for long."""
    writer = new_writer(client)
    await writer.claim(*SYMBOLS)
    tapes = {symbol: new_tape(symbol) for symbol in SYMBOLS}

    class Busy:
        def __init__(self) -> None:
            self.writer, self.tapes = writer, tapes

        async def write(self, count: int = 5, *symbols: str) -> None:
            """Trades and quotes, a few seconds of them: candles close meanwhile."""
            for symbol in symbols or SYMBOLS[:2]:
                tape = tapes[symbol]
                writer.put(*tape.trades(count, step=SECOND), *(tape.quote() for _ in range(count)), cursor="c")
                await self.drain()

        async def drain(self) -> None:
            while True:
                try:
                    return await writer.batches.drain()
                except StoreUnavailable:
                    continue

        async def verify(self) -> None:
            """What the ingester does once the heart beats again."""
            writer.batches.doubt()
            await self.drain()

    made = Busy()
    await made.write(5, *SYMBOLS)
    return made


async def stored(client, symbol):
    """All there is of a symbol's ticks: their texts, without what the store makes of them."""
    return [await client.xrange(key) for key in (keys.trades(symbol), keys.quotes(symbol))]


async def everything(client):
    """The ticks and the epochs."""
    return {symbol: [*await stored(client, symbol), await client.get(keys.epoch(symbol))] for symbol in SYMBOLS}


async def check(client, symbols=SYMBOLS):
    """Numbers without a hole, ids that rise, candles that are those of their trades."""
    for symbol in symbols:
        for entries in await stored(client, symbol):
            assert [int(fields[b"seq"]) for _, fields in entries] == list(range(1, len(entries) + 1))
        findings = await Checker(client, ZONE).check(symbol)
        assert [line for finding in findings for line in finding.different] == []
        assert sum(finding.equal for finding in findings) > 0


def prices(tape):
    return [tick.price for tick in tape.ticks if hasattr(tick, "price")]


async def stored_prices(client, symbol):
    return [float(fields[b"price"]) for _, fields in (await stored(client, symbol))[0]]


def reappended(numbers):
    return metrics.REAPPENDED.labels("hand", numbers)._value.get()


def crash(server):
    os.kill(server.pid, 9)
    while server.is_running():
        pass


def aof(server):
    (file,) = (server.data_dir / "appendonlydir").glob("*.incr.aof")
    return file


async def test_an_earlier_copy_of_the_data_gets_what_it_lacks(server, client, busy):
    """Put there while the ingester lives: the same ticks under the same numbers and epochs, byte for byte."""
    server.stop()
    shutil.copytree(server.data_dir, server.data_dir.with_name("copy"))
    server.start()
    await busy.verify()
    await busy.write(40)
    before, same = await everything(client), reappended("same")
    server.stop()
    shutil.rmtree(server.data_dir)
    server.data_dir.with_name("copy").rename(server.data_dir)
    server.start()
    await busy.verify()
    assert await everything(client) == before
    assert reappended("same") == same + 160
    await check(client)
    assert await client.hget(keys.state("AAPL"), "server") == (await client.info("server"))["run_id"].encode()
    assert await client.hget(keys.state("AAPL"), "cursor") == b"c"
    await busy.write()
    assert (await everything(client))["AAPL"][2] == before["AAPL"][2]
    await check(client)


@pytest.mark.parametrize("inside", [0, 1, 7, 40], ids=lambda count: f"{count} bytes into a record")
async def test_a_server_that_lost_the_end_of_its_file_gets_it_again(server, client, busy, inside):
    """As after a loss of power: cut at the end of a record, or in the middle of one."""
    sizes = [aof(server).stat().st_size]
    for _ in range(4):
        await busy.write()
        sizes.append(aof(server).stat().st_size)
    before = await everything(client)
    crash(server)
    os.truncate(aof(server), sizes[-3] + inside)
    server.start()
    await busy.verify()
    assert await everything(client) == before
    await check(client)


async def test_what_waits_is_numbered_behind_what_was_lost(server, client, busy):
    """Ticks that came while the server was away follow those that it has lost."""
    size = aof(server).stat().st_size
    await busy.write()
    before = await everything(client)
    crash(server)
    os.truncate(aof(server), size)
    tape = busy.tapes["AAPL"]
    busy.writer.put(*tape.trades(3), cursor="c2")
    with pytest.raises(StoreUnavailable):
        await busy.writer.batches.drain()
    server.start()
    await busy.drain()
    assert await stored_prices(client, "AAPL") == prices(tape)
    assert (await everything(client))["MSFT"] == before["MSFT"]
    assert await client.get(keys.epoch("AAPL")) == before["AAPL"][2]
    assert await client.hget(keys.state("AAPL"), "cursor") == b"c2"
    await check(client)


async def test_after_a_flush_what_is_held_is_numbered_anew(client, busy):
    """Every symbol at once, also those that have no tick for long; the symbols are listed again."""
    await busy.write(30)
    before = await everything(client)
    await client.flushall()
    await busy.verify()
    after = await everything(client)
    for symbol in SYMBOLS:
        assert after[symbol][:2] == before[symbol][:2]
        assert after[symbol][2] not in (None, before[symbol][2])
    assert sorted(await client.hkeys(keys.SYMBOLS)) == [symbol.encode() for symbol in SYMBOLS]
    assert await client.get(keys.SCHEMA) == keys.SCHEMA_VERSION
    await check(client)


async def test_many_lost_ticks_are_put_back_in_several_appends(client, busy, monkeypatch):
    """So that nobody waits for the server for long."""
    monkeypatch.setattr(append_queue, "REAPPENDED_TOGETHER", 7)
    await busy.write(50)
    before = await everything(client)
    await client.flushall()
    await busy.verify()
    after = await everything(client)
    assert [after[symbol][:2] for symbol in SYMBOLS] == [before[symbol][:2] for symbol in SYMBOLS]
    await check(client)


@pytest.mark.limit("kept_ticks")
async def test_where_more_is_lost_than_is_held_a_new_epoch_begins(server, client, new_writer, tape):
    """At the last number that is left; what is held follows under new numbers."""
    writer = new_writer(client, kept_ticks=20)
    await writer.claim("AAPL")
    await writer.write(*tape.trades(10))
    epoch, size = await client.get(keys.epoch("AAPL")), aof(server).stat().st_size
    for _ in range(10):
        await writer.write(*tape.trades(4, step=SECOND), tape.quote())
    crash(server)
    os.truncate(aof(server), size)
    server.start()
    writer.batches.doubt()
    while True:
        try:
            await writer.batches.drain()
            break
        except StoreUnavailable:
            continue
    told = prices(tape)
    assert await stored_prices(client, "AAPL") == told[:10] + told[-16:]
    assert await client.get(keys.epoch("AAPL")) != epoch
    assert await client.hgetall(keys.epochs("AAPL")) == {epoch: b"10 0"}
    await check(client, ["AAPL"])


async def test_an_earlier_copy_of_another_epoch_gets_all_that_is_held(server, client, busy):
    """Nothing of the later epoch is in it, whatever the numbers are."""
    server.stop()
    shutil.copytree(server.data_dir, server.data_dir.with_name("copy"))
    server.start()
    await busy.verify()
    await client.flushall()
    await busy.verify()
    await busy.write(10)
    server.stop()
    shutil.rmtree(server.data_dir)
    server.data_dir.with_name("copy").rename(server.data_dir)
    server.start()
    await busy.verify()
    told = prices(busy.tapes["AAPL"])
    assert await stored_prices(client, "AAPL") == told[:5] + told
    ended = await client.hgetall(keys.epochs("AAPL"))
    assert list(ended.values()) == [b"5 5"]
    await check(client)


async def test_a_store_that_has_lost_nothing_is_left_alone(client, busy):
    """Looking costs a read a symbol, and writes nothing."""
    before = {key: await client.dump(key) for key in await client.keys("*{*")}
    await busy.verify()
    assert {key: await client.dump(key) for key in await client.keys("*{*")} == before


async def test_an_epoch_that_is_due_stays_due_over_a_conflict(client, busy, new_writer, tape):
    """What was doubtful when the ingester came is so until a tick begins the new epoch."""
    await client.hset(keys.state("AAPL"), "server", "an-earlier-run")
    again = new_writer(client)
    await again.claim("AAPL")
    epoch = await client.get(keys.epoch("AAPL"))
    await client.hset(keys.state("AAPL"), "fence", f"77-{again.lease.id}")
    again.batches.doubt()
    await again.batches.drain()
    assert await client.hget(keys.state("AAPL"), "server") == b"an-earlier-run"
    await again.write(tape.trade(time=busy.tapes["AAPL"].time + SECOND))
    assert await client.get(keys.epoch("AAPL")) != epoch
    assert await client.hgetall(keys.epochs("AAPL")) == {epoch: b"5 5"}
