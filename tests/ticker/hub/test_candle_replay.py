"""Resuming on candles while trades, resets and the client itself come in between; over a real store."""

import asyncio

import pytest

from ticker.history.candles_since import CandlesSince
from ticker.hub.candle_replay import CandleReplay, CandleUpstream
from ticker.hub.forming import Forming
from ticker.hub.pace import Pace
from ticker.hub.resume import Position
from ticker.hub.topic import EVERY_MESSAGE, Delivery, Topic
from ticker.hub.track import Track

SECOND = 1_000_000
MINUTE = 60 * SECOND
TOPIC = Topic("candles", "AAPL", "1m")


class Interrupted(CandlesSince):
    """Stored candles; `before` and `after` are called once, around the reading of a page."""

    before = after = None

    async def closed(self, symbol, interval, start, end):
        before, self.before = self.before, None
        if before:
            await before()
        page = await super().closed(symbol, interval, start, end)
        after, self.after = self.after, None
        if after:
            await after()
        return page


class Tracks:
    """What a relay knows: one symbol, of which no more will come than has."""

    def __init__(self, track):
        self._track = track

    def track_of(self, topic):
        return self._track

    async def reach(self, items):
        """Who is ahead waits in vain."""


class Scene:
    """A client that resumes; trades pass when the test says so."""

    def __init__(self, stored, hub, client):
        self.free, self.loading = stored.free, stored.loading
        self.stored, self.hub, self.client = stored, hub, client
        self.past = Interrupted(stored.writer.candles, stored.zone, MINUTE, MINUTE)
        self.forming = Forming(hub, stored.load, self.past, most=100)
        self.track = Track("trades", "AAPL")
        tracks, ends = Tracks(self.track), stored.writer.streams.ends
        self.upstream = CandleUpstream(hub, tracks, self.forming, self.past, ends, Pace(8))

    async def tip(self):
        """The epoch and number of the store, as the relay has them too."""
        (tip,) = await self.stored.writer.streams.tips("trades", ["AAPL"])
        self.track.epoch, self.track.seq = tip.epoch, tip.end.seq
        return Position(tip.epoch, tip.end.seq)

    async def resume(self, seq, delivery=EVERY_MESSAGE, topic=TOPIC):
        """A replay that has been answered."""
        epoch, _ = await self.tip()
        await self.forming.watch(topic)
        replay = CandleReplay(self.client.subscriber, asyncio.Event(), self.upstream, {topic: Position(epoch, seq)})
        await replay.prepare(delivery)
        assert replay.current
        self.hub.join(self.client.subscriber, [topic], delivery, [topic])
        return replay

    async def pass_on(self, *seqs):
        """Stored trades go out to the subscribers."""
        for seq in await self.stored.pass_on(self.forming, *seqs):
            self.track.seq = seq

    async def begin_again(self, *ticks):
        """The store is emptied, and these are what a new epoch begins with."""
        await self.stored.writer.client.flushall()
        await self.stored.writer.write(*ticks)
        await self.tip()
        self.track.floors.append(0)
        self.forming.invalidate("AAPL", 0)

    @property
    def got(self):
        return [(m["seq"], m.get("trades", m["type"]), m.get("final")) for m in self.client.got]


@pytest.fixture
def scene(stored, hub, make_client):
    return Scene(stored, hub, make_client(hub))


@pytest.mark.parametrize("clock", [0, 600_000], ids=["not closed", "closed"])
async def test_a_candle_that_a_late_trade_opens_among_read_ones_is_sent_once(scene, writer, tape, noon, clock):
    """The store had the trade when its closed candles were read, with its candle among them or not; the fold had neither."""
    await writer.write(tape.trade(time=noon))
    await writer.write(tape.trade(time=noon + 10 * MINUTE), clock=noon + 10 * MINUTE)
    replay = await scene.resume(0)

    async def late():
        await writer.write(tape.trade(time=noon + 9 * MINUTE + 30 * SECOND), clock=noon + 10 * MINUTE + clock)

    async def close():
        await scene.pass_on(3)
        scene.forming.close(lambda symbol: noon + 10 * MINUTE + 600_000)

    scene.past.before, scene.past.after = late, close
    await replay.run(1 << 16)
    assert scene.got == [(1, 1, True), (2, 1, False), (3, 1, True)]


