import asyncio
import logging

import pytest

from feeds.feed import Batch, FeedError
from ticker import metrics
from ticker.calendar import sessions
from ticker.candles.interval import STORED
from ticker.ingest import feed_runner
from ticker.ingest.feed_runner import FeedRunner
from ticker.ingest.opening import Opening
from ticker.store.connection import connect
from ticker.store.embedded import EmbeddedServer


@pytest.fixture
def feed(hand_feed):
    return hand_feed("AAPL")


@pytest.fixture
def new_runner(new_writer):
    """Makes runners of a feed on a client."""

    def new_runner(client, feed, buffered=1000):
        return FeedRunner("hand", feed, new_writer(client).batches, buffered, lambda: feed.clock)

    return new_runner


@pytest.fixture
def runner(valkey, feed, new_runner):
    return new_runner(valkey, feed)


async def test_a_poll_starts_the_feed_and_stores_what_it_gives(valkey, feed, runner, tape):
    """With what the store holds; the clock follows what is stored."""
    feed.give(*tape.trades(3), cursor="c3")
    assert (runner.state, runner.clock) == ("starting", 0)
    await runner.poll()
    assert (runner.state, runner.clock, feed.starts, feed.stored) == ("live", tape.time, 1, {})
    assert await valkey.xlen("trades:{AAPL}") == 3
    await runner.poll()
    assert feed.starts == 1


async def test_a_feed_goes_on_behind_what_is_stored(valkey, feed, runner, new_runner, hand_feed, tape, bury):
    """A later run is told the time of the newest tick and the cursor."""
    feed.give(*tape.trades(3), cursor="c3")
    await runner.poll()
    await runner.close()
    assert feed.closed
    await bury(valkey)
    later = hand_feed("AAPL")
    await new_runner(valkey, later).poll()
    assert (later.stored["AAPL"].time, later.stored["AAPL"].cursor) == (tape.time, "c3")


async def test_a_feed_that_raises_is_started_again_later(feed, runner, tape, monkeypatch, wait_until):
    """`retrying` with the reason, then `live`; what it gave before is kept."""
    monkeypatch.setattr(feed_runner, "BACKOFF_FIRST_S", 0.02)
    runner._backoff_s = 0.02
    await runner.poll()
    feed.raises.append(ValueError("no line"))
    await runner.poll()
    assert (runner.state, runner.reason) == ("retrying", "ValueError: no line")
    polls = feed.polls
    await runner.poll()
    assert feed.polls == polls

    async def is_live():
        await runner.poll()
        return runner.state == "live"

    await wait_until(is_live)
    assert feed.starts == 2
    assert runner.reason == ""


async def test_a_feed_that_cannot_go_on_is_not_tried_again(feed, runner):
    """Its own words are the reason."""
    feed.raises.append(FeedError("trades.csv line 7: no price"))
    await runner.poll()
    assert (runner.state, runner.reason) == ("failed", "trades.csv line 7: no price")
    polls = feed.polls
    await runner.poll()
    assert feed.polls == polls


@pytest.fixture
def at_once(monkeypatch):
    """A feed in standby tries at every poll."""
    monkeypatch.setattr(feed_runner, "STANDBY_S", 0.0)


async def test_a_runner_stands_by_while_another_writes(valkey, feed, runner, new_runner, hand_feed, at_once, caplog):
    """Its feed is not started, and one line says why."""
    await runner.poll()
    second = hand_feed("AAPL", "MSFT")
    other = new_runner(valkey, second)
    assert other.is_writing
    for _ in range(3):
        await other.poll()
    assert (other.state, other.is_writing, second.starts, second.polls) == ("standby", False, 0, 0)
    assert other.reason.startswith("AAPL is written by ingester ")
    assert len([line for line in caplog.messages if "stands by" in line]) == 1
    await other.close()


