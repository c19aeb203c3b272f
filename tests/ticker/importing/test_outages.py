"""Imports into outages of the live record: whatever is written meanwhile, and wherever they are stopped."""

import asyncio
import csv
import json
import sys
from asyncio.subprocess import PIPE
from dataclasses import asdict
from zoneinfo import ZoneInfo

import pytest

from ticker.archive.archive import Archive
from ticker.archive.storage import LocalStorage
from ticker.candles.builder import CandleBuilder
from ticker.candles.candle import Origin
from ticker.candles.interval import INTERVALS, bounds
from ticker.importing import filling
from ticker.importing.existing import days_free_before, holes
from ticker.importing.filling import fill
from ticker.importing.importer import Importer
from ticker.importing.rows import Options, look_at
from ticker.importing.told import import_text
from ticker.importing.values import Timing
from ticker.ingest.archiver import Archiver
from ticker.store import archived, keys, outages

POLL_S = 0.02
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ZONE = ZoneInfo("America/New_York")
NOON = 1_763_985_600_000_000
LATE = 60 * SECOND + 500_000
BASES = [INTERVALS[name] for name in ("1s", "1m", "1d")]
BEGIN, END = NOON + 20 * MINUTE + 17 * SECOND, NOON + 80 * MINUTE + 41 * SECOND
"""Of the outage: neither lies on a minute."""


@pytest.fixture
def archive(tmp_path):
    return Archive(LocalStorage(tmp_path / "archive"), ZONE)


