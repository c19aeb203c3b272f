"""Samples how old ticks are when they arrive from the store and when they go to clients' sockets.

A sample, because both happen more often than anything may be counted: at most one in 10 ms of each.
"""

from collections.abc import Callable
from time import monotonic, time_ns

from ticker import codec, metrics

EVERY_S = 0.01


class Lag:
    """The sampling of one gateway. `clock_of` gives a symbol's feed clock, 0 where none is known."""

    def __init__(self, clock_of: Callable[[str], int]) -> None:
        self._clock_of = clock_of
        self._received_due_s = self._sent_due_s = 0.0
        self._received, self._sent = (metrics.GATEWAY_LAG.labels(stage) for stage in ("received", "sent"))
        self._newest: tuple[bytes, int] = b"", 0

    def received(self, payload: bytes) -> None:
        """The newest message of a read."""
        now_s = monotonic()
        self._newest = payload, time_ns() // 1000
        if now_s >= self._received_due_s and (age_us := self._age_us(payload)) is not None:
            self._received_due_s = now_s + EVERY_S
            self._received.observe(age_us / 1_000_000)

    def sent(self, frame: bytes) -> None:
        """The newest frame that is handed to clients' sockets."""
        now_s = monotonic()
        if now_s >= self._sent_due_s and (age_us := self._age_us(frame[frame.find(b"{") :])) is not None:
            self._sent_due_s = now_s + EVERY_S
            self._sent.observe(age_us / 1_000_000)

    def newest_ms(self) -> float | None:
        """How old the newest message was when it came, in milliseconds; None before the first tick."""
        payload, heard_us = self._newest
        time = codec.time_of(payload)
        return None if time is None else round((heard_us - time) / 1000, 1)

    def _age_us(self, message: bytes) -> int | None:
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
