import asyncio
import json
from time import monotonic_ns

import pytest

from ticker.archive.layout import END, FIRST
from ticker.archive.opening import open_archive
from ticker.errors import ArchiveError, ConfigError
from ticker.ingest.ingester import Ingester
from ticker.store import keys, outages

SECOND = 1_000_000
HOUR = 3600 * SECOND


@pytest.fixture
async def run(valkey, valkey_url, make_config, wait_until):
    """Runs ingesters beside the test; the feeds are called `hand`, or `hand0`, `hand1` where there are more."""

    class Run:
        def __init__(self) -> None:
            self.tasks = {}

        async def __call__(self, *feeds, wait=True, poll_ms=5, restored=False, **sections):
            names = ["hand"] if len(feeds) == 1 else [f"hand{i}" for i in range(len(feeds))]
            feeds_given = [{"type": "simulated", "name": name, "poll_ms": poll_ms} for name in names]
            config = make_config(valkey_url, feeds=feeds_given, **sections)
            ingester = Ingester(valkey, config, feeds, archive=open_archive(config), restored=restored)
            self.tasks[ingester] = asyncio.create_task(ingester.run())
            await wait_until(lambda: not wait or all(feed.polls for feed in feeds))
            return ingester

        async def stop(self, *ingesters):
            tasks = [self.tasks.pop(ingester) for ingester in ingesters]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run = Run()
    try:
        yield run
    finally:
        await run.stop(*run.tasks)


async def beats(client, count):
    """The next heartbeats."""
    found = []
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(keys.HEARTBEAT)
        while len(found) < count:
            message = await pubsub.get_message(timeout=10)
            assert message is not None
            if message["type"] == "message":
                found.append(json.loads(message["data"]))
    return found


async def test_feeds_are_polled_and_the_heart_beats(valkey, hand_feed, run, tape, wait_until):
    """The heartbeat says how far each feed's ticks are stored, and the clocks are kept for who comes later."""
    feed, other = hand_feed("AAPL"), hand_feed("MSFT")
    await run(feed, other)
    feed.give(*tape.trades(5))
    await wait_until(lambda: valkey.xlen("trades:{AAPL}"))
    beat = (await beats(valkey, 2))[-1]
    assert beat["feeds"]["hand0"] == {"state": "live", "reason": "", "clock": tape.time}
    assert beat["feeds"]["hand1"]["clock"] == other.clock
    assert await valkey.hgetall(keys.CLOCKS) == {
        b"hand0": str(tape.time).encode(),
        b"hand1": str(other.clock).encode(),
    }
    assert json.loads(await valkey.hget("symbols", "MSFT")) == {
        "symbol": "MSFT",
        "name": "MSFT Inc.",
        "exchange": "XNAS",
        "currency": "USD",
        "sector": "Technology",
        "tick_size": 0.01,
        "feed": "hand1",
    }


async def test_what_is_left_is_stored_at_the_end(valkey, hand_feed, valkey_url, make_config, tape, wait_until):
    """Feeds are closed, and ticks that wait are appended first."""
    feed = hand_feed("AAPL")
    ingester = Ingester(valkey, make_config(valkey_url), [feed])
    task = asyncio.create_task(ingester.run())
    await wait_until(lambda: feed.polls)
    ingester.runners[0]._writer.put(type(feed).poll(feed, 0))
    feed.give(*tape.trades(3))
    ingester.runners[0]._writer.put(feed.poll(0))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert feed.closed
    assert await valkey.xlen("trades:{AAPL}") == 3


async def test_a_symbol_has_one_feed(valkey, valkey_url, make_config, hand_feed):
    """Its numbers could not count both."""
    config = make_config(valkey_url, feeds=[{"type": "simulated", "name": name} for name in ("one", "two")])
    with pytest.raises(ConfigError, match="AAPL is in both 'one' and 'two'"):
        Ingester(valkey, config, [hand_feed("AAPL"), hand_feed("MSFT", "AAPL")])


