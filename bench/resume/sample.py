"""What one kill has shown, and what was aimed at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

WHOLE_S = 3.0
RATIO = 2.0
NOTICED_MS = 25.0
CALM_MS = 300.0
"""Ticks are on time where none is older than this when it is read."""
CLIENTS_SHARE = 0.9
"""Of a core for each process of clients: beyond, it may be they that are measured."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


@dataclass(frozen=True, slots=True)
class Sample:
    """One kill; seconds count from when the port took a connection again."""

    load: float
    """What the machine was busy with before."""
    away_s: float
    whole_p50_s: float
    whole_last_s: float
    before_ms: float
    """p99 of the age of the newest tick in each read at gateway B, before the kill."""
    away_ms: float
    """The same until the port was open again."""
    meanwhile_ms: float
    """The same from then until all were whole."""
    cores: dict[str, float]
    """What each took meanwhile."""
    wrong: int = 0
    announced: int = 0
    not_recovered: int = 0
    refused: int = 0
    behind: int = 0
    cut_off: int = 0
    errors: Sequence[str] = ()
    replay: dict[str, float] = field(default_factory=dict)

    @property
    def faults(self) -> dict[str, int]:
        """What clients did not get as they should."""
        names = ("wrong", "announced", "not_recovered", "refused", "behind", "cut_off")
        return {name: count for name in names if (count := getattr(self, name))}

    @property
    def noticed(self) -> bool:
        """Whether those at gateway B noticed more of it than they may."""
        return not self.meanwhile_ms < max(RATIO * self.before_ms, NOTICED_MS)


AIMS: Sequence[tuple[str, str, Callable[[Sample], bool], Callable[[Sample], str]]] = (
    (
        "every client whole after the port is open again",
        f"at most {WHOLE_S:g} s",
        lambda one: one.whole_last_s <= WHOLE_S,
        lambda one: f"{one.whole_last_s:.2f} s",
    ),
    (
        "every number once, in order, up to the store's last",
        "no fault",
        lambda one: not one.faults and not one.errors,
        lambda one: str(one.faults) if one.faults else "no fault",
    ),
    (
        "p99 at gateway B meanwhile",
        f"below {RATIO:g} x before, or {NOTICED_MS:g} ms",
        lambda one: not one.noticed,
        lambda one: f"{one.meanwhile_ms:.1f} ms, before {one.before_ms:.1f} ms",
    ),
)
"""Each with what was wanted, whether a kill has reached it, and what was found."""
