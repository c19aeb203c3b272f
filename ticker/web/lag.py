"""Samples how old ticks are when they arrive from the store and when they go to clients' sockets.

A sample, because both happen more often than anything may be counted: at most one in 10 ms of what arrives, and about 100 a
second of what is sent, spread over the connections so that each comes up as often as any other.
"""

from collections.abc import Callable
from random import random
from time import monotonic, time_ns

from ticker import codec, metrics

RECEIVED_EVERY_S = 0.01
SENT_EVERY_S = 1.0
SENT_PER_S = 100


class Lag:
    """The sampling of one gateway. `clock_of` gives a symbol's feed clock, 0 where none is known."""

    def __init__(self, clock_of: Callable[[str], int]) -> None:
        self._clock_of = clock_of
        self._received_due_s = 0.0
        self._received, self._sent = (metrics.GATEWAY_LAG.labels(stage) for stage in ("received", "sent"))

    def received(self, payload: bytes) -> None:
        """The newest message of a read."""
        now_s = monotonic()
        if now_s >= self._received_due_s and (age_us := self._age_us(payload)) is not None:
            self._received_due_s = now_s + RECEIVED_EVERY_S
            self._received.observe(age_us / 1_000_000)

    def sent(self, message: str) -> None:
        """The newest message that a connection has handed to its socket."""
        if (age_us := self._age_us(message)) is not None:
            self._sent.observe(age_us / 1_000_000)

    def _age_us(self, message: str | bytes) -> int | None:
        """Of a live tick whose feed's clock is the wall clock; None where the message is something else."""
        try:
            tick = codec.from_json(message)
            if tick["type"] not in ("trade", "quote") or "snapshot" in tick:
                return None
            now_us = time_ns() // 1000
            if abs(now_us - self._clock_of(tick["symbol"])) > metrics.LIVE_US:
                return None
            return max(now_us - int(tick["time"]), 0)
        except (ValueError, KeyError, TypeError):
            # What is no message of ours is told by whoever has to pass it on.
            return None


def next_sample_s(connections: int, first: bool = False) -> float:
    """In how many seconds a connection, one of so many, gives a sample; the first comes at random."""
    pause_s = max(SENT_EVERY_S, connections / SENT_PER_S)
    return pause_s * random() if first else pause_s  # noqa: S311 - nothing secret
