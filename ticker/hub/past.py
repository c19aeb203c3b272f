"""What the hub asks of stored candles: those that no fold holds any more, because nothing can change them."""

from collections import deque
from typing import NamedTuple, Protocol

from ticker.candles.candle import Candle
from ticker.candles.since import Begin, PastPage


class Past(Protocol):
    """Stored candles."""

    @property
    def reach_us(self) -> int:
        """How far back in time a trade may lie behind those that have lower numbers."""

    async def begin(self, symbol: str, interval: str, seq: int) -> Begin:
        """Where candles begin that trades behind a number may have touched."""

    async def closed(self, symbol: str, interval: str, start: int, end: int) -> PastPage:
        """Closed candles with start <= time < end, as many as are read at once."""


class Missed(NamedTuple):
    """Candles that somebody was not sent; those of trades up to `left_out` are not among them, for the reason."""

    candles: list[Candle]
    left_out: int = 0
    reason: str = ""


async def missed(past: Past, symbol: str, interval: str, seq: int, end: int, most: int) -> Missed:
    """The newest `most` candles before the time `end` that a trade from `seq` on has touched. Raises `StoreUnavailable`."""
    begin = await past.begin(symbol, interval, max(seq - 1, 0))
    found: deque[Candle] = deque()
    left_out, reason, at = begin.missing, "trimmed", begin.time
    while at < end:
        page = await past.closed(symbol, interval, at, end)
        found += (candle for candle in page.candles if candle.seq >= seq)
        while len(found) > most:
            left_out, reason = max(left_out, found.popleft().seq), "too_far"
        if page.next is None:
            break
        at = page.next
    return Missed(list(found), left_out, reason)
