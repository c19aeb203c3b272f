"""The writing side of a WebSocket connection: the door at which the hub writes frames, and the end of what is written.

`WebSocketInbound` adds what a client sends, `TickerWebSocket` the application. They are one object in three steps, not three
objects: ten thousand idle clients would pay for each of them, and every write for the call from one to the next.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from ticker.hub.frame import FIN_PONG, frame
from ticker.web.handshake import Handshake

CLOSE_S = 1.0
"""A client that does not answer a close frame in this time is cut off; so long, too, the answers to what came before its
own close frame may take."""
CLOSE_ROUNDS = 5
"""A client that still takes some of what lies before the close frame has so many times `CLOSE_S`."""
KERNEL_UNSENT_BYTES = 1 << 16
"""Bytes that the kernel keeps for a client beyond what is under way. By itself it takes up to 3.9 MB for one that reads
nothing, with this 149 kB, its own receive buffer included (Linux 6, loopback); how much may be under way, and with that the
speed, it does not bound."""
HOLD_FROM_BYTES = 1
"""The transport says that it is full as soon as the kernel does not take a byte: what waits is the hub's to bound."""


class WebSocketDoor(asyncio.Protocol):
    """A transport to write whole frames to, until a close frame is among them."""

    __slots__ = (
        "_full",
        "_handshake",
        "_loop",
        "_pongs",
        "_timer",
        "_writable",
        "closed_with",
        "closing",
        "heard",
        "on_full",
        "on_gone",
        "on_room",
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
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
        self._loop = loop
        self._handshake: Handshake | None = None
        """Until the application has answered it; before, no frame is written, and none is read."""
        self._pongs: list[bytes] | None = None
        self._writable: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._full = False

    # What the event loop calls.

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

    def _open(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=HOLD_FROM_BYTES)
        _bound_kernel(transport)

    def _write_pongs(self) -> None:
        """Answer pings: each, or while the kernel takes no more, later the last one (section 5.5.3)."""
        if self._pongs and self._full:
            del self._pongs[:-1]
        elif self._pongs:
            pongs, self._pongs = self._pongs, None
            self.transport.write(b"".join([frame(FIN_PONG, payload) for payload in pongs]))

    def _wake_sender(self) -> None:
        if self._writable is not None:
            self._writable.set()

    # The end.

    def abort(self) -> None:
        """Cut the connection off at once."""
        self._begin_closing()
        self.transport.abort()

    def _begin_closing(self) -> None:
        """From here on nothing is written but a close frame."""
        if not self.closing:
            self.closing = True
            self._handshake = self._pongs = None
            self._wake_sender()
            gone, self.on_gone, self.on_full, self.on_room = self.on_gone, None, None, None
            if gone is not None:
                gone()

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


def _bound_kernel(transport: asyncio.Transport) -> None:
    option, sock = getattr(socket, "TCP_NOTSENT_LOWAT", None), transport.get_extra_info("socket")
    if option is not None and sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, option, KERNEL_UNSENT_BYTES)
