"""The WebSocket class that uvicorn is told to use: RFC 6455 and ASGI, and beside them a door for frames that many share.

uvicorn's own class keeps some 26 kB for each connection and builds every frame anew for every client. Here what a client
sends is read by `frame_reader`, and what the hub sends are frames that are built once: it writes them to the transports
itself. The application stays an ordinary ASGI application, which finds this object as `scope["extensions"]["ticker"]`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected, get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState
from websockets.frames import CloseCode

from ticker import metrics
from ticker.hub.frame import FIN_BINARY, FIN_PONG, close_frame, frame, text_frame
from ticker.web.frame_reader import BINARY, CLOSE, PING, TEXT, FrameReader, Message, Violation
from ticker.web.handshake import Handshake, Refused, reject
from ticker.web.uvicorn_config import limits_of

log = logging.getLogger(__name__)

IMPORT_STRING = "ticker.web.uvicorn_websocket:TickerWebSocket"
CLOSE_S = 1.0
"""A client that does not answer a close frame in this time is cut off; so long, too, the answers to what came before its
own close frame may take."""
CLOSE_ROUNDS = 5
"""A client that still takes some of what lies before the close frame has so many times `CLOSE_S`."""
KERNEL_UNSENT_BYTES = 1 << 16
"""Bytes that the kernel keeps for a client beyond what is under way. By itself it takes up to 3.9 MB for one that reads
nothing, with this 149 kB, its own receive buffer included (Linux 6, loopback); how much may be under way, and with that the
speed, it does not bound."""
INBOUND_MOST = 16
"""Messages that wait for the application before no more are read."""
FRAMES_AT_ONCE = 64
"""Frames of one client that are taken before the others have their turn."""
MINUTE_S = 60.0
PONGS_MOST = 600
"""Pongs a minute that the server itself may ask for: one for each heartbeat of 100 ms."""
TOO_MANY = 4429
HOLD_FROM_BYTES = 1
"""The transport says that it is full as soon as the kernel does not take a byte: what waits is the hub's to bound."""

Event = dict[str, Any]


