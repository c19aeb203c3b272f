"""Latency from publishing to receiving, at shares of each server's own ceiling, and at one low rate."""

import rig

from fanout.ceiling import WORKLOADS, best, climb, one_rate
from fanout.contenders import OURS, Missing
from fanout.options import Options
from fanout.stage import Sample
from fanout.tables import Findings, spread

SHARES = (0.1, 0.5, 0.8)
LOW_RATE = 50.0
LOW_PEER = "socketify"
HEADS = ("p50 ms", "p99 ms", "p99.9 ms", "CPU us each", "generator")


def run(options: Options, cores: rig.Cores) -> list[Findings]:
    """Every workload, and the low rate."""
    return [*(_of_shares(name, options, cores) for name in options.workloads), _low(options, cores)]


def _of_shares(name: str, options: Options, cores: rig.Cores) -> Findings:
    work = WORKLOADS[name]
    found, rows = Findings(f"Latency, {name}, at shares of each server's own ceiling"), []
    for server in options.servers:
        try:
            top = best(climb(server, work, options, cores))
            if top is None:
                found.remark(f"{server} held none of the rates")
                continue
            for share in SHARES:
                samples = [one_rate(server, work.load, top.rate * share, options, cores) for _ in range(options.runs)]
                for sample in samples:
                    found.add(sample, experiment="latency", workload=name, share=share)
                rows.append((server, f"{share:.0%} of {top.delivered_per_s:,.0f}/s", *_cells(samples)))
        except (Missing, RuntimeError) as why:
            found.missing(server, why)
    found.table(("server", "load", *HEADS), rows, "Medians (and from where to where):")
    return found


def _low(options: Options, cores: rig.Cores) -> Findings:
    load = WORKLOADS["one-symbol"].load
    found = Findings(f"Latency, {load.clients} clients at {LOW_RATE:g} ticks/s")
    samples: dict[str, list[Sample]] = {server: [] for server in (OURS, LOW_PEER) if server in options.servers}
    for _ in range(options.runs):
        for server in list(samples):
            try:
                samples[server].append(one_rate(server, load, LOW_RATE, options, cores))
            except (Missing, RuntimeError) as why:
                found.missing(server, why)
                del samples[server]
    for runs in samples.values():
        for sample in runs:
            found.add(sample, experiment="latency", workload="low")
    found.table(("server", *HEADS), [(server, *_cells(runs)) for server, runs in samples.items()])
    return found


def _cells(samples: list[Sample]) -> tuple[str, ...]:
    return (
        spread([sample.p50_ms for sample in samples], 2),
        spread([sample.p99_ms for sample in samples], 2),
        spread([sample.p999_ms for sample in samples], 2),
        spread([sample.cpu_us for sample in samples], 2),
        f"{max((sample.generator_cpu for sample in samples), default=0):.0%}",
    )
