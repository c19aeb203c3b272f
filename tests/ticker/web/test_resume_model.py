"""Hub, relay and resume against a simple model: whatever happens, each number comes once and in order, or is announced.

The stream is a list in this process that answers as the real ones do, so that thousands of sequences can be tried; what it
stands for is tested on real servers beside this. Time is skipped: the loop's clock jumps to whatever is due next.

`TICKER_MODEL_SEQUENCES=2000 pytest tests/ticker/web/test_resume_model.py` tries more of them than the ordinary run.
"""

import asyncio
import json
import os
from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ticker.config import Config
from ticker.errors import StoreUnavailable
from ticker.history.cache import Cache
from ticker.hub.blocks import Blocks
from ticker.hub.candle_replay import CandleUpstream
from ticker.hub.forming import Forming
from ticker.hub.hub import Hub
from ticker.hub.outlet import Outlet
from ticker.hub.pace import Pace
from ticker.hub.relay import REAPPEND_S, RETRY_S, Relay
from ticker.hub.replay import Upstream
from ticker.hub.subscriber import OutboxLimits, Subscriber
from ticker.store.append import StreamEnd
from ticker.store.tick_stream import Page, Tip
from ticker.web import messages
from ticker.web.gateway import Gateway
from ticker.web.subscriptions import Subscriptions

SEQUENCES = int(os.environ.get("TICKER_MODEL_SEQUENCES", "60"))
STEPS = 50
CHANNEL = b"trades:{AAPL}"


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to what is due next instead of waiting for it."""

    def __init__(self):
        self._now_s = 0.0
        super().__init__()

    def time(self):
        return self._now_s

    def _run_once(self):
        if not self._ready and self._scheduled:
            self._now_s = max(self._now_s, self._scheduled[0].when())
        super()._run_once()


class Stream:
    """What the store holds of AAPL's trades; `truth` also has what was trimmed."""

    def __init__(self):
        self.epoch = None
        self.truth = {}
        self.last = 0
        self.trimmed = 0
        self.ended = {}
        self.epochs = count(1)
        self.contents = count(1)
        self.new_epoch = True
        self.failing = 0
        """So many questions get no answer."""
        self.lost = []
        """Numbers that were gone for longer than their writer is given, and the epochs that they had until then."""

    def fields(self, seq):
        return [b"price", b"%d" % self.truth[seq], b"size", b"1", b"time", b"%d" % seq, b"seq", b"%d" % seq]

    def message(self, seq):
        text = f'{{"type":"trade","symbol":"AAPL","price":{self.truth[seq]},"size":1,"time":{seq},"seq":{seq}}}'
        return text.encode()

    def begin(self):
        """A tick of any kind begins a new epoch where one is due; what is published."""
        if not self.new_epoch:
            return []
        if self.epoch is not None:
            self.ended = {epoch: min(end, self.last) for epoch, end in self.ended.items()}
            self.ended[self.epoch] = self.last
        self.epoch, self.new_epoch = f"e{next(self.epochs)}", False
        return [("epoch", self.epoch, self.last)]

    def append(self):
        """One more trade; what is published, in order."""
        published = self.begin()
        self.last += 1
        self.truth[self.last] = next(self.contents)
        return [*published, self.message(self.last)]

    def set_back(self, last):
        """The store has lost what is above; what that was."""
        lost = {seq: self.truth.pop(seq) for seq in range(last + 1, self.last + 1)}
        self.last = last
        self.trimmed = min(self.trimmed, last)
        return lost

    def lose(self, numbers):
        """These will not come again, or too late."""
        if numbers:
            self.lost.append(({*self.ended, self.epoch}, range(min(numbers), max(numbers) + 1)))

    def has_lost(self, epoch, numbers):
        """Whether all of these are lost of an epoch; of one without a name, of any."""
        gone = set().union(*(seqs for epochs, seqs in self.lost if epoch is None or epoch in epochs))
        return gone.issuperset(numbers)

    # As the gateway reads it.

    async def asked(self):
        await asyncio.sleep(0)
        if self.failing:
            self.failing -= 1
            raise StoreUnavailable("away")

    async def tips(self, kind, symbols):
        if not symbols:
            return []
        await self.asked()
        kept = self.last > self.trimmed
        tip = Tip(self.epoch, StreamEnd(self.last, self.last), self.fields(self.last) if kept else None)
        await asyncio.sleep(0)
        return [tip] * len(symbols)

    async def pages(self, wanted):
        await self.asked()
        found = []
        for _, _, seq, most in wanted:
            seqs = range(max(seq, self.trimmed + 1), self.last + 1)[:most]
            rows = [(n, self.fields(n)) for n in seqs]
            found.append(Page(self.epoch, self.last, self.trimmed + 1, True, rows))
        await asyncio.sleep(0)
        return found

    async def ends(self, kind, symbols):
        await self.asked()
        return [dict(self.ended)] * len(symbols)


