"""What clients are told of the service itself: `stale` while something upstream is silent, `live` once it is healed."""

from collections.abc import Mapping, Sequence
from typing import Any

from ticker import codec
from ticker.feed_state import is_well

INGEST_SILENCE_S = 1.2
"""The ingester's heart beats every 250 ms."""
STORE_SILENCE_S = 0.4

Reason = str
REASONS: tuple[Reason, ...] = ("store", "ingest", "feed")


class Service:
    """Keeps what is wrong, and says what changed."""

    def __init__(self, now_s: float) -> None:
        """`now_s`: a monotonic clock, here and below."""
        self._stale: dict[Reason, list[str]] = {}
        self._heard_s = now_s
        self.feeds: Mapping[str, Any] = {}
        self._lost_s: float | None = now_s

    def store(self, now_s: float, *, live: bool) -> None:
        """The live connection to the store was gained or lost."""
        if live and self._lost_s is not None:
            # A silent ingester is noticed from now on, not held against the time without a connection.
            self._lost_s, self._heard_s = None, now_s
        elif not live and self._lost_s is None:
            self._lost_s = now_s

    def heartbeat(self, now_s: float, feeds: Mapping[str, Any]) -> None:
        """The ingester is alive, and its feeds are like this: name -> `state`, `reason`, `clock`."""
        self._heard_s, self.feeds = now_s, feeds

    def clock_of(self, feed: str) -> int:
        """A feed's clock at its last heartbeat, in microseconds; 0 where none is known."""
        return int(self.feeds.get(feed, {}).get("clock", 0))

    def check(self, now_s: float, time_us: int, symbols: Mapping[str, Sequence[str]]) -> list[bytes]:
        """Messages for everyone: what has gone stale or come back since the last time. `symbols`: those of each feed."""
        now = self._wrong(now_s, symbols)
        before, self._stale = self._stale, now
        changed = [reason for reason in now if before.get(reason) != now[reason]]
        messages = [self._message("stale", reason, time_us) for reason in changed]
        healed = [reason for reason in before if reason not in now]
        return messages + [self._message("live", reason, time_us) for reason in healed]

    def standing(self, time_us: int) -> list[bytes]:
        """What somebody who has just come must be told."""
        return [self._message("stale", reason, time_us) for reason in self._stale]

    @property
    def stale(self) -> tuple[Reason, ...]:
        """What is wrong."""
        return tuple(self._stale)

    @property
    def live(self) -> bool:
        """Nothing is wrong."""
        return not self._stale

    def _wrong(self, now_s: float, symbols: Mapping[str, Sequence[str]]) -> dict[Reason, list[str]]:
        if self._lost_s is not None:
            # A connection that is back at once is nobody's concern; what was wrong before is not healed by it.
            return {"store": []} if now_s - self._lost_s > STORE_SILENCE_S else self._stale
        if now_s - self._heard_s > INGEST_SILENCE_S:
            return {"ingest": []}
        failed = [name for name, feed in self.feeds.items() if not is_well(feed.get("state"))]
        touched = sorted(symbol for name in failed for symbol in symbols.get(name, ()))
        return {"feed": touched} if failed else {}

    def _message(self, state: str, reason: Reason, time_us: int) -> bytes:
        message: dict[str, Any] = {"type": "service", "state": state, "reason": reason, "time": time_us}
        if reason == "feed" and state == "stale":
            message["symbols"] = self._stale["feed"]
        return codec.to_json(message)
