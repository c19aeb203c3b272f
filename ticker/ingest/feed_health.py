"""Weighs what is wrong with a feed: what weighs more hides the rest, which shows once that is over."""

from dataclasses import dataclass

from ticker.feed_state import FeedState
from ticker.ingest.opening import Opening


@dataclass(slots=True)
class FeedHealth:
    """What is known of a feed, each with its reason where it is so."""

    started: bool = False
    failure: str | None = None
    """Why it cannot go on."""
    error: str | None = None
    """What it raised, until it is started again."""
    standby: str | None = None
    """Who writes its symbols meanwhile."""
    store_away: str | None = None
    """Why the store does not answer."""

    def status(self, opening: Opening, trouble: tuple[FeedState, str] | None) -> tuple[FeedState, str]:
        """State and reason. `trouble`: what is wrong with one that should be live, as far as can be told."""
        told = (
            (FeedState.FAILED, self.failure),
            (FeedState.RETRYING, self.error),
            (FeedState.STANDBY, self.standby),
            (FeedState.STARTING, None if self.started else ""),
            (FeedState.WAITING, self.store_away),
        )
        for state, reason in told:
            if reason is not None:
                return state, reason
        if not opening.is_open:
            return opening.closed
        return trouble or (FeedState.LIVE, "")