async def test_a_runner_takes_over_when_the_other_has_ended(valkey, feed, runner, new_runner, at_once, tape, bury):
    """From what is stored, under the same epoch."""
    feed.give(*tape.trades(3), cursor="c3")
    await runner.poll()
    epoch = await valkey.get("epoch:{AAPL}")
    second = type(feed)("AAPL")
    other = new_runner(valkey, second)
    await other.poll()
    second.give(*tape.trades(2))
    await other.poll()
    assert (other.state, second.polls) == ("standby", 0)
    await bury(valkey)
    await other.poll()
    assert (other.state, other.reason, other.is_writing, second.stored["AAPL"].cursor) == ("live", "", True, "c3")
    entries = await valkey.xrange("trades:{AAPL}")
    assert [int(fields[b"seq"]) for _, fields in entries] == [1, 2, 3, 4, 5]
    assert await valkey.get("epoch:{AAPL}") == epoch


def dropped():
    return metrics.DROPPED.labels("hand")._value.get()


async def test_a_runner_that_was_replaced_stands_by(valkey, feed, runner, new_runner, at_once, tape, bury, caplog):
    """What it had not stored is dropped, said and counted; the other goes on alone; nothing is stored twice."""
    feed.give(*tape.trades(3))
    await runner.poll()
    await bury(valkey)
    other = new_runner(valkey, type(feed)("AAPL"))
    await other.poll()
    feed.give(*tape.trades(4))
    before = dropped()
    for _ in range(3):
        await runner.poll()
    assert (runner.state, runner.is_writing, runner.clock, feed.closed) == ("standby", False, 0, True)
    assert dropped() == before + 4
    assert "feed hand: replaced; 4 ticks were not stored" in caplog.messages
    assert other.state == "live"
    assert await valkey.xlen("trades:{AAPL}") == 3
    await runner.close()


async def test_a_runner_that_was_replaced_takes_over_again(valkey, feed, runner, new_runner, at_once, tape, bury):
    """Its feed is started anew, behind what the other has stored meanwhile."""
    feed.give(*tape.trades(3))
    await runner.poll()
    await bury(valkey)
    second = type(feed)("AAPL")
    other = new_runner(valkey, second)
    await other.poll()
    second.give(*tape.trades(2), cursor="c5")
    await other.poll()
    feed.give(tape.ticks[0])
    await runner.poll()
    assert runner.state == "standby"
    await bury(valkey)
    feed.give(*tape.trades(2))
    await runner.poll()
    assert (runner.state, feed.starts, feed.stored["AAPL"].cursor) == ("live", 2, "c5")
    entries = await valkey.xrange("trades:{AAPL}")
    assert [int(fields[b"seq"]) for _, fields in entries] == list(range(1, 8))
    assert [float(fields[b"price"]) for _, fields in entries] == [tick.price for tick in tape.ticks]


@pytest.mark.limit("buffered_ticks")
async def test_while_the_store_is_away_ticks_are_taken_up_to_the_limit(tmp_path, free_port, feed, new_runner, tape):
    """A live source does not send them again; what is beyond the limit stays with the feed."""
    with EmbeddedServer(tmp_path / "data", free_port()) as server:
        async with connect(server.url) as client:
            runner = new_runner(client, feed, buffered=10)
            await runner.poll()
            server.stop()
            for _ in range(8):
                feed.give(*tape.trades(4))
                await runner.poll()
            assert runner.state == "waiting"
            # An empty batch counts as one: it is kept for its clock.
            assert runner._writer.buffered == 10
            server.start()
            while await client.xlen("trades:{AAPL}") < 32:
                await runner.poll()
            entries = await client.xrange("trades:{AAPL}")
            assert [int(fields[b"seq"]) for _, fields in entries] == list(range(1, 33))
            assert [float(fields[b"price"]) for _, fields in entries] == [tick.price for tick in tape.ticks]
            await runner.close()


SECOND = 1_000_000
HOUR = 3600 * SECOND
OPEN, CLOSE, NEXT_OPEN = (1_795_789_800 * SECOND, 1_795_802_400 * SECOND, 1_796_049_000 * SECOND)
"""The half session of 2026-11-27 in New York, 14:30 to 18:00 UTC, and the open on Monday."""


