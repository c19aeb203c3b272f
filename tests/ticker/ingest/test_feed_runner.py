import pytest

from feeds.feed import FeedError
from ticker.ingest import feed_runner
from ticker.ingest.feed_runner import FeedRunner
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


async def test_a_feed_goes_on_behind_what_is_stored(valkey, feed, runner, new_runner, hand_feed, tape):
    """A later run is told the time of the newest tick and the cursor."""
    feed.give(*tape.trades(3), cursor="c3")
    await runner.poll()
    await runner.close()
    assert feed.closed
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


async def test_a_runner_that_was_replaced_stops_with_one_clear_reason(valkey, feed, runner, new_runner, tape, caplog):
    """The other ingester goes on alone; nothing is stored twice, and one line says what happened."""
    feed.give(*tape.trades(3))
    await runner.poll()
    other = new_runner(valkey, type(feed)("AAPL"))
    await other.poll()
    feed.give(*tape.trades(3))
    for _ in range(3):
        await runner.poll()
    assert runner.state == "failed"
    assert "another ingester" in runner.reason
    assert "stop one of the two" in runner.reason
    assert len([record for record in caplog.records if "another ingester" in record.message]) == 1
    assert other.state == "live"
    assert await valkey.xlen("trades:{AAPL}") == 3
    await runner.close()


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
