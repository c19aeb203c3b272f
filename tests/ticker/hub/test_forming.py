import asyncio
import json

import pytest

from ticker.hub.forming import Forming
from ticker.hub.topic import Topic

SECOND = 1_000_000
MINUTE = 60 * SECOND
TOPIC = Topic("candles", "AAPL", "1m")
MOST = 5
"""Candles of before that are sent again."""


class Box:
    """A subscriber that keeps everything."""

    def __init__(self, client):
        self.client = client
        self.seen = 0

    def take(self):
        taken = self.client.got[self.seen :]
        self.seen += len(taken)
        return [(m["seq"], m["trades"], m["final"]) for m in taken]


class Scene:
    """Folds over a real store; trades pass when the test says so."""

    def __init__(self, stored, hub, client):
        self.hub, self.box = hub, Box(client)
        client.join(TOPIC)
        self.free, self.loading = stored.free, stored.loading
        self.stored = stored
        self.forming = Forming(self.hub, stored.load, stored.since, most=MOST)

    async def pass_on(self, *seqs):
        """Stored trades go out to the subscribers."""
        await self.stored.pass_on(self.forming, *seqs)


@pytest.fixture
def scene(stored, hub, make_client):
    return Scene(stored, hub, make_client(hub))


async def test_a_fold_goes_on_from_what_is_stored(scene, writer, tape):
    """Trades that are in already are passed over, those that came during the load are added."""
    await writer.write(*tape.trades(5))
    scene.free.clear()
    watching = asyncio.create_task(scene.forming.watch(TOPIC))
    await scene.loading.wait()
    await writer.write(*tape.trades(3))
    await scene.pass_on(4, 5, 6, 7)
    scene.free.set()
    await watching
    await scene.pass_on(7, 8)
    scene.forming.publish()
    assert scene.box.take() == [(8, 8, False)]
    assert scene.forming.fold_of(TOPIC).seq == 8


async def test_a_candle_is_published_where_it_has_changed(scene, writer, tape):
    """And not again."""
    await writer.write(*tape.trades(2))
    await scene.forming.watch(TOPIC)
    scene.forming.publish()
    assert scene.box.take() == []
    await writer.write(tape.trade())
    await scene.pass_on(3)
    scene.forming.publish()
    scene.forming.publish()
    assert scene.box.take() == [(3, 3, False)]


async def test_candles_close_by_the_feed_clock(scene, writer, tape, noon):
    """Once; a late trade sends the closed one again; without a clock nothing closes."""
    await writer.write(*tape.trades(2))
    await scene.forming.watch(TOPIC)
    for clock in (0, noon + MINUTE + 499_999):
        scene.forming.close(lambda symbol, clock=clock: clock)
    assert scene.box.take() == []
    for _ in range(2):
        scene.forming.close(lambda symbol: noon + MINUTE + 500_000)
    assert scene.box.take() == [(2, 2, True)]
    await writer.write(tape.trade())
    await scene.pass_on(3)
    scene.forming.publish()
    scene.forming.close(lambda symbol: noon + MINUTE + 500_000)
    assert scene.box.take() == [(3, 3, True)]


async def test_candles_go_out_in_the_order_of_their_numbers(scene, writer, tape, noon):
    """A correction too: whoever has a number has been sent all that was touched before it, and can go on from there."""
    await writer.write(*tape.trades(2))
    await scene.forming.watch(TOPIC)
    scene.forming.close(lambda symbol: noon + MINUTE + 500_000)
    assert scene.box.take() == [(2, 2, True)]
    await writer.write(tape.trade(time=noon + MINUTE + SECOND), tape.trade(time=noon + 59 * SECOND))
    await writer.write(tape.trade(time=noon + MINUTE + 2 * SECOND))
    await scene.pass_on(3, 4, 5)
    scene.forming.publish()
    assert scene.box.take() == [(4, 3, True), (5, 2, False)]
    await writer.write(tape.trade(time=noon + MINUTE + 3 * SECOND), tape.trade(time=noon + 59 * SECOND))
    await scene.pass_on(6, 7)
    scene.forming.close(lambda symbol: noon + MINUTE + 500_000)
    assert scene.box.take() == [(6, 3, False), (7, 4, True)]


async def test_what_was_folded_and_not_sent_is_owed_after_a_stop(scene, writer, tape, noon):
    """A correction that waited for its turn when the fold was stopped."""
    await writer.write(*tape.trades(2))
    await scene.forming.watch(TOPIC)
    scene.forming.close(lambda symbol: noon + MINUTE + 500_000)
    await writer.write(tape.trade(time=noon + 59 * SECOND), tape.trade(time=noon + MINUTE + SECOND))
    await scene.pass_on(3, 4)
    scene.box.take()
    scene.forming.invalidate("AAPL")
    await scene.forming.mend()
    assert (3, 3, True) in scene.box.take()


