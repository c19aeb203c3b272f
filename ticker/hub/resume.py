"""From where a client goes on, by the position that it comes with and the epochs that there were."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ticker import metrics


class Position(NamedTuple):
    """Everything up to `seq` and nothing after; the epoch is None before a symbol's first tick."""

    epoch: str | None
    seq: int


class Start(NamedTuple):
    """The number after which a client is sent everything; `reset`: what it has seen above that is withdrawn."""

    seq: int
    reset: bool


def start(asked: Position, epoch: str | None, seq: int, ended: Mapping[str, int]) -> Start:
    """Where to begin for a client that has `asked`, where the symbol stands at number `seq` of `epoch`.

    `ended`: the epochs of before, and the number up to which those of each are still true.
    """
    if asked.epoch is None or asked.epoch == epoch:
        known = seq
    elif asked.epoch in ended:
        known = min(ended[asked.epoch], seq)
    else:
        # Its numbers may never have been stored here: nothing of what it has can be told to be true.
        return Start(0, reset=True)
    return Start(min(asked.seq, known), reset=asked.seq > known)


def count_outcomes(channel: str, outcomes: Iterable[str]) -> None:
    """What became of the symbols of one request."""
    for outcome, symbols in Counter(outcomes).items():
        metrics.RESUMES.labels(channel, outcome).inc(symbols)
