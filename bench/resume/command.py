"""How soon everybody is whole after a gateway was killed, and what those at another gateway notice of it.

A Valkey, `ticker ingest`, gateways A and B. Clients at A each have `--each` symbols, chosen by chance, on each of the
channels; a few at B have all symbols. On `trades` alone the feed is a recording of trades, with `quotes` the simulated one.
A is killed with SIGKILL and started again on its port; its clients come back at once, all of them, and go on from their
positions. Prints Markdown tables, and the raw numbers; the exit code is 1 where what was aimed at was not reached. Nothing
else should run meanwhile. Needs Linux.
"""

import argparse
import signal
import sys
from dataclasses import fields

import rig

from resume.options import Options
from resume.stage import GENERATORS, measure
from resume.tables import heading, report

CHANNELS = ("trades", "quotes")


def main() -> None:
    """Measure and print."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    given = parser().parse_args()
    options = Options(**{field.name: getattr(given, field.name) for field in fields(Options)})
    rig.raise_file_limit()
    samples = []
    for seed in range(given.runs):
        samples.append(measure(options, seed))
        print(f"  {seed + 1}: whole after {samples[-1].whole_last_s:.2f} s", file=sys.stderr, flush=True)
    text, reached = report(samples, GENERATORS)
    print(f"{heading(options)}\n\n{text}")
    sys.exit(0 if reached else 1)


def parser() -> argparse.ArgumentParser:
    """What may be asked for."""
    made = argparse.ArgumentParser(
        prog="resume", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = Options()
    made.add_argument("--clients", type=_positive, default=usual.clients, help="at gateway A")
    made.add_argument("--each", type=_positive, default=usual.each, help="symbols that each of them has")
    made.add_argument("--symbols", type=_positive, default=usual.symbols)
    made.add_argument("--ticks-per-s", type=float, default=usual.ticks_per_s, help="of all symbols together")
    made.add_argument("--channels", type=_channels, default=usual.channels, metavar="NAME,NAME")
    made.add_argument("--probes", type=_positive, default=usual.probes, help="clients at gateway B")
    made.add_argument("--away-s", type=float, default=usual.away_s, help="before gateway A is started again")
    made.add_argument("--runs", type=_positive, default=3)
    return made


def _positive(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a whole number of 1 or more")


def _channels(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in CHANNELS]:
        raise argparse.ArgumentTypeError(f"found {unknown[0]!r}; allowed: {', '.join(CHANNELS)}")
    return names
