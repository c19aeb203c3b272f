"""Who gets which message: topics, their members, and the handing out."""

from collections import Counter
from typing import NamedTuple, Protocol

ALL = "*"
"""Stands for every symbol, also those that appear later."""


class Topic(NamedTuple):
    """What one can subscribe to: a channel, for candles with an interval, and a symbol or `*`."""

    channel: str
    symbol: str
    interval: str | None = None

    @property
    def everything(self) -> "Topic":
        """The same for all symbols."""
        return self._replace(symbol=ALL)


class Subscriber(Protocol):
    """Whoever takes messages. `offer` keeps or refuses, at once: it never waits."""

    def offer(self, message: str) -> None:
        """One more message."""

    def heartbeat(self, time_us: int) -> None:
        """A sign of life is due."""

    @property
    def state(self) -> str:
        """`new` (nothing subscribed), `current` (nothing waits) or `behind` (messages wait), for the metrics."""

    @property
    def queued_bytes(self) -> int:
        """What waits, likewise."""


class Hub:
    """The members of every topic."""

    def __init__(self) -> None:
        self._members: dict[Topic, dict[Subscriber, None]] = {}
        self._everyone: dict[Subscriber, None] = {}
        self._admitted: dict[Topic, set[str]] = {}

    def arrive(self, subscriber: Subscriber) -> None:
        """From now on this subscriber gets what is for everyone."""
        self._everyone[subscriber] = None

    def depart(self, subscriber: Subscriber) -> None:
        """This subscriber gets nothing any more; its topics were left before."""
        self._everyone.pop(subscriber, None)

    def join(self, topic: Topic, subscriber: Subscriber) -> None:
        """From now on this subscriber gets what is published to the topic."""
        self._members.setdefault(topic, {})[subscriber] = None

    def leave(self, topic: Topic, subscriber: Subscriber) -> None:
        """Undo `join`."""
        members = self._members.get(topic)
        if members is not None:
            members.pop(subscriber, None)
            if not members:
                del self._members[topic]
                self._admitted.pop(topic, None)

    def wanted(self, topic: Topic) -> bool:
        """Whether anybody would get what is published to the topic."""
        return topic in self._members or topic.everything in self._members

    def admit(self, everything: Topic, symbol: str) -> None:
        """From now on those who have all symbols get this one too: they know where its messages begin."""
        self._admitted.setdefault(everything, set()).add(symbol)

    def admitted(self, everything: Topic, symbol: str) -> bool:
        """Whether those who have all symbols get this one."""
        return symbol in self._admitted.get(everything, ())

    def topics_of_all(self) -> list[Topic]:
        """The topics of all symbols that have members."""
        return [topic for topic in self._members if topic.symbol == ALL]

    def publish_to(self, topic: Topic, message: str) -> None:
        """Hand a message to the members of exactly this topic."""
        for subscriber in tuple(self._members.get(topic, ())):
            subscriber.offer(message)

    def publish(self, topic: Topic, message: str) -> None:
        """Hand a message to each member once: those who named the symbol, and those who asked for all symbols."""
        named = self._members.get(topic, {})
        for subscriber in tuple(named):
            subscriber.offer(message)
        everything = topic.everything
        if self.admitted(everything, topic.symbol):
            for subscriber in tuple(self._members.get(everything, ())):
                if subscriber not in named:
                    subscriber.offer(message)

    def broadcast(self, message: str) -> None:
        """Hand a message to everyone."""
        for subscriber in tuple(self._everyone):
            subscriber.offer(message)

    def heartbeat(self, time_us: int) -> None:
        """A sign of life to everyone."""
        for subscriber in tuple(self._everyone):
            subscriber.heartbeat(time_us)

    def everyone(self) -> tuple[Subscriber, ...]:
        """All who are here."""
        return tuple(self._everyone)

    def subscriptions(self) -> Counter[str]:
        """How many there are on each channel: one for each topic and member."""
        found: Counter[str] = Counter()
        for topic, members in self._members.items():
            found[topic.channel] += len(members)
        return found

    def __len__(self) -> int:
        return len(self._everyone)
