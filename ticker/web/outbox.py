"""What waits to be sent to one client: bounded, and cut off where the client does not keep up."""

import asyncio
from time import monotonic

BURST_MOST = 64
"""A burst that the writer had no turn to send yet may be so many times larger than what may wait."""


class Outbox:
    """Messages in order. `offer` never waits; once too much waits, or for too long, it gives up and `overflow` is set.

    What counts is what waits for the client: messages that a burst has put here before the writer had its turn are not
    the client's fault, and neither are the answers that it has asked for.
    """

    def __init__(self, bytes_most: int, wait_most_s: float) -> None:
        self._bytes_most = bytes_most
        self._wait_most_s = wait_most_s
        self._moved_s = 0.0
        self._messages: list[tuple[str, int]] = []
        self._taken = 0
        self._some = asyncio.Event()
        self.queued_bytes = 0
        self.sent = 0
        self.overflow = asyncio.Event()
        self.exceeded = ""
        """The limit that was met, once there is an overflow."""

    @property
    def waiting(self) -> int:
        """Messages that go out before the next one."""
        return len(self._messages) + self._taken

    def offer(self, message: str) -> None:
        """One more message."""
        self._put(message, len(message))

    def offer_uncounted(self, message: str) -> None:
        """A message that the client has asked for: it may be as large as it is."""
        self._put(message, 0)

    def _put(self, message: str, counted: int) -> None:
        if self.overflow.is_set():
            return
        now_s = monotonic()
        if not self.waiting:
            self._moved_s = now_s
        self.queued_bytes += counted
        if exceeded := self._too_much(now_s):
            self.exceeded = exceeded
            # Nothing of what waits will be sent any more, so it need not be kept.
            self._messages.clear()
            self.overflow.set()
            return
        self._messages.append((message, counted))
        self._some.set()

    def _too_much(self, now_s: float) -> str | None:
        # While messages are taken and not done, the writer stands still: the client does not read.
        most = self._bytes_most if self._taken else BURST_MOST * self._bytes_most
        if self.queued_bytes > most:
            return "outbox_bytes"
        return "outbox_ms" if now_s - self._moved_s > self._wait_most_s else None

    async def wait(self) -> None:
        """Until something waits to be sent."""
        await self._some.wait()

    def take(self) -> list[tuple[str, int]]:
        """All that waits, each message with what it counts; it counts until `done` is told of it."""
        self._some.clear()
        taken, self._messages = self._messages, []
        self._taken += len(taken)
        return taken

    def done(self, counted: int) -> None:
        """One message was taken by the transport."""
        self.queued_bytes -= counted
        self._taken -= 1
        self.sent += 1
        self._moved_s = monotonic()
