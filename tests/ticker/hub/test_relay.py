import asyncio
import json
from time import monotonic

import pytest

from ticker import codec
from ticker.errors import StoreUnavailable
from ticker.hub.outlet import Outlet
from ticker.hub.relay import Relay
from ticker.hub.topic import Topic

AAPL = Topic("trades", "AAPL")


class Box:
    """A subscriber that keeps everything."""

    def __init__(self, client):
        self.client = client
        self.seen = 0

    @property
    def messages(self):
        return self.client.got[self.seen :]

    def clear(self):
        self.seen = len(self.client.got)

    def said(self):
        """Numbers of trades, and all else as it is."""
        return [m["seq"] if m["type"] == "trade" else m for m in self.messages]


class Channels:
    """Confirms at once, unless the test holds it back; live messages are delivered by the test."""

    def __init__(self):
        self.held = set()
        self.free = asyncio.Event()
        self.free.set()
        self.away = False

    async def ensure(self, channels):
        names = list(channels)
        await self.free.wait()
        if self.away:
            raise StoreUnavailable("no connection")
        self.held |= set(names)

    def release(self, channels):
        self.held -= set(channels)


class Slow:
    """The real streams, whose answers come when the test lets them."""

    def __init__(self, streams):
        self._streams = streams
        self.tips_free, self.pages_free = asyncio.Event(), asyncio.Event()
        self.tips_free.set()
        self.pages_free.set()
        self.read = asyncio.Event()
        self.fails = 0

    async def tips(self, kind, symbols):
        found = await self._streams.tips(kind, symbols)
        self.read.set()
        await self.tips_free.wait()
        if symbols and self.fails:
            self.fails -= 1
            raise StoreUnavailable("away")
        return found

    async def ends(self, *args):
        return await self._streams.ends(*args)

    async def pages(self, *args):
        found = await self._streams.pages(*args)
        self.read.set()
        await self.pages_free.wait()
        return found


class Scene:
    """A relay on a real store, with a subscriber."""

    def __init__(self, writer, hub, client):
        self.writer = writer
        self.hub, self.channels, self.ticks = hub, Channels(), Slow(writer.streams)
        self.traded, self.broken = [], []
        outlet = Outlet(
            self.hub, lambda s, m, seq: self.traded.append(seq), lambda symbol, floor: self.broken.append(symbol)
        )
        self.relay = Relay(outlet, self.ticks, self.channels, heal_most=10_000)
        self.box = Box(client)
        client.join(AAPL)

    async def entries(self):
        """The messages of all that is stored, by number."""
        stored = await self.writer.client.xrange("trades:{AAPL}")
        return {
            int(fields[b"seq"]): codec.entry_message(
                "trade", "AAPL", [p for pair in fields.items() for p in pair]
            ).encode()
            for _, fields in stored
        }

    async def live(self, *seqs):
        """Deliver these stored trades as live messages."""
        entries = await self.entries()
        for seq in seqs:
            self.relay.take(b"trades:{AAPL}", entries[seq])

    async def epoch(self):
        return (await self.writer.client.get("epoch:{AAPL}")).decode()


@pytest.fixture
async def scene(writer, hub, make_client):
    made = Scene(writer, hub, make_client(hub))
    healing = asyncio.create_task(made.relay.heal())
    yield made
    healing.cancel()
    await asyncio.gather(healing, return_exceptions=True)


async def test_live_begins_where_the_stream_stands(scene, writer, tape):
    """What came before the start is not sent; messages that waited meanwhile are."""
    await writer.write(*tape.trades(5))
    scene.ticks.tips_free.clear()
    starting = asyncio.create_task(scene.relay.track("trades", ["AAPL"]))
    await scene.ticks.read.wait()
    await writer.write(*tape.trades(2))
    await scene.live(4, 5, 6, 7)
    scene.ticks.tips_free.set()
    await starting
    assert scene.box.said() == [6, 7]
    track = scene.relay.track_of(AAPL)
    assert (track.seq, track.epoch) == (7, await scene.epoch())
    assert json.loads(track.message)["seq"] == 7