async def test_a_stopped_fold_begins_again_and_tells_what_it_missed(scene, writer, tape, noon):
    """What closed meanwhile as final, what forms as it stands."""
    await writer.write(*tape.trades(2))
    await scene.forming.watch(TOPIC)
    scene.forming.invalidate("AAPL")
    assert scene.forming.fold_of(TOPIC) is None
    await writer.write(tape.trade(), tape.trade(time=noon + MINUTE + 10 * SECOND))
    await scene.forming.mend()
    assert scene.box.take() == [(3, 3, True), (4, 1, False)]
    scene.forming.publish()
    assert scene.box.take() == []


async def test_whoever_begins_a_stopped_fold_pays_what_it_owes(scene, writer, tape, noon):
    """Somebody asks for it before it is mended: the others hear all the same what they have missed, once."""
    await writer.write(*tape.trades(2))
    await scene.forming.watch(TOPIC)
    scene.forming.invalidate("AAPL")
    await writer.write(tape.trade(), tape.trade(time=noon + MINUTE + 10 * SECOND))
    await scene.forming.watch(TOPIC)
    assert scene.box.take() == [(3, 3, True), (4, 1, False)]
    await scene.forming.mend()
    assert scene.box.take() == []


async def test_what_a_reset_withdraws_is_sent_again_however_old_it_is(scene, writer, tape, noon):
    """Candles that nothing can change any more are in no fold; those who have seen other ones are owed them all the same."""
    await writer.write(*tape.trades(2))
    await scene.forming.watch(TOPIC)
    for minute in (1, 2, 5, 9):
        await writer.write(tape.trade(time=noon + minute * MINUTE), clock=noon + minute * MINUTE)
    scene.forming.invalidate("AAPL", 0)
    await scene.forming.mend()
    (reset, *candles) = scene.box.client.got
    assert (reset["type"], reset["channel"], reset["interval"], reset["seq"]) == ("reset", "candles", "1m", 0)
    assert [(m["seq"], m["trades"], m["final"]) for m in candles] == [
        (2, 2, True),
        (3, 1, True),
        (4, 1, True),
        (5, 1, True),
        (6, 1, False),
    ]


@pytest.mark.limit("heal_messages")
async def test_of_more_than_are_sent_again_the_oldest_are_announced(scene, writer, tape, noon):
    """Up to the last trade in them, so that nobody waits for what will not come."""
    await writer.write(tape.trade())
    await scene.forming.watch(TOPIC)
    for minute in range(1, 12):
        await writer.write(tape.trade(time=noon + minute * MINUTE), clock=noon + minute * MINUTE)
    scene.forming.invalidate("AAPL", 0)
    await scene.forming.mend()
    reset, gap, *candles = scene.box.client.got
    assert reset["type"] == "reset"
    assert (gap["type"], gap["from"], gap["reason"]) == ("gap", 1, "too_far")
    assert [m["seq"] for m in candles] == list(range(gap["to"] + 1, 13))


async def test_what_was_loaded_before_a_stop_does_not_count(scene, writer, tape):
    """The store was emptied while its answer was under way: it is asked again."""
    await writer.write(*tape.trades(5))
    scene.free.clear()
    watching = asyncio.create_task(scene.forming.watch(TOPIC))
    await scene.loading.wait()
    await writer.client.flushall()
    await writer.write(*tape.trades(2))
    scene.forming.invalidate("AAPL")
    scene.free.set()
    await watching
    assert scene.forming.fold_of(TOPIC).seq == 2
    assert scene.forming.fold_of(TOPIC).builder.newest()[0].trades == 2


async def test_the_newest_candle_goes_out_to_those_who_have_it_first(scene, writer, tape):
    """Whoever joins gets it as a snapshot, so no member may learn of it later than he."""
    await writer.write(*tape.trades(2))
    await scene.forming.watch(TOPIC)
    await writer.write(tape.trade())
    await scene.pass_on(3)
    newest = json.loads(scene.forming.latest(TOPIC))
    assert (newest["seq"], newest["final"]) == (3, False)
    assert scene.box.take() == [(3, 3, False)]
    assert scene.forming.latest(TOPIC._replace(symbol="NONE")) is None


async def test_a_fold_that_nobody_wants_goes_at_the_second_look(scene, writer):
    """Somebody may be about to join it at the first."""
    await scene.forming.watch(TOPIC)
    for _ in range(3):
        scene.forming.sweep(scene.hub.wanted)
        assert scene.forming.folds("AAPL")
    scene.box.client.leave(TOPIC)
    scene.forming.sweep(scene.hub.wanted)
    assert scene.forming.folds("AAPL")
    scene.forming.sweep(scene.hub.wanted)
    assert not scene.forming.folds("AAPL")
