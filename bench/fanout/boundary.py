"""Listens beside the servers: when the ingester's heartbeat closed a minute, when its candles were published."""

import json
import threading
import time
from types import TracebackType
from typing import Any, Self

import redis

from ticker.config import CandleConfig
from ticker.store import keys

GRACE_US = CandleConfig().grace_ms * 1000
POLL_S = 0.1


class Boundaries:
    """A thread with a subscription of its own, as long as the block lasts."""

    def __init__(self, port: int) -> None:
        client: Any = redis.Redis(port=port)
        self._pubsub = client.pubsub()
        self._pubsub.subscribe(keys.HEARTBEAT)
        self._pubsub.psubscribe(keys.candles("*").replace("{", "").replace("}", ""))
        self._beats: list[tuple[int, int]] = []
        """When each was made, and the least of its feeds' clocks."""
        self._published: dict[int, int] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()
        self._pubsub.close()

    def heartbeat_us(self, end_s: int) -> int | None:
        """When the first heartbeat was made whose feed clock has passed the minute's end and the grace."""
        closing_us = end_s * 1_000_000 + GRACE_US
        return next((made for made, clock in self._beats if clock >= closing_us), None)

    def published_us(self, open_us: int) -> int | None:
        """When the first closed candle of the minute was published."""
        return self._published.get(open_us)

    def _listen(self) -> None:
        while not self._ends.is_set():
            message: Any = self._pubsub.get_message(ignore_subscribe_messages=True, timeout=POLL_S)
            if message is None:
                continue
            body = json.loads(message["data"])
            if message["type"] == "message":
                clocks = [int(feed["clock"]) for feed in body["feeds"].values()]
                self._beats.append((int(body["time"]), min(clocks, default=0)))
            else:
                self._published.setdefault(int(body["time"]), time.time_ns() // 1000)
