"""The WebSocket class that uvicorn is told to use: its own, which also lets a connection be cut off at once.

ASGI knows no way to end a connection whose client takes nothing any more: closing it waits for the client.
"""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

IMPORT_STRING = "ticker.web.uvicorn_websocket:TickerWebSocket"


class TickerWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket with `scope["extensions"]["ticker"]["abort"]`."""

    def handle_connect(self, event: Request) -> None:
        """Put the extension into the scope, before the application sees it."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope.setdefault("extensions", {})["ticker"] = {"abort": self.transport.abort}
