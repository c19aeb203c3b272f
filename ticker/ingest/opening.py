"""Whether a feed is open by its trading hours, and up to when it may be polled."""

from datetime import UTC, datetime

from feeds.trading_hours import FOREVER_US, TradingHours
from ticker.feed_state import FeedState

ENDS_SOON_US = 30 * 86_400 * 1_000_000


class Opening:
    """Follows the hours of one feed: all it says follows from them and the time, so that a clock that was set is no trouble.

    After a close the feed is polled once more, up to the last moment of the session, so that nothing of it is lost.
    """

    def __init__(self, calendar: str, hours: TradingHours, now_us: int, lateness_us: int) -> None:
        """`calendar`: its name, for people. `lateness_us`: how long after a close ticks of the session are still taken."""
        self._calendar = calendar
        self._hours = hours
        self._told: bool | None = None
        # Whoever was killed shortly before the close, and is back shortly after it, has the last moments to make up.
        ended = hours.between(now_us - lateness_us, now_us)
        self._last_us = ended[-1][1] - 1 if ended else None
        """The last moment of the session, for the last poll; None once that was made."""
        self._follow(now_us)

    def _follow(self, now_us: int) -> None:
        self.is_open = self._hours.is_open(now_us)
        self._change_us = self._hours.next_change(now_us)
        if self.is_open:
            self._last_us = (self._change_us or FOREVER_US) - 1

    def look(self, now_us: int) -> str | None:
        """Look at the clock; what is new since the last time, for the log."""
        self._follow(now_us)
        never_closes = self.is_open and self._change_us is None
        if self.is_open == self._told or never_closes:
            return None
        self._told = self.is_open
        if self._change_us is None:
            return self._no_more
        return f"{self._calendar} {'open' if self.is_open else 'closed'} until {_shown(self._change_us)}"

    def poll_time(self, now_us: int) -> int | None:
        """The time up to which the feed is to be polled, if at all; `now_us` is that of the last look."""
        if self.is_open:
            return now_us
        return self._last_us if self._last_us is not None and self._last_us < now_us else None

    def polled(self, time_us: int) -> None:
        """The feed has given all there is up to this time."""
        if time_us == self._last_us:
            self._last_us = None

    @property
    def closed(self) -> tuple[FeedState, str]:
        """State and reason while it is closed: where it never opens again, something is wrong."""
        if self._change_us is None:
            return FeedState.FAILED, self._no_more
        return FeedState.CLOSED, f"{self._calendar} opens {_shown(self._change_us)}"

    def ends_soon(self, now_us: int) -> bool:
        """Whether the calendar is known for a few more weeks only."""
        return self._hours.next_change(now_us + ENDS_SOON_US) is None

    @property
    def _no_more(self) -> str:
        return f"{self._calendar} closed, and no later session is known; update the package exchange_calendars"


def _shown(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%MZ")
