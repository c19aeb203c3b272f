"""Says which ingesters live: each has a key of its own that is gone soon after it has stopped renewing it."""

import os
import secrets
import socket
from collections.abc import Collection
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from ticker.store import keys
from ticker.store.connection import answers

LEASE_S = 1.5
"""How long an ingester counts as living after its last sign of life, which it gives with every heartbeat."""


class Lease:
    """The key of one ingester process."""

    def __init__(self, client: Redis) -> None:
        self.id = secrets.token_hex(4)
        self._client = client
        self._key = keys.writer(self.id)
        self._shown = f"process {os.getpid()} on {socket.gethostname()}"

    def renew_in(self, pipe: Pipeline) -> None:
        """Put a sign of life into a pipeline; its answer is None where the key was gone."""
        pipe.set(self._key, self._shown, px=round(LEASE_S * 1000), get=True)

    async def renew(self) -> None:
        """Give a sign of life. Raises `StoreUnavailable`."""
        with answers("claim"):
            await self._client.set(self._key, self._shown, px=round(LEASE_S * 1000))

    async def release(self) -> None:
        """Say that this ingester ends: others need not wait. Raises `StoreUnavailable`."""
        with answers("claim"):
            await self._client.delete(self._key)

    async def living(self, ids: Collection[str]) -> dict[str, str]:
        """Those of other ingesters that live, each with the words that tell it from others. Raises `StoreUnavailable`."""
        others = [one for one in dict.fromkeys(ids) if one and one != self.id]
        if not others:
            return {}
        with answers("claim"):
            found: Any = await self._client.mget([keys.writer(one) for one in others])
        return {one: text.decode(errors="replace") for one, text in zip(others, found, strict=True) if text is not None}
