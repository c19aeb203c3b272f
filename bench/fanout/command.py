"""The fan-out measurements: what one core of the server delivers to WebSocket clients, beside the usual choices.

Each experiment runs alone and prints markdown tables and the raw numbers; `all` runs one after the other. Nothing else
should run meanwhile. Needs Linux, two cores, a C compiler; peers that are not there are reported as missing.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import rig

from fanout import ceiling, close, idle, latency, slow, wire
from fanout.contenders import CONTENDERS, OURS
from fanout.generator import build
from fanout.options import Options
from fanout.store import Store
from fanout.tables import Findings, heading

Experiment = Callable[[Options, rig.Cores], list[Findings]]
EXPERIMENTS: dict[str, Experiment] = {
    "ceiling": ceiling.run,
    "latency": latency.run,
    "idle": idle.run,
    "slow": slow.run,
    "close": close.run,
    "wire": wire.run,
}


def main() -> None:
    """Run what was asked for; exit code 1 where ticker itself could not be measured."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    parser = _parser()
    given = parser.parse_args()
    names = list(EXPERIMENTS) if given.experiment == "all" else [given.experiment]
    cores = rig.Cores.of_machine()
    rig.raise_file_limit()
    build()
    print(f"{heading(_store_version(cores), cores)}\n", flush=True)
    measured = True
    with rig.pinned(cores.others):
        for name in names:
            options = Options.of(given if len(names) == 1 else parser.parse_args([name]))
            print(f"{name}:", file=sys.stderr, flush=True)
            for found in EXPERIMENTS[name](options, cores):
                print(f"{found.text()}\n", flush=True)
                measured &= OURS not in found.absent
    sys.exit(0 if measured else 1)


def _store_version(cores: rig.Cores) -> str:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder), 0, cores.others) as store:
        return store.version


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fanout", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="experiment", required=True)
    commands.add_parser("all", help="every experiment, each with its defaults")
    ceiling_ = _experiment(commands, "ceiling", ceiling.__doc__, seconds=4, runs=3)
    latency_ = _experiment(commands, "latency", latency.__doc__, seconds=10, runs=3)
    for one in (ceiling_, latency_):
        one.add_argument("--workloads", type=_workloads, default=tuple(ceiling.WORKLOADS), metavar="NAME,NAME")
        one.add_argument("--rates", type=_numbers, default=(), metavar="N,N", help="ticks/s to try, instead of its own")
        _warm(one)
    idle_ = _experiment(commands, "idle", idle.__doc__, seconds=20)
    idle_.add_argument("--connections", type=_positive, default=10_000)
    slow_ = _experiment(commands, "slow", slow.__doc__, seconds=20, runs=5, only_ours=True)
    slow_.add_argument("--rate", type=float, default=4_000, help="ticks/s of the one symbol")
    close_ = _experiment(commands, "close", close.__doc__)
    close_.add_argument("--minutes", type=_positive, default=3)
    wire_ = _experiment(commands, "wire", wire.__doc__, seconds=10, only_ours=True)
    wire_.add_argument("--rate", type=float, default=2_000, help="ticks/s of all symbols together")
    _warm(wire_)
    return parser


def _experiment(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str | None,
    *,
    seconds: float = 0,
    runs: int = 0,
    only_ours: bool = False,
) -> argparse.ArgumentParser:
    """An experiment with the options that most have; those that it has no use for it does not offer."""
    parser = commands.add_parser(
        name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.set_defaults(servers=[OURS], seconds=seconds)
    if not only_ours:
        known = list(CONTENDERS)
        parser.add_argument(
            "--servers", type=_servers, default=known, metavar="NAME,NAME", help=f"of {', '.join(known)}"
        )
    if seconds:
        parser.add_argument("--seconds", type=float, default=seconds, help="of each measurement")
    if runs:
        parser.add_argument("--runs", type=_positive, default=runs)
    return parser


def _warm(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--warm", type=float, default=2.0, help="seconds before each measurement")


def _positive(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a whole number of 1 or more")


def _numbers(text: str) -> Sequence[float]:
    try:
        return sorted(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: numbers with commas between them") from None


def _servers(text: str) -> Sequence[str]:
    return _chosen(text, list(CONTENDERS))


def _workloads(text: str) -> Sequence[str]:
    return _chosen(text, list(ceiling.WORKLOADS))


def _chosen(text: str, allowed: Sequence[str]) -> Sequence[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in allowed]:
        raise argparse.ArgumentTypeError(f"found {unknown[0]!r}; allowed: {', '.join(allowed)}")
    return names