async def test_what_is_left_of_a_candle_after_a_reset_is_sent(scene, writer, tape, noon):
    """Trades above 2 are withdrawn, and the candle that the client has holds some of them."""
    await writer.write(tape.trade(time=noon - 5 * MINUTE), clock=noon - 5 * MINUTE)
    await writer.write(tape.trade(time=noon), clock=noon)
    replay = await scene.resume(4)
    assert replay.recovered(EVERY_MESSAGE) == {"AAPL": False}
    await replay.run(1 << 16)
    assert scene.got == [(2, "reset", None), (2, 1, False)]


async def test_a_reset_while_a_replay_is_under_way_withdraws_what_was_read(scene, writer, tape, noon):
    """Of the old epoch nothing comes behind it; of the new one, all."""
    await writer.write(*tape.trades(3))
    await writer.write(tape.trade(time=noon + 10 * MINUTE), clock=noon + 10 * MINUTE)
    replay = await scene.resume(0)

    async def lose():
        await scene.begin_again(tape.trade(time=noon + 10 * MINUTE), tape.trade(time=noon + 10 * MINUTE + SECOND))

    scene.past.after = lose
    await replay.run(1 << 16)
    assert scene.got == [(0, "reset", None), (2, 2, False)]
    assert scene.client.got[0]["epoch"] == scene.track.epoch
    await scene.pass_on(2)
    scene.forming.publish()
    assert len(scene.got) == 2


async def test_a_client_that_leaves_while_candles_are_read_leaves_no_fold_behind(scene, writer, tape):
    """With nobody to hold its trades it would stand still, and whoever came next would join it as it is."""
    await writer.write(*tape.trades(3))
    replay = await scene.resume(0)
    scene.forming.invalidate("AAPL")
    scene.free.clear()
    scene.loading.clear()
    running = asyncio.create_task(replay.run(1 << 16))
    await scene.loading.wait()
    scene.client.leave(TOPIC)
    replay.drop_left()
    for _ in range(2):
        scene.forming.sweep(scene.hub.wanted)
    assert not scene.forming.folds("AAPL")
    scene.free.set()
    await running
    assert not scene.forming.folds("AAPL")
    assert scene.client.got == []


async def test_a_fold_is_not_swept_while_somebody_is_brought_up_to_it(scene, writer, tape, noon):
    """Nobody else has it, and the client does not get it yet."""
    await writer.write(tape.trade(time=noon))
    await writer.write(tape.trade(time=noon + 10 * MINUTE), clock=noon + 10 * MINUTE)
    replay = await scene.resume(0)
    fold = scene.forming.fold_of(TOPIC)

    async def sweep():
        for _ in range(3):
            scene.forming.sweep(scene.hub.wanted)

    scene.past.after = sweep
    await replay.run(1 << 16)
    await sweep()
    assert scene.forming.fold_of(TOPIC) is fold
    assert scene.got == [(1, 1, True), (2, 1, False)]


async def test_the_latest_of_candles_is_each_as_it_stands(scene, writer, tape, noon):
    """Nothing was skipped of a candle: it comes once; live goes on behind it."""
    await writer.write(tape.trade(time=noon), tape.trade(time=noon + SECOND))
    await writer.write(tape.trade(time=noon + 10 * MINUTE), clock=noon + 10 * MINUTE)
    replay = await scene.resume(1, Delivery(100))
    await replay.run(1 << 16)
    await writer.write(tape.trade(time=noon + 10 * MINUTE + SECOND))
    await scene.pass_on(4)
    scene.forming.publish()
    assert scene.got == [(2, 2, True), (3, 1, False), (4, 2, False)]
    assert [m["skipped"] for m in scene.client.got] == [0, 0, 0]


async def test_what_the_fold_holds_goes_out_as_fast_as_the_client_reads(scene, writer, tape, noon):
    """In pieces, each candle once, though some close in between: those that were sent before come as `final` too."""
    await writer.write(*(tape.trade(time=noon + n * SECOND) for n in range(60)), clock=noon)
    replay = await scene.resume(0, topic=Topic("candles", "AAPL", "1s"))
    replay.step(1_000)
    begun = scene.got
    assert scene.client.door.writes == 1
    assert begun == [(n, 1, False) for n in range(1, len(begun) + 1)]
    assert len(begun) < 10
    clock = noon + 59 * SECOND + 600_000
    await writer.write(tape.trade(time=noon + 59 * SECOND + 1), clock=clock)
    await scene.pass_on(61)
    scene.forming.close(lambda symbol: clock)
    await replay.run(1_000)
    assert scene.got[len(begun) :] == [*((n, 1, True) for n in range(1, 60)), (61, 2, False)]
    assert scene.client.door.writes > 10
    assert not replay.topics
    assert scene.client.subscriber.apart == frozenset()
