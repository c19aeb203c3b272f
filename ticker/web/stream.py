"""One WebSocket connection: takes requests, keeps its subscriptions, and sends what the hub hands it."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic
from typing import Any
from uuid import uuid4

from starlette.websockets import WebSocket, WebSocketDisconnect

from ticker import metrics
from ticker.errors import BadRequest, StoreUnavailable
from ticker.hub.hub import ALL, Topic
from ticker.web import messages
from ticker.web.gateway import Gateway, now_us
from ticker.web.lag import next_sample_s
from ticker.web.messages import Request, RequestError
from ticker.web.outbox import Outbox
from ticker.web.security import address_of

log = logging.getLogger(__name__)

CLOSE_S = 1.0
"""A client that does not take a close frame in this time is cut off."""
MINUTE_S = 60.0


class Closed(Exception):
    """The server ends the connection, with a close code and a reason for the client."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Window:
    """Counts events of the last minute against a limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: deque[float] = deque()

    def full(self) -> bool:
        """Count one more; True where that is too many."""
        now = monotonic()
        while self._times and now - self._times[0] > MINUTE_S:
            self._times.popleft()
        self._times.append(now)
        return len(self._times) > self._most


class Connection:
    """One client."""

    def __init__(self, gateway: Gateway, socket: WebSocket) -> None:
        self.id = f"c-{uuid4().hex[:6]}"
        self._gateway = gateway
        self._socket = socket
        limits = gateway.config.limits
        self._limits = limits
        settings = gateway.config.websocket
        self._outbox = Outbox(settings.outbox_bytes, settings.outbox_ms / 1000)
        self._flush_s = settings.flush_ms / 1000
        self._topics: dict[Topic, None] = {}
        self._inbound = Window(limits.messages_per_minute)
        self._bad = Window(limits.bad_messages_per_minute)
        self._subscribed = asyncio.Event()
        self._sample_due_s = monotonic() + next_sample_s(len(gateway.hub), first=True)

    def offer(self, message: str) -> None:
        """One more message, from the hub."""
        self._outbox.offer(message)

    def heartbeat(self, time_us: int) -> None:
        """A sign of life, with how many messages went out before it."""
        self.offer(messages.message("heartbeat", time=time_us, sent=self._outbox.sent + self._outbox.waiting))

    @property
    def state(self) -> str:
        """What the metrics call it."""
        if self._outbox.waiting:
            return "behind"
        return "current" if self._topics else "new"

    @property
    def queued_bytes(self) -> int:
        """What waits for the client."""
        return self._outbox.queued_bytes

    async def run(self, opening: Request | RequestError | None) -> None:
        """Serve until either side ends it; `opening` is the subscription that the address asked for."""
        await self._socket.accept()
        self._greet()
        self._gateway.hub.arrive(self)
        metrics.OPENED.inc()
        metrics.CONNECTIONS.inc()
        tasks = [
            asyncio.create_task(part)
            for part in (self._read(opening), self._write(), self._await_first_subscribe(), self._await_overflow())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First out of the hub, so that nothing is handed to a connection that is being closed.
            self._leave()
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        await self._end([result for task, result in zip(tasks, results, strict=True) if task in done])

    def _greet(self) -> None:
        limits = self._gateway.limits(address_of(self._socket))
        beat = self._gateway.config.websocket.heartbeat_ms
        self.offer(
            messages.message(
                "welcome",
                version=messages.PROTOCOL,
                connection=self.id,
                heartbeat_ms=beat,
                limits=limits,
                time=now_us(),
                timezone=self._gateway.config.market.timezone,
                server="ticker",
            )
        )
        for text in self._gateway.service.standing(now_us()):
            self.offer(text)

    def _leave(self) -> None:
        hub = self._gateway.hub
        for topic in self._topics:
            hub.leave(topic, self)
        hub.depart(self)
        metrics.CONNECTIONS.dec()

    async def _end(self, results: Iterable[Any]) -> None:
        """Close as the first part that ended demands; what was not foreseen is a mistake of ours, and says so."""
        closed = next((result for result in results if isinstance(result, Closed)), None)
        unforeseen = next(
            (r for r in results if isinstance(r, Exception) and not isinstance(r, Closed | WebSocketDisconnect)), None
        )
        if unforeseen:
            log.error("connection %s failed", self.id, exc_info=unforeseen, extra={"connection": self.id})
            closed = Closed(1011, "the server made a mistake")
        if closed is None:
            by_us = self._socket.scope["extensions"]["ticker"].get("closed")
            metrics.CLOSED.labels("server" if by_us else "client", str(by_us or "")).inc()
            return
        metrics.CLOSED.labels("server", str(closed.code)).inc()
        fields = {"connection": self.id, "code": closed.code}
        log.info("connection %s closed with %d: %s", self.id, closed.code, closed.reason, extra=fields)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close(closed.code, closed.reason)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            # It takes nothing, not even this; the kernel's buffers are not worth waiting for.
            self._socket.scope["extensions"]["ticker"]["abort"]()

    async def _read(self, opening: Request | RequestError | None) -> None:
        """Requests, one after the other."""
        if isinstance(opening, RequestError):
            self._refuse(opening, opening.id)
        elif opening:
            await self._answer(opening)
        while True:
            event = await self._socket.receive()
            if event["type"] == "websocket.disconnect":
                return
            if self._inbound.full():
                metrics.met("messages_per_minute")
                raise Closed(4429, f"more than {self._limits.messages_per_minute} messages in a minute")
            text = event.get("text")
            if text is None:
                raise Closed(1003, "binary message; requests are JSON texts")
            try:
                request = messages.parse(text)
            except RequestError as error:
                metrics.REQUESTS.labels("bad").inc()
                self._refuse(error, error.id)
            else:
                metrics.REQUESTS.labels(request.op).inc()
                await self._answer(request)

    async def _answer(self, request: Request) -> None:
        try:
            await self._serve(request)
        except RequestError as error:
            self._refuse(error, error.id)

    async def _write(self) -> None:
        """What is in the outbox, in order."""
        with suppress(WebSocketDisconnect):
            while True:
                await self._outbox.wait()
                if self._flush_s:
                    await asyncio.sleep(self._flush_s)
                await self._send(self._outbox.take())

    async def _send(self, taken: list[tuple[str, int]]) -> None:
        count = size = 0
        try:
            for message, counted in taken:
                await self._socket.send({"type": "websocket.send", "text": message})
                self._outbox.done(counted)
                count += 1
                size += len(message)
        finally:
            # For all of them at once: this is the busiest loop of the gateway.
            metrics.MESSAGES.inc(count)
            metrics.BYTES.inc(size)
        if taken and (now_s := monotonic()) >= self._sample_due_s:
            self._sample_due_s = now_s + next_sample_s(len(self._gateway.hub))
            self._gateway.lag.sent(taken[-1][0])

    async def _await_first_subscribe(self) -> None:
        """Do not keep a connection that wants nothing; afterwards this waits for ever."""
        seconds = self._limits.first_subscribe_s
        try:
            async with asyncio.timeout(seconds):
                await self._subscribed.wait()
        except TimeoutError:
            metrics.met("first_subscribe_s")
            raise Closed(4408, f"nothing subscribed within {seconds} s") from None
        await asyncio.get_running_loop().create_future()

    async def _await_overflow(self) -> None:
        await self._outbox.overflow.wait()
        metrics.met(self._outbox.exceeded)
        raise Closed(4508, "slow consumer: messages wait for you; come back and resume")

    def _refuse(self, error: BadRequest, request_id: messages.Id) -> None:
        self.offer(messages.error(error, request_id))
        if error.code != "unavailable" and self._bad.full():
            metrics.met("bad_messages_per_minute")
            raise Closed(4400, f"more than {self._limits.bad_messages_per_minute} bad messages in a minute")

    async def _serve(self, request: Request) -> None:
        if request.op == "subscribe":
            await self._subscribe(request)
        elif request.op == "unsubscribe":
            self._unsubscribe(request)
        elif request.op == "list":
            self.offer(messages.message("subscriptions", request.id, entries=self._entries()))
        else:
            self.offer(messages.message("pong", request.id, time=now_us()))

    async def _subscribe(self, request: Request) -> None:
        """Join topics: the reply, then snapshots, then live; between the three nothing can come."""
        gateway, everything = self._gateway, request.topic_of_all
        unknown = [s for s in request.symbols if s != ALL and s not in gateway.symbols]
        named = [s for s in request.symbols if s in gateway.symbols]
        fresh = len(
            [s for s in (*named, ALL) if s in request.symbols and everything._replace(symbol=s) not in self._topics]
        )
        if len(self._topics) + fresh > self._limits.subscriptions:
            metrics.met("subscriptions")
            found = f"{len(self._topics)} subscribed and {fresh} more"
            raise RequestError(request.id, f"{found}; allowed: {self._limits.subscriptions}", "too_many_symbols")
        wanted: list[str] = []
        try:
            while True:
                async with gateway.tracking(everything, wanted):
                    # Symbols may appear while others are being tracked.
                    now = list(gateway.symbols) if ALL in request.symbols else named
                    if set(now) <= set(wanted):
                        self._join(request, named, wanted, unknown)
                        return
                wanted = now
        except StoreUnavailable as error:
            raise RequestError(request.id, str(error), "unavailable") from None

    def _join(self, request: Request, named: list[str], wanted: list[str], unknown: list[str]) -> None:
        """The reply, snapshots and joining of tracked symbols: nothing here waits."""
        gateway, everything = self._gateway, request.topic_of_all
        topics = [everything._replace(symbol=symbol) for symbol in wanted]
        positions = {topic.symbol: gateway.position(topic) for topic in topics}
        errors = [{"symbol": symbol, "code": "unknown_symbol"} for symbol in unknown]
        interval = {"interval": request.interval} if request.interval else {}
        snapshots = [gateway.last_message(topic) for topic in topics if request.snapshot and not self._has(topic)]
        self._outbox.offer_uncounted(
            messages.message(
                "subscribed", request.id, channel=request.channel, **interval, positions=positions, errors=errors
            )
        )
        for text in snapshots:
            if text:
                self._outbox.offer_uncounted(messages.as_snapshot(text))
        if ALL in request.symbols:
            gateway.admit(everything, wanted)
        for symbol in (*named, ALL):
            if symbol in request.symbols:
                topic = everything._replace(symbol=symbol)
                self._topics[topic] = None
                gateway.hub.join(topic, self)
        if self._topics:
            self._subscribed.set()

    def _has(self, topic: Topic) -> bool:
        """Whether messages of the topic come already."""
        return topic in self._topics or topic.everything in self._topics

    def _unsubscribe(self, request: Request) -> None:
        left: list[str] = []
        errors: list[dict[str, str]] = []
        for symbol in request.symbols:
            topic = request.topic_of_all._replace(symbol=symbol)
            if topic in self._topics:
                del self._topics[topic]
                self._gateway.hub.leave(topic, self)
                left.append(symbol)
            elif symbol != ALL and symbol not in self._gateway.symbols:
                errors.append({"symbol": symbol, "code": "unknown_symbol"})
        interval = {"interval": request.interval} if request.interval else {}
        self.offer(
            messages.message(
                "unsubscribed", request.id, channel=request.channel, **interval, symbols=left, errors=errors
            )
        )

    def _entries(self) -> list[dict[str, Any]]:
        """What is subscribed, as it was written."""
        entries: dict[tuple[str, str | None], list[str]] = {}
        for topic in self._topics:
            entries.setdefault((topic.channel, topic.interval), []).append(topic.symbol)
        return [
            {"channel": channel} | ({"interval": interval} if interval else {}) | {"symbols": symbols, "deliver": "all"}
            for (channel, interval), symbols in entries.items()
        ]