async def test_old_ticks_and_candles_are_forgotten(valkey, hand_feed, run, tape, wait_until):
    """By the feed's clock, and never the newest chunk."""
    feed = hand_feed("AAPL")
    ingester = await run(feed, retention={"ticks": "1h", "candles": {"1s": "1h"}})
    for _ in range(20):
        feed.give(*tape.trades(200, step=SECOND))
    await wait_until(lambda: ingester.runners[0].clock == tape.time)
    before = await valkey.zcard("ticker:index:{AAPL}:1s")
    minutes = await valkey.zcard("ticker:index:{AAPL}:1m")
    feed.give(clock=tape.time + HOUR - 1000 * SECOND)
    await wait_until(lambda: ingester.runners[0].clock == feed.clock)
    await ingester.tidy()
    kept = [int(fields[b"time"]) for _, fields in await valkey.xrange("trades:{AAPL}")]
    assert len(kept) < 4000
    assert all(tick.time in kept for tick in tape.ticks if tick.time >= feed.clock - HOUR)
    chunks = [int(field) for field in await valkey.zrange("ticker:index:{AAPL}:1s", 0, -1)]
    assert 1 < len(chunks) < before
    assert chunks[1] >= feed.clock - HOUR
    assert await valkey.hlen("ticker:candles:{AAPL}:1s") == len(chunks)
    assert await valkey.zcard("ticker:index:{AAPL}:1m") == minutes


async def test_the_archive_job_keeps_up_with_the_feeds(hand_feed, run, tape, wait_until, tmp_path, new_tape):
    """Of every symbol, again and again, in the background."""
    feed, archive_of = hand_feed("AAPL", "MSFT"), {"url": str(tmp_path / "archive"), "every": "1s"}
    ingester = await run(feed, archive=archive_of)
    other = new_tape("MSFT")
    reader = open_archive(ingester._config)
    for _ in range(2):
        feed.give(*tape.trades(5), *other.trades(3))
        await wait_until(lambda: len(archived(reader, "AAPL")) == len(tape.ticks))
        await wait_until(lambda: len(archived(reader, "MSFT")) == len(other.ticks))


async def test_a_feed_is_archived_once_it_has_begun_and_not_again_before_its_time(
    hand_feed, run, tape, wait_until, tmp_path, valkey
):
    """However seldom: whoever is restarted every day must not wait for a day."""
    feed = hand_feed("AAPL")
    feed.clock = 0
    ingester = await run(feed, archive={"url": str(tmp_path / "archive"), "every": "1d"})
    reader = open_archive(ingester._config)
    await ingester.archive()
    assert archived(reader, "AAPL") == []
    feed.give(*tape.trades(5))
    await wait_until(lambda: "hand" in ingester._archive_due_s)
    assert len(archived(reader, "AAPL")) == 5
    feed.give(*tape.trades(5))
    await wait_until(lambda: stream_length(valkey, 10))
    await ingester.archive()
    assert len(archived(reader, "AAPL")) == 5


async def test_a_symbol_that_cannot_be_archived_keeps_no_other_from_it(
    hand_feed, run, tape, new_tape, wait_until, tmp_path, valkey, caplog
):
    """What somebody has put into one stream concerns that alone."""
    feed, other = hand_feed("AAPL", "MSFT"), new_tape("MSFT")
    await valkey.xadd("quotes:{AAPL}", {"bid": "x", "time": "5", "seq": "1"}, "5-1")
    ingester = await run(feed, archive={"url": str(tmp_path / "archive"), "every": "1s"})
    feed.give(*tape.trades(3), *other.trades(4))
    await wait_until(lambda: len(archived(open_archive(ingester._config), "MSFT")) == 4)
    assert "AAPL cannot be archived for now: quotes 5-1 to 5-1 hold what is no tick of ours" in caplog.text


def archived(reader, symbol):
    reader.index.again("trades", symbol)
    return reader.ticks("trades", symbol, FIRST, END, 10**6, newest=False)


async def test_an_archive_that_cannot_be_written_stops_nobody(
    hand_feed, run, tape, wait_until, tmp_path, valkey, caplog, monkeypatch
):
    """Ticks go on; it is told, and tried again."""

    def refuse(self, path, content):
        raise ArchiveError("the archive: no space left")

    feed = hand_feed("AAPL")
    with monkeypatch.context() as full:
        full.setattr("ticker.archive.storage.LocalStorage.write", refuse)
        ingester = await run(feed, archive={"url": str(tmp_path / "archive"), "every": "1s"})
        feed.give(*tape.trades(5))
        await wait_until(lambda: "AAPL cannot be archived for now: the archive: no space left" in caplog.text)
        feed.give(*tape.trades(5))
        await wait_until(lambda: stream_length(valkey, 10))
    assert ingester.runners[0].state == "live"
    reader = open_archive(ingester._config)
    await wait_until(lambda: len(archived(reader, "AAPL")) == 10)


async def stream_length(valkey, wanted):
    return await valkey.xlen("trades:{AAPL}") == wanted