class Channels:
    async def ensure(self, channels):
        await asyncio.sleep(0)

    def release(self, channels):
        pass


class Door:
    """A connection that takes `room` bytes and then says that it is full."""

    def __init__(self):
        self.transport = self
        self.heard = True
        self.on_full = self.on_room = self.on_gone = None
        self.room = float("inf")
        self.taken, self._buffer = bytearray(), bytearray()

    def write(self, data):
        self._buffer += data
        self._push()
        if self._buffer and self.on_full:
            self.on_full()

    def get_write_buffer_size(self):
        return len(self._buffer)

    def abort(self):
        raise AssertionError("cut off")

    def take(self, room):
        self.room += room
        while self.room > 0 and self._buffer:
            self._push()
            if not self._buffer and self.on_room:
                self.on_room()

    def _push(self):
        taken = int(min(self.room, len(self._buffer)))
        self.taken += self._buffer[:taken]
        del self._buffer[:taken]
        self.room -= taken

    def messages(self):
        """Those that have come whole since the last time."""
        found = []
        while len(self.taken) >= 2:
            length, begin = self.taken[1], 2
            if length == 126:
                length, begin = int.from_bytes(self.taken[2:4]), 4
            if len(self.taken) < begin + length:
                break
            found.append(json.loads(bytes(self.taken[begin : begin + length])))
            del self.taken[: begin + length]
        return found


