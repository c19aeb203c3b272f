"""Keeps book of the times in which a feed was away, as its ingester sees them: from beat to beat of its heart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ticker.feed_state import FeedState, is_well
from ticker.store.outages import Beat, Kind, Outage

MISSED_S = 1.2
"""A heart that has not beaten for this long was away: so it is for gateways too."""
NOT_OF_THE_FEED = frozenset({FeedState.WAITING, FeedState.STANDBY})
"""The store's absence is known by the heart that stops."""
BLOCKED: tuple[Kind, str] = ("ingest", "the ingester could not go on")
"""A heart that did not even try to beat: its process was stopped, or a poll did not return."""


@dataclass(slots=True)
class _Book:
    beat_us: int
    beat_s: float
    lasting: Outage | None
    owed: Sequence[Outage] = ()
    """What was over when the book was opened, until that is noted."""


class OutageLog:
    """The books of the feeds that one ingester writes."""

    def __init__(self) -> None:
        self._books: dict[str, _Book] = {}

    def knows(self, feed: str) -> bool:
        """Whether the feed's book was opened."""
        return feed in self._books

    def forget(self, feed: str) -> None:
        """Somebody else writes the feed, and keeps its book."""
        self._books.pop(feed, None)

    def open(self, feed: str, before: Beat | None, now_us: int, now_s: float) -> None:
        """Begin to keep the book of a feed; `before` is the last that whoever wrote it has said."""
        book = self._books[feed] = _Book(now_us, now_s, None)
        if before is None:
            return
        book.owed = [replace(before.lasting, end=before.time)] if before.lasting else []
        if now_us - before.time > MISSED_S * 1_000_000:
            book.owed = [*book.owed, Outage(before.time, now_us, "ingest", "no ingester was there")]

    def beat(
        self, feed: str, state: FeedState, reason: str, now_us: int, now_s: float, *, store_failed: bool
    ) -> tuple[Outage | None, list[Outage]]:
        """What lasts at this beat, and what is over. Nothing is noted of it: `noted` says that it has arrived.

        `store_failed`: the store was told since the last beat that was noted, and did not answer, or too late.
        """
        book = self._books[feed]
        over = list(book.owed)
        away_s = now_s - book.beat_s
        if away_s > MISSED_S:
            # By the monotonic clock: the other may have been set meanwhile.
            away: tuple[Kind, str] = ("store", "the store did not answer") if store_failed else BLOCKED
            over.append(Outage(now_us - int(away_s * 1_000_000), now_us, *away))
        lasting = book.lasting
        if is_well(state) or state in NOT_OF_THE_FEED:
            if lasting:
                over.append(replace(lasting, end=now_us))
            return None, over
        return lasting or Outage(now_us, None, "feed", f"{state}: {reason}"), over

    def noted(self, feed: str, lasting: Outage | None, now_us: int, now_s: float) -> None:
        """The store has it."""
        self._books[feed] = _Book(now_us, now_s, lasting)