@pytest.fixture
def hours(hand_feed, new_writer, valkey):
    """A feed that keeps the sessions of New York, by a clock in the test's hands."""

    class Hours:
        def __init__(self) -> None:
            self.now = CLOSE - 10 * SECOND
            self.feed = PunctualFeed(hand_feed("AAPL"))
            self.runner = self.start()

        def start(self, client=valkey) -> FeedRunner:
            """A runner that begins now."""
            opening = Opening("XNYS", sessions("XNYS", 2026), self.now, 60 * SECOND)
            self.runner = FeedRunner(
                "hand", self.feed, new_writer(client).batches, 100_000, lambda: self.now, opening=opening
            )
            return self.runner

        async def poll_at(self, now: int) -> None:
            self.now = now
            await self.runner.poll()

        async def keep_hours_at(self, now: int) -> None:
            self.now = now
            await self.runner.keep_hours()

        async def stored(self) -> list[int]:
            return [int(fields[b"time"]) for _, fields in await valkey.xrange("trades:{AAPL}")]

    return Hours()


class PunctualFeed:
    """Gives the trades of a tape when their time has come, a few with each poll; remembers what it was asked."""

    def __init__(self, hand) -> None:
        self.hand = hand
        self.symbols, self.start, self.close = hand.symbols, hand.start, hand.close
        self.due = []
        self.at_most = 1000

    def poll(self, now_us):
        self.hand.poll(now_us)
        due = [tick for tick in self.due if tick.time <= now_us]
        given, more = due[: self.at_most], len(due) > self.at_most
        self.due = [tick for tick in self.due if tick not in given]
        return Batch(given, now_us, more=more)


AROUND = [CLOSE - 5 * SECOND, CLOSE - 1, CLOSE, CLOSE + 1, CLOSE + SECOND]


async def test_a_feed_is_polled_up_to_its_close_and_no_further(hours, tape, new_writer, valkey, caplog):
    """The last trade of the session is stored, the first after it is not; then the last minute closes by the clock."""
    hours.feed.due = [tape.trade(time=time) for time in AROUND]
    with caplog.at_level(logging.INFO):
        await hours.poll_at(CLOSE - 10 * SECOND)
        assert (hours.runner.state, hours.runner.reason) == ("live", "")
        await hours.keep_hours_at(CLOSE + 300_000)
    assert await hours.stored() == [CLOSE - 5 * SECOND, CLOSE - 1]
    assert (hours.runner.state, hours.runner.reason) == ("closed", "XNYS opens 2026-11-30 14:30Z")
    assert hours.feed.hand.polled_at == [CLOSE - 10 * SECOND, CLOSE - 1]
    candles = new_writer(valkey).candles
    assert [list(chunk.rows()) for chunk in await candles.tail("AAPL", STORED[1], 0)] == []
    await hours.poll_at(CLOSE + 500_000)
    await hours.poll_at(CLOSE + HOUR)
    assert hours.runner.clock == CLOSE + HOUR
    (minute,) = [row for chunk in await candles.tail("AAPL", STORED[1], 0) for row in chunk.rows()]
    assert (minute.time, minute.trades) == (CLOSE - 60 * SECOND, 2)
    assert hours.feed.hand.polled_at == [CLOSE - 10 * SECOND, CLOSE - 1]
    assert [line for line in caplog.messages if "XNYS" in line] == [
        "feed hand: XNYS open until 2026-11-27 18:00Z",
        "feed hand: XNYS closed until 2026-11-30 14:30Z",
    ]


async def test_a_feed_opens_and_is_polled_at_once(hours, tape):
    """At the very moment of the open, and not before it."""
    await hours.keep_hours_at(CLOSE)
    asked = list(hours.feed.hand.polled_at)
    hours.feed.due = [tape.trade(time=NEXT_OPEN - 1), tape.trade(time=NEXT_OPEN)]
    await hours.poll_at(NEXT_OPEN - 1)
    assert (hours.runner.state, await hours.stored()) == ("closed", [])
    hours.feed.due.pop(0)
    await hours.keep_hours_at(NEXT_OPEN)
    assert (hours.runner.state, await hours.stored()) == ("live", [NEXT_OPEN])
    assert hours.feed.hand.polled_at == [*asked, NEXT_OPEN]


