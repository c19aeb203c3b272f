"""The WebSocket class that uvicorn is told to use: one connection as an ASGI application sees it, from its request head on.

uvicorn's own class keeps some 26 kB for each connection and builds every frame anew for every client. Here what a client
sends is read by `websocket_inbound`, and what the hub sends are frames that are built once: it writes them to the transports
itself, at the `websocket_door`. The application stays an ordinary ASGI application, which finds this object as
`scope["extensions"]["ticker"]`.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected, get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState
from websockets.frames import CloseCode

from ticker.hub.frame import FIN_BINARY, frame, text_frame
from ticker.web.frame_reader import FrameReader, Violation
from ticker.web.handshake import Event, Handshake, Refused, reject
from ticker.web.uvicorn_config import limits_of
from ticker.web.websocket_inbound import WebSocketInbound

log = logging.getLogger(__name__)

IMPORT_STRING = "ticker.web.uvicorn_websocket:TickerWebSocket"


class TickerWebSocket(WebSocketInbound):
    """One connection, from its request head to its end."""

    __slots__ = ("_app", "_max_bytes", "_scope", "_server")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(_loop or asyncio.get_running_loop(), limits_of(config).messages_per_minute)
        self._app = config.loaded_app
        self._server = server_state
        self._max_bytes = config.ws_max_size
        self._scope: Event | None = {"state": app_state.copy(), "root_path": config.root_path}

    # What uvicorn and the event loop call.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there, and its request head will come next."""
        self._open(cast("asyncio.Transport", transport))
        self._server.connections.add(self)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Bytes from the client: first uvicorn's copy of the request head, then frames."""
        self.heard = True
        if self._reader is None:
            self._receive_head(data)
        elif self._last is None and self._reader.is_pong(data) and not self._paused:
            try:
                self._count_frame()
            except Violation as violation:
                self._stop_reading(violation)
        elif self._last is None:
            self._reader.feed(data)
            self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._server.connections.discard(self)
        self._begin_closing()
        self._end(CloseCode.ABNORMAL_CLOSURE, "the connection was lost")
        self._set_timer(None)

    def shutdown(self) -> None:
        """The server ends: tell the client to come back."""
        if self._handshake is not None:
            self._reject(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self.close(CloseCode.SERVICE_RESTART, "the server restarts; come back and resume")
            self._end(CloseCode.SERVICE_RESTART, "")

    # The handshake.

    def _receive_head(self, data: bytes) -> None:
        try:
            self._handshake = Handshake(data)
        except Refused as refused:
            self._write_and_close(refused.answer)
            return
        self._reader = FrameReader(self._max_bytes)
        scope, self._scope = self._complete(self._scope or {}, self._handshake), None
        self._put({"type": "websocket.connect"})
        task = self._loop.create_task(self._run(scope))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _complete(self, scope: Event, handshake: Handshake) -> Event:
        return (
            scope
            | {
                "type": "websocket",
                "asgi": {"version": "3.0", "spec_version": "2.4"},
                "http_version": "1.1",
                "scheme": "wss" if is_ssl(self.transport) else "ws",
                "server": get_local_addr(self.transport),
                "client": get_remote_addr(self.transport),
                "extensions": {"websocket.http.response": {}, "ticker": self},
            }
            | handshake.scope(scope["root_path"])
        )

    def _reject(self, status: int) -> None:
        """Answer the handshake in the application's stead, and close."""
        self._write_and_close(reject(status, self._server.default_headers))

    def _write_and_close(self, answer: bytes) -> None:
        self._begin_closing()
        self._end(CloseCode.ABNORMAL_CLOSURE, "the handshake was refused")
        self.transport.write(answer)
        self.transport.close()
        self._cut_off_later()

    # What the application calls.

    async def _run(self, scope: Event) -> None:
        try:
            await self._app(scope, self._receive, self._send)
        except ClientDisconnected:
            self._leave(CloseCode.NORMAL_CLOSURE, "")
        except Exception:
            log.exception("the application failed")
            self._leave(CloseCode.INTERNAL_ERROR, "the server made a mistake")
        except BaseException:
            self.abort()
            raise
        else:
            self._leave(CloseCode.NORMAL_CLOSURE, "")

    def _leave(self, code: int, reason: str) -> None:
        """The application has ended, perhaps without saying so to the client."""
        if self._handshake is not None:
            self._reject(HTTPStatus.INTERNAL_SERVER_ERROR)
        elif self._last is not None and not self.closing:
            self._conclude()
        else:
            self.close(code, reason)

    async def _send(self, event: Event) -> None:
        while self._full and not self.closing:
            self._writable = self._writable or asyncio.Event()
            self._writable.clear()
            await self._writable.wait()
        kind = event["type"]
        if self.closing:
            if kind != "websocket.close":
                raise ClientDisconnected
        elif self._handshake is not None:
            self._answer_handshake(self._handshake, event)
        elif kind == "websocket.send":
            text, data = event.get("text"), event.get("bytes")
            self.transport.write(text_frame(text.encode()) if text is not None else frame(FIN_BINARY, data or b""))
        elif kind == "websocket.close":
            self.close(event.get("code") or CloseCode.NORMAL_CLOSURE, event.get("reason") or "")
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")

    def _answer_handshake(self, handshake: Handshake, event: Event) -> None:
        answer = handshake.answer(event, self._server.default_headers)
        if handshake.accepted and answer is not None:
            self._handshake = None
            self.transport.write(answer)
            # A client that did not wait for it may have sent frames already.
            self._read_on()
        elif answer is not None:
            self._write_and_close(answer)
