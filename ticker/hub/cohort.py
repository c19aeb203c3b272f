"""Clients with the same subscriptions: what is for them is collected and joined once, and written to each in one piece."""

from collections.abc import Callable
from typing import NamedTuple

from ticker.hub.frame import text_frame
from ticker.hub.subscriber import Delivered, Subscriber
from ticker.hub.topic import Delivery, Topic

Slot = tuple[Topic, int]
"""What a newer message takes the place of: of a symbol's ticks any older one, of its candles the one of the same time."""


class Key(NamedTuple):
    """What the members of a cohort have in common."""

    delivery: Delivery
    topics: frozenset[Topic]
    excluded: frozenset[Topic] = frozenset()
    """Topics of one symbol that they have otherwise: not through `*`."""


class Newest(NamedTuple):
    """The latest message of a slot, and how many older ones it stands for."""

    payload: bytes
    older: int

    def frame(self) -> bytes:
        """As it is sent, with the number of those skipped."""
        return text_frame(b'%b,"skipped":%d}' % (self.payload[:-1], self.older))


class _Member(NamedTuple):
    """What a cohort had sent and skipped when a client joined."""

    sent: int
    skipped: int


class Cohort:
    """Clients that get every message; what is published in one turn of the loop leaves in one write each.

    `pending` stays the same list: whoever publishes appends to it, and tells the hub where it was empty before.
    """

    __slots__ = ("_delivered", "_members", "_writes", "key", "pending", "sent", "skipped")

    def __init__(self, key: Key, delivered: Delivered) -> None:
        self.key = key
        self.pending: list[bytes] = []
        self.sent = 0
        self.skipped = 0
        self._members: dict[Subscriber, _Member] = {}
        self._writes: tuple[Callable[[bytes], None], ...] | None = None
        self._delivered = delivered

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, subscriber: Subscriber) -> bool:
        return subscriber in self._members

    def join(self, subscriber: Subscriber) -> None:
        """From now on this client gets what is published; what was collected before is not for it."""
        self.flush_collected()
        self._members[subscriber] = _Member(self.sent, self.skipped)
        self._writes = None

    def leave(self, subscriber: Subscriber) -> None:
        """This client gets nothing more; what was collected so far it still gets."""
        self.flush_collected()
        if subscriber not in self._members:
            # It was given up by what it had yet to get, and has left.
            return
        subscriber.own_sent += self.sent_to(subscriber)
        subscriber.skipped += self.skipped - self._members[subscriber].skipped
        del self._members[subscriber]
        self._writes = None

    def sent_to(self, subscriber: Subscriber) -> int:
        """How many messages a member has got through this cohort."""
        return self.sent - self._members[subscriber].sent

    def skipped_for(self, subscriber: Subscriber) -> int:
        """How many messages a member did not get because newer ones took their place."""
        return self.skipped - self._members[subscriber].skipped

    def members_changed(self) -> None:
        """A member writes elsewhere than before."""
        self._writes = None

    def flush_collected(self) -> None:
        """Write what has been collected in this turn."""
        pending = self.pending
        if pending:
            count = len(pending)
            data = b"".join(pending)
            pending.clear()
            self.sent += count
            self._write(data, count)

    def control(self, frame: bytes) -> bool:
        """A message that nothing takes the place of, behind what came before it; whether a flush is needed."""
        self.pending.append(frame)
        return len(self.pending) == 1

    def _write(self, data: bytes, count: int) -> None:
        writes = self._writes
        if writes is None:
            writes = self._writes = tuple(subscriber.write for subscriber in self._members)
        members = len(writes)
        self._delivered.messages += count * members
        self._delivered.bytes += len(data) * members
        each = iter(writes)
        while True:
            try:
                for write in each:
                    write(data)
            except RuntimeError:
                # The transport of one was closed under it, and is about to say so; the others go on behind it.
                continue
            return


class LatestCohort(Cohort):
    """Clients that get the latest message of each slot, at most once in a while."""

    __slots__ = ("_newcomers", "_newest")

    def __init__(self, key: Key, delivered: Delivered) -> None:
        super().__init__(key, delivered)
        self._newest: dict[Slot, Newest] = {}
        self._newcomers: dict[Subscriber, dict[Slot, int]] = {}
        """Those who came since the last flush: how many messages of a slot had been published before they did."""

    def replace(self, slot: Slot, payload: bytes) -> bool:
        """A newer message of a slot; whether it is the first since the last flush.

        It goes behind what waits of other slots: candles go out in the order in which they were published last.
        """
        newest = self._newest
        known = newest.pop(slot, None)
        newest[slot] = Newest(payload, known.older + 1 if known else 0)
        return known is None and len(newest) == 1

    def join(self, subscriber: Subscriber) -> None:
        """From now on; of what waits for the next flush, only newer messages are for it."""
        super().join(subscriber)
        if self._newest:
            self._newcomers[subscriber] = {slot: newest.older + 1 for slot, newest in self._newest.items()}

    def leave(self, subscriber: Subscriber) -> None:
        """This client gets nothing more; what waits for the next flush it gets now."""
        if self._newest:
            self._send_to(subscriber, self._newest, self._newcomers.pop(subscriber, {}))
        subscriber.hold_behind()
        super().leave(subscriber)

    def control(self, frame: bytes) -> bool:
        """Behind what waits, which goes out now."""
        self.flush_latest()
        for subscriber in self._members:
            subscriber.hold_behind()
        return super().control(frame)

    def flush_latest(self) -> None:
        """Write the latest of each slot."""
        newest, self._newest = self._newest, {}
        if not newest:
            return
        self.flush_collected()
        apart = dict.fromkeys((*self._newcomers, *(s for s in self._members if s.full)))
        for subscriber in apart:
            self._send_to(subscriber, newest, self._newcomers.get(subscriber, {}))
        self._newcomers.clear()
        older = sum(each.older for each in newest.values())
        self.sent += len(newest)
        self.skipped += older
        for subscriber in apart:
            # They have been served, and counted, apart; one may have been given up meanwhile.
            if known := self._members.get(subscriber):
                self._members[subscriber] = _Member(known.sent + len(newest), known.skipped + older)
        self._delivered.skipped += older * (len(self._members) - len(apart))
        self._write_but(apart, b"".join([each.frame() for each in newest.values()]), len(newest))

    def _write_but(self, apart: dict[Subscriber, None], data: bytes, count: int) -> None:
        if not apart:
            self._write(data, count)
            return
        self._writes = tuple(subscriber.write for subscriber in self._members if subscriber not in apart)
        self._write(data, count)
        self._writes = None

    def _send_to(self, subscriber: Subscriber, newest: dict[Slot, Newest], known: dict[Slot, int]) -> None:
        """The latest to one client: of what it does not know yet, and for later where it does not keep up."""
        for slot, (payload, older) in newest.items():
            if (missing := older + 1 - known.get(slot, 0)) > 0:
                self._send_one(subscriber, slot, Newest(payload, missing - 1))

    def _send_one(self, subscriber: Subscriber, slot: Slot, newest: Newest) -> None:
        if subscriber.full:
            subscriber.behind = behind = subscriber.behind or {}
            before = behind.pop(slot, None)
            behind[slot] = Newest(newest.payload, newest.older + before.older + 1) if before else newest
            return
        subscriber.send_newest(newest)