async def test_a_feed_that_begins_in_closed_hours_is_started_but_not_polled(hours, valkey):
    """Its symbols are claimed and its clock runs; it opens like any other."""
    hours.now = CLOSE + 24 * HOUR
    hours.start()
    assert hours.runner.state == "starting"
    await hours.runner.keep_hours()
    assert (hours.runner.state, hours.runner.clock) == ("closed", hours.now)
    assert (hours.feed.hand.starts, hours.feed.hand.polls) == (1, 0)
    await hours.keep_hours_at(NEXT_OPEN)
    assert (hours.runner.state, hours.feed.hand.polled_at) == ("live", [NEXT_OPEN])


async def test_what_a_kill_before_the_close_has_cost_is_made_up_after_it(hours, tape, bury, valkey):
    """By a restart that comes before the ticks would be too late."""
    hours.feed.due = [tape.trade(time=CLOSE - 5 * SECOND), tape.trade(time=CLOSE - 1), tape.trade(time=CLOSE)]
    await hours.poll_at(CLOSE - 5 * SECOND)
    hours.now = CLOSE + 20 * SECOND
    await bury(valkey)
    hours.start()
    await hours.runner.keep_hours()
    await hours.runner.poll()
    assert await hours.stored() == [CLOSE - 5 * SECOND, CLOSE - 1]
    assert (hours.runner.state, hours.runner.clock) == ("closed", hours.now)


async def test_a_close_goes_on_until_the_feed_has_given_everything(hours, tape, monkeypatch):
    """Also where that takes more than one turn."""
    monkeypatch.setattr(feed_runner, "TURN_S", 0)
    hours.feed.at_most = 2
    hours.feed.due = [tape.trade(time=CLOSE - 5 * SECOND + n) for n in range(7)] + [tape.trade(time=CLOSE)]
    await hours.poll_at(CLOSE - 10 * SECOND)
    await hours.keep_hours_at(CLOSE + 1)
    assert (hours.runner.state, len(await hours.stored())) == ("closed", 2)
    for turn in range(6):
        await hours.poll_at(CLOSE + 2 + turn)
    assert len(await hours.stored()) == 7
    assert hours.feed.hand.polled_at == [CLOSE - 10 * SECOND] + [CLOSE - 1] * 4


@pytest.mark.parametrize("by_job", [True, False], ids=["job", "poll"])
async def test_the_clock_may_be_set_over_a_close_and_back(hours, tape, by_job):
    """The feed is in the right state at the next job or poll, whichever comes first, and is never asked for closed hours."""
    look_at = hours.keep_hours_at if by_job else hours.poll_at
    await look_at(CLOSE - 10 * SECOND)
    hours.feed.due = [tape.trade(time=CLOSE - 5 * SECOND), tape.trade(time=CLOSE + HOUR)]
    await look_at(CLOSE + 2 * HOUR)
    assert hours.runner.state == "closed"
    assert await hours.stored() == [CLOSE - 5 * SECOND]
    await look_at(OPEN + HOUR)
    assert hours.runner.state == "live"
    await look_at(NEXT_OPEN + HOUR)
    assert hours.runner.state == "live"
    await look_at(CLOSE + 5 * HOUR)
    assert hours.runner.state == "closed"
    calendar = sessions("XNYS", 2026)
    assert all(calendar.is_open(time) for time in hours.feed.hand.polled_at)