async def test_an_ingester_that_stands_by_tells_nothing(hand_feed, run, valkey, wait_until):
    """The one that writes is the only one whose clock and state gateways hear of."""
    feed, idle_feed = hand_feed("AAPL"), hand_feed("AAPL")
    await run(feed)
    idle = await run(idle_feed, wait=False)
    await wait_until(lambda: idle.runners[0].state == "standby")
    assert idle.status()["hand"]["state"] == "standby"
    await beats(valkey, 3)
    heard = await beats(valkey, 6)
    assert len({beat["ingester"] for beat in heard}) == 1
    assert {beat["feeds"]["hand"]["state"] for beat in heard} == {"live"}
    assert await valkey.hget(keys.CLOCKS, "hand") == str(feed.clock).encode()
    assert await valkey.hget(keys.OWNERS, "AAPL") == heard[0]["ingester"].encode()


async def test_an_ingester_that_was_replaced_tells_nothing_any_more(hand_feed, run, valkey, tape, wait_until, bury):
    """However it came about."""
    old_feed, new_feed = hand_feed("AAPL"), hand_feed("AAPL")
    old = await run(old_feed)
    new = await run(new_feed, wait=False)
    await wait_until(lambda: new.runners[0].state == "standby")

    async def taken_over():
        await valkey.delete(keys.writer(old._lease.id))
        return new.runners[0].state == "live"

    await wait_until(taken_over)
    old_feed.give(tape.trade())
    await wait_until(lambda: old.runners[0].state == "standby")
    new_feed.give(clock=old_feed.clock + SECOND)
    await beats(valkey, 3)
    heard = await beats(valkey, 6)
    assert {beat["feeds"]["hand"]["state"] for beat in heard} == {"live"}
    assert {beat["feeds"]["hand"]["clock"] for beat in heard} == {new_feed.clock}
    assert await valkey.hget(keys.CLOCKS, "hand") == str(new_feed.clock).encode()


async def test_a_feed_in_standby_need_not_wait_for_its_next_poll(hand_feed, run, valkey, wait_until):
    """That may be a minute away; the symbols are free a moment after the other has stopped in order."""
    first = await run(hand_feed("AAPL"))
    feed = hand_feed("AAPL")
    second = await run(feed, wait=False, poll_ms=60_000)
    await wait_until(lambda: second.runners[0].state == "standby")
    await run.stop(first)
    begun_ns = monotonic_ns()
    await wait_until(lambda: second.runners[0].state == "live")
    assert monotonic_ns() - begun_ns < 10**9
    assert feed.starts == 1


async def test_a_clean_stop_leaves_no_sign_of_life(hand_feed, run, valkey):
    """So nobody waits for it to run out."""
    ingester = await run(hand_feed("AAPL"))
    assert await valkey.exists(keys.writer(ingester._lease.id))
    await run.stop(ingester)
    assert not await valkey.exists(keys.writer(ingester._lease.id))


async def test_what_a_flush_has_taken_is_back_at_once(hand_feed, run, valkey, tape, wait_until):
    """Also where no tick comes any more: the heart notices. A second flush is no other."""
    feed = hand_feed("AAPL", "QUIET")
    await run(feed)
    feed.give(*tape.trades(5))
    await wait_until(lambda: stored(valkey, 5))
    for _ in range(2):
        epoch = await valkey.get("epoch:{AAPL}")
        await valkey.flushall()
        await wait_until(lambda: stored(valkey, 5), 2)
        assert await valkey.get("epoch:{AAPL}") != epoch
        await wait_until(lambda: valkey.hexists("symbols", "QUIET"), 2)


async def test_a_quiet_ingester_notices_that_it_was_replaced(hand_feed, run, valkey, wait_until):
    """Its sign of life finds that it had run out; it need not have a tick to append."""
    old = await run(hand_feed("AAPL"))
    await valkey.hset(keys.state("AAPL"), "fence", "9-other")
    await valkey.set(keys.writer("other"), "another process")
    await valkey.delete(keys.writer(old._lease.id))
    await wait_until(lambda: old.runners[0].state == "standby", 2)
    assert old.runners[0].reason == "AAPL is written by ingester other (another process)"


async def as_if_started_anew(client):
    """What the store knows of the run of the server is of another run."""
    await client.hset(keys.state("AAPL"), "server", "an-earlier-run")