async def test_numbers_come_once_and_in_order(scene, writer, tape):
    """A repeated message goes nowhere; an unknown channel does not matter."""
    await writer.write(*tape.trades(3))
    await scene.relay.track("trades", ["AAPL"])
    await writer.write(*tape.trades(3))
    await scene.live(4, 4, 5, 3, 6, 5)
    scene.relay.take(b"trades:{NONE}", b"{}")
    assert scene.box.said() == [4, 5, 6]
    assert scene.traded == [4, 5, 6]


async def test_a_hole_is_filled_before_anything_newer(scene, writer, tape, wait_until):
    """From the stream."""
    await writer.write(tape.trade())
    await scene.relay.track("trades", ["AAPL"])
    await writer.write(*tape.trades(9))
    await scene.live(2, 3, 8, 9)
    assert scene.box.said() == [2, 3]
    await wait_until(lambda: len(scene.box.messages) == 9)
    assert scene.box.said() == list(range(2, 11))
    assert scene.broken == []


async def test_what_the_stream_has_no_more_is_announced_once(scene, writer, tape, wait_until):
    """By a gap with both bounds inclusive; whoever folds trades hears that some are missing."""
    await writer.write(*tape.trades(3))
    await scene.relay.track("trades", ["AAPL"])
    await writer.write(*tape.trades(7))
    await writer.client.xtrim("trades:{AAPL}", maxlen=3, approximate=False)
    await scene.live(9)
    await wait_until(lambda: len(scene.box.messages) == 4)
    gap = {"type": "gap", "channel": "trades", "symbol": "AAPL", "from": 4, "to": 7, "reason": "trimmed"}
    assert scene.box.said() == [gap, 8, 9, 10]
    assert scene.broken == ["AAPL"]


async def test_a_stream_that_was_trimmed_to_nothing_is_a_gap_too(scene, writer, tape, wait_until):
    """Without waiting for the next tick."""
    await writer.write(*tape.trades(3))
    await scene.relay.track("trades", ["AAPL"])
    await writer.write(*tape.trades(2))
    await writer.client.xtrim("trades:{AAPL}", maxlen=0, approximate=False)
    scene.relay.connection_changed(False)
    scene.relay.connection_changed(True)
    await wait_until(lambda: scene.box.messages)
    assert [(m["type"], m["from"], m["to"]) for m in scene.box.messages] == [("gap", 4, 5)]
    await writer.write(tape.trade())
    await scene.live(6)
    assert scene.box.said()[1:] == [6]


@pytest.mark.limit("heal_messages")
async def test_a_hole_that_is_too_large_is_announced(scene, writer, tape, wait_until):
    """The newest part is sent all the same."""
    scene.relay._heal_most = 4
    await writer.write(tape.trade())
    await scene.relay.track("trades", ["AAPL"])
    await writer.write(*tape.trades(9))
    await scene.live(10)
    await wait_until(lambda: len(scene.box.messages) == 5)
    assert [(m["from"], m["to"], m["reason"]) for m in scene.box.messages[:1]] == [(2, 6, "too_far")]
    assert scene.box.said()[1:] == [7, 8, 9, 10]


async def test_after_a_lost_connection_everything_is_made_sure_of(scene, writer, tape, wait_until):
    """Also where no message comes any more, and where the store fails once more meanwhile."""
    await writer.write(tape.trade())
    await scene.relay.track("trades", ["AAPL"])
    scene.relay.connection_changed(False)
    await writer.write(*tape.trades(4))
    await scene.live(5)
    assert scene.box.said() == []
    scene.ticks.fails = 2
    scene.relay.connection_changed(True)
    await wait_until(lambda: len(scene.box.messages) == 4)
    assert scene.box.said() == [2, 3, 4, 5]


