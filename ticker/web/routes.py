"""The table of contents: every path there is, with the piece of code that answers it."""

from starlette.datastructures import Headers, QueryParams
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from ticker import metrics
from ticker.web import messages, pages
from ticker.web.documents import Documents
from ticker.web.gateway import Gateway
from ticker.web.history import Handler, History
from ticker.web.messages import RequestError
from ticker.web.operations import OPERATIONS
from ticker.web.ops import Ops
from ticker.web.problems import problem
from ticker.web.rest import Rest
from ticker.web.security import Origins, address_of
from ticker.web.server import HOW
from ticker.web.stream import Connection
from ticker.web.uvicorn_websocket import IMPORT_STRING, TickerWebSocket


def routes(gateway: Gateway, history: History, rest: Rest, ops: Ops) -> list[BaseRoute]:
    """Every path."""
    shown = pages.Pages(pages.BUILT, pages.SMALL)
    documents = Documents(gateway.config)
    return [
        WebSocketRoute("/v1/stream", StreamEndpoint(gateway)),
        *(Route(OPERATIONS[name].path, handler) for name, handler in _handlers(history, rest).items()),
        *ops.routes(),
        Route("/openapi.json", documents.openapi),
        Route("/asyncapi.json", documents.asyncapi),
        Route("/docs", shown.docs),
        Route("/", shown.root),
        Route("/licenses.md", shown.licences),
        Mount("/assets", shown.assets),
        Mount("/page", shown.small),
    ]


def _handlers(history: History, rest: Rest) -> dict[str, Handler]:
    """What answers each operation of the table."""
    return {
        "candles": history.candles,
        "many_candles": history.many_candles,
        "trades": history.ticks("trades"),
        "quotes": history.ticks("quotes"),
        "snapshot": rest.snapshot,
        "snapshots": rest.snapshots,
        "symbols": rest.symbols,
        "symbol": rest.symbol,
        "outages": rest.outages,
        "limits": rest.limits,
    }


class StreamEndpoint:
    """Lets WebSockets in, or says before the upgrade why not."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._origins = Origins(gateway.config.server.origins)

    async def __call__(self, scope: dict, receive: object, send: object) -> None:  # type: ignore[type-arg]
        """One connection, from the handshake to its end."""
        socket = WebSocket(scope, receive, send)  # type: ignore[arg-type]
        limits = self._gateway.config.limits
        origin = Headers(scope=scope).get("origin")
        if not self._origins.allows(origin):
            text = f"origin {origin!r} is not allowed; server.origins in config.yaml lists those that are"
            metrics.DENIED.labels("403").inc()
            await socket.send_denial_response(problem(403, "forbidden_origin", text))
            return
        if not isinstance(scope["extensions"].get("ticker"), TickerWebSocket):
            # `RequiredServer` has refused to start, unless the server did not tell the application that it starts.
            text = f"the server's WebSocket class is not {IMPORT_STRING}: {HOW}"
            metrics.DENIED.labels("500").inc()
            await socket.send_denial_response(problem(500, "internal_error", text))
            return
        if len(self._gateway.hub) >= limits.connections:
            metrics.met("connections")
            metrics.DENIED.labels("503").inc()
            text = f"{limits.connections} WebSockets are open, which is all that are allowed; come back later"
            await socket.send_denial_response(problem(503, "unavailable", text))
            return
        await self._admit(socket, QueryParams(scope["query_string"]))

    async def _admit(self, socket: WebSocket, query: QueryParams) -> None:
        """Count the connection against its address while it lasts."""
        address = address_of(socket)
        counts = self._gateway.connections_by_address
        limit = self._gateway.limits(address)["connections_per_address"]
        if limit is not None and counts.get(address, 0) >= limit:
            metrics.met("connections_per_address")
            await socket.accept()
            metrics.CLOSED.labels("server", "4429").inc()
            await socket.close(4429, f"{limit} connections from one address are open")
            return
        counts[address] = counts.get(address, 0) + 1
        try:
            try:
                opening = messages.from_query(query.multi_items())
            except RequestError as error:
                await Connection(self._gateway, socket).run(error)
            else:
                await Connection(self._gateway, socket).run(opening)
        finally:
            counts[address] -= 1
            if not counts[address]:
                del counts[address]
