"""The ceiling: rates rise until the server does not hold one; what each delivery costs on the way there."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import rig

from fanout.contenders import CONTENDERS, OURS, Missing
from fanout.generator import Load
from fanout.options import Options
from fanout.stage import Sample, stage
from fanout.tables import Findings, ratio, spread


@dataclass(frozen=True, slots=True)
class Workload:
    """Who wants what, and the rates to try, in ticks a second over all symbols."""

    load: Load
    rates: Sequence[float]


WORKLOADS = {
    "one-symbol": Workload(Load(500, 1, 1), (50, 100, 200, 400, 800, 1_600, 3_000, 4_500, 6_000, 8_000, 10_000)),
    "watchlists": Workload(
        Load(500, 20, 500), (1_250, 2_500, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000)
    ),
}


def one_rate(server: str, load: Load, rate: float, options: Options, cores: rig.Cores) -> Sample:
    """One sample on a fresh stage."""
    with stage(CONTENDERS[server], load, cores) as on:
        sample = on.measure(rate, options.seconds, options.warm)
    options.progress(
        f"{server} at {rate:g} ticks/s: {sample.delivered_per_s:,.0f} delivered/s, p99 {sample.p99_ms:g} ms, "
        f"{sample.cpu_us:.2f} us each, generator {sample.generator_cpu:.0%}"
    )
    return sample


def climb(server: str, work: Workload, options: Options, cores: rig.Cores) -> list[Sample]:
    """Samples at rising rates; the last one does not hold, or is that of the highest rate there is to try."""
    samples: list[Sample] = []
    for rate in options.rates or work.rates:
        samples.append(one_rate(server, work.load, rate, options, cores))
        if not samples[-1].holds:
            break
    return samples


def best(samples: Sequence[Sample]) -> Sample | None:
    """The one at the highest rate that holds."""
    return max((sample for sample in samples if sample.holds), key=lambda sample: sample.rate, default=None)


def run(options: Options, cores: rig.Cores) -> list[Findings]:
    """Every workload."""
    return [_run_workload(name, WORKLOADS[name], options, cores) for name in options.workloads]


def _run_workload(name: str, work: Workload, options: Options, cores: rig.Cores) -> Findings:
    load = work.load
    found = Findings(f"Ceiling, {name}: {load.clients} clients x {load.per_client} of {load.symbols} symbols")
    climbs: dict[str, list[list[Sample]]] = {server: [] for server in options.servers}
    for run_number in range(options.runs):
        # One after the other in each run, so that what disturbs the machine for a while disturbs all of them.
        for server in [server for server in options.servers if server in climbs]:
            try:
                samples = climb(server, work, options, cores)
            except (Missing, RuntimeError) as why:
                found.missing(server, why)
                del climbs[server]
                continue
            climbs[server].append(samples)
            for sample in samples:
                found.add(sample, experiment="ceiling", workload=name, run=run_number)
    _ceilings(found, climbs)
    _costs(found, climbs)
    return found


def _ceilings(found: Findings, climbs: dict[str, list[list[Sample]]]) -> None:
    heads = ("server", "delivered/s", "p99 ms there", "CPU us each there", "generator", "ticker's rate / this")
    caption = "Medians (and from where to where) at the highest rate with p99 < 50 ms and 97 % and more arrived:"
    rows = [_ceiling_row(server, runs, climbs.get(OURS, [])) for server, runs in climbs.items()]
    found.table((*heads, "ticker's CPU each / this, at the highest rate of both"), rows, caption)


def _ceiling_row(server: str, runs: list[list[Sample]], ours: list[list[Sample]]) -> tuple[str, ...]:
    reached = [top for samples in runs if (top := best(samples))]
    common = highest_common(ours, runs)
    return (
        server,
        # Where the last rate of all was held, the ceiling is higher.
        ("at least " if any(samples[-1].holds for samples in runs) else "") + spread(_rates(runs)),
        spread([top.p99_ms for top in reached], 1),
        spread([top.cpu_us for top in reached], 2),
        f"{max((top.generator_cpu for top in reached), default=0):.0%}",
        ratio(statistics.median(_rates(ours)), statistics.median(_rates(runs))) if ours else "-",
        "-" if common is None else f"{cost_ratio(ours, runs, common)} at {common:g}",
    )


def _rates(runs: Sequence[Sequence[Sample]]) -> list[float]:
    """What was delivered a second at each run's ceiling; 0 where none of the rates was held."""
    return [top.delivered_per_s if (top := best(samples)) else 0.0 for samples in runs]


def _costs(found: Findings, climbs: dict[str, list[list[Sample]]]) -> None:
    rates = sorted({sample.rate for runs in climbs.values() for samples in runs for sample in samples})
    rows = [
        (f"{rate:g}", *(spread([s.cpu_us for s in at_rate(runs, rate)], 2) for runs in climbs.values()))
        for rate in rates
    ]
    found.table(("ticks/s", *climbs), rows, "CPU us for each delivery, at every rate that held:")


def at_rate(runs: Sequence[Sequence[Sample]], rate: float) -> list[Sample]:
    """What held that rate."""
    return [sample for samples in runs for sample in samples if sample.rate == rate and sample.holds]


def highest_common(ours: Sequence[Sequence[Sample]], theirs: Sequence[Sequence[Sample]]) -> float | None:
    """The highest rate that both held."""
    held = [{sample.rate for samples in runs for sample in samples if sample.holds} for runs in (ours, theirs)]
    return max(held[0] & held[1], default=None)


def cost_ratio(ours: Sequence[Sequence[Sample]], theirs: Sequence[Sequence[Sample]], rate: float) -> str:
    """Of the medians of CPU for each delivery."""
    medians = [statistics.median(sample.cpu_us for sample in at_rate(runs, rate)) for runs in (ours, theirs)]
    return ratio(*medians)
