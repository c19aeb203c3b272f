"""Who gets which message: topics, the cohorts of clients that have them, and the handing out."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ticker.hub.cohort import Cohort, Key, LatestCohort
from ticker.hub.frame import text_frame
from ticker.hub.recording import Recording
from ticker.hub.subscriber import Delivered, Subscriber
from ticker.hub.topic import ALL, Delivery, Holds, Topic

SLOTS = 20
"""Heartbeats are spread over so many parts of their interval."""

Targets = tuple[tuple[Cohort | Recording, ...], tuple[LatestCohort, ...]]
"""Who gets every message of a topic, and who the latest."""

Soon = Callable[[float, Callable[[], None]], object]
"""Calls a function after so many seconds; 0: in the next turn of the loop, before anything is read again."""


@dataclass(slots=True)
class _Pulse:
    """Cohorts that get the latest every so often: those that something waits for, and when they may get it."""

    waiting: list[LatestCohort] = field(default_factory=list)
    next_s: float = 0.0
    armed: bool = False


class Hub:
    """All cohorts. A message is framed once; who gets it is known before it comes."""

    def __init__(self, now_s: Callable[[], float], soon: Soon, flush_s: float = 0.0, *, recorded: int = 1_024) -> None:
        """`flush_s`: how long messages are collected before they are written; 0 for one turn of the loop.

        `recorded`: how many of the newest messages of a topic are kept for those who are being brought up to them.
        """
        self.delivered = Delivered()
        self.on_flush: Callable[[bytes], None] | None = None
        """Called with the newest frame of each flush, before it is written."""
        self._now_s = now_s
        self._soon = soon
        self._flush_s = flush_s
        self._everyone: dict[Subscriber, None] = {}
        self._slots: list[dict[Subscriber, None]] = [{} for _ in range(SLOTS)]
        self._slot = 0
        """The one whose heartbeat was last."""
        self._fills = 0
        """The one that the newest client was put into: apart, because arrivals must not move whose turn it is."""
        self._full: dict[Subscriber, None] = {}
        self._cohorts: dict[Key, Cohort] = {}
        self._of_topic: dict[Topic, dict[Cohort | Recording, None]] = {}
        self._recordings: dict[Topic, Recording] = {}
        self._recorded = recorded
        self._held = Holds()
        self._admitted: dict[Topic, set[str]] = {}
        self._targets: dict[Topic, Targets] = {}
        self._dirty: list[Cohort | Recording] = []
        self._flushing = False
        self._pulses: dict[Delivery, _Pulse] = {}

    # Clients come and go.

    def arrive(self, subscriber: Subscriber) -> None:
        """From now on this client gets what is for everyone."""
        self._everyone[subscriber] = None
        self._fills = (self._fills + 1) % SLOTS
        subscriber.slot = self._fills
        self._slots[subscriber.slot][subscriber] = None
        subscriber.delivered = self.delivered
        door = subscriber.door

        def fill() -> None:
            self._full[subscriber] = None
            subscriber.fill()

        def drain() -> None:
            subscriber.drain()
            if not subscriber.full:
                self._full.pop(subscriber, None)

        door.on_full, door.on_room, door.on_gone = fill, drain, lambda: self.depart(subscriber)

    def depart(self, subscriber: Subscriber) -> None:
        """This client gets nothing any more."""
        self._everyone.pop(subscriber, None)
        self._slots[subscriber.slot].pop(subscriber, None)
        self._full.pop(subscriber, None)
        subscriber.end()
        for cohort in list(subscriber.cohorts.values()):
            self._drop(cohort, subscriber)
        subscriber.cohorts.clear()
        subscriber.topics.clear()
        subscriber.apart = frozenset()

    def join(
        self, subscriber: Subscriber, topics: Iterable[Topic], delivery: Delivery, apart: Iterable[Topic] = ()
    ) -> None:
        """From now on this client gets these topics as it wants them delivered.

        Those of `apart`, each of one symbol, it has too, but gets nothing of them until `bring_in`.
        """
        subscriber.apart = subscriber.apart.union(apart)
        self._change(subscriber, subscriber.topics | dict.fromkeys(topics, delivery))

    def bring_in(self, subscriber: Subscriber, topics: Iterable[Topic]) -> None:
        """From now on this client gets these topics, which it had apart."""
        subscriber.apart = subscriber.apart.difference(topics)
        self._change(subscriber, subscriber.topics)

    def leave(self, subscriber: Subscriber, topics: Iterable[Topic]) -> None:
        """Undo `join`."""
        gone = set(topics)
        left = {topic: how for topic, how in subscriber.topics.items() if topic not in gone}
        subscriber.apart = frozenset(t for t in subscriber.apart if t in left or t.everything in left)
        self._change(subscriber, left)

    def _change(self, subscriber: Subscriber, topics: dict[Topic, Delivery]) -> None:
        """Put a client into the cohorts of what it has now."""
        subscriber.topics = topics
        keys, before = _keys(topics, subscriber.apart), subscriber.cohorts
        subscriber.cohorts = {}
        for delivery, key in keys.items():
            cohort = before.get(delivery)
            if cohort is None or cohort.key != key:
                if known := self._cohorts.get(key):
                    # Its last member may be given up by this, and the cohort be gone with it.
                    known.flush_collected()
                cohort = self._cohort(key)
                cohort.join(subscriber)
            subscriber.cohorts[delivery] = cohort
        # Left last, so that topics which somebody has before and after are had all the time.
        for delivery, cohort in before.items():
            if subscriber.cohorts.get(delivery) is not cohort:
                self._drop(cohort, subscriber)

    def _cohort(self, key: Key) -> Cohort:
        found = self._cohorts.get(key)
        if found is None:
            made = LatestCohort if key.delivery.latest else Cohort
            found = self._cohorts[key] = made(key, self.delivered)
            for topic in key.topics:
                self._enter(topic, found)
        return found

    def _enter(self, topic: Topic, member: Cohort | Recording) -> None:
        self._of_topic.setdefault(topic, {})[member] = None
        self._forget_targets(topic)

    def _remove(self, topic: Topic, member: Cohort | Recording) -> None:
        members = self._of_topic[topic]
        del members[member]
        if not members:
            del self._of_topic[topic]
            self._admitted.pop(topic, None)
        self._forget_targets(topic)

    def _drop(self, cohort: Cohort, subscriber: Subscriber) -> None:
        if subscriber not in cohort:
            return
        cohort.leave(subscriber)
        if len(cohort) or self._cohorts.get(cohort.key) is not cohort:
            return
        del self._cohorts[cohort.key]
        for topic in cohort.key.topics:
            self._remove(topic, cohort)

    def record(self, topic: Topic) -> Recording:
        """Keep the newest messages of a topic of one symbol, at least until everyone who has asked has called `unrecord`."""
        found = self._recordings.get(topic)
        if found is None:
            found = self._recordings[topic] = Recording(self._recorded)
            self._enter(topic, found)
        found.holders += 1
        return found

    def unrecord(self, topic: Topic) -> None:
        """Undo `record`. Others may come back soon, as all clients of a gateway do: what is there is kept for a while."""
        found = self._recordings[topic]
        found.holders -= 1
        found.idle = False

    def sweep(self) -> None:
        """Record no more what nobody has needed since the last time."""
        for topic, recording in list(self._recordings.items()):
            if not recording.holders and recording.idle:
                del self._recordings[topic]
                self._remove(topic, recording)
            recording.idle = not recording.holders

    def _forget_targets(self, topic: Topic) -> None:
        if topic.symbol == ALL:
            self._targets.clear()
        else:
            self._targets.pop(topic, None)

    # Topics of all symbols.

    def wanted(self, topic: Topic) -> bool:
        """Whether anybody would get what is published to the topic."""
        return topic in self._of_topic or topic.everything in self._of_topic or topic in self._held

    def hold(self, topic: Topic) -> None:
        """Somebody wants the topic who does not get its messages yet, until `unhold`."""
        self._held.take((topic,))

    def unhold(self, topic: Topic) -> None:
        """Undo `hold`."""
        self._held.let_go((topic,))

    def admit(self, everything: Topic, symbol: str) -> None:
        """From now on those who have all symbols get this one too: they know where its messages begin."""
        self._admitted.setdefault(everything, set()).add(symbol)
        self._targets.pop(everything.of(symbol), None)

    def admitted(self, everything: Topic, symbol: str) -> bool:
        """Whether those who have all symbols get this one."""
        return symbol in self._admitted.get(everything, ())

    def topics_of_all(self) -> list[Topic]:
        """The topics of all symbols that have members."""
        return [topic for topic in self._of_topic if topic.symbol == ALL]

    # Messages.

    def publish(self, topic: Topic, payload: bytes, slot: int = 0) -> None:
        """Hand a message to each client once: to those who named the symbol, and to those who asked for all symbols.

        Of those that want the latest only, it takes the place of an older one of the topic and `slot`.
        """
        targets = self._targets.get(topic)
        if targets is None:
            targets = self._find_targets(topic)
        every, latest = targets
        if every:
            frame = text_frame(payload)
            for cohort in every:
                pending = cohort.pending
                pending.append(frame)
                if len(pending) == 1:
                    self._mark(cohort)
        for waiting in latest:
            if waiting.replace((topic, slot), payload):
                self._pulse(waiting)

    def control(self, topic: Topic, payload: bytes) -> None:
        """The same for a message that never gives way to a newer one."""
        every, latest = self._targets.get(topic) or self._find_targets(topic)
        frame = text_frame(payload)
        for cohort in (*every, *latest):
            if cohort.control(frame):
                self._mark(cohort)

    def control_to(self, topic: Topic, payload: bytes) -> None:
        """A control message for the members of exactly this topic."""
        frame = text_frame(payload)
        for cohort in tuple(self._of_topic.get(topic, ())):
            if cohort.control(frame):
                self._mark(cohort)

    def broadcast(self, payload: bytes) -> None:
        """Hand a message to everyone."""
        for subscriber in tuple(self._everyone):
            subscriber.send(payload)

    def _find_targets(self, topic: Topic) -> Targets:
        found = dict(self._of_topic.get(topic, {}))
        everything = topic.everything
        if self.admitted(everything, topic.symbol):
            wide = (c for c in self._of_topic.get(everything, ()) if isinstance(c, Cohort))
            found |= {cohort: None for cohort in wide if topic not in cohort.key.excluded}
        latest = tuple(cohort for cohort in found if isinstance(cohort, LatestCohort))
        targets = self._targets[topic] = tuple(c for c in found if not isinstance(c, LatestCohort)), latest
        return targets

    def _mark(self, cohort: Cohort | Recording) -> None:
        """Something is collected for a cohort that had nothing."""
        self._dirty.append(cohort)
        if not self._flushing:
            self._flushing = True
            self._soon(self._flush_s, self.flush)

    def flush(self) -> None:
        """Write what has been collected."""
        self._flushing = False
        dirty, self._dirty = self._dirty, []
        if self.on_flush is not None and (pending := dirty[-1].pending):
            self.on_flush(pending[-1])
        for cohort in dirty:
            cohort.flush_collected()

    def _pulse(self, cohort: LatestCohort) -> None:
        """Something waits for a cohort of the latest: it goes out as soon as its interval allows."""
        delivery = cohort.key.delivery
        pulse = self._pulses.setdefault(delivery, _Pulse())
        pulse.waiting.append(cohort)
        if not pulse.armed:
            pulse.armed = True
            self._soon(max(pulse.next_s - self._now_s(), 0.0), lambda: self._beat_pulse(delivery, pulse))

    def _beat_pulse(self, delivery: Delivery, pulse: _Pulse) -> None:
        pulse.armed = False
        pulse.next_s = self._now_s() + delivery.every_ms / 1000
        waiting, pulse.waiting = pulse.waiting, []
        for cohort in waiting:
            cohort.flush_latest()

    # Now and then.

    def beat(self, heartbeat: Callable[[int], bytes]) -> None:
        """One part of all clients gets a sign of life, made with the number of messages sent to it."""
        self._slot = (self._slot + 1) % SLOTS
        for subscriber in tuple(self._slots[self._slot]):
            subscriber.catch_up()
            subscriber.beat(heartbeat(subscriber.sent))

    def look(self) -> None:
        """Give up those that have not kept up for too long."""
        now_s = self._now_s()
        for subscriber in tuple(self._full):
            subscriber.look(now_s)

    def everyone(self) -> tuple[Subscriber, ...]:
        """All who are here."""
        return tuple(self._everyone)

    def subscriptions(self) -> Counter[str]:
        """How many there are on each channel: one for each topic and member."""
        return Counter(topic.channel for subscriber in self._everyone for topic in subscriber.topics)

    @property
    def cohorts(self) -> int:
        """How many different sets of subscriptions there are."""
        return len(self._cohorts)

    def __len__(self) -> int:
        return len(self._everyone)


def _keys(topics: Mapping[Topic, Delivery], apart: frozenset[Topic]) -> dict[Delivery, Key]:
    """The cohorts of a client with these topics. A symbol that is named comes as named, not also through `*`.

    What it has `apart` comes through none of them.
    """
    parts: dict[Delivery, list[Topic]] = {}
    for topic, delivery in topics.items():
        if topic not in apart:
            parts.setdefault(delivery, []).append(topic)
    if len(parts) == 1 and not apart:
        ((delivery, members),) = parts.items()
        return {delivery: Key(delivery, frozenset(members))}
    named = (*topics, *apart)
    return {
        delivery: Key(delivery, frozenset(members), _excluded(members, named)) for delivery, members in parts.items()
    }


def _excluded(members: list[Topic], named: Iterable[Topic]) -> frozenset[Topic]:
    wide = {topic for topic in members if topic.symbol == ALL}
    own = set(members)
    return frozenset(t for t in named if t not in own and t.symbol != ALL and t.everything in wide)
