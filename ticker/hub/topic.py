"""What one can subscribe to, and how it is to be delivered."""

from collections.abc import Iterable
from typing import NamedTuple

ALL = "*"
"""Stands for every symbol, also those that appear later."""


class Topic(NamedTuple):
    """A channel, for candles with an interval, and a symbol or `*`."""

    channel: str
    symbol: str
    interval: str | None = None

    @property
    def everything(self) -> "Topic":
        """The same for all symbols."""
        return Topic(self.channel, ALL, self.interval)

    def of(self, symbol: str) -> "Topic":
        """The same for one symbol. A request makes dozens of them, and `_replace` takes three times as long."""
        return Topic(self.channel, symbol, self.interval)


class Delivery(NamedTuple):
    """Every message as it comes, or per symbol the latest at most once in `every_ms`."""

    every_ms: int = 0

    @property
    def latest(self) -> bool:
        """Whether older messages give way to newer ones."""
        return self.every_ms > 0


EVERY_MESSAGE = Delivery()


class Holds:
    """Topics that are needed, each until it has been let go of as often as it was taken."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[Topic, int] = {}

    def __contains__(self, topic: Topic) -> bool:
        return topic in self._counts

    def take(self, topics: Iterable[Topic]) -> None:
        """Hold on to these, once more."""
        counts = self._counts
        for topic in topics:
            counts[topic] = counts.get(topic, 0) + 1

    def let_go(self, topics: Iterable[Topic]) -> None:
        """Undo `take`."""
        counts = self._counts
        for topic in topics:
            left = counts[topic] - 1
            if left:
                counts[topic] = left
            else:
                del counts[topic]
