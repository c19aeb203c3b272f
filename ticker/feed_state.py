"""The states of a feed, as the ingester reports them and everyone else judges them."""

from enum import StrEnum


class FeedState(StrEnum):
    """What `state` may be in the heartbeat and in `/readyz`."""

    STARTING = "starting"
    """Not started yet: its symbols are being claimed."""
    LIVE = "live"
    CLOSED = "closed"
    """Its market has no session now."""
    STANDBY = "standby"
    """Another ingester writes its symbols; this one takes over when that is gone."""
    WAITING = "waiting"
    """The store is away; its ticks wait."""
    RETRYING = "retrying"
    """It raised an error, and is started again in a while."""
    STUCK = "stuck"
    """Nobody polls it, although it is time."""
    SILENT = "silent"
    """It has given nothing for longer than its `silence_s`, although it is open."""
    FAILED = "failed"
    """It cannot go on, and trying again is no use."""


WELL = frozenset({FeedState.STARTING, FeedState.LIVE, FeedState.CLOSED, FeedState.STANDBY})


def is_well(state: object) -> bool:
    """Whether nothing is wrong with a feed in this state: it is neither stale nor keeps the service from being ready.

    A state that is not known here, as a newer ingester may send it, is not well.
    """
    return state in WELL
