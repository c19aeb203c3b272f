"""One WebSocket connection: takes requests, and keeps its subscriptions; what it is sent, the hub writes."""

import logging
from bisect import bisect_left
from time import monotonic
from typing import Any
from uuid import uuid4

from starlette.websockets import WebSocket, WebSocketDisconnect

from ticker import metrics
from ticker.errors import BadRequest, StoreUnavailable
from ticker.hub.subscriber import OutboxLimits, Subscriber
from ticker.hub.topic import ALL, Delivery, Topic
from ticker.web import messages
from ticker.web.gateway import Gateway, now_us
from ticker.web.messages import Request, RequestError
from ticker.web.security import address_of

log = logging.getLogger(__name__)

MINUTE_S = 60.0


class Closed(Exception):
    """The server ends the connection, with a close code and a reason for the client."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Window:
    """Counts events of the last minute against a limit."""

    __slots__ = ("_most", "_times")

    def __init__(self, most: int) -> None:
        self._most = most
        # A deque would take 600 bytes for its first time, and most connections never have more than a few.
        self._times: list[float] = []

    def full(self) -> bool:
        """Count one more; True where that is too many."""
        now = monotonic()
        times = self._times
        if times and now - times[0] > MINUTE_S:
            del times[: bisect_left(times, now - MINUTE_S)]
        times.append(now)
        return len(times) > self._most


class Connection:
    """One client: takes its requests, and keeps its subscriptions. What it is sent, the hub writes."""

    def __init__(self, gateway: Gateway, socket: WebSocket) -> None:
        self.id = f"c-{uuid4().hex[:6]}"
        self._gateway = gateway
        self._socket = socket
        self._door = socket.scope["extensions"]["ticker"]
        self._limits = gateway.config.limits
        settings = gateway.config.websocket
        outbox = OutboxLimits(settings.outbox_bytes, settings.outbox_ms / 1000)
        self._subscriber = Subscriber(self._door, outbox, monotonic, self._on_slow)
        self._inbound = Window(self._limits.messages_per_minute)
        self._bad = Window(self._limits.bad_messages_per_minute)

    async def run(self, opening: Request | RequestError | None) -> None:
        """Serve until either side ends it; `opening` is the subscription that the address asked for."""
        gateway = self._gateway
        await self._socket.accept()
        # Nobody reads them any more, and they would be held for as long as the connection.
        self._socket.scope["headers"] = []
        gateway.hub.arrive(self._subscriber)
        gateway.unsubscribed[self] = monotonic()
        metrics.OPENED.inc()
        metrics.CONNECTIONS.inc()
        try:
            self._greet()
            await self._read(opening)
        except Closed as closed:
            self._close(closed)
        except WebSocketDisconnect:
            pass
        except Exception:
            log.exception("connection %s failed", self.id, extra={"connection": self.id})
            self._close(Closed(1011, "the server made a mistake"))
        finally:
            gateway.hub.depart(self._subscriber)
            gateway.unsubscribed.pop(self, None)
            by_us = self._door.closed_with
            metrics.CLOSED.labels("client" if by_us is None else "server", str(by_us or "")).inc()
            metrics.CONNECTIONS.dec()

    def check_first_subscribe(self, waited_s: float) -> None:
        """Do not keep a connection that wants nothing."""
        seconds = self._limits.first_subscribe_s
        if waited_s > seconds:
            metrics.met("first_subscribe_s")
            self._gateway.unsubscribed.pop(self, None)
            self._close(Closed(4408, f"nothing subscribed within {seconds} s"))

    def _on_slow(self, limit: str, why: str) -> None:
        metrics.met(limit)
        self._close(Closed(4508, f"slow consumer: {why}; come back and resume"))

    def _close(self, closed: Closed) -> None:
        fields = {"connection": self.id, "code": closed.code}
        log.info("connection %s closed with %d: %s", self.id, closed.code, closed.reason, extra=fields)
        self._door.close(closed.code, closed.reason)

    def _greet(self) -> None:
        limits = self._gateway.limits(address_of(self._socket))
        beat = self._gateway.config.websocket.heartbeat_ms
        self._subscriber.send(
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
        for payload in self._gateway.service.standing(now_us()):
            self._subscriber.send(payload)

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

    def _refuse(self, error: BadRequest, request_id: messages.Id) -> None:
        self._subscriber.send(messages.error(error, request_id))
        if error.code != "unavailable" and self._bad.full():
            metrics.met("bad_messages_per_minute")
            raise Closed(4400, f"more than {self._limits.bad_messages_per_minute} bad messages in a minute")

    async def _serve(self, request: Request) -> None:
        if request.op == "subscribe":
            await self._subscribe(request)
        elif request.op == "unsubscribe":
            self._unsubscribe(request)
        elif request.op == "list":
            self._subscriber.send(messages.message("subscriptions", request.id, entries=self._entries()))
        elif request.op == "stats":
            self._subscriber.send(messages.message("stats", request.id, **self._stats()))
        else:
            self._subscriber.send(messages.message("pong", request.id, time=now_us()))

    def _stats(self) -> dict[str, Any]:
        client = self._subscriber
        return {
            "queued_bytes": client.queued_bytes,
            "sent": client.sent,
            "skipped": client.total_skipped,
            "lag_ms": self._gateway.lag.newest_ms(),
        }

    async def _subscribe(self, request: Request) -> None:
        """Join topics: the reply, then snapshots, then live; between the three nothing can come."""
        gateway, everything = self._gateway, request.topic_of_all
        unknown = [s for s in request.symbols if s != ALL and s not in gateway.symbols]
        named = [s for s in request.symbols if s in gateway.symbols]
        fresh = len(
            [
                s
                for s in (*named, ALL)
                if s in request.symbols and everything._replace(symbol=s) not in self._subscriber.topics
            ]
        )
        if len(self._subscriber.topics) + fresh > self._limits.subscriptions:
            metrics.met("subscriptions")
            found = f"{len(self._subscriber.topics)} subscribed and {fresh} more"
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
        client = self._subscriber
        reply = messages.message(
            "subscribed", request.id, channel=request.channel, **interval, positions=positions, errors=errors
        )
        client.send(reply, counted=False)
        for payload in snapshots:
            if payload:
                client.send(messages.as_snapshot(payload), counted=False)
        if ALL in request.symbols:
            gateway.admit(everything, wanted)
        joined = [everything._replace(symbol=symbol) for symbol in (*named, ALL) if symbol in request.symbols]
        gateway.hub.join(client, joined, request.delivery)
        if client.topics:
            gateway.unsubscribed.pop(self, None)

    def _has(self, topic: Topic) -> bool:
        """Whether messages of the topic come already."""
        return topic in self._subscriber.topics or topic.everything in self._subscriber.topics

    def _unsubscribe(self, request: Request) -> None:
        left: list[Topic] = []
        errors: list[dict[str, str]] = []
        for symbol in request.symbols:
            topic = request.topic_of_all._replace(symbol=symbol)
            if topic in self._subscriber.topics:
                left.append(topic)
            elif symbol != ALL and symbol not in self._gateway.symbols:
                errors.append({"symbol": symbol, "code": "unknown_symbol"})
        self._gateway.hub.leave(self._subscriber, left)
        interval = {"interval": request.interval} if request.interval else {}
        symbols = [topic.symbol for topic in left]
        self._subscriber.send(
            messages.message(
                "unsubscribed", request.id, channel=request.channel, **interval, symbols=symbols, errors=errors
            )
        )

    def _entries(self) -> list[dict[str, Any]]:
        """What is subscribed, as it was written."""
        entries: dict[tuple[str, str | None, Delivery], list[str]] = {}
        for topic, delivery in self._subscriber.topics.items():
            entries.setdefault((topic.channel, topic.interval, delivery), []).append(topic.symbol)
        return [
            {"channel": channel}
            | ({"interval": interval} if interval else {})
            | {"symbols": symbols, "deliver": "latest" if delivery.latest else "all"}
            | ({"every_ms": delivery.every_ms} if delivery.latest else {})
            for (channel, interval, delivery), symbols in entries.items()
        ]
