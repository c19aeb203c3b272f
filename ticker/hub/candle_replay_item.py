"""One symbol of a replay of candles: what its client has, what was read for it, and what it still lacks."""

from heapq import heappush

from ticker.candles.candle import Candle
from ticker.candles.since import Begin, PastPage
from ticker.hub.events import reset_message
from ticker.hub.resume import Position
from ticker.hub.resuming import Resuming
from ticker.hub.topic import Topic
from ticker.hub.track import Track


class CandleItem(Resuming):
    """One symbol: `seq` is the number behind which trades count, `next` the time up to which stored candles were read."""

    __slots__ = (
        "again",
        "ahead",
        "begin",
        "next",
        "reset",
        "rows",
        "seen",
        "seq",
        "topic",
        "unclosed",
    )

    def __init__(self, topic: Topic, asked: Position, track: Track) -> None:
        super().__init__(asked, track)
        self.topic = topic
        self.seq = 0
        self.reset = False
        self.begin: Begin | None = None
        self.next = 0
        self.again = False
        """A reset went out: the client has given up the candle that holds the trade `seq` too, where others were in it."""
        self.seen = 0
        """The fold had trades up to this number when stored candles were read, and what it held was not read."""
        self.unclosed: set[int] = set()
        """The times of those that were sent before they were closed."""
        self.ahead: dict[int, int] = {}
        """Of the stored candles that were read, those with later trades: their numbers by their times."""
        self.rows: list[tuple[int, Candle]] = []
        """A heap of those that were read and not sent, by their numbers."""

    @property
    def outcome(self) -> str:
        """`whole`, `gap` or `reset`."""
        if self.reset:
            return "reset"
        return "gap" if self.begin is not None and self.begin.missing else "whole"

    def ready(self, reach_us: int) -> bool:
        """Whether the candle with the lowest number may go out: what was not read yet begins too late to have a lower one."""
        return bool(self.rows) and self.rows[0][1].close_time + reach_us < self.next

    def concerns(self, candle: Candle) -> bool:
        """Whether the client does not have the candle as it stands."""
        return candle.seq > self.seq or (self.again and candle.seq == self.seq > 0)

    def lacks(self, candle: Candle, final: bool) -> bool:
        """The same of one that the fold holds: it may have been sent while it was not closed, or was read already."""
        if final and candle.time in self.unclosed:
            return True
        was_read = candle.time < self.next and candle.seq <= self.ahead.get(candle.time, self.seen)
        return self.concerns(candle) and not was_read

    def sent(self, candle: Candle, *, final: bool) -> None:
        """The client has one of the fold's candles, and with it all that was touched before."""
        self.seq, self.again = max(self.seq, candle.seq), False
        if final:
            self.unclosed.discard(candle.time)
        else:
            self.unclosed.add(candle.time)

    def begins(self, begin: Begin) -> None:
        """Stored candles are to be read from here on, and nothing of them was."""
        self.begin, self.next, self.seen = begin, begin.time, 0
        self.rows.clear()
        self.ahead.clear()

    def take(self, page: PastPage, folded: int) -> None:
        """Stored candles that were read; the fold had trades up to `folded` when they were asked for."""
        self.seen = min(self.seen or folded, folded)
        for candle in page.candles:
            if candle.seq > self.seen:
                self.ahead[candle.time] = candle.seq
            if self.concerns(candle) or candle.time in self.unclosed:
                heappush(self.rows, (candle.seq, candle))

    def withdraw(self) -> bytes | None:
        """Once for all floors since: what of that which the client has seen does not count any more, if anything."""
        floors = self.track.floors[self.generation :]
        if floors:
            self.seq = min([self.seq, *floors])
            self.begin = None
            self.rows.clear()
        if not floors and not self.reset:
            return None
        self.generation, self.reset, self.again = self.track.generation, False, True
        return reset_message(self.topic, self.track.epoch, self.seq)