@pytest.fixture
async def torn(writer, tape, tmp_path, valkey):
    """A live record of two hours with an outage, and a file of what was missed: all its trades, and the file."""
    trades = tape.trades(2 * 3600 // 3, step=3 * SECOND)
    live = [trade for trade in trades if not BEGIN <= trade.time < END]
    for first in range(0, len(live), 500):
        await writer.write(*live[first : first + 500])
    await list_outage(valkey, BEGIN, END)
    path = tmp_path / "trades.csv"
    write(path, trades)
    return trades, path


def write(path, trades):
    with path.open("w", newline="") as file:
        rows = [(trade.time, trade.symbol, f"{trade.price:g}", f"{trade.size:g}") for trade in trades]
        csv.writer(file).writerows([("time", "symbol", "price", "size"), *rows])


def write_candles(path, candles):
    names = ("time", "open", "high", "low", "close", "volume")
    with path.open("w", newline="") as file:
        rows = [(c.time, "AAPL", *(f"{getattr(c, name) / 10**6:f}" for name in names[1:])) for c in candles]
        csv.writer(file).writerows([("time", "symbol", *names[1:]), *rows])


async def list_outage(client, begin, end):
    async with client.pipeline() as pipe:
        outages.put(pipe, "hand", outages.Beat(end), [outages.Outage(begin, end, "feed", "the line is dead")])
        await pipe.execute()


async def load(client, archive, *paths, interval="1m", dry_run=False):
    """Import files as the command does."""
    limits, missing = await days_free_before(client, archive), await holes(client, LATE, NOON + 30 * DAY)
    times = {symbol: found.times for symbol, found in missing.items()}
    options = Options(Timing("us", None, ZONE), INTERVALS[interval])
    importer = Importer(
        archive, options.interval, limits, NOON + 30 * DAY, dry_run=dry_run, strict=False, outages=times
    )
    for path in paths:
        importer.take(look_at(path, options), lambda at: None)
    result = importer.finish()
    for missed in importer.missed.found:
        await fill(client, missed, missing[missed.symbol].final, ZONE, result, dry_run=dry_run)
    return result


async def held(writer, base):
    """Closed candles and those that are not."""
    stored = await writer.candles.read("AAPL", base, 0, 1 << 53, newest=False)
    return stored.closed.rows(), stored.open


def folds(trades, base):
    """What all trades make: without numbers and origin."""
    builder = CandleBuilder(base, ZONE, 0, 0)
    for seq, trade in enumerate(trades, 1):
        builder.add(trade.time, round(trade.price * 10**6), round(trade.size * 10**6), seq)
    return [plain(candle) for candle in builder.unclosed()]


def plain(candle):
    return candle._replace(first_seq=0, seq=0, origin=0)


async def everything(client):
    """All that the store has, of what an import may change."""
    found = {}
    for base in BASES:
        found[base.name] = await client.hgetall(keys.chunks("AAPL", base.name))
        found[base.name, "index"] = await client.zrange(keys.chunk_index("AAPL", base.name), 0, -1, withscores=True)
    return found | {"state": await client.hgetall(keys.state("AAPL"))}


def count_of(result, kind="trades"):
    return {name: value for name, value in asdict(result.counts[kind, "AAPL"]).items() if value}


async def test_an_outage_is_filled_so_that_candles_are_what_all_trades_make(writer, tape, torn, valkey, archive):
    """Of every interval, the day that is not over included; then the writer goes on, under the same epoch and numbers."""
    trades, path = torn
    inside = sum(BEGIN <= trade.time < END for trade in trades)
    epoch = await valkey.get(keys.epoch("AAPL"))
    result = await load(valkey, archive, path)
    assert count_of(result) == {"filled": inside, "overlap": len(trades) - inside}
    for base in BASES:
        closed, opened = await held(writer, base)
        assert [plain(candle) for candle in closed + opened] == folds(trades, base)
    more = tape.trades(400, step=SECOND)
    await writer.write(*more)
    for base in BASES:
        closed, opened = await held(writer, base)
        assert [plain(candle) for candle in closed + opened] == folds(trades + more, base)
    assert await valkey.get(keys.epoch("AAPL")) == epoch
    entries = await writer.streams.newest("trades", "AAPL", 10**6, 10**9)
    assert [entry.seq for entry in entries] == list(range(1, len(trades) - inside + len(more) + 1))


async def test_a_second_import_finds_all_there(torn, valkey, archive):
    """It says so, and changes nothing; nor does one that only asks what would be."""
    trades, path = torn
    before = await everything(valkey)
    dry = await load(valkey, archive, path, dry_run=True)
    assert await everything(valkey) == before
    done = await load(valkey, archive, path)
    assert dry.counts == done.counts
    assert dry.made == done.made
    assert "would go into outages, as candles" in import_text(dry, dry_run=True)
    before = await everything(valkey)
    again = count_of(await load(valkey, archive, path))
    inside = sum(BEGIN <= trade.time < END for trade in trades)
    assert again == {"there": inside, "overlap": len(trades) - inside}
    assert await everything(valkey) == before


async def test_what_came_live_in_an_outage_counts_once(writer, tape, torn, valkey, archive):
    """A late trade, or one that the feed has made up for."""
    trades, path = torn
    await list_outage(valkey, NOON, END)
    result = await load(valkey, archive, path)
    assert count_of(result)["filled"] == sum(BEGIN <= trade.time < END for trade in trades)
    closed, opened = await held(writer, BASES[1])
    assert [plain(candle) for candle in closed + opened] == folds(trades, BASES[1])


async def test_an_import_that_is_stopped_goes_on(writer, torn, valkey, archive, monkeypatch):
    """What is there after the next run is what one that was not stopped leaves; nothing is counted twice."""
    trades, path = torn
    change, steps = filling.change_candles, []

    async def stopped(*args):
        if steps:
            raise ConnectionError
        steps.append(args)
        await change(*args)

    with monkeypatch.context() as patch:
        patch.setattr(filling, "change_candles", stopped)
        with pytest.raises(ConnectionError):
            await load(valkey, archive, path)
    result = await load(valkey, archive, path)
    assert count_of(result)["filled"] > 0
    assert count_of(result)["there"] > 0
    for base in BASES:
        closed, opened = await held(writer, base)
        assert [plain(candle) for candle in closed + opened] == folds(trades, base)


async def test_a_writer_that_has_stopped_in_order_has_still_done_so(torn, valkey, archive):
    """Nobody has anything in hand; the next ingester need not doubt the numbers that it finds."""
    fence = await valkey.hget(keys.state("AAPL"), "fence")
    await valkey.hset(keys.CLEAN, "AAPL", fence)
    assert count_of(await load(valkey, archive, torn[1]))["filled"] > 0
    assert await valkey.hget(keys.state("AAPL"), "fence") == fence


async def test_gateways_and_tappers_are_told(torn, valkey, archive):
    """Of the candles that changed, and that folds begin again; each minute goes out on its channel."""
    _, path = torn
    async with valkey.pubsub() as heard:
        await heard.subscribe(keys.EVENTS, keys.candles("AAPL"))
        await load(valkey, archive, path)
        got = []
        async with asyncio.timeout(15):
            while not any(b"backfill" in data and b"candles" not in data for _, data in got[-1:]) or len(got) < 60:
                message = await heard.get_message(ignore_subscribe_messages=True, timeout=1)
                if message:
                    got.append((message["channel"].decode(), message["data"]))
                elif len(got) > 60:
                    break
    events = [json.loads(data) for channel, data in got if channel == keys.EVENTS]
    assert {event["event"] for event in events} == {"candles", "backfill"}
    assert min(e["changed"]["1s"][0] for e in events if e["event"] == "candles") >= BEGIN - SECOND
    minutes = [json.loads(data)["time"] for channel, data in got if channel == keys.candles("AAPL")]
    assert minutes[0] == BEGIN - BEGIN % MINUTE
    assert minutes[-1] == END - END % MINUTE


async def test_a_symbol_that_is_written_all_the_time_is_filled_too(writer, tape, torn, valkey, archive):
    """Whoever comes first wins, and the other one tries again."""
    trades, path = torn
    more = []

    async def write_on():
        while True:
            made = tape.trades(3, step=SECOND)
            more.extend(made)
            await writer.write(*made)
            # As a feed that is polled; nobody else would get a turn where it never paused.
            await asyncio.sleep(POLL_S)

    writing = asyncio.create_task(write_on())
    result = await load(valkey, archive, path)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await writer.batches.drain()
    assert count_of(result)["filled"] == sum(BEGIN <= trade.time < END for trade in trades)
    for base in BASES:
        closed, opened = await held(writer, base)
        assert [plain(candle) for candle in closed + opened] == folds(trades + more, base)


async def test_what_was_archived_before_is_archived_again(writer, tape, torn, valkey, archive):
    """The next run of the job leaves the archive with what the store has; then nothing is left to do."""
    trades, path = torn
    await writer.write(tape.trade(time=NOON + 2 * DAY))
    archiver = Archiver(archive, valkey, ZONE, LATE)
    await archiver.archive("AAPL", NOON + 2 * DAY)
    before = {base: [file.path for file in archive.index.of(f"candles_{base.name}", "AAPL").files] for base in BASES}
    await load(valkey, archive, path)
    assert await archived.again(valkey, "AAPL", "1m")
    await archiver.archive("AAPL", NOON + 2 * DAY)
    await archiver.compact("AAPL")
    for base in BASES:
        assert before[base]
        closed, _ = await held(writer, base)
        last = max(candle.time for candle in closed)
        archive.index.again(f"candles_{base.name}", "AAPL")
        found = archive.candles("AAPL", base, 0, last + 1, 10**9, newest=False)[0].rows()
        assert found == closed[: len(found)]
        assert [plain(candle) for candle in found] == folds(trades, base)
        assert not {file.path for file in archive.index.of(f"candles_{base.name}", "AAPL").files} & set(before[base])
        assert await archived.again(valkey, "AAPL", base.name) is None


async def test_minutes_and_days_go_in_where_there_is_none(writer, tape, valkey, archive, tmp_path, new_tape):
    """A candle that is not wholly in the outage, or is there, stays as it is."""
    await writer.write(*tape.trades(400, step=3 * SECOND))
    begin, resumed = tape.time, NOON + 3 * DAY
    tape.time = resumed
    await writer.write(*tape.trades(400, step=3 * SECOND))
    await list_outage(valkey, begin, resumed)
    other = new_tape("AAPL", NOON + 30 * MINUTE).trades(3 * 24 * 20, step=3 * MINUTE)
    minutes, days = CandleBuilder(BASES[1], ZONE, 0, 0), CandleBuilder(BASES[2], ZONE, 0, 0)
    for builder in (minutes, days):
        for seq, trade in enumerate(other, 1):
            builder.add(trade.time, round(trade.price * 10**6), round(trade.size * 10**6), seq)
    write_candles(tmp_path / "minutes.csv", minutes.unclosed())
    write_candles(tmp_path / "days.csv", days.unclosed())
    closed_before, _ = await held(writer, BASES[1])
    assert count_of(await load(valkey, archive, tmp_path / "days.csv", interval="1d"), "candles_1d") == {
        "filled": 2,
        "overlap": 2,
    }
    result = await load(valkey, archive, tmp_path / "minutes.csv")
    first, last = bounds(BASES[2], NOON, ZONE)[1], bounds(BASES[2], resumed, ZONE)[0]
    inside = [c for c in minutes.unclosed() if begin <= c.time and c.time + MINUTE <= resumed]
    # Of the two days that were imported themselves, nobody knows whether minutes make them.
    wanted = [c for c in inside if not first <= c.time < last]
    assert count_of(result, "candles_1m")["filled"] == len(wanted)
    closed, _ = await held(writer, BASES[1])
    assert {c.time for c in wanted} <= {c.time for c in closed if c.origin == Origin.IMPORT}
    assert [c for c in closed if c.origin == Origin.TICKS][: len(closed_before)] == closed_before


async def test_minutes_go_in_where_their_seconds_are_forgotten(writer, tape, torn, valkey, archive):
    """Whole ones only: of a minute that has live trades, nobody knows which seconds they were of."""
    trades, path = torn
    await writer.candles.trim("AAPL", BASES[0], NOON + 100 * MINUTE)
    result = await load(valkey, archive, path)
    first, last = -(-BEGIN // MINUTE) * MINUTE, END // MINUTE * MINUTE
    assert count_of(result)["filled"] == sum(first <= trade.time < last for trade in trades)
    seconds, _ = await held(writer, BASES[0])
    assert seconds[0].time > END
    closed, _ = await held(writer, BASES[1])
    made = {candle.time: candle for candle in folds(trades, BASES[1])}
    assert [plain(c) for c in closed if first <= c.time < last] == [made[t] for t in sorted(made) if first <= t < last]


async def test_quotes_of_an_outage_are_left_out(torn, valkey, archive, tmp_path):
    """They are counted apart, and it is said why."""
    path = tmp_path / "quotes.csv"
    with path.open("w", newline="") as file:
        rows = [(BEGIN + n * SECOND, "AAPL", 1, 2, 3, 4) for n in range(5)]
        csv.writer(file).writerows([("time", "symbol", "bid", "bid_size", "ask", "ask_size"), *rows])
    result = await load(valkey, archive, path)
    assert count_of(result, "quotes") == {"no_place": 5}
    assert "5 left out: quotes of an outage have no place" in import_text(result, dry_run=False)


async def test_an_outage_counts_from_when_no_late_trade_can_come(torn, valkey, archive):
    """What lasts, or has just ended, is none yet."""
    await valkey.hset(keys.CLOCKS, "hand", END + LATE - MINUTE)
    found = await holes(valkey, LATE, NOON + DAY)
    assert found["AAPL"].times == ((BEGIN, END - MINUTE),)
    await valkey.hset(keys.CLOCKS, "hand", BEGIN)
    assert await holes(valkey, LATE, NOON + DAY) == {}


async def test_the_command_says_what_it_has_put_into_outages(writer, torn, valkey, valkey_url, tmp_path):
    """First what would go in, then what has, then that it is there."""
    trades, path = torn
    (tmp_path / "config.yaml").write_text(json.dumps({"archive": {"url": str(tmp_path / "archive")}}))
    (tmp_path / "archive").mkdir()
    command = [sys.executable, "-m", "ticker", "import", path, "--redis-url", valkey_url]
    command += ["--config", tmp_path / "config.yaml"]

    async def call(*more):
        process = await asyncio.create_subprocess_exec(*command, *more, stdout=PIPE, stderr=PIPE)
        out, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return out.decode()

    inside = sum(BEGIN <= trade.time < END for trade in trades)
    assert f"AAPL trades: 0 would be added, {inside} would go into outages, as candles, " in await call("--dry-run")
    assert f"AAPL trades: 0 added, {inside} put into outages, as candles, " in await call()
    assert f"AAPL trades: 0 added, {inside} there already, " in await call()
    closed, opened = await held(writer, BASES[1])
    assert [plain(candle) for candle in closed + opened] == folds(trades, BASES[1])
