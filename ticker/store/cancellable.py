"""Connections of redis-py that whoever waits for them can be cancelled out of."""

import asyncio
from typing import Any

from redis.exceptions import TimeoutError as RedisTimeoutError


class _Cancellable:
    """Sends so that whoever is cancelled meanwhile is cancelled.

    redis-py sends under `asyncio.wait_for`, which before Python 3.12 may swallow a cancellation (cpython issue 81839): a
    task that is cancelled once, at the wrong moment, would go on for ever.
    """

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """The same under a timeout of our own."""
        timeout_s, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(timeout_s):
                await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except TimeoutError:
            raise RedisTimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = timeout_s


def cancellable(kind: type) -> type:
    """A kind of connection, made so."""
    return type(f"Cancellable{kind.__name__}", (_Cancellable, kind), {})
