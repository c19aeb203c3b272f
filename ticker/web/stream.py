"""One WebSocket connection: takes requests and answers them; what else it is sent, the hub writes."""

import logging
from bisect import bisect_left
from time import monotonic
from typing import Any
from uuid import uuid4

from starlette.websockets import WebSocket, WebSocketDisconnect

from ticker import metrics
from ticker.errors import BadRequest
from ticker.hub.subscriber import OutboxLimits, Subscriber
from ticker.web import messages
from ticker.web.gateway import Gateway, now_us
from ticker.web.messages import Request, RequestError
from ticker.web.security import address_of
from ticker.web.subscriptions import Subscriptions

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
    """One client: takes its requests and answers them. What else it is sent, the hub writes."""

    def __init__(self, gateway: Gateway, socket: WebSocket) -> None:
        self.id = f"c-{uuid4().hex[:6]}"
        self._gateway = gateway
        self._socket = socket
        self._door = socket.scope["extensions"]["ticker"]
        self._limits = gateway.config.limits
        settings = gateway.config.websocket
        outbox = OutboxLimits(settings.outbox_bytes, settings.outbox_ms / 1000)
        self._subscriber = Subscriber(self._door, outbox, monotonic, self._on_slow)
        self._subscriptions = Subscriptions(gateway, self._subscriber, self._on_failed)
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
            self._on_failed()
        finally:
            gateway.hub.depart(self._subscriber)
            await self._subscriptions.end()
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

    def _on_failed(self) -> None:
        self._close(Closed(1011, "the server made a mistake"))

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
            await self._subscriptions.subscribe(request)
            if self._subscriber.topics:
                self._gateway.unsubscribed.pop(self, None)
        elif request.op == "unsubscribe":
            self._subscriber.send(self._subscriptions.unsubscribe(request))
        elif request.op == "list":
            self._subscriber.send(messages.message("subscriptions", request.id, entries=self._subscriptions.entries()))
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