async def test_a_doubt_that_arises_while_another_is_settled_is_settled_too(scene, writer, tape, wait_until):
    """The connection is lost once more between the look at the stream and its end."""
    await writer.write(tape.trade())
    await scene.relay.track("trades", ["AAPL"])
    await writer.write(*tape.trades(2))
    scene.ticks.pages_free.clear()
    scene.ticks.read.clear()
    scene.relay.connection_changed(False)
    scene.relay.connection_changed(True)
    await scene.ticks.read.wait()
    scene.ticks.read.clear()
    await scene.ticks.read.wait()
    await writer.write(*tape.trades(2))
    scene.relay.connection_changed(False)
    scene.relay.connection_changed(True)
    scene.ticks.pages_free.set()
    await wait_until(lambda: len(scene.box.messages) == 4)
    assert scene.box.said() == [2, 3, 4, 5]


async def test_a_new_epoch_is_a_reset(scene, writer, tape):
    """Then its numbers, from where it begins."""
    await writer.write(*tape.trades(5))
    await scene.relay.track("trades", ["AAPL"])
    await writer.client.flushall()
    await writer.write(*tape.trades(2))
    epoch = await scene.epoch()
    scene.relay.begin_epoch("AAPL", epoch, {"trades": 0, "quotes": 0})
    scene.relay.begin_epoch("AAPL", epoch, {"trades": 0, "quotes": 0})
    await scene.live(1, 2)
    reset = {"type": "reset", "channel": "trades", "symbol": "AAPL", "epoch": epoch, "seq": 0}
    assert scene.box.said() == [reset, 1, 2]
    assert scene.broken == ["AAPL"]


async def test_a_new_epoch_that_nobody_told_of_is_found(scene, writer, tape, wait_until):
    """It began while there was no connection: a reset, then all of it that is stored."""
    await writer.write(*tape.trades(5))
    await scene.relay.track("trades", ["AAPL"])
    scene.relay.connection_changed(False)
    await writer.client.flushall()
    await writer.write(*tape.trades(3))
    scene.relay.connection_changed(True)
    await wait_until(lambda: len(scene.box.messages) == 4)
    reset, *seqs = scene.box.said()
    assert (reset["type"], reset["epoch"], reset["seq"]) == ("reset", await scene.epoch(), 0)
    assert seqs == [1, 2, 3]


async def test_of_an_epoch_that_has_ended_what_is_true_stays(scene, writer, tape, wait_until):
    """Where it is written down how far that goes, nobody is sent again what he has."""
    await writer.write(*tape.trades(5))
    await scene.relay.track("trades", ["AAPL"])
    scene.relay.connection_changed(False)
    await writer.client.hset("ticker:epochs:{AAPL}", await scene.epoch(), "3 0")
    await writer.client.set("epoch:{AAPL}", "next")
    scene.relay.connection_changed(True)
    await wait_until(lambda: len(scene.box.messages) == 3)
    reset, *seqs = scene.box.said()
    assert (reset["type"], reset["epoch"], reset["seq"]) == ("reset", "next", 3)
    assert seqs == [4, 5]


async def test_an_epoch_that_overtakes_its_numbers_waits_for_them(scene, writer, tape, wait_until):
    """What has not come of the epoch before is read from the stream."""
    await writer.write(*tape.trades(5))
    await scene.relay.track("trades", ["AAPL"])
    await writer.write(*tape.trades(3))
    await writer.client.hset("ticker:epochs:{AAPL}", await scene.epoch(), "8 0")
    await writer.client.set("epoch:{AAPL}", "next")
    scene.relay.begin_epoch("AAPL", "next", {"trades": 8, "quotes": 0})
    await wait_until(lambda: len(scene.box.messages) == 4)
    reset, *seqs = scene.box.said()
    assert (reset["epoch"], reset["seq"]) == ("next", 5)
    assert seqs == [6, 7, 8]


async def set_back(scene, *seqs):
    """The store has lost these trades, the last ones, as one that comes back without its last second."""
    client = scene.writer.client
    entries = await client.xrange("trades:{AAPL}")
    await client.delete("trades:{AAPL}")
    lost = [entry for entry in entries if int(entry[1][b"seq"]) in seqs]
    await put_back(scene, [entry for entry in entries if entry not in lost])
    return lost


async def put_back(scene, entries):
    for entry, fields in entries:
        await scene.writer.client.xadd("trades:{AAPL}", fields, entry)