class TickerWebSocket(asyncio.Protocol):
    """One connection, from its request head to its end."""

    __slots__ = (
        "_app",
        "_ended",
        "_frames",
        "_frames_most",
        "_full",
        "_handshake",
        "_inbound",
        "_last",
        "_loop",
        "_max_bytes",
        "_minute_s",
        "_paused",
        "_pongs",
        "_reader",
        "_receiver",
        "_scope",
        "_server",
        "_timer",
        "_turn_due",
        "_writable",
        "closed_with",
        "closing",
        "heard",
        "on_full",
        "on_gone",
        "on_room",
        "transport",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.transport: asyncio.Transport
        self.closing = False
        """A close frame was sent, or the connection is gone: nothing may be written any more."""
        self.closed_with: int | None = None
        """The code with which the server has closed the connection, where it has."""
        self.heard = True
        """Something has arrived since this was last set to False."""
        self.on_full: Callable[[], None] | None = None
        """Called when the kernel takes no more; everything that is written until `on_room` waits in memory."""
        self.on_room: Callable[[], None] | None = None
        self.on_gone: Callable[[], None] | None = None
        """Called once, before anything could be written to a connection that has begun to close."""
        self._app = config.loaded_app
        self._loop = _loop or asyncio.get_running_loop()
        self._server = server_state
        self._max_bytes = config.ws_max_size
        self._frames_most = limits_of(config).messages_per_minute
        self._frames = 0
        """Frames of this minute that are no whole message."""
        self._minute_s = 0.0
        self._reader: FrameReader | None = None
        self._handshake: Handshake | None = None
        """Until the application has answered it."""
        self._scope: Event | None = {"state": app_state.copy(), "root_path": config.root_path}
        self._inbound: list[Event] | None = None
        """Messages that wait for the application; None where none do, which is most of the time."""
        self._receiver: asyncio.Future[None] | None = None
        self._last: Message | Violation | None = None
        """What ended the reading: the client's close frame, or what it must not send."""
        self._pongs: list[bytes] | None = None
        self._paused = False
        self._turn_due = False
        self._writable: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._full = False
        self._ended: Event | None = None

    # What uvicorn and the event loop call.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there, and its request head will come next."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HOLD_FROM_BYTES)
        _bound_kernel(self.transport)
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

    def eof_received(self) -> bool:
        """The client sends no more; True keeps the connection open while what came before is still being answered."""
        if self._last is not None and not self.closing:
            return True
        self._begin_closing()
        self._end(CloseCode.ABNORMAL_CLOSURE, "the client sent no close frame")
        self._cut_off_later()
        return False

    def pause_writing(self) -> None:
        """The kernel takes no more."""
        self._full = True
        if self.on_full is not None:
            self.on_full()

    def resume_writing(self) -> None:
        """The kernel has taken all."""
        self._full = False
        self._write_pongs()
        self._wake_sender()
        if self.on_room is not None:
            self.on_room()

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

    # What the hub calls.

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; a client that does not answer it in time is cut off."""
        if not self.closing:
            self.closed_with = code
            self._begin_closing()
            self.transport.write(close_frame(code, reason))
            if self._last is not None:
                self._conclude()
            else:
                self._cut_off_later()
                self._read_on()

    def abort(self) -> None:
        """Cut the connection off at once."""
        self._begin_closing()
        self.transport.abort()

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

    # Frames of the client.

    def _read_on(self) -> None:
        """Take what has arrived, as far as the application keeps up and no other connection waits for it too long."""
        reader, taken = self._reader, 0
        while reader is not None and self._last is None:
            if self._handshake is not None or self._must_wait():
                self._pause_reading()
                return
            if taken == FRAMES_AT_ONCE:
                self._pause_reading()
                self._write_pongs()
                self._take_turn()
                return
            try:
                message = reader.read()
                if message is None:
                    break
                self._take(message)
            except Violation as violation:
                self._stop_reading(violation)
            taken += 1
        self._write_pongs()
        self._resume_reading()

    def _must_wait(self) -> bool:
        """Whether the application has enough to read; what comes behind a close frame of ours, it does not get."""
        return not self.closing and self._inbound is not None and len(self._inbound) >= INBOUND_MOST

    def _take_turn(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._turn_due = False
        self._read_on()

    def _take(self, message: Message) -> None:
        if message.opcode == TEXT:
            self._put({"type": "websocket.receive", "text": message.text})
        elif message.opcode == BINARY:
            self._put({"type": "websocket.receive", "bytes": message.payload})
        elif message.opcode == CLOSE:
            self._stop_reading(message)
        else:
            self._count_frame()
            if message.opcode == PING and not self.closing:
                self._pongs = self._pongs or []
                self._pongs.append(message.payload)

    def _count_frame(self) -> None:
        """Frames that are no whole message cost too, and the application does not see them."""
        now_s = self._loop.time()
        if now_s > self._minute_s:
            self._minute_s, self._frames = now_s + MINUTE_S, 0
        self._frames += 1
        if self._frames > self._frames_most + PONGS_MOST and not self.closing:
            metrics.met("messages_per_minute")
            raise Violation(TOO_MANY, f"more than {self._frames_most} pings and fragments in a minute")

    def _write_pongs(self) -> None:
        """Answer pings: each, or while the kernel takes no more, later the last one (section 5.5.3)."""
        if self._pongs and self._full:
            del self._pongs[:-1]
        elif self._pongs:
            pongs, self._pongs = self._pongs, None
            self.transport.write(b"".join([frame(FIN_PONG, payload) for payload in pongs]))

    def _put(self, event: Event) -> None:
        if self.closing:
            return
        if self._inbound is None:
            self._inbound = []
        self._inbound.append(event)
        self._wake_receiver()

    def _stop_reading(self, last: Message | Violation) -> None:
        """Take nothing more from this client. What came before is answered first, if that does not take too long."""
        self._last = last
        if isinstance(last, Violation) and last.code == CloseCode.MESSAGE_TOO_BIG:
            metrics.met("frame_bytes")
        if self.closing or (not self._inbound and self._receiver is not None):
            self._conclude()
        else:
            self._set_timer(self._loop.call_later(CLOSE_S, self._conclude))

    def _conclude(self) -> None:
        """Close for what ended the reading: answer a close frame, or fail the connection."""
        last = self._last
        assert last is not None
        failed = isinstance(last, Violation)
        code, reason = (last.code, last.reason) if isinstance(last, Violation) else (last.code, last.text)
        if not self.closing:
            self._write_pongs()
            self.closed_with = code if failed else None
            self._begin_closing()
            self.transport.write(close_frame(code, reason if failed else ""))
        self._end(CloseCode.NO_STATUS_RCVD if code is None else code, reason)
        self._cut_off_later()
        if failed and self.transport.can_write_eof():
            # Closing now, with bytes of the client unread, would tear the close frame out of its hands.
            self.transport.write_eof()
            self._resume_reading()
        else:
            self.transport.close()

    def _pause_reading(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    # The end.

    def _begin_closing(self) -> None:
        """From here on nothing is written but a close frame."""
        if not self.closing:
            self.closing = True
            self._handshake = self._pongs = None
            self._wake_sender()
            gone, self.on_gone, self.on_full, self.on_room = self.on_gone, None, None, None
            if gone is not None:
                gone()

    def _end(self, code: int, reason: str) -> None:
        """The application hears of the end, behind all that came before it."""
        if self._ended is None:
            self._ended = {"type": "websocket.disconnect", "code": code, "reason": reason}
            self._wake_receiver()

    def _cut_off_later(self, rounds: int = CLOSE_ROUNDS) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._set_timer(self._loop.call_later(CLOSE_S, self._cut_off, waiting, rounds - 1))

    def _cut_off(self, waited: int, rounds: int) -> None:
        """Time is up, but for a client that is merely slow: it has taken some meanwhile, and will learn why it is closed."""
        if rounds and 0 < self.transport.get_write_buffer_size() < waited:
            self._cut_off_later(rounds)
        else:
            self.transport.abort()

    def _set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer

    def _wake_receiver(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

    def _wake_sender(self) -> None:
        if self._writable is not None:
            self._writable.set()

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

    async def _receive(self) -> Event:
        while True:
            if self._inbound:
                event = self._inbound.pop(0)
                self._inbound = self._inbound or None
                if self._paused and not self._turn_due:
                    self._read_on()
                return event
            if self._last is not None and not self.closing:
                self._conclude()
            if self._ended is not None:
                return self._ended
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None

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


def _bound_kernel(transport: asyncio.Transport) -> None:
    option, sock = getattr(socket, "TCP_NOTSENT_LOWAT", None), transport.get_extra_info("socket")
    if option is not None and sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, option, KERNEL_UNSENT_BYTES)
