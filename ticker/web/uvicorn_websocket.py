"""The WebSocket class that uvicorn is told to use: its own, which can be cut off at once and counts what it refuses.

ASGI knows no way to end a connection whose client takes nothing any more: closing it waits for the client.
"""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.http11 import Request

from ticker import metrics

IMPORT_STRING = "ticker.web.uvicorn_websocket:TickerWebSocket"


class TickerWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket with `scope["extensions"]["ticker"]`: `abort`, and `closed`, the code that uvicorn closed with."""

    def handle_connect(self, event: Request) -> None:
        """Put the extension into the scope, before the application sees it."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope.setdefault("extensions", {})["ticker"] = {"abort": self.transport.abort}

    def handle_parser_exception(self) -> None:
        """The client has sent what no message can be: closed below the application, which cannot count it."""
        if self.conn.close_sent and self.conn.close_sent.code == CloseCode.MESSAGE_TOO_BIG:
            metrics.met("frame_bytes")
        self._note_closed()
        super().handle_parser_exception()

    def shutdown(self) -> None:
        """The server goes away."""
        super().shutdown()
        self._note_closed()

    def _note_closed(self) -> None:
        if self.conn.close_sent and hasattr(self, "scope"):
            self.scope["extensions"]["ticker"]["closed"] = int(self.conn.close_sent.code)
