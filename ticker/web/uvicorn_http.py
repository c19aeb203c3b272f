"""The HTTP class that uvicorn is told to use: its own, with bounds on what a client may send, and on how long it may take.

uvicorn waits for ever for a request to be whole, takes headers of any size, and counts WebSockets and requests together.
"""

import asyncio
from typing import Any, cast

from starlette.responses import Response
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from ticker import metrics
from ticker.web.instant import KEY, Reply
from ticker.web.problems import problem
from ticker.web.uvicorn_config import LimitedConfig

IMPORT_STRING = "ticker.web.uvicorn_http:TickerHttp"
LINGER_S = 1.0
"""How long what a refused client still sends is read and thrown away, so that the answer is not lost with the connection."""
CONTINUE = b"HTTP/1.1 100 "
LINE_BYTES = 4
"""Of a header's line, beside its name and value."""
HOLD_FROM_BYTES = 1
"""The transport says that it is full as soon as the kernel does not take a byte: from there on the client is watched."""


class _HeadWithBody:
    """A transport that lets the head of an answer wait for its body, so that both are one write, and one packet."""

    __slots__ = ("_head", "_transport", "_written")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._written = False

    def write(self, data: bytes) -> None:
        """The first is the head, unless it only asks the client to go on."""
        if self._written or data.startswith(CONTINUE):
            self._transport.write(data)
        elif self._head is None:
            self._head = data
        else:
            self._written, head = True, self._head
            self._head = None
            self._transport.writelines((head, data) if data else (head,))

    def close(self) -> None:
        """What waits goes out first."""
        if self._head is not None:
            self._transport.write(self._head)
            self._head = None
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether nothing more is taken."""
        return self._transport.is_closing()


class TickerHttp(HttpToolsProtocol):
    """One connection: requests, one after the other, or a WebSocket's handshake."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(config, LimitedConfig)
        self._limits = config.limits
        self._fresh, self._requesting = config.fresh, config.requesting
        self._own_app = self.app
        self._timer: asyncio.TimerHandle | None = None
        """While a head is awaited, or a refused client is let go."""
        self._stall_timer: asyncio.TimerHandle | None = None
        self._received: int | None = None
        """Bytes of the request that is arriving; None between requests."""
        self._counting = 0
        """Bytes of this read that belong to it."""
        self._read_bytes = 0
        self._head_came = False
        """With this read."""
        self._in_body = False
        self._refused = False
        self._instant: Reply | None = app_state.get(KEY)
        self._at_once = False
        """The request that is arriving was answered as soon as its head was there."""

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there; a whole head must follow in time."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.transport.set_write_buffer_limits(high=HOLD_FROM_BYTES)
        self._await_head()
        self._fresh[self] = None
        if len(self._fresh) > self._limits.http_connections:
            # Of those that have said nothing yet, the oldest is the least likely to.
            metrics.met("http_connections")
            cast("TickerHttp", next(iter(self._fresh))).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._refused:
            return
        awaited = self._timer is None and (self.cycle is None or self.cycle.response_complete)
        self._counting = self._read_bytes = len(data)
        self._head_came = False
        super().data_received(data)
        if awaited and not self._head_came and self._timer is None and not self.transport.is_closing():
            self._await_head()
        if self._received is not None and not self.transport.is_closing():
            self._received += self._counting
            if self._received > self._limits.head_bytes:
                self._refuse(self._too_large(*((413, "body") if self._in_body else (431, "head"))))

    def pause_writing(self) -> None:
        """The kernel takes no more."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The kernel has taken all."""
        super().resume_writing()
        self._stop_watching()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        self._stop_timer()
        self._stop_watching()
        self._fresh.pop(self, None)
        self._requesting.pop(self, None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._received, self._in_body = 0, False

    def on_headers_complete(self) -> None:
        """A whole head: who is it from, and may it be answered?"""
        self._stop_timer()
        self._in_body = self._head_came = True
        self._fresh.pop(self, None)
        refusal = self._find_refusal()
        self._at_once = refusal is None and self._answered_at_once()
        if self._at_once:
            return
        if refusal is not None:
            self._refused = True
            refusal.headers["Connection"] = "close"
        self.app = refusal or self._own_app
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before and self.parser.get_method() != b"HEAD":
            # Its task has not begun yet.
            self.cycle.transport = cast("asyncio.Transport", _HeadWithBody(self.transport))

    def on_body(self, body: bytes) -> None:
        """Some of a request's body."""
        if not self._at_once:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        if not self._at_once:
            super().on_message_complete()
        self._received = None
        # What else this read brought belongs to the next one, from where it is not known.
        self._counting = 0

    def handle_websocket_upgrade(self) -> None:
        """From here on it is the WebSocket class's."""
        self._stop_timer()
        self._requesting.pop(self, None)
        super().handle_websocket_upgrade()

    def _should_upgrade(self) -> bool:
        return not self._refused and super()._should_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        if not self._refused:
            super()._unsupported_upgrade_warning()

    def _answered_at_once(self) -> bool:
        """Answer what the application remembers from here, where nothing else is under way."""
        if (
            self._instant is None
            or self.parser.get_method() != b"GET"
            or self.parser.get_http_version() != "1.1"
            or not self.parser.should_keep_alive()
            or (self.cycle is not None and not self.cycle.response_complete)
            or self.flow.write_paused
            or self.transport.is_closing()
        ):
            return False
        reply = self._instant(self.url, self.headers, self.client[0] if self.client else "")
        if reply is None:
            return False
        head, body = reply
        defaults = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        whole = b"".join((head, *defaults, b"\r\n"))
        if body:
            self.transport.writelines((whole, body))
        else:
            self.transport.write(whole)
        self.on_response_complete()
        return True

    # Refusals.

    def _find_refusal(self) -> Response | None:
        """Why this request is not for the application, where it is not."""
        most = self._limits.head_bytes
        # What came with one small read is no large head: that need not be counted.
        if (self._received or 0) + self._read_bytes > most and self._head_bytes() > most:
            return self._too_large(431, "head")
        if self.parser.should_upgrade() and super()._should_upgrade():
            return None
        if self not in self._requesting and len(self._requesting) >= self._limits.http_connections:
            metrics.met("http_connections")
            text = (
                f"{self._limits.http_connections} connections are open, which is all that are allowed; come back later"
            )
            return problem(503, "unavailable", text)
        self._requesting[self] = None
        return None

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + LINE_BYTES for name, value in self.headers)

    def _too_large(self, status: int, part: str) -> Response:
        metrics.met("head_bytes")
        return problem(status, "bad_request", f"a request's {part} of more than {self._limits.head_bytes} bytes")

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self._limits.head_s, self._end_waiting)

    def _end_waiting(self) -> None:
        """No whole head has come in time; whoever has begun one is told."""
        self._timer = None
        metrics.met("head_s")
        if self._received is not None and not self._in_body:
            text = f"no whole request has come in {self._limits.head_s} s"
            self._refuse(problem(408, "bad_request", text))
        else:
            self.transport.close()

    def _refuse(self, answer: Response) -> None:
        """Answer what is not a whole request in the application's stead, if that can still be; then let the client go."""
        self._refused = True
        self._stop_timer()
        running = self.cycle is not None and not self.cycle.response_complete
        if running and (not self._in_body or self.pipeline):
            # The answer to a request before this one is not finished.
            self.transport.abort()
            return
        if running:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not self._in_body or (running and not self.cycle.response_started):
            headers = [*self.server_state.default_headers, *answer.raw_headers, (b"connection", b"close")]
            lines = [b"%b: %b\r\n" % header for header in headers]
            self.transport.write(b"".join([STATUS_LINE[answer.status_code], *lines, b"\r\n", bytes(answer.body)]))
        self._timer = self.loop.call_later(LINGER_S, self.transport.abort)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Clients that do not read.

    def _watch(self, waiting_bytes: int) -> None:
        self._stop_watching()
        self._stall_timer = self.loop.call_later(self._limits.answer_s, self._end_stalled, waiting_bytes)

    def _end_stalled(self, waited_bytes: int) -> None:
        """Nothing was taken of an answer in all the time: the client does not read."""
        waiting_bytes = self.transport.get_write_buffer_size()
        if waiting_bytes < waited_bytes:
            self._watch(waiting_bytes)
        else:
            metrics.met("answer_s")
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
