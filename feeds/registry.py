"""The names that `feeds[].type` in config.yaml may have, each with its options and the feed it makes.

A third party adds a kind by the entry point group `ticker.feeds`: a name and a `FeedKind`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel

from feeds.feed import Feed
from feeds.market import Market
from feeds.replay import ReplayOptions, make_replay
from feeds.simulated import SimulatedOptions, make_simulated


@dataclass(frozen=True, slots=True)
class FeedKind:
    """One kind of feed: the model of its options (which refuses unknown keys) and what makes a feed of them.

    `make` gets the options and what is known of the market. It may take its time (read a file's head, say).
    """

    options: type[BaseModel]
    make: Callable[[Any, Market], Feed]


BUILT_IN = {
    "simulated": FeedKind(SimulatedOptions, make_simulated),
    "replay": FeedKind(ReplayOptions, make_replay),
}


def feed_kinds() -> dict[str, FeedKind]:
    """Every kind that is installed, by its name in config.yaml."""
    installed = {point.name: point.load() for point in entry_points(group="ticker.feeds")}
    return installed | BUILT_IN
