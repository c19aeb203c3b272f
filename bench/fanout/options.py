"""What an experiment may be told on the command line."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Of one experiment; what it has no use for stays at its default."""

    servers: Sequence[str]
    seconds: float
    runs: int = 1
    warm: float = 2.0
    workloads: Sequence[str] = ()
    rates: Sequence[float] = ()
    rate: float = 0.0
    connections: int = 0
    minutes: int = 0

    @classmethod
    def of(cls, given: argparse.Namespace) -> "Options":
        """From parsed arguments."""
        names = cls.__dataclass_fields__
        return cls(**{name: value for name, value in vars(given).items() if name in names})

    def progress(self, text: str) -> None:
        """A line on the way, apart from the result."""
        print(f"  {text}", file=sys.stderr, flush=True)
