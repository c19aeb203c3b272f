"""What clients are told of the service itself: `stale` while something upstream is silent, `live` once it is healed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ticker import codec
from ticker.feed_state import is_well

INGEST_SILENCE_S = 1.2
"""An ingester's heart beats every 250 ms."""
STORE_SILENCE_S = 0.4

Reason = str
REASONS: tuple[Reason, ...] = ("store", "ingest", "feed")


class Writer(NamedTuple):
    """Who writes a symbol: one feed of one ingester. Without a known ingester, any that has a feed of that name."""

    ingester: str
    feed: str


Symbols = Mapping[Writer, Sequence[str]]


@dataclass(slots=True)
class _Heard:
    """What an ingester has said last: its feeds by name, each with `state`, `reason`, `clock`; and when."""

    at_s: float
    feeds: Mapping[str, Any]


class Service:
    """Keeps what is wrong, and says what changed."""

    def __init__(self, now_s: float) -> None:
        """`now_s`: a monotonic clock, here and below."""
        self._stale: dict[Reason, list[str]] = {}
        self._heard: dict[str, _Heard] = {}
        self._since_s = now_s
        """Nobody's silence is held against the time before."""
        self._lost_s: float | None = now_s

    def store(self, now_s: float, *, live: bool) -> None:
        """The live connection to the store was gained or lost."""
        if live and self._lost_s is not None:
            # A silent ingester is noticed from now on, not held against the time without a connection.
            self._lost_s, self._since_s = None, now_s
        elif not live and self._lost_s is None:
            self._lost_s = now_s

    def heartbeat(self, now_s: float, ingester: str, feeds: Mapping[str, Any]) -> None:
        """An ingester is alive, and the feeds that it writes are like this: name -> `state`, `reason`, `clock`."""
        self._heard[ingester] = _Heard(now_s, feeds)

    @property
    def feeds(self) -> dict[str, Any]:
        """The feeds of all ingesters, by name; of two with one name, the one that is not well or has come further."""
        found: dict[str, Any] = {}
        for heard in self._heard.values():
            for name, feed in heard.feeds.items():
                found[name] = max(found.get(name, feed), feed, key=_weight)
        return found

    def clock_of(self, writer: Writer) -> int:
        """A feed's clock at its last heartbeat, in microseconds; 0 where none is known."""
        heard = self._heard.get(writer.ingester)
        feeds = heard.feeds if heard and writer.feed in heard.feeds else self.feeds
        return int(feeds.get(writer.feed, {}).get("clock", 0))

    def is_away(self, writer: Writer, now_s: float) -> bool:
        """Whether nobody who lives writes a feed: as far as can be told, which right after the start it cannot."""
        speakers = [h for one, h in self._heard.items() if writer.ingester in ("", one) and writer.feed in h.feeds]
        since = max((heard.at_s for heard in speakers), default=self._since_s)
        return self._lost_s is None and self._is_silent(since, now_s)

    def check(self, now_s: float, time_us: int, symbols: Symbols) -> list[bytes]:
        """Messages for everyone: what has gone stale or come back since the last time. `symbols`: what each feed writes."""
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

    def _wrong(self, now_s: float, symbols: Symbols) -> dict[Reason, list[str]]:
        if self._lost_s is not None:
            # A connection that is back at once is nobody's concern; what was wrong before is not healed by it.
            return {"store": []} if now_s - self._lost_s > STORE_SILENCE_S else self._stale
        silent = {one for one, heard in self._heard.items() if self._is_silent(heard.at_s, now_s)}
        if len(silent) == len(self._heard):
            return {"ingest": []} if self._is_silent(self._since_s, now_s) else {}
        left = self._left_by(silent, symbols)
        touched = [_symbols_of(symbols, one, name) for one, name in self._failed(silent)]
        failed = {"feed": sorted({symbol for some in touched for symbol in some})} if touched else {}
        return ({"ingest": left} if left else {}) | failed

    def _is_silent(self, heard_s: float, now_s: float) -> bool:
        return now_s - max(heard_s, self._since_s) > INGEST_SILENCE_S

    def _left_by(self, silent: set[str], symbols: Symbols) -> list[str]:
        """The symbols that nobody writes any more. An ingester whose symbols others have taken over is forgotten."""
        left: list[str] = []
        for one in silent:
            own = [symbol for writer, some in symbols.items() if writer.ingester == one for symbol in some]
            if not own:
                del self._heard[one]
            left += own
        return sorted(left)

    def _failed(self, silent: set[str]) -> list[tuple[str, str]]:
        """Ingesters that live, and their feeds that are not well."""
        living = [(one, heard) for one, heard in self._heard.items() if one not in silent]
        return [(one, name) for one, h in living for name, feed in h.feeds.items() if not is_well(feed.get("state"))]

    def _message(self, state: str, reason: Reason, time_us: int) -> bytes:
        message: dict[str, Any] = {"type": "service", "state": state, "reason": reason, "time": time_us}
        if state == "stale" and (reason == "feed" or self._stale[reason]):
            message["symbols"] = self._stale[reason]
        return codec.to_json(message)


def _symbols_of(symbols: Symbols, ingester: str, feed: str) -> list[str]:
    """Also those of which it is not known who writes them."""
    return [*symbols.get(Writer(ingester, feed), ()), *symbols.get(Writer("", feed), ())]


def _weight(feed: Mapping[str, Any]) -> tuple[bool, int]:
    return not is_well(feed.get("state")), int(feed.get("clock", 0))