async def test_a_clean_stop_and_start_keeps_the_epoch(hand_feed, run, valkey, tape, wait_until):
    """Whatever the server did meanwhile."""
    feed = hand_feed("AAPL")
    ingester = await run(feed)
    feed.give(*tape.trades(3))
    await wait_until(lambda: valkey.xlen("trades:{AAPL}"))
    epoch = await valkey.get("epoch:{AAPL}")
    await run.stop(ingester)
    await as_if_started_anew(valkey)
    feed = hand_feed("AAPL")
    await run(feed)
    feed.give(*tape.trades(3))
    await wait_until(lambda: stored(valkey, 6))
    assert await valkey.get("epoch:{AAPL}") == epoch
    assert await valkey.hgetall(keys.epochs("AAPL")) == {}


async def stored(client, count):
    return await client.xlen("trades:{AAPL}") == count


@pytest.mark.parametrize("how", ["killed", "restored"])
async def test_where_numbers_may_be_lost_an_epoch_begins_with_the_next_tick(
    hand_feed, run, valkey, tape, wait_until, how, bury
):
    """Also where this ingester stops before it had one; what the old epoch was is kept."""
    feed = hand_feed("AAPL")
    ingester = await run(feed)
    feed.give(*tape.trades(3), tape.quote())
    await wait_until(lambda: valkey.xlen("trades:{AAPL}"))
    epoch = await valkey.get("epoch:{AAPL}")
    await run.stop(ingester)
    restored = how == "restored"
    if how == "killed":
        await as_if_started_anew(valkey)
        await valkey.delete(keys.CLEAN)
        idle = await run(hand_feed("AAPL"))
        await run.stop(idle)
        await valkey.delete(keys.CLEAN)
    feed = hand_feed("AAPL")
    await run(feed, restored=restored)
    assert await valkey.get("epoch:{AAPL}") == epoch
    feed.give(*tape.trades(3))
    await wait_until(lambda: stored(valkey, 6))
    assert await valkey.get("epoch:{AAPL}") != epoch
    assert await valkey.hgetall(keys.epochs("AAPL")) == {epoch: b"3 1"}
    entries = await valkey.xrange("trades:{AAPL}")
    assert [int(fields[b"seq"]) for _, fields in entries] == [1, 2, 3, 4, 5, 6]
    run_id = (await valkey.info("server"))["run_id"]
    assert (await valkey.hget(keys.state("AAPL"), "server")).decode() == run_id


TUESDAY, CLOSE = 1_795_530_600 * SECOND, 1_795_554_000 * SECOND
"""The session of 2026-11-24 in New York, 14:30 to 21:00 UTC."""
NEXT_OPEN = TUESDAY + 24 * HOUR


class Wall:
    """A wall clock that runs, and can be set."""

    def __init__(self, now: int) -> None:
        self.set(now)

    def set(self, now: int) -> None:
        self._offset = now - monotonic_ns() // 1000

    def __call__(self) -> int:
        return monotonic_ns() // 1000 + self._offset


@pytest.fixture
async def run_sessions(valkey, valkey_url, make_config, hand_feed, wait_until):
    """Runs a feed that keeps the sessions of New York, from some moment on; its polls follow its own clock."""
    tasks = []

    async def run_sessions(now, poll_ms=5, feed=None, **market):
        wall, feed = Wall(now), feed or hand_feed("AAPL")
        feed.clock = now
        feeds = [{"type": "simulated", "name": "hand", "poll_ms": poll_ms, "trading_hours": "sessions"}]
        ingester = Ingester(valkey, make_config(valkey_url, feeds=feeds, market=market), [feed], wall)
        tasks.append(asyncio.create_task(ingester.run()))
        await wait_until(lambda: feed.starts)
        return ingester.runners[0], feed, wall

    try:
        yield run_sessions
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_scheduled_job_closes_a_feed_at_the_moment_of_the_close(run_sessions, wait_until):
    """Not the next poll, which may be a minute away."""
    runner, feed, wall = await run_sessions(CLOSE - HOUR, poll_ms=60_000)
    await wait_until(lambda: feed.polls and runner.state == "live")
    wall.set(CLOSE - SECOND)
    await wait_until(lambda: runner.state == "closed")
    assert CLOSE <= wall() < CLOSE + 10 * SECOND
    await wait_until(lambda: feed.polled_at[-1] == CLOSE - 1)
    assert all(time < CLOSE - 1 for time in feed.polled_at[:-1])


async def test_a_scheduled_job_opens_a_feed_at_the_moment_of_the_open(run_sessions, wait_until):
    """A feed that begins before it is closed until then."""
    runner, feed, wall = await run_sessions(TUESDAY - HOUR, poll_ms=60_000)
    await wait_until(lambda: runner.state == "closed")
    assert feed.polled_at == []
    wall.set(TUESDAY - SECOND)
    await wait_until(lambda: feed.polls)
    assert runner.state == "live"
    assert TUESDAY <= feed.polled_at[0] < TUESDAY + 10 * SECOND


