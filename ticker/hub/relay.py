"""Takes live messages from the store to the hub: in order, each number once, and never silently less.

A symbol's channel is tracked while somebody wants it. Tracking begins with where its stream stands; from then on every
message must carry the next number. After a lost connection, or where a number is missing, messages wait until what lies
between has been read from the stream; what the stream does not hold any more is announced as a gap.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from ticker import metrics
from ticker.errors import StoreError, StoreUnavailable
from ticker.hub.outlet import Outlet
from ticker.hub.resuming import Resuming
from ticker.hub.topic import Topic
from ticker.hub.track import Track
from ticker.store.tick_stream import KINDS, STREAM, Kind, Page, Tip, Wanted

log = logging.getLogger(__name__)

RETRY_S = 0.2
REAPPEND_S = 1.0
"""A store that ends too early gets this long: its writer appends what is missing again, under the same numbers."""
ENTRIES_PER_READ = 1_000


class Ticks(Protocol):
    """Where streams are read."""

    async def tips(self, kind: Kind, symbols: Sequence[str]) -> list[Tip]:
        """Where streams stand."""

    async def pages(self, wanted: Sequence[Wanted]) -> list[Page]:
        """Ticks by their numbers."""

    async def ends(self, kind: Kind, symbols: Sequence[str]) -> list[dict[str, int]]:
        """Of each symbol: epochs that have ended, and the number up to which those of each are still true."""


class Channels(Protocol):
    """Where channels are subscribed to."""

    async def ensure(self, channels: Iterable[str]) -> None:
        """Subscribe, confirmed."""

    def release(self, channels: Iterable[str]) -> None:
        """Unsubscribe."""


class Relay:
    """All tracked channels of this process."""

    def __init__(self, outlet: Outlet, ticks: Ticks, channels: Channels, *, heal_most: int) -> None:
        """`heal_most` messages are read back for one hole; a larger one is announced."""
        self._outlet = outlet
        self._ticks = ticks
        self._channels = channels
        self._heal_most = heal_most
        self._tracks: dict[Topic, Track] = {}
        self._by_channel: dict[bytes, Track] = {}
        self._starting: dict[Topic, asyncio.Task[None]] = {}
        self._doubtful: dict[Track, None] = {}
        self._checking: dict[Track, None] = {}
        self._doubt = asyncio.Event()
        self._settling: dict[Track, asyncio.Future[None]] = {}
        self._idle: set[Topic] = set()

    def tracks(self, topic: Topic) -> bool:
        """Whether the channel is tracked."""
        return topic in self._tracks

    def track_of(self, topic: Topic) -> Track:
        """A tracked channel."""
        return self._tracks[topic]

    async def track(self, kind: Kind, symbols: Sequence[str]) -> None:
        """Track these symbols' channels; afterwards `track_of` answers for each. Raises `StoreUnavailable`."""
        fresh = [s for s in symbols if (topic := Topic(kind, s)) not in self._tracks and topic not in self._starting]
        if fresh:
            task = asyncio.ensure_future(self._start(kind, fresh))
            for symbol in fresh:
                self._starting[Topic(kind, symbol)] = task
        waiting = {started for symbol in symbols if (started := self._starting.get(Topic(kind, symbol)))}
        # Others may wait for the same task: whoever is cancelled must not take it with him.
        await asyncio.gather(*(asyncio.shield(task) for task in waiting))

    async def _start(self, kind: Kind, symbols: Sequence[str]) -> None:
        tracks = [Track(kind, symbol) for symbol in symbols]
        for track in tracks:
            self._by_channel[track.channel.encode()] = track
        try:
            await self._channels.ensure(track.channel for track in tracks)
            for track, tip in zip(tracks, await self._ticks.tips(kind, symbols), strict=True):
                track.epoch, track.seq = tip.epoch, tip.end.seq
                track.message = track.message_of(tip.entry) if tip.entry else None
                self._tracks[track.topic] = track
                if track in self._doubtful:
                    self._doubt.set()
                else:
                    self._let_go(track)
        except BaseException:
            for track in tracks:
                self._tracks.pop(track.topic, None)
                self._by_channel.pop(track.channel.encode(), None)
                self._doubtful.pop(track, None)
            self._channels.release(track.channel for track in tracks)
            raise
        finally:
            for track in tracks:
                self._starting.pop(track.topic, None)

    def sweep(self, needed: Callable[[Topic], bool]) -> None:
        """Let go of every channel that nobody has needed since the last time."""
        unneeded = {topic for topic in self._tracks if not needed(topic)}
        # One that was needed a moment ago may be about to be joined: it goes at the next sweep.
        idle = [self._tracks[topic] for topic in unneeded & self._idle]
        self._idle = unneeded
        for track in idle:
            del self._tracks[track.topic]
            self._by_channel.pop(track.channel.encode(), None)
            track.gone = True
            self._doubtful.pop(track, None)
            self._checking.pop(track, None)
            self._settled(track)
        self._channels.release(track.channel for track in idle)

    def take(self, channel: bytes, payload: bytes) -> None:
        """One live message."""
        track = self._by_channel.get(channel)
        if track is None:
            return
        if track.held is not None:
            track.held.append(payload)
            return
        seq = track.number_of(payload)
        if seq == track.seq + 1:
            self._outlet.publish(track, payload, seq)
        elif seq is not None and seq > track.seq:
            track.held = [payload]
            self._question(track)

    def told_of_none(self, track: Track) -> None:
        """Somebody who joins now was told of no epoch, though quotes may have begun one before the first trade."""
        track.unnamed = not track.seq

    def begin_epoch(self, symbol: str, epoch: str, seqs: dict[Kind, int]) -> None:
        """The writer has begun a new epoch after these numbers: what clients saw above them is withdrawn."""
        for kind, seq in seqs.items():
            track = self._by_channel.get(STREAM[kind](symbol).encode())
            if track is not None and track.epoch != epoch:
                if track.held is not None:
                    # What waits was numbered before; what is stored of it its own check will find.
                    track.held.clear()
                    self._question(track)
                elif seq > track.seq:
                    # Something before it has not come: it is read from the stream first.
                    track.held = []
                    self._question(track)
                else:
                    self._outlet.reset(track, epoch, seq)

    def connection_changed(self, connected: bool) -> None:
        """After a lost connection, anything may be missing."""
        for track in self._by_channel.values():
            if connected:
                track.held = track.held or []
                self._question(track)
            else:
                # What waits is in the stream by now, or the store has lost it, and its number may have been used again.
                track.held = []

    async def heal(self) -> None:
        """Make sure of doubtful channels, for ever."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            for kind in KINDS:
                # Taken out before the streams are asked, so that a doubt that arises meanwhile stays.
                left = self._checking = {t: None for t in self._doubtful if self._is_next(t, kind)}
                for track in left:
                    del self._doubtful[track]
                try:
                    await self._check(kind, left)
                except StoreUnavailable as error:
                    log.debug("healing waits: %s", error)
                    for track in left:
                        # What is not there to be asked is not found to end anywhere.
                        self._doubtful[track] = track.short_s = None
                    self._doubt.set()
                    await asyncio.sleep(RETRY_S)
                self._checking = {}

    def _is_next(self, track: Track, kind: Kind) -> bool:
        """Whether it can be checked: not before its start has come through."""
        return track.kind == kind and self._tracks.get(track.topic) is track

    async def _check(self, kind: Kind, left: dict[Track, None]) -> None:
        """Make sure of these channels; each is taken out when that is done."""
        tracks = list(left)
        for track, tip in zip(tracks, await self._ticks.tips(kind, [t.symbol for t in tracks]), strict=True):
            if track in left:
                await self._make_sure_of(track, tip)
                left.pop(track, None)

    async def _make_sure_of(self, track: Track, tip: Tip) -> None:
        """The same for a stream in which somebody may have written what is no tick."""
        try:
            await self._make_sure(track, tip)
        except (StoreError, ValueError, KeyError) as error:
            if isinstance(error, StoreUnavailable):
                raise
            log.error("%s holds what is no tick: %r", track.channel, error, extra={"symbol": track.symbol})
            self._let_go(track)

    async def _make_sure(self, track: Track, tip: Tip) -> None:
        """Send what is missing up to where the stream stands, then what has waited meanwhile."""
        if tip.epoch is not None and tip.epoch != track.epoch:
            (ended,) = await self._ticks.ends(track.kind, [track.symbol])
            # Of an epoch that nobody has written down nothing can be told to be true: all that is kept is sent.
            self._outlet.reset(track, tip.epoch, min(ended.get(track.epoch or "", 0), track.seq, tip.end.seq))
        elif tip.epoch is not None and 0 < tip.end.seq < track.seq and not track.goes_on:
            # The store has lost what was sent. Its writer may be about to append it again.
            if self._may_come_back(track):
                return
            self._outlet.reset(track, tip.epoch, tip.end.seq)
        if await self._send_missing(track, tip):
            self._let_go(track)
        else:
            self._question(track)

    async def _send_missing(self, track: Track, tip: Tip) -> bool:
        """What the stream has behind the last number that went out; False where the stream changed meanwhile."""
        reason = "trimmed"
        if tip.end.seq - track.seq > self._heal_most:
            metrics.met("heal_messages")
            reason = "too_far"
            self._outlet.announce_hole(track, tip.end.seq - self._heal_most + 1, reason)
        while track.seq < tip.end.seq:
            wanted = Wanted(track.kind, track.symbol, track.seq + 1, min(tip.end.seq - track.seq, ENTRIES_PER_READ))
            (page,) = await self._ticks.pages([wanted])
            if track.gone or page.epoch != tip.epoch or page.last < tip.end.seq:
                return False
            for seq, fields in page.entries:
                if track.seq < seq <= tip.end.seq:
                    self._outlet.announce_hole(track, seq, "trimmed" if seq <= page.first else "store_lost")
                    self._outlet.publish(track, track.message_of(fields), seq)
            if len(page.entries) < wanted.most:
                break
        self._outlet.announce_hole(track, tip.end.seq + 1, "trimmed")
        return True

    def _may_come_back(self, track: Track) -> bool:
        """Whether to look again a little later, rather than to withdraw or give up what the store does not have."""
        loop = asyncio.get_running_loop()
        if track.short_s is None:
            track.short_s = loop.time()
        if track.gone or loop.time() - track.short_s > REAPPEND_S:
            return False
        self._doubtful[track] = None
        loop.call_later(RETRY_S, self._doubt.set)
        return True

    async def settle(self, track: Track) -> None:
        """Until the channel has been made sure of against its stream: what was missing has gone out, or is announced."""
        settling = self._settling.get(track)
        if settling is None:
            settling = self._settling[track] = asyncio.get_running_loop().create_future()
            track.held = track.held if track.held is not None else []
            self._question(track)
        await asyncio.wait((settling,))

    async def _settle_late(self, tracks: Sequence[Track]) -> bool:
        """`settle` those, all of one kind, that are behind their streams; whether there were any."""
        tips = await self._ticks.tips(tracks[0].kind, [track.symbol for track in tracks])
        late = [
            track
            for track, tip in zip(tracks, tips, strict=True)
            if tip.end.seq > track.seq or tip.epoch not in (None, track.epoch)
        ]
        for track in late:
            await self.settle(track)
        return bool(late)

    async def reach(self, items: Collection[Resuming]) -> None:
        """Wait a little for numbers that clients have and this gateway has not.

        They may have come from a gateway that is faster, or the store is about to get back what it has lost.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + REAPPEND_S
        while tracks := [item.track for item in items if item.is_ahead]:
            if await self._settle_late(tracks):
                continue
            if loop.time() > until_s:
                return
            await asyncio.sleep(RETRY_S)

    def _settled(self, track: Track) -> None:
        settling = self._settling.pop(track, None)
        if settling is not None:
            settling.set_result(None)

    def _let_go(self, track: Track) -> None:
        """Live from here on: first what has waited. Not where a doubt has arisen since the stream was asked."""
        if track.gone or track in self._doubtful:
            return
        held, track.held = track.held or [], None
        for place, payload in enumerate(held):
            seq = track.number_of(payload)
            if seq is None or seq <= track.seq:
                continue
            if seq > track.seq + 1 and self._may_come_back(track):
                # What is missing came after the stream was asked, or the store has lost it, perhaps for a moment only.
                track.held = held[place:]
                return
            self._outlet.announce_hole(track, seq, "store_lost")
            self._outlet.publish(track, payload, seq)
        track.short_s = None
        self._settled(track)

    @property
    def doubtful(self) -> bool:
        """Whether messages of some channel wait until they are made sure of."""
        return bool(self._doubtful or self._checking)

    def _question(self, track: Track) -> None:
        if track.gone:
            return
        self._doubtful[track] = None
        self._doubt.set()