class Peer:
    """A client that checks what it is sent, by the rules of the contract alone."""

    def __init__(self, gateway, stream, loop):
        self.stream = stream
        self.door = Door()
        self.slow = False
        limits = OutboxLimits(1 << 16, 5.0)
        self.subscriber = Subscriber(self.door, limits, loop.time, lambda *why: setattr(self, "slow", True))
        gateway.hub.arrive(self.subscriber)
        self.gateway = gateway
        self.subscriptions = Subscriptions(gateway, self.subscriber, self.failed)
        self.epoch, self.seq, self.record = None, 0, {}
        self.subscribed = False
        self.asked = {}
        self.recovered = None
        self.requests = asyncio.Queue()
        self.task = loop.create_task(self.serve())
        self.ids = count(1)

    def failed(self):
        raise AssertionError("a replay failed")

    async def serve(self):
        while True:
            request = await self.requests.get()
            try:
                if request.op == "subscribe":
                    await self.subscriptions.subscribe(request)
                else:
                    self.subscriber.send(self.subscriptions.unsubscribe(request))
            except messages.RequestError as error:
                self.subscriber.send(messages.error(error, error.id))

    def ask(self, op, **fields):
        given = {"op": op, "id": next(self.ids), "channel": "trades", "symbols": ["AAPL"]} | fields
        self.asked[given["id"]] = given
        self.requests.put_nowait(messages.check(given))

    @property
    def position(self):
        """What it would name on coming back, if it knows where it is."""
        return {"epoch": self.epoch, "seq": self.seq} if self.subscribed else None

    def read(self):
        """Check everything that has come."""
        for message in self.door.messages():
            getattr(self, f"on_{message['type']}")(message)

    def on_error(self, message):
        assert message["code"] == "unavailable", message

    def on_slow(self, message):
        pass

    def on_subscribed(self, message):
        position = message["positions"].get("AAPL")
        if position is None:
            assert message["errors"][0]["code"] == "already_subscribed"
            return
        asked = self.asked[message["id"]].get("resume", {}).get("AAPL")
        was, self.subscribed = self.subscribed, True
        if asked is None:
            assert "recovered" not in position
            if not was:
                self.epoch, self.seq, self.record = position["epoch"], position["seq"], {}
            return
        assert not was
        self.seq = asked["seq"]
        self.epoch = position["epoch"]
        self.recovered = position["recovered"], position["seq"]
        self.trimmed_then = self.stream.trimmed
        self.record = {seq: content for seq, content in self.record.items() if seq <= self.seq}

    def on_unsubscribed(self, message):
        self.subscribed = False

    def on_trade(self, message):
        assert self.subscribed, "after the end"
        assert self.epoch is not None, "a number of no epoch"
        seq = message["seq"]
        if message.get("snapshot"):
            assert seq == self.seq
        else:
            assert seq == self.seq + 1 + message.get("skipped", 0), (self.seq, message)
        self.seq = seq
        self.record[seq] = message["price"]

    def on_gap(self, message):
        assert self.subscribed
        assert message["from"] == self.seq + 1
        assert message["to"] >= message["from"]
        if message["reason"] != "trimmed":
            assert message["reason"] == "store_lost"
            numbers = range(message["from"], message["to"] + 1)
            assert self.stream.has_lost(self.epoch, numbers), (message, self.stream.lost)
        if self.recovered and self.recovered[0] and message["from"] <= self.recovered[1]:
            assert self.stream.trimmed > 0 or self.stream.lost, "recovered, and yet not whole"
        self.seq = message["to"]

    def on_reset(self, message):
        assert self.subscribed
        assert message["seq"] <= self.seq, "nothing that it has not seen can be withdrawn"
        self.epoch, self.seq = message["epoch"], message["seq"]
        self.record = {seq: content for seq, content in self.record.items() if seq <= self.seq}


