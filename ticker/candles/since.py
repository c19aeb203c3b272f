"""Closed candles as they are handed to somebody who was away."""

from dataclasses import dataclass

from ticker.candles.candle import Candle


@dataclass(frozen=True, slots=True)
class Begin:
    """Where the stored candles begin that a trade behind some number may have touched."""

    time: int
    missing: int
    """Trades up to this number have candles that are not stored any more; 0 where there are none."""


@dataclass(frozen=True, slots=True)
class PastPage:
    """Closed candles in order of time; the next page begins at `next`, if there is one."""

    candles: list[Candle]
    next: int | None