async def test_gateways_hear_that_a_feed_is_closed_while_its_clock_goes_on(run_sessions, valkey, wait_until, tape):
    """The heartbeat has the reason; the last candles of the session close and are published."""
    runner, feed, wall = await run_sessions(CLOSE - HOUR)
    async with valkey.pubsub() as pubsub:
        await pubsub.subscribe("candles:{AAPL}")
        feed.give(tape.trade(time=CLOSE - SECOND))
        await wait_until(lambda: valkey.xlen("trades:{AAPL}"))
        wall.set(CLOSE - SECOND // 2)
        await wait_until(lambda: runner.state == "closed" and feed.polled_at[-1] == CLOSE - 1)
        polls = feed.polls
        beat = (await beats(valkey, 3))[-1]["feeds"]["hand"]
        assert (beat["state"], beat["reason"]) == ("closed", "XNYS opens 2026-11-25 14:30Z")
        assert beat["clock"] >= CLOSE
        candle = None
        while candle is None or candle["type"] != "message":
            candle = await pubsub.get_message(timeout=10)
    message = json.loads(candle["data"])
    assert (message["time"], message["trades"], message["final"]) == (CLOSE - 60 * SECOND, 1, True)
    assert feed.polls == polls


async def test_a_clock_that_is_set_over_opens_and_closes_leaves_the_feed_in_the_right_state(run_sessions, wait_until):
    """Forward and back; the jobs are planned anew, and go on from there."""
    runner, feed, wall = await run_sessions(CLOSE - HOUR, poll_ms=60_000)
    await wait_until(lambda: feed.polls and runner.state == "live")
    for now, state in (
        (CLOSE + HOUR, "closed"),
        (CLOSE - HOUR, "live"),
        (NEXT_OPEN - HOUR, "closed"),
        (NEXT_OPEN + HOUR, "live"),
        (TUESDAY - HOUR, "closed"),
        (CLOSE - HOUR, "live"),
    ):
        wall.set(now)
        await wait_until(lambda state=state: runner.state == state)
    wall.set(CLOSE - SECOND)
    await wait_until(lambda: runner.state == "closed" and feed.polled_at[-1] == CLOSE - 1)
    assert all(TUESDAY <= time < CLOSE or time >= NEXT_OPEN for time in feed.polled_at)


async def test_a_feed_that_begins_in_closed_hours_has_its_history_at_once(run_sessions, past_feed, valkey, wait_until):
    """Who starts on a weekend sees Friday's chart."""
    _, feed, _ = await run_sessions(TUESDAY - HOUR, feed=past_feed("AAPL"))
    await wait_until(lambda: valkey.hlen("ticker:candles:{AAPL}:1m"))
    assert feed.polls == 0


async def test_an_ingester_refuses_a_calendar_that_there_is_not(valkey, valkey_url, make_config, hand_feed):
    """Where a feed keeps its sessions."""
    feeds = [{"type": "simulated", "name": "hand", "trading_hours": "sessions"}]
    with pytest.raises(ConfigError, match=r"market\.calendar: 'XXXX' is no exchange calendar"):
        Ingester(valkey, make_config(valkey_url, feeds=feeds, market={"calendar": "XXXX"}), [hand_feed("AAPL")])


@pytest.mark.parametrize(
    ("last", "found"),
    [
        pytest.param(CLOSE + HOUR, [], id="over a night"),
        pytest.param(CLOSE - HOUR, [(CLOSE - HOUR, CLOSE)], id="over a close"),
        pytest.param(TUESDAY - HOUR, [(TUESDAY, CLOSE)], id="over a session"),
    ],
)
async def test_an_outage_is_what_fell_into_the_hours_of_the_feed(run_sessions, valkey, wait_until, last, found):
    """Nobody has missed anything of a market that was closed."""
    async with valkey.pipeline() as pipe:
        outages.put(pipe, "hand", outages.Beat(last), [])
        await pipe.execute()
    now = NEXT_OPEN - HOUR
    await run_sessions(now)

    async def has_beaten():
        beat = await outages.last_beat(valkey, "hand")
        return beat.time >= now

    await wait_until(has_beaten)
    rows, _ = await outages.read(valkey, "hand")
    assert [(row.begin, row.end) for row in rows] == found
    assert {row.reason for row in rows} <= {"no ingester was there"}
