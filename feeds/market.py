"""What a feed is told of the market that it belongs to."""

from dataclasses import dataclass
from datetime import UTC, tzinfo

from feeds.trading_hours import ALWAYS, TradingHours


@dataclass(frozen=True, slots=True)
class Market:
    """The time zone of the market, in which its days begin, and the hours in which this feed has ticks."""

    zone: tzinfo = UTC
    hours: TradingHours = ALWAYS