async def test_a_store_that_gets_back_what_it_has_lost_resets_nobody(scene, writer, tape, wait_until):
    """Its writer appends the same again within its second: what was sent is true."""
    await writer.write(*tape.trades(5))
    await scene.relay.track("trades", ["AAPL"])
    lost = await set_back(scene, 4, 5)
    scene.ticks.read.clear()
    scene.relay.connection_changed(False)
    scene.relay.connection_changed(True)
    await scene.ticks.read.wait()
    await put_back(scene, lost)
    await wait_until(lambda: scene.relay.track_of(AAPL).held is None)
    await writer.write(*tape.trades(1))
    await scene.live(6)
    assert scene.box.said() == [6]


async def test_a_store_that_does_not_is_told_of_in_time(scene, writer, tape, wait_until):
    """Within two seconds, by a reset to where it ends."""
    await writer.write(*tape.trades(5))
    await scene.relay.track("trades", ["AAPL"])
    epoch = await scene.epoch()
    await set_back(scene, 4, 5)
    begun = monotonic()
    scene.relay.connection_changed(False)
    scene.relay.connection_changed(True)
    await wait_until(lambda: scene.box.messages)
    assert 1.0 < monotonic() - begun < 2.0
    assert scene.box.said() == [{"type": "reset", "channel": "trades", "symbol": "AAPL", "epoch": epoch, "seq": 3}]


async def test_a_hole_before_what_waits_is_given_time(scene, writer, tape, wait_until):
    """The store was set back while a hole was being filled: its writer appends the same again, and nothing was lost."""
    await writer.write(*tape.trades(4))
    await scene.relay.track("trades", ["AAPL"])
    await writer.write(*tape.trades(2))
    published = await scene.entries()
    lost = await set_back(scene, 5, 6)
    scene.ticks.read.clear()
    scene.relay.take(b"trades:{AAPL}", published[6])
    for _ in range(5):
        await scene.ticks.read.wait()
        scene.ticks.read.clear()
    assert scene.box.said() == []
    await put_back(scene, lost)
    await wait_until(lambda: len(scene.box.messages) == 2)
    assert scene.box.said() == [5, 6]


async def test_a_hole_that_stays_is_announced_in_time(scene, writer, tape, wait_until):
    """Within two seconds, once; what waited follows."""
    await writer.write(*tape.trades(4))
    await scene.relay.track("trades", ["AAPL"])
    await writer.write(*tape.trades(2))
    published = await scene.entries()
    await set_back(scene, 5, 6)
    begun = monotonic()
    scene.relay.take(b"trades:{AAPL}", published[6])
    await wait_until(lambda: len(scene.box.messages) == 2)
    assert monotonic() - begun < 2.0
    gap, seq = scene.box.said()
    assert ((gap["from"], gap["to"], gap["reason"]), seq) == ((5, 5, "store_lost"), 6)


async def test_behind_a_gap_at_the_end_there_is_no_last_message(scene, writer, tape, wait_until):
    """What went out before the gap is not the symbol's last: nobody may get it as a snapshot, or as the newest."""
    await writer.write(*tape.trades(5))
    await scene.relay.track("trades", ["AAPL"])
    await writer.write(*tape.trades(3))
    await writer.client.xtrim("trades:{AAPL}", maxlen=0, approximate=False)
    scene.relay.connection_changed(False)
    scene.relay.connection_changed(True)
    await wait_until(lambda: scene.box.messages)
    track = scene.relay.track_of(AAPL)
    assert (track.seq, track.message) == (8, None)
    await writer.write(*tape.trades(1))
    await scene.live(9)
    assert json.loads(track.message)["seq"] == 9


async def test_the_first_number_names_its_epoch_to_those_who_could_not_know_it(scene, writer, tape):
    """Quotes have begun the epoch, and whoever came before the first trade was told of none; once is enough."""
    await writer.write(tape.quote())
    await scene.relay.track("trades", ["AAPL"])
    track = scene.relay.track_of(AAPL)
    assert (track.epoch, track.seq) == (await scene.epoch(), 0)
    scene.relay.told_of_none(track)
    await writer.write(*tape.trades(2))
    await scene.live(1, 2)
    reset = {"type": "reset", "channel": "trades", "symbol": "AAPL", "epoch": await scene.epoch(), "seq": 0}
    assert scene.box.said() == [reset, 1, 2]
    assert scene.broken == ["AAPL"]


