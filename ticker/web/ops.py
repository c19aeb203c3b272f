"""What those who run the service ask: is it alive, is it ready, what does it count."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ticker import codec, metrics
from ticker.feed_state import is_well
from ticker.web.gateway import Gateway

Ping = Callable[[], Awaitable[bool]]
Feeds = Callable[[], dict[str, dict[str, object]] | None]


class Ops:
    """The handlers. `ping` asks the store for a sign of life; `feeds` answers in the process that runs them."""

    def __init__(self, gateway: Gateway | None, ping: Ping, feeds: Feeds) -> None:
        """`gateway`: None in a process that has none."""
        self._gateway = gateway
        self._ping = ping
        self._feeds = feeds

    def routes(self) -> list[Route]:
        """Where they are found."""
        return [Route("/healthz", self.healthz), Route("/readyz", self.readyz), Route("/metrics", self.metrics)]

    async def healthz(self, request: Request) -> Response:
        """The process answers; nothing else is asked."""
        return _json({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """200 where the store answers, live messages flow and, where feeds run in this process, none has failed."""
        checks: dict[str, Any] = {"store": await self._ping()}
        if self._gateway:
            checks["live"] = self._gateway.subscription.connected
        own = self._feeds()
        ready = all(checks.values()) and all(is_well(feed["state"]) for feed in (own or {}).values())
        status = "ready" if ready else "not ready"
        feeds = self._gateway.service.feeds if own is None and self._gateway else own
        return _json({"status": status, "checks": checks, "feeds": feeds}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text format."""
        if self._gateway:
            self._gateway.take_census()
        return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE)


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(codec.to_json(body), status, {"Cache-Control": "no-store"}, "application/json")