class Machine(RuleBasedStateMachine):
    """Everything that may happen, in any order."""

    def __init__(self):
        super().__init__()
        self.loop = SkippingLoop()
        self.stream = Stream()
        self.wire = []
        self.peers = []
        self.past = [{"epoch": None, "seq": 0}]
        self.loop.run_until_complete(self._build())

    async def _build(self):
        hub = Hub(self.loop.time, self.loop.call_later, recorded=16)
        forming = Forming(hub, None, None, most=10_000)
        relay = Relay(Outlet(hub, forming.on_trade, forming.invalidate), self.stream, Channels(), heal_most=10_000)
        pace = Pace(2)
        upstream = Upstream(hub, relay, Blocks(self.stream, 65_536, 2), self.stream.ends, pace)
        self.gateway = Gateway(Config(), hub, SimpleNamespace(cache=Cache(1 << 16)))
        self.gateway.wire(upstream, CandleUpstream(hub, relay, forming, None, self.stream.ends, pace), None)
        self.gateway.symbols = {"AAPL": {}}
        self.relay, self.hub = relay, hub
        self.tasks = [asyncio.ensure_future(relay.heal()), asyncio.ensure_future(upstream.blocks.run())]

    def turns(self, turns):
        async def run():
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(run())

    def wait(self, seconds):
        self.loop.run_until_complete(asyncio.sleep(seconds))

    # The record.

    @rule(ticks=st.integers(1, 40), turns=st.integers(0, 6))
    def tick(self, ticks, turns):
        for _ in range(ticks):
            self.wire += self.stream.append()
        self.turns(turns)

    @rule()
    def quote(self):
        """Nobody here has quotes, but one may begin an epoch."""
        self.wire += self.stream.begin()

    @rule(ticks=st.integers(100, 400))
    def burst(self, ticks):
        for _ in range(ticks):
            self.wire += self.stream.append()
        self.deliver(10_000)

    @rule(most=st.integers(1, 30))
    def deliver(self, most):
        taken, self.wire = self.wire[:most], self.wire[most:]
        for one in taken:
            if isinstance(one, tuple):
                self.relay.begin_epoch("AAPL", one[1], {"trades": one[2], "quotes": 0})
            else:
                self.relay.take(CHANNEL, one)
        self.turns(1)

    @rule(at=st.integers(0, 30))
    def drop(self, at):
        if at < len(self.wire) and isinstance(self.wire[at], bytes):
            del self.wire[at]

    @rule(at=st.integers(0, 30))
    def duplicate(self, at):
        if at < len(self.wire) and isinstance(self.wire[at], bytes):
            self.wire.insert(at, self.wire[at])

    @rule(at=st.integers(0, 30))
    def reorder(self, at):
        pair = self.wire[at : at + 2]
        if len(pair) == 2 and all(isinstance(one, bytes) for one in pair):
            self.wire[at : at + 2] = pair[::-1]

    @rule(keep=st.integers(0, 200))
    def trim(self, keep):
        self.stream.trimmed = max(self.stream.trimmed, self.stream.last - keep)

    @rule(turns=st.integers(0, 5))
    def reconnect(self, turns):
        self.relay.connection_changed(False)
        self.wire.clear()
        self.turns(turns)
        self.relay.connection_changed(True)
        self.turns(turns)

    @rule(questions=st.integers(1, 4))
    def fail(self, questions):
        """The store gives no answer a few times."""
        self.stream.failing = questions

    @rule(times=st.integers(1, 2))
    def sweep(self, times):
        """What nobody has needed for some time is let go of."""
        for _ in range(times):
            self.hub.sweep()
            self.relay.sweep(self.gateway.needed)

    @rule(lost=st.integers(1, 60), seconds=st.sampled_from([0.0, 0.3, 0.8, 2.0]))
    def set_back_and_append_again(self, lost, seconds):
        """The store comes back without its last second, and the writer still has it."""
        self.relay.connection_changed(False)
        self.wire.clear()
        last = max(self.stream.last - lost, 0)
        again = self.stream.set_back(last)
        self.relay.connection_changed(True)
        if seconds:
            self.wait(seconds)
        if seconds > REAPPEND_S:
            self.stream.lose(again)
        self.stream.truth |= again
        for seq in sorted(again):
            self.stream.last = seq
            self.wire.append(self.stream.message(seq))
        if seconds:
            # All see that it is back, before it may happen again.
            self.wait(2 * RETRY_S)

    @precondition(lambda self: self.stream.epoch is not None)
    @rule(lost=st.integers(0, 60), turns=st.integers(0, 3), flush=st.booleans())
    def lose(self, lost, turns, flush):
        """The store comes back without what nobody has any more: a new epoch begins with the next tick."""
        self.relay.connection_changed(False)
        self.wire.clear()
        if flush and lost > 50:
            self.stream.lose(self.stream.set_back(0))
            self.stream.epoch, self.stream.ended = None, {}
        else:
            self.stream.lose(self.stream.set_back(max(self.stream.last - lost, 0)))
        self.stream.new_epoch = True
        self.relay.connection_changed(True)
        self.turns(turns)

    # Clients.

    @rule(snapshot=st.booleans(), deliver=st.sampled_from(["all", "all", "latest"]), wide=st.booleans())
    def subscribe(self, snapshot, deliver, wide):
        if len(self.peers) < 6:
            peer = Peer(self.gateway, self.stream, self.loop)
            self.peers.append(peer)
            peer.ask("subscribe", snapshot=snapshot, deliver=deliver, symbols=["*" if wide else "AAPL"])
            self.turns(2)

    @rule(
        which=st.integers(0, 1000),
        deliver=st.sampled_from(["all", "all", "all", "latest"]),
        wide=st.booleans(),
        room=st.sampled_from([float("inf"), float("inf"), 500, 3_000]),
        turns=st.integers(0, 12),
    )
    def resume(self, which, deliver, wide, room, turns):
        """From any position that some client ever had."""
        if len(self.peers) < 6:
            peer = Peer(self.gateway, self.stream, self.loop)
            peer.door.room = room
            self.peers.append(peer)
            position = self.past[which % len(self.past)]
            symbols = ["*" if wide else "AAPL"]
            peer.ask("subscribe", deliver=deliver, symbols=symbols, resume={"AAPL": position})
            self.turns(turns)

    @precondition(lambda self: self.peers)
    @rule(which=st.integers(0, 5), deliver=st.sampled_from(["all", "latest"]))
    def subscribe_again(self, which, deliver):
        """Only changes how it is delivered, also while a replay runs."""
        self.peers[which % len(self.peers)].ask("subscribe", deliver=deliver)
        self.turns(1)

    @precondition(lambda self: self.peers)
    @rule(which=st.integers(0, 5), back=st.booleans())
    def unsubscribe(self, which, back):
        """And perhaps come back at once, to what the client has by now."""
        peer = self.peers[which % len(self.peers)]
        peer.ask("unsubscribe", symbols=["*", "AAPL"])
        if back and peer.position:
            peer.ask("subscribe", resume={"AAPL": peer.position})
        self.turns(1)

    @precondition(lambda self: self.peers)
    @rule(which=st.integers(0, 5), room=st.integers(100, 20_000))
    def take(self, which, room):
        self.peers[which % len(self.peers)].door.take(room)
        self.turns(2)

    @precondition(lambda self: self.peers)
    @rule(which=st.integers(0, 5))
    def disconnect(self, which):
        self.part(self.peers.pop(which % len(self.peers)))

    @rule(seconds=st.sampled_from([0.05, 1.0, 3.0]))
    def pass_time(self, seconds):
        self.wait(seconds)
        self.hub.look()

    def part(self, peer):
        peer.read()

        async def end():
            peer.task.cancel()
            self.hub.depart(peer.subscriber)
            await peer.subscriptions.end()
            await asyncio.gather(peer.task, return_exceptions=True)

        self.loop.run_until_complete(end())

    @invariant()
    def nothing_is_wrong(self):
        for task in (*self.tasks, *(peer.task for peer in self.peers)):
            if task.done():
                task.result()
        for peer in self.peers:
            peer.read()
            if peer.position and self.past[-1] != peer.position:
                self.past.append(peer.position)

    def teardown(self):
        try:
            self.deliver(10_000)
            for peer in self.peers:
                peer.door.take(float("inf"))
            self.reconnect(3)
            self.wait(4.0)
            self.wire += self.stream.append()
            self.deliver(10_000)
            self.wait(4.0)
            self.nothing_is_wrong()
            for peer in self.peers:
                if peer.subscribed and not peer.slow:
                    assert (peer.epoch, peer.seq) == (self.stream.epoch, self.stream.last)
                    assert peer.record == {seq: self.stream.truth[seq] for seq in peer.record}
            for peer in self.peers:
                self.part(peer)
            for _ in range(2):
                self.hub.sweep()
            assert not self.hub._recordings, "somebody still records"
            assert not self.hub._of_topic
        finally:
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.close()


TestModel = Machine.TestCase
TestModel.settings = settings(
    max_examples=SEQUENCES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
# Thousands of sequences take minutes: half a second each is plenty.
TestModel = pytest.mark.timeout(120 + SEQUENCES // 2)(TestModel)
TestModel = pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")(TestModel)
