"""The live side of one process: the parts that carry ticks from the store to the hub, and the tasks that keep them going."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic, time_ns
from typing import Any, Protocol

from ticker import codec, metrics
from ticker.config import Config
from ticker.errors import NotFound, StoreUnavailable
from ticker.history.cache import Cache
from ticker.history.candles import CandleHistory
from ticker.history.snapshots import SnapshotReader
from ticker.history.ticks import TickHistory
from ticker.hub.candle_replay import CandleUpstream
from ticker.hub.forming import Forming
from ticker.hub.hub import SLOTS, Hub
from ticker.hub.relay import Relay
from ticker.hub.replay import Upstream
from ticker.hub.service import REASONS, Service, Writer
from ticker.hub.topic import Holds, Topic
from ticker.store import keys
from ticker.store.outages import Beat, Outage
from ticker.store.subscription import Messages, Subscription
from ticker.store.tick_stream import KINDS, Kind
from ticker.web import messages
from ticker.web.answers import Answers
from ticker.web.census import count_connections, count_sent
from ticker.web.lag import Lag
from ticker.web.security import is_loopback

log = logging.getLogger(__name__)

CHECK_S = 0.2
SWEEP_S = 5.0
CATALOG_S = 30.0

Metadata = dict[str, dict[str, Any]]


@dataclass(slots=True)
class History:
    """The doors through which the past is read."""

    candles: CandleHistory
    ticks: TickHistory
    snapshots: SnapshotReader
    kept: Callable[[str], Awaitable[Mapping[str, Any]]]
    cache: Cache
    outages: Callable[[str], Awaitable[tuple[list[Outage], Beat | None]]]
    read_catalog: Callable[[], Any]
    read_owners: Callable[[], Any]
    pace: AbstractAsyncContextManager[None]
    """Around each part of an answer that is made: live messages go out in between."""


class Unsubscribed(Protocol):
    """A connection that has subscribed to nothing yet."""

    def check_first_subscribe(self, waited_s: float) -> None:
        """Close it where it has waited for too long."""


class Gateway:
    """Everything that connections and REST share in one process; `app` makes the parts and puts them in."""

    def __init__(self, config: Config, hub: Hub, history: History) -> None:
        self.config = config
        self.hub = hub
        self.history = history
        self.answers = Answers(history.cache)
        self.service = Service(monotonic())
        self.symbols: Metadata = {}
        self.lag = Lag(self.clock_of)
        hub.on_flush = self.lag.sent
        self.connections_by_address: dict[str, int] = {}
        self.unsubscribed: dict[Unsubscribed, float] = {}
        """Connections that have subscribed to nothing yet, and since when."""
        self._limits = {loopback: config.limits_in_force(loopback=loopback) for loopback in (False, True)}
        self._owners: dict[str, str] = {}
        self._by_writer: dict[Writer, list[str]] = {}
        self._catalog_wanted = asyncio.Event()
        self._pinned = Holds()
        self._connected = asyncio.Event()
        self.relay: Relay
        self.forming: Forming
        self.subscription: Subscription
        self.upstream: Upstream
        self.candle_upstream: CandleUpstream

    def wire(self, upstream: Upstream, candle_upstream: CandleUpstream, subscription: Subscription) -> None:
        """The parts that need to call the gateway back, and those made of them."""
        self.relay, self.forming = upstream.relay, candle_upstream.forming
        self.upstream, self.candle_upstream, self.subscription = upstream, candle_upstream, subscription

    def metadata(self, symbol: str) -> dict[str, Any]:
        """What is known of a symbol; raises `NotFound`."""
        if symbol not in self.symbols:
            raise NotFound(f"symbol {symbol!r} is not known; /v1/symbols lists those that are", "symbol")
        return self.symbols[symbol]

    def feed_of(self, symbol: str) -> str:
        """The feed that a symbol belongs to; of one that has vanished from the store, none."""
        return str(self.symbols.get(symbol, {}).get("feed", ""))

    def clock_of(self, symbol: str) -> int:
        """The feed clock of a symbol, as of the last heartbeat; 0 where none is known."""
        return self.service.clock_of(self._writer_of(symbol))

    def _writer_of(self, symbol: str) -> Writer:
        return Writer(self._owners.get(symbol, ""), self.feed_of(symbol))

    async def outages(self, symbol: str) -> list[Outage]:
        """The times in which a symbol's feed was away, in order of their ends; one that lasts comes last."""
        over, beat = await self.history.outages(self.feed_of(symbol))
        if beat is None:
            return over
        if self.service.is_away(self._writer_of(symbol), monotonic()):
            ended = [replace(beat.lasting, end=beat.time)] if beat.lasting else []
            return [*over, *ended, Outage(beat.time, None, "ingest", "no ingester is there")]
        return [*over, beat.lasting] if beat.lasting else over

    def limits(self, address: str) -> dict[str, int | None]:
        """The limits in force for a client's address; None where one does not hold for it."""
        return self._limits[is_loopback(address)]

    async def run(self) -> None:
        """Carry ticks until cancelled."""
        with suppress(StoreUnavailable):
            # So that requests find the symbols from the first moment; where the store is away, the loop below reads them.
            await self._read_catalog()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.subscription.run())
            group.create_task(self.relay.heal())
            group.create_task(self.upstream.blocks.run())
            group.create_task(self._follow_catalog())
            group.create_task(self._check())
            group.create_task(self._mend_forming())
            group.create_task(self._publish_forming())
            group.create_task(self._heartbeats())
            group.create_task(self._sweep())

    async def connected(self, timeout_s: float) -> None:
        """Until there were live messages once, or so long: who comes back to a gateway that starts should not be refused."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._connected.wait()

    def deliver(self, batch: Messages) -> None:
        """Everything that one read of the live connection gave."""
        metrics.READS.observe(len(batch))
        for channel, payload in batch:
            own = {HEARTBEAT: self._heartbeat, EVENTS: self._event}.get(channel)
            if own is None:
                self.relay.take(channel, payload)
                continue
            try:
                own(payload)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                name = channel.decode()
                log.warning("%s: passed over a message that is not ours: %r", name, error, extra={"channel": name})
        self.lag.received(batch[-1][1])

    def connection_changed(self, connected: bool) -> None:
        """The live connection was gained or lost."""
        self.answers.hear(heard=connected)
        self.relay.connection_changed(connected)
        if connected:
            self._connected.set()
            self._catalog_wanted.set()
            self.forming.invalidate_long()
        else:
            self.service.store(monotonic(), live=False)

    @asynccontextmanager
    async def tracking(self, everything: Topic, topics: Sequence[Topic]) -> AsyncIterator[None]:
        """Have live messages of these, all of one channel, at least as long as the block lasts. Raises `StoreUnavailable`.

        Whoever joins topics in the block, without waiting for anything, has them from then on.
        """
        kind: Kind = "quotes" if everything.channel == "quotes" else "trades"
        ticks = topics if everything.interval is None else [Topic(kind, topic.symbol) for topic in topics]
        pins = topics if ticks is topics else (*topics, *ticks)
        self._pinned.take(pins)
        try:
            if untracked := [topic.symbol for topic in ticks if not self.relay.tracks(topic)]:
                await self.relay.track(kind, untracked)
            while everything.interval is not None and not all(map(self.forming.fold_of, topics)):
                # One that has begun may be stopped while others are loaded.
                await self.forming.watch_all(topics)
            yield
        finally:
            self._pinned.let_go(pins)

    def needed(self, topic: Topic) -> bool:
        """Whether somebody has the topic, or is about to."""
        return topic in self._pinned or self.hub.wanted(topic)

    def position(self, topic: Topic) -> dict[str, Any]:
        """What somebody who joins a tracked topic now gets the messages after, and is told that he does."""
        track = self.relay.track_of(Topic("trades", topic.symbol) if topic.interval else topic)
        fold = self.forming.fold_of(topic) if topic.interval else None
        epoch, seq = (fold.epoch, fold.seq) if fold else (track.epoch, track.seq)
        if not seq:
            self.relay.told_of_none(track)
        return messages.position(epoch, seq)

    def last_message(self, topic: Topic) -> bytes | None:
        """The last message of a tracked topic; what is due to its members already goes out first."""
        if topic.interval is None:
            return self.relay.track_of(topic).message
        return self.forming.latest(topic)

    def _heartbeat(self, payload: bytes) -> None:
        beat = codec.from_json(payload)
        feeds = {str(name): dict(feed) for name, feed in beat["feeds"].items()}
        ingester = str(beat.get("ingester", ""))
        if any(
            0 < (feed.get("clock") or 0) < self.service.clock_of(Writer(ingester, name)) for name, feed in feeds.items()
        ):
            # A feed that begins again closes candles that were closed before.
            self.answers.hear(heard=self.answers.heard)
        self.service.heartbeat(monotonic(), ingester, feeds)
        self.forming.close(self.clock_of)

    def _event(self, payload: bytes) -> None:
        event = codec.from_json(payload)
        if event["event"] == "symbols":
            self._catalog_wanted.set()
        elif event["event"] == "candles":
            self.answers.changed(str(event["symbol"]), event.get("changed"))
        elif event["event"] == "backfill":
            self.answers.changed(str(event["symbol"]))
            self.forming.invalidate(str(event["symbol"]))
        elif event["event"] == "epoch":
            self.answers.changed(str(event["symbol"]))
            seqs: dict[Kind, int] = {kind: int(event[kind]) for kind in KINDS}
            self.relay.begin_epoch(str(event["symbol"]), str(event["epoch"]), seqs)

    async def _follow_catalog(self) -> None:
        """Know new symbols soon after they appear."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CATALOG_S):
                    await self._catalog_wanted.wait()
            self._catalog_wanted.clear()
            try:
                await self._read_catalog()
                await self._join_all()
            except StoreUnavailable as error:
                log.debug("the symbols cannot be read: %s", error)
                self._catalog_wanted.set()
                await asyncio.sleep(CHECK_S)

    async def _read_catalog(self) -> None:
        found: Metadata = await self.history.read_catalog()
        self._owners = await self.history.read_owners()
        if self.symbols.keys() != found.keys():
            # Answers for all symbols, and for those that are gone, are no answers any more.
            self.answers.hear(heard=self.answers.heard)
        self.symbols = found
        by_writer: dict[Writer, list[str]] = {}
        for symbol in found:
            by_writer.setdefault(self._writer_of(symbol), []).append(symbol)
        self._by_writer = by_writer

    async def _join_all(self) -> None:
        """Symbols that have appeared join the subscriptions of all symbols, each announced before its first message."""
        for everything in self.hub.topics_of_all():
            new = [everything.of(symbol) for symbol in self.symbols if not self.hub.admitted(everything, symbol)]
            if new:
                async with self.tracking(everything, new):
                    self.admit(everything, new)

    def admit(self, everything: Topic, topics: Iterable[Topic]) -> None:
        """Let tracked topics into that of all symbols; whoever has that already is told where each begins."""
        interval = {"interval": everything.interval} if everything.interval else {}
        for topic in topics:
            if not self.hub.admitted(everything, topic.symbol):
                positions = {topic.symbol: self.position(topic)}
                text = messages.message(
                    "subscribed", channel=everything.channel, **interval, positions=positions, errors=[]
                )
                self.hub.control_to(everything, text)
                self.hub.admit(everything, topic.symbol)

    async def _check(self) -> None:
        """Tell everyone when the service goes stale or comes back."""
        while True:
            if self.subscription.connected and not self.relay.doubtful:
                # Live again is what is healed, not what is merely connected.
                self.service.store(monotonic(), live=True)
            for reason in REASONS:
                metrics.STALE.labels(reason).set(reason in self.service.stale)
            for text in self.service.check(monotonic(), now_us(), self._by_writer):
                self.hub.broadcast(text)
                log.info("service: %s", text.decode())
            self.hub.look()
            for connection, since_s in list(self.unsubscribed.items()):
                connection.check_first_subscribe(monotonic() - since_s)
            count_sent(self.hub, self.upstream.blocks)
            await asyncio.sleep(CHECK_S)

    async def _mend_forming(self) -> None:
        """Begin candles again whose trades were in doubt; apart from `_check`, because a lost store keeps it waiting."""
        while True:
            with suppress(StoreUnavailable):
                await self.forming.mend()
            await asyncio.sleep(CHECK_S)

    async def _publish_forming(self) -> None:
        while True:
            self.forming.publish()
            await asyncio.sleep(self.config.candles.publish_ms / 1000)

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self.config.websocket.heartbeat_ms / 1000 / SLOTS)
            self.hub.beat(partial(messages.heartbeat, now_us()))

    async def _sweep(self) -> None:
        """Let go of what nobody wants any more."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.hub.sweep()
            self.forming.sweep(self.needed)
            self.relay.sweep(lambda t: self.needed(t) or (t.channel == "trades" and self.forming.folds(t.symbol)))
            self.take_census()

    def take_census(self) -> None:
        """Count what there is and what was sent, for a scrape."""
        count_sent(self.hub, self.upstream.blocks)
        count_connections(self.hub)


HEARTBEAT, EVENTS = keys.HEARTBEAT.encode(), keys.EVENTS.encode()
PRIVATE = (keys.HEARTBEAT, keys.EVENTS)
"""The channels that every gateway listens to."""


def now_us() -> int:
    """The wall clock, in microseconds since the Unix epoch."""
    return time_ns() // 1000
