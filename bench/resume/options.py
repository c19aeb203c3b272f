"""What the measurement may be told on the command line."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Who is there, and how much happens."""

    clients: int = 1000
    each: int = 20
    symbols: int = 500
    ticks_per_s: float = 5_000.0
    """Of all symbols together."""
    channels: Sequence[str] = ("trades", "quotes")
    """Without quotes every tick is a trade; with them there are three quotes to a trade."""
    probes: int = 4
    away_s: float = 0.0