async def test_the_epoch_is_named_before_a_gap_too(scene, writer, tape, wait_until):
    """The first numbers are gone; later, who is told of no number has nothing to be named."""
    await writer.write(tape.quote())
    await scene.relay.track("trades", ["AAPL"])
    track = scene.relay.track_of(AAPL)
    scene.relay.told_of_none(track)
    await writer.write(*tape.trades(4))
    await writer.client.xtrim("trades:{AAPL}", maxlen=1, approximate=False)
    await scene.live(4)
    await wait_until(lambda: len(scene.box.messages) == 3)
    assert [m["type"] for m in scene.box.messages] == ["reset", "gap", "trade"]
    scene.relay.told_of_none(track)
    await writer.write(*tape.trades(1))
    await scene.live(5)
    assert scene.box.said()[3:] == [5]


async def test_an_epoch_that_begins_during_a_check_comes_before_its_numbers(scene, writer, tape, wait_until):
    """The stream was asked before the first tick: what it said is not enough to let live messages go."""
    await scene.relay.track("trades", ["AAPL"])
    scene.ticks.tips_free.clear()
    scene.ticks.read.clear()
    scene.relay.connection_changed(False)
    scene.relay.connection_changed(True)
    await scene.ticks.read.wait()
    await writer.write(*tape.trades(3))
    scene.relay.begin_epoch("AAPL", await scene.epoch(), {"trades": 0, "quotes": 0})
    await scene.live(1, 2, 3)
    scene.ticks.tips_free.set()
    await wait_until(lambda: len(scene.box.messages) == 4)
    reset = {"type": "reset", "channel": "trades", "symbol": "AAPL", "epoch": await scene.epoch(), "seq": 0}
    assert scene.box.said() == [reset, 1, 2, 3]


async def test_what_waited_when_the_connection_was_lost_is_forgotten(scene, writer, tape, wait_until):
    """The store has lost it since, and used its number for another trade."""
    await writer.write(*tape.trades(3))
    await scene.relay.track("trades", ["AAPL"])
    first = await scene.epoch()
    scene.ticks.tips_free.clear()
    scene.relay.take(b"trades:{AAPL}", b'{"type":"trade","symbol":"AAPL","price":1,"size":1,"time":1,"seq":5}')
    scene.relay.connection_changed(False)
    await writer.client.hset("ticker:epochs:{AAPL}", first, "3 0")
    await writer.client.set("epoch:{AAPL}", "next")
    await writer.client.xadd(
        "trades:{AAPL}", {"price": 2, "size": 1, "time": tape.time, "seq": 4}, f"{tape.time // 1000 + 1}-4"
    )
    scene.relay.connection_changed(True)
    scene.ticks.tips_free.set()
    await wait_until(lambda: len(scene.box.messages) == 2)
    scene.relay.take(b"trades:{AAPL}", b'{"type":"trade","symbol":"AAPL","price":2,"size":1,"time":2,"seq":5}')
    await wait_until(lambda: len(scene.box.messages) == 3)
    reset, *trades = scene.box.messages
    assert (reset["type"], reset["epoch"], reset["seq"]) == ("reset", "next", 3)
    assert [(trade["seq"], trade["price"]) for trade in trades] == [(4, 2), (5, 2)]


async def test_a_channel_let_go_of_during_its_check_is_not_in_doubt(scene, writer, tape, wait_until):
    """Else the service would never be said to be live again."""
    await writer.write(*tape.trades(4))
    await scene.relay.track("trades", ["AAPL"])
    await set_back(scene, 3, 4)
    scene.ticks.tips_free.clear()
    scene.ticks.read.clear()
    scene.relay.connection_changed(False)
    scene.relay.connection_changed(True)
    await scene.ticks.read.wait()
    assert scene.relay.doubtful
    scene.relay.sweep(lambda topic: False)
    scene.relay.sweep(lambda topic: False)
    scene.ticks.tips_free.set()
    await scene.relay.track("trades", ["AAPL"])
    await writer.write(*tape.trades(1))
    scene.relay.connection_changed(False)
    scene.relay.connection_changed(True)
    await wait_until(lambda: scene.box.messages and not scene.relay.doubtful)
    assert scene.box.said()[-1] == 3


