"""Refuses to start under a server that cannot deliver what the hub sends, while whoever starts it still looks."""

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ticker.web.uvicorn_websocket import IMPORT_STRING, TickerWebSocket

HOW = f"start it with `ticker run` or `ticker serve`, or with `uvicorn --ws {IMPORT_STRING}`"


class RequiredServer:
    """Looks at who starts the application; the first WebSocket would be refused, too, but that may be days later."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on but the start under another server."""
        if scope["type"] == "lifespan" and (wrong := _what_is_wrong(receive)):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": f"{wrong}: {HOW}"})
            return
        await self._app(scope, receive, send)


def _what_is_wrong(receive: Receive) -> str | None:
    """ASGI does not tell which server it is. What uvicorn hands over is a method of an object that has its configuration."""
    config: Any = getattr(getattr(receive, "__self__", None), "config", None)
    if not hasattr(config, "ws_protocol_class"):
        return "the server is not uvicorn, whose WebSocket class ticker replaces by its own"
    found = config.ws_protocol_class
    if isinstance(found, type) and issubclass(found, TickerWebSocket):
        return None
    shown = f"{found.__module__}:{found.__qualname__}" if isinstance(found, type) else "none"
    return f"the server's WebSocket class is {shown}, not {IMPORT_STRING}"