async def test_a_close_while_the_store_is_away_is_made_up_for(tmp_path, free_port, hours, tape):
    """`waiting` weighs more; once the store is back the last ticks are stored, and the feed is closed."""
    with EmbeddedServer(tmp_path / "data", free_port()) as server:
        async with connect(server.url) as client:
            hours.start(client)
            await hours.poll_at(CLOSE - 10 * SECOND)
            server.stop()
            hours.feed.due = [tape.trade(time=time) for time in AROUND]
            await hours.poll_at(CLOSE - 5 * SECOND)
            await hours.keep_hours_at(CLOSE)
            assert hours.runner.state == "waiting"
            for n in range(5):
                await hours.poll_at(CLOSE + n * SECOND)
            # Ticks of the session wait, but no clocks of the time after it.
            assert hours.runner._writer.buffered <= 4
            server.start()
            while hours.runner.state == "waiting":
                await hours.runner.poll()
            assert (hours.runner.state, hours.runner.reason) == ("closed", "XNYS opens 2026-11-30 14:30Z")
            await hours.runner.poll()
            entries = await client.xrange("trades:{AAPL}")
            assert [int(fields[b"time"]) for _, fields in entries] == [CLOSE - 5 * SECOND, CLOSE - 1]
            assert hours.runner.clock == hours.now
            await hours.runner.close()


async def test_an_open_while_the_store_is_away_is_kept_too(tmp_path, free_port, hours):
    """It is live when the store is back, without another job."""
    with EmbeddedServer(tmp_path / "data", free_port()) as server:
        async with connect(server.url) as client:
            hours.now = NEXT_OPEN - SECOND
            hours.start(client)
            await hours.keep_hours_at(NEXT_OPEN - SECOND)
            server.stop()
            await hours.keep_hours_at(NEXT_OPEN)
            server.start()
            while hours.runner.state != "live":
                assert hours.runner.state in ("waiting", "closed")
                await hours.runner.poll()
            await hours.runner.close()


async def test_a_feed_that_fails_at_its_close_is_polled_for_it_once_more(hours, tape, wait_until):
    """`retrying` first, then what it gives is stored, and it is closed."""
    await hours.poll_at(CLOSE - 10 * SECOND)
    hours.runner._backoff_s = 0.01
    hours.feed.due = [tape.trade(time=CLOSE - 1)]
    hours.feed.hand.raises.append(ValueError("no line"))
    await hours.keep_hours_at(CLOSE)
    assert hours.runner.state == "retrying"

    async def is_closed():
        await hours.runner.poll()
        return hours.runner.state == "closed"

    await wait_until(is_closed)
    assert await hours.stored() == [CLOSE - 1]
    assert hours.feed.hand.starts == 2


async def test_jobs_of_polls_and_of_hours_take_turns(hours, tape):
    """They may be due at the same moment, but a batch is stored once and in order."""
    hours.feed.due = [tape.trade(time=time) for time in AROUND]
    await hours.poll_at(CLOSE - 10 * SECOND)
    hours.now = CLOSE
    await asyncio.gather(*(job() for job in [hours.runner.poll, hours.runner.keep_hours] * 3))
    assert await hours.stored() == [CLOSE - 5 * SECOND, CLOSE - 1]
    assert hours.feed.hand.polled_at == [CLOSE - 10 * SECOND, CLOSE - 1]


async def test_the_end_of_a_calendar_is_told_before_and_as_a_failure(hours, caplog):
    """Shanghai's is known for a year: a warning in its last month, and no silence after it."""
    calendar = sessions("XSHG", 2026)
    opened, closed = calendar.between(0, 1 << 53)[-1]
    hours.now = opened - 1
    hours.runner._opening = Opening("XSHG", calendar, hours.now, 0)
    await hours.keep_hours_at(opened)
    assert "its calendar ends within 30 days; update the package exchange_calendars" in caplog.text
    await hours.keep_hours_at(closed)
    assert hours.runner.state == "failed"
    assert hours.runner.reason == "XSHG closed, and no later session is known; update the package exchange_calendars"
    await hours.poll_at(closed + HOUR)
    assert hours.runner.clock == closed + HOUR


async def test_the_reason_of_a_failure_has_no_secrets(feed, runner):
    """It goes to clients and logs, and libraries quote addresses with all that is in them."""
    feed.raises.append(ValueError("for url 'https://u:hunter2@feed.example/v1?key=hunter2'"))
    await runner.poll()
    assert runner.reason == "ValueError: for url 'https://***@feed.example/v1?key=***'"
    feed.raises.append(FeedError("https://u:hunter2@feed.example is gone"))
    runner._retry_at_s = 0
    await runner.poll()
    assert runner.reason == "https://***@feed.example is gone"