async def test_what_came_after_the_stream_was_asked_is_not_taken_for_lost(scene, writer, tape, wait_until):
    """The connection was lost once more meanwhile: the hole before what waits is looked for again."""
    await writer.write(*tape.trades(5))
    await scene.relay.track("trades", ["AAPL"])
    scene.ticks.tips_free.clear()
    scene.ticks.read.clear()
    scene.relay.connection_changed(False)
    scene.relay.connection_changed(True)
    await scene.ticks.read.wait()
    await writer.write(*tape.trades(3))
    await scene.live(8, 8)
    scene.ticks.tips_free.set()
    await wait_until(lambda: len(scene.box.messages) == 3)
    assert scene.box.said() == [6, 7, 8]


async def test_messages_of_an_epoch_that_has_ended_are_dropped(scene, writer, tape, wait_until):
    """They waited while the connection was in doubt, and a new epoch began behind them."""
    await writer.write(*tape.trades(5))
    await scene.relay.track("trades", ["AAPL"])
    await writer.write(*tape.trades(3))
    old = await scene.entries()
    scene.relay.connection_changed(False)
    for seq in (7, 8):
        scene.relay.take(b"trades:{AAPL}", old[seq])
    await writer.client.flushall()
    await writer.write(*tape.trades(2))
    scene.relay.begin_epoch("AAPL", await scene.epoch(), {"trades": 0, "quotes": 0})
    await scene.live(1, 2)
    scene.relay.connection_changed(True)
    await wait_until(lambda: len(scene.box.messages) == 3)
    assert scene.box.said()[1:] == [1, 2]


async def test_an_epoch_that_begins_while_a_channel_is_started_is_noticed(scene, writer, tape, wait_until):
    """Its announcement may overtake the answer that tells where the stream stood."""
    await writer.write(*tape.trades(5))
    scene.ticks.tips_free.clear()
    starting = asyncio.create_task(scene.relay.track("trades", ["AAPL"]))
    await scene.ticks.read.wait()
    await writer.client.flushall()
    await writer.write(*tape.trades(2))
    scene.relay.begin_epoch("AAPL", await scene.epoch(), {"trades": 0, "quotes": 0})
    await scene.live(1, 2)
    scene.ticks.tips_free.set()
    await starting
    await wait_until(lambda: len(scene.box.messages) == 3)
    assert scene.box.said()[1:] == [1, 2]
    assert scene.relay.track_of(AAPL).epoch == await scene.epoch()


async def test_two_who_want_the_same_wait_for_one_start(scene, writer, tape):
    """And one of them that gives up does not take it from the other."""
    scene.channels.free.clear()
    first = asyncio.create_task(scene.relay.track("trades", ["AAPL"]))
    second = asyncio.create_task(scene.relay.track("trades", ["AAPL"]))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    scene.channels.free.set()
    await second
    assert scene.relay.track_of(AAPL).seq == 0
    assert scene.channels.held == {"trades:{AAPL}"}


async def test_a_start_that_fails_leaves_nothing(scene):
    """And may be tried again."""
    scene.channels.away = True
    with pytest.raises(StoreUnavailable):
        await scene.relay.track("trades", ["AAPL"])
    with pytest.raises(KeyError):
        scene.relay.track_of(AAPL)
    scene.channels.away = False
    await scene.relay.track("trades", ["AAPL"])
    assert scene.relay.track_of(AAPL).seq == 0


async def test_a_channel_that_nobody_needs_goes_at_the_second_look(scene):
    """Somebody may be about to join it at the first."""
    await scene.relay.track("trades", ["AAPL", "MSFT"])
    for expected in ({"trades:{AAPL}", "trades:{MSFT}"}, {"trades:{AAPL}"}, {"trades:{AAPL}"}):
        scene.relay.sweep(scene.hub.wanted)
        assert scene.channels.held == expected
