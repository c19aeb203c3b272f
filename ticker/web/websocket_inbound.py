"""The reading side of a WebSocket connection: a client's frames become events for the application, up to the close frame.

No more is read than the application takes, no client has more than its turn, and pings are answered on the way.
"""

import asyncio

from websockets.frames import CloseCode

from ticker import metrics
from ticker.hub.frame import close_frame
from ticker.web.frame_reader import BINARY, CLOSE, PING, TEXT, FrameReader, Message, Violation
from ticker.web.handshake import Event
from ticker.web.websocket_door import CLOSE_S, WebSocketDoor

INBOUND_MOST = 16
"""Messages that wait for the application before no more are read."""
FRAMES_AT_ONCE = 64
"""Frames of one client that are taken before the others have their turn."""
MINUTE_S = 60.0
PONGS_MOST = 600
"""Pongs a minute that the server itself may ask for: one for each heartbeat of 100 ms."""
TOO_MANY = 4429


class WebSocketInbound(WebSocketDoor):
    """A door, and what comes in at it; nothing does before its `_reader` is there."""

    __slots__ = (
        "_ended",
        "_frames",
        "_frames_most",
        "_inbound",
        "_last",
        "_minute_s",
        "_paused",
        "_reader",
        "_receiver",
        "_turn_due",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, frames_most: int) -> None:
        super().__init__(loop)
        self._frames_most = frames_most
        self._frames = 0
        """Frames of this minute that are no whole message."""
        self._minute_s = 0.0
        self._reader: FrameReader | None = None
        self._inbound: list[Event] | None = None
        """Messages that wait for the application; None where none do, which is most of the time."""
        self._receiver: asyncio.Future[None] | None = None
        self._last: Message | Violation | None = None
        """What ended the reading: the client's close frame, or what it must not send."""
        self._paused = False
        self._turn_due = False
        self._ended: Event | None = None

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

    def _pause_reading(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    # Events for the application.

    def _put(self, event: Event) -> None:
        if self.closing:
            return
        if self._inbound is None:
            self._inbound = []
        self._inbound.append(event)
        self._wake_receiver()

    def _end(self, code: int, reason: str) -> None:
        """The application hears of the end, behind all that came before it."""
        if self._ended is None:
            self._ended = {"type": "websocket.disconnect", "code": code, "reason": reason}
            self._wake_receiver()

    def _wake_receiver(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

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

    # The closing handshake.

    def eof_received(self) -> bool:
        """The client sends no more; True keeps the connection open while what came before is still being answered."""
        if self._last is not None and not self.closing:
            return True
        self._begin_closing()
        self._end(CloseCode.ABNORMAL_CLOSURE, "the client sent no close frame")
        self._cut_off_later()
        return False

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
