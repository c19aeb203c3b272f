"""What is wrong upstream, told once although each connection begins with all of it."""

from collections.abc import Mapping
from typing import Any

from ticker.client.records import Service


class Trouble:
    """The service messages of one subscription, over all its connections."""

    __slots__ = ("_stale", "_told", "_welcomed_at")

    def __init__(self) -> None:
        self._stale: dict[str, Service] = {}
        self._told: set[str] = set()
        self._welcomed_at = 0

    def welcome(self, time: int) -> None:
        """A new connection; what is wrong follows, each with a message of its own."""
        self._told.clear()
        self._welcomed_at = time

    def take(self, message: Mapping[str, Any]) -> list[Service]:
        """Events of a message: none where it says what is known."""
        event = Service(message["state"], message["reason"], message["time"], tuple(message.get("symbols", ())))
        if event.state != "stale":
            return [event] if self._stale.pop(event.reason, None) else []
        self._told.add(event.reason)
        before = self._stale.get(event.reason)
        self._stale[event.reason] = event
        return [event] if before is None or before.symbols != event.symbols else []

    def begun(self) -> list[Service]:
        """All that is wrong has been told: of what was not, the end fell into the time without a connection."""
        healed = [reason for reason in self._stale if reason not in self._told]
        for reason in healed:
            del self._stale[reason]
        return [Service("live", reason, self._welcomed_at) for reason in healed]
