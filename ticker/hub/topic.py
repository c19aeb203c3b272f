"""What one can subscribe to, and how it is to be delivered."""

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
        return self._replace(symbol=ALL)


class Delivery(NamedTuple):
    """Every message as it comes, or per symbol the latest at most once in `every_ms`."""

    every_ms: int = 0

    @property
    def latest(self) -> bool:
        """Whether older messages give way to newer ones."""
        return self.every_ms > 0


EVERY_MESSAGE = Delivery()
