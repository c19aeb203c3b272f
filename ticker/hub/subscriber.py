"""One client of the hub: what is written to it, and what waits for it where it does not keep up."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ticker.hub.frame import PING, text_frame
from ticker.hub.topic import Delivery, Topic

if TYPE_CHECKING:
    from ticker.hub.cohort import Cohort, Newest, Slot

SLICE_BYTES = 1 << 16
"""What waits is handed on in pieces of about this size, so that little of it lies where it cannot be counted."""
WARN_SHARE = 0.5
"""A client is told that it is slow once this share of the bytes or of the time is used up."""
BEATS_A_PING = 2
"""A ping goes with every so many heartbeats; a client from which nothing has come by the next, not even its answer, is gone."""


class Transport(Protocol):
    """Where bytes are written; whatever the kernel does not take at once waits there."""

    def write(self, data: bytes) -> None:
        """Send, or keep until there is room."""

    def get_write_buffer_size(self) -> int:
        """Bytes that wait."""


class Door(Protocol):
    """One connection, as the web server has it. It calls back when the kernel takes no more, takes more, or is gone."""

    transport: Transport
    heard: bool
    on_full: Callable[[], None] | None
    on_room: Callable[[], None] | None
    on_gone: Callable[[], None] | None

    def abort(self) -> None:
        """Cut the connection off."""


@dataclass(slots=True)
class Delivered:
    """What has been handed to transports since this was last read."""

    messages: int = 0
    bytes: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """What may wait for one client before it is cut off: bytes, and seconds of the oldest."""

    bytes: int
    wait_s: float


class Held(NamedTuple):
    """Frames that wait together: since when, and what they count against the limit."""

    since_s: float
    data: bytes
    counted: int


class Subscriber:
    """A client. While the kernel takes what is written, nothing is kept here.

    Only the hub makes it a member of cohorts. `on_slow` is called once, with the limit and why, when too much waits or for
    too long.
    """

    __slots__ = (
        "_held",
        "_limits",
        "_moved_s",
        "_now_s",
        "_write",
        "apart",
        "beats",
        "behind",
        "bytes_held",
        "cohorts",
        "delivered",
        "door",
        "on_room",
        "on_slow",
        "own_sent",
        "skipped",
        "slot",
        "topics",
        "warned",
        "write",
    )

    def __init__(
        self, door: Door, limits: OutboxLimits, now_s: Callable[[], float], on_slow: Callable[[str, str], None]
    ) -> None:
        self.door = door
        self.delivered = Delivered()
        """Counts what is for this client alone; the hub's own once it has arrived."""
        self.on_slow = on_slow
        self.on_room: Callable[[], None] | None = None
        """Called when the kernel takes more again, and when nothing can be written any more."""
        self.topics: dict[Topic, Delivery] = {}
        """What it has asked for, as written."""
        self.apart: frozenset[Topic] = frozenset()
        """Topics of one symbol that it does not get from cohorts for now: it is being brought up to them."""
        self.cohorts: dict[Delivery, Cohort] = {}
        self.behind: dict[Slot, Newest] | None = None
        """While it does not keep up: the latest of what it takes the latest of only."""
        self.own_sent = 0
        """Messages that went out apart from those of cohorts it is in now."""
        self.skipped = 0
        self.slot = 0
        self.beats = 0
        self.warned = False
        self.bytes_held = 0
        self._limits = limits
        self._now_s = now_s
        self._held: deque[Held] | None = None
        self._moved_s = 0.0
        self._write = door.transport.write
        self.write: Callable[[bytes], None] = self._write
        """Where a cohort writes: straight to the transport, or into the outbox while that is full."""

    @property
    def full(self) -> bool:
        """Whether the kernel takes no more for now."""
        return self._held is not None

    @property
    def gone(self) -> bool:
        """Whether nothing can be written any more."""
        return self.write is nowhere

    @property
    def state(self) -> str:
        """`new` (nothing subscribed), `current` (nothing waits) or `behind` (messages wait), for the metrics."""
        if self._held is not None:
            return "behind"
        return "current" if self.topics else "new"

    @property
    def queued_bytes(self) -> int:
        """Bytes that the kernel has not taken."""
        return self.bytes_held + (self.door.transport.get_write_buffer_size() if self.full else 0)

    @property
    def sent(self) -> int:
        """Messages that went out, or wait to."""
        return self.own_sent + sum(cohort.sent_to(self) for cohort in self.cohorts.values())

    @property
    def total_skipped(self) -> int:
        """Messages that it did not get because newer ones took their place."""
        return self.skipped + sum(cohort.skipped_for(self) for cohort in self.cohorts.values())

    def send(self, message: bytes, *, counted: bool = True) -> None:
        """One message to this client alone, behind all that was published before it.

        What it has asked for itself, not `counted`, may be as large as it is.
        """
        self.catch_up()
        frame = text_frame(message)
        self._count_own(len(frame))
        if self._held is None:
            self.write(frame)
        else:
            self._hold(frame, len(frame) if counted else 0)

    def send_framed(self, data: bytes, count: int) -> None:
        """So many messages in one piece, that it has asked for: they may be as large as they are."""
        self.own_sent += count
        self.delivered.messages += count
        self.delivered.bytes += len(data)
        if self._held is None:
            self.write(data)
        else:
            self._hold(data, 0)

    def catch_up(self) -> None:
        """Have cohorts write what they have collected for the end of this turn."""
        # It may be given up by the first of them, and then has none any more.
        for cohort in tuple(self.cohorts.values()):
            cohort.flush_collected()

    def fill(self) -> None:
        """The kernel takes no more: from here on frames wait here."""
        if self._held is None and self.write is not nowhere:
            self._held = deque()
            self._moved_s = self._now_s()
            self.write = self._hold
            self._members_changed()

    def drain(self) -> None:
        """The kernel has taken all that the transport had: hand on what waits, as far as it goes."""
        held = self._held
        if held is None:
            return
        self._moved_s = self._now_s()
        while held:
            data = self._slice(held)
            self._held, self.write = None, self._write
            self._write(data)
            if self._held is not None:
                # Full again; what was left goes on waiting, ahead of what was held meanwhile.
                held.extend(self._held)
                self._held = held
                return
        self._held, self.write, self.warned = None, self._write, False
        self._members_changed()
        self.hold_behind()
        if self.on_room is not None and not self.full:
            self.on_room()

    def hold_behind(self) -> None:
        """Let what it takes the latest of wait as it stands: something comes next that must not overtake it."""
        behind, self.behind = self.behind, None
        for newest in (behind or {}).values():
            self.send_newest(newest)

    def send_newest(self, newest: "Newest") -> None:
        """The latest message of a slot, apart from the cohort."""
        frame = newest.frame()
        self._count_own(len(frame))
        self.skipped += newest.older
        self.delivered.skipped += newest.older
        self.write(frame)

    def _count_own(self, size: int) -> None:
        self.own_sent += 1
        self.delivered.messages += 1
        self.delivered.bytes += size

    def _slice(self, held: deque[Held]) -> bytes:
        """The oldest frames that wait, about `SLICE_BYTES` of them."""
        parts: list[bytes] = []
        size = 0
        while held and size < SLICE_BYTES:
            piece = held.popleft()
            parts.append(piece.data)
            size += len(piece.data)
            self.bytes_held -= piece.counted
        return b"".join(parts)

    def _hold(self, data: bytes, counted: int | None = None) -> None:
        assert self._held is not None
        size = len(data) if counted is None else counted
        self._held.append(Held(self._now_s(), data, size))
        self.bytes_held += size
        queued = self.queued_bytes
        if queued > self._limits.bytes:
            self._give_up("outbox_bytes", f"{queued} bytes wait, allowed are {self._limits.bytes}")
        elif queued > WARN_SHARE * self._limits.bytes:
            self._warn()

    def look(self, now_s: float) -> None:
        """Give up where something has waited for too long; for those that do not keep up, now and then."""
        if self._held is None:
            return
        oldest = next((held.since_s for held in self._held if held.counted), self._moved_s)
        waited_s = now_s - min(oldest, self._moved_s)
        if waited_s > self._limits.wait_s:
            why = f"the oldest message has waited for {waited_s:.1f} s, allowed are {self._limits.wait_s:g} s"
            self._give_up("outbox_ms", why)
        elif waited_s > WARN_SHARE * self._limits.wait_s:
            self._warn()

    def _warn(self) -> None:
        """Say once that it is slow; whoever reads on will see it."""
        if not self.warned and self._held is not None:
            self.warned = True
            action = "conflating" if self.topics and all(d.latest for d in self.topics.values()) else "closing"
            text = f'{{"type":"slow","queued_bytes":{self.queued_bytes},"action":"{action}"}}'
            frame = text_frame(text.encode())
            self._count_own(len(frame))
            # Ahead of what waits: of that, a client that is too slow will not see the end.
            self._held.appendleft(Held(self._now_s(), frame, 0))

    def _give_up(self, limit: str, why: str) -> None:
        """Nothing of what waits will be sent any more."""
        self.end()
        self.on_slow(limit, why)

    def end(self) -> None:
        """Nothing is written any more."""
        self._held, self.behind, self.bytes_held = None, None, 0
        self.write = nowhere
        self._members_changed()
        if self.on_room is not None:
            self.on_room()

    def beat(self, heartbeat: bytes) -> None:
        """A sign of life, now and then with a ping in the same write; a client that has not answered the last is cut off."""
        frame = text_frame(heartbeat)
        self._count_own(len(frame))
        self.beats = (self.beats + 1) % BEATS_A_PING
        if self.beats:
            self.write(frame)
        elif self.door.heard:
            self.door.heard = False
            self.write(PING + frame)
        else:
            self.door.abort()

    def _members_changed(self) -> None:
        for cohort in self.cohorts.values():
            cohort.members_changed()


def nowhere(data: bytes) -> None:
    """Where a client writes that was given up, or is gone."""
