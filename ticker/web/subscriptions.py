"""What one connection has subscribed to: joining with a snapshot or from a position, and leaving again."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ticker import metrics
from ticker.errors import StoreUnavailable
from ticker.hub.candle_replay import CandleReplay
from ticker.hub.replay import Replay
from ticker.hub.resume import Position
from ticker.hub.subscriber import Subscriber
from ticker.hub.topic import ALL, Delivery, Topic
from ticker.web import messages
from ticker.web.gateway import Gateway
from ticker.web.messages import Request, RequestError

log = logging.getLogger(__name__)

SLICE_BYTES = 1 << 16
SLICE_SHARE = 0.25
"""A replay is written in pieces of so much of what may wait for a client, and of no more than `SLICE_BYTES`."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """The symbols of a request, parted."""

    topics: list[Topic]
    """Those of symbols that are named and known."""
    errors: list[dict[str, str]]
    resume: dict[Topic, Position]


class Subscriptions:
    """The entries of one connection, and the replays that are under way for it."""

    __slots__ = ("_client", "_fail", "_gateway", "_replays", "_room")

    def __init__(self, gateway: Gateway, client: Subscriber, fail: Callable[[], None]) -> None:
        """`fail` is called where a replay cannot go on because of a mistake of ours."""
        self._gateway = gateway
        self._client = client
        self._fail = fail
        self._replays: dict[Replay | CandleReplay, asyncio.Task[None]] = {}
        # Most connections never resume, and an event takes more memory than all else here.
        self._room: asyncio.Event | None = None

    async def subscribe(self, request: Request) -> None:
        """The reply, then snapshots or replays, then live; between the three nothing is lost."""
        asked = self._part(request)
        self._check_room(request, asked.topics)
        try:
            await self._track_and_join(request, asked)
        except StoreUnavailable as error:
            raise RequestError(request.id, str(error), "unavailable") from None

    def _part(self, request: Request) -> _Asked:
        known, everything, have = self._gateway.symbols, request.topic_of_all, self._client.topics
        unknown = dict.fromkeys(s for s in (*request.symbols, *request.resume) if s not in known and s != ALL)
        errors = [{"symbol": symbol, "code": "unknown_symbol"} for symbol in unknown]
        named = {symbol: everything.of(symbol) for symbol in request.symbols if symbol in known}
        has_all = everything in have
        resume: dict[Topic, Position] = {}
        for symbol, position in request.resume.items():
            if symbol not in known:
                continue
            topic = named.get(symbol) or everything.of(symbol)
            if has_all or topic in have:
                named.pop(symbol, None)
                errors.append({"symbol": symbol, "code": "already_subscribed"})
            else:
                resume[topic] = position
        return _Asked(list(named.values()), errors, resume)

    def _check_room(self, request: Request, topics: list[Topic]) -> None:
        limit, have = self._gateway.config.limits.subscriptions, self._client.topics
        wide = [request.topic_of_all] if ALL in request.symbols else []
        fresh = len([topic for topic in (*topics, *wide) if topic not in have])
        if len(have) + fresh > limit:
            metrics.met("subscriptions")
            found = f"{len(have)} subscribed and {fresh} more"
            raise RequestError(request.id, f"{found}; allowed: {limit}", "too_many_symbols")

    async def _track_and_join(self, request: Request, asked: _Asked) -> None:
        """Have live messages of all that is asked for, and join once nothing has changed while that was arranged."""
        wanted = self._wanted(request, asked)
        while True:
            async with self._gateway.tracking(request.topic_of_all, wanted):
                # Symbols may appear while others are being tracked.
                now = self._wanted(request, asked)
                if now is wanted or set(now) <= set(wanted):
                    if not asked.resume:
                        self._join(request, asked, wanted, None)
                        return
                    if await self._resume(request, asked, wanted):
                        return
            wanted = self._wanted(request, asked)

    def _wanted(self, request: Request, asked: _Asked) -> list[Topic]:
        """What must be tracked: what is named, or everything that there is by now."""
        if ALL not in request.symbols:
            return asked.topics
        return [request.topic_of_all.of(symbol) for symbol in self._gateway.symbols]

    async def _resume(self, request: Request, asked: _Asked, wanted: list[Topic]) -> bool:
        """Join, resuming; False where symbols have appeared meanwhile."""
        gateway = self._gateway
        room = self._room = self._room or asyncio.Event()
        self._client.on_room = room.set
        replay: Replay | CandleReplay
        if request.interval is None:
            replay = Replay(self._client, room, gateway.upstream, asked.resume)
        else:
            replay = CandleReplay(self._client, room, gateway.candle_upstream, asked.resume)
        try:
            while True:
                await replay.prepare(request.delivery)
                async with gateway.upstream.pace:
                    if ALL in request.symbols and not set(self._wanted(request, asked)) <= set(wanted):
                        replay.close()
                        return False
                    if replay.current:
                        self._join(request, asked, wanted, replay)
                        break
        except BaseException:
            replay.close()
            raise
        if replay.topics:
            self._replays[replay] = asyncio.create_task(self._run(replay))
        return True

    def _join(self, request: Request, asked: _Asked, topics: list[Topic], replay: Replay | CandleReplay | None) -> None:
        """The reply, snapshots and joining of tracked topics, and what can be replayed at once: nothing here waits."""
        gateway, client, everything = self._gateway, self._client, request.topic_of_all
        positions = {topic.symbol: gateway.position(topic) for topic in topics}
        if replay:
            for symbol, recovered in replay.recovered(request.delivery).items():
                positions[symbol]["recovered"] = recovered
        snapshots = [gateway.last_message(topic) for topic in self._fresh(asked, topics)] if request.snapshot else []
        interval = {"interval": request.interval} if request.interval else {}
        reply = messages.message(
            "subscribed", request.id, channel=request.channel, **interval, positions=positions, errors=asked.errors
        )
        client.send(reply, counted=False)
        for payload in snapshots:
            if payload:
                client.send(messages.as_snapshot(payload), counted=False)
        if ALL in request.symbols:
            gateway.admit(everything, topics)
        wide = [everything] if ALL in request.symbols else []
        gateway.hub.join(client, (*asked.topics, *wide), request.delivery, asked.resume)
        if replay:
            replay.step(self._slice)

    @property
    def _slice(self) -> int:
        """Bytes that a replay writes at once."""
        return int(min(SLICE_BYTES, SLICE_SHARE * self._gateway.config.websocket.outbox_bytes))

    def _fresh(self, asked: _Asked, topics: list[Topic]) -> list[Topic]:
        """Those whose messages neither come already nor are replayed."""
        have = self._client.topics
        if topics and topics[0].everything in have:
            return []
        return [topic for topic in topics if topic not in have and topic not in asked.resume]

    async def _run(self, replay: Replay | CandleReplay) -> None:
        """Go on with a replay for which more than one step is needed."""
        metrics.REPLAYING.inc()
        try:
            await replay.run(self._slice)
        except Exception:
            log.exception("a replay failed")
            self._fail()
        finally:
            metrics.REPLAYING.dec()
            replay.close()
            self._replays.pop(replay, None)

    async def end(self) -> None:
        """End the replays that are under way."""
        tasks = list(self._replays.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for replay in list(self._replays):
            # One that was cancelled before its first step has not closed itself.
            self._replays.pop(replay)
            replay.close()

    def unsubscribe(self, request: Request) -> bytes:
        """Leave; the reply."""
        left: list[Topic] = []
        errors: list[dict[str, str]] = []
        for symbol in request.symbols:
            topic = request.topic_of_all.of(symbol)
            if topic in self._client.topics:
                left.append(topic)
            elif symbol != ALL and symbol not in self._gateway.symbols:
                errors.append({"symbol": symbol, "code": "unknown_symbol"})
        self._gateway.hub.leave(self._client, left)
        for replay in self._replays:
            replay.drop_left()
        interval = {"interval": request.interval} if request.interval else {}
        symbols = [topic.symbol for topic in left]
        return messages.message(
            "unsubscribed", request.id, channel=request.channel, **interval, symbols=symbols, errors=errors
        )

    def entries(self) -> list[dict[str, Any]]:
        """What is subscribed, as it was written."""
        entries: dict[tuple[str, str | None, Delivery], list[str]] = {}
        for topic, delivery in self._client.topics.items():
            entries.setdefault((topic.channel, topic.interval, delivery), []).append(topic.symbol)
        return [
            {"channel": channel}
            | ({"interval": interval} if interval else {})
            | {"symbols": symbols, "deliver": "latest" if delivery.latest else "all"}
            | ({"every_ms": delivery.every_ms} if delivery.latest else {})
            for (channel, interval, delivery), symbols in entries.items()
        ]
