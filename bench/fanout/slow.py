"""Clients that never read: whether the others notice, whether anything is lost, and when the slow ones are cut off."""

import time
from typing import Any

import rig

from fanout.contenders import CONTENDERS, OURS, Missing
from fanout.generator import Load
from fanout.options import Options
from fanout.stage import GENERATOR_SHARE, Stage, stage
from fanout.tables import Findings, ratio, spread

CLIENTS, STALLED = 500, 50
CUT = ("ticker_websocket_closed_total", 'code="4508"')
LOOK_S = 0.2


def run(options: Options, cores: rig.Cores) -> list[Findings]:
    """Pairs of runs: with clients that never read, and with the same clients reading."""
    found = Findings(f"Slow consumers: {STALLED} of {CLIENTS} clients never read, {options.rate:g} ticks/s")
    try:
        pairs = [(_one(0, options, cores), _one(STALLED, options, cores)) for _ in range(options.runs)]
    except (Missing, RuntimeError) as why:
        found.missing(OURS, why)
        return [found]
    rows = []
    for number, (without, stalled) in enumerate(pairs, 1):
        found.raw += [without, stalled]
        rows.append((number, *_cells(without, stalled)))
        for row in (without, stalled):
            if row["generator_cpu"] >= GENERATOR_SHARE:
                found.remark(
                    f"**The generator may be the limit**: pair {number} ({row['generator_cpu']:.0%} of its core)."
                )
    heads = (
        "pair",
        "p99 ms without",
        "p99 ms with",
        "lost",
        "cut with 4508",
        "the last after s",
        "MiB before",
        "at most",
        "after",
    )
    found.table(heads, rows, f"p99 of the {CLIENTS - STALLED} that read; `lost` by the numbers of all their ticks:")
    p99s = [[pair[side]["p99_ms"] for pair in pairs] for side in (0, 1)]
    worse = ratio(sorted(p99s[1])[len(pairs) // 2], sorted(p99s[0])[len(pairs) // 2])
    found.remark(f"p99 without {spread(p99s[0], 2)} ms, with {spread(p99s[1], 2)} ms: {worse} times.")
    return [found]


def _cells(without: dict[str, Any], stalled: dict[str, Any]) -> tuple[object, ...]:
    lost = without["lost"] + stalled["lost"] + without["gaps"] + stalled["gaps"]
    memory = (f"{stalled[name] / 1024:.1f}" for name in ("kib_before", "kib_most", "kib_after"))
    last = "-" if stalled["cut_after_s"] is None else f"{stalled['cut_after_s']:.1f}"
    return f"{without['p99_ms']:.2f}", f"{stalled['p99_ms']:.2f}", lost, f"{stalled['cut']} of {STALLED}", last, *memory


def _one(stalled: int, options: Options, cores: rig.Cores) -> dict[str, Any]:
    load = Load(CLIENTS, stalled=stalled, measured=CLIENTS - STALLED)
    with stage(CONTENDERS[OURS], load, cores) as on:
        before = on.server.program.memory_kib()
        with on.publishing(options.rate, options.seconds) as publisher:
            on.generator.begin()
            watched = _watch(on, options.seconds)
            report = on.generator.report()
            due = round(publisher.result()["published"] * load.share)
        whole = on.settled(due)
        after = on.server.program.memory_kib()
    row = {
        "experiment": "slow",
        "stalled": stalled,
        "rate": options.rate,
        "lost": max(whole["lost"], due - whole["all_ticks"]),
        "kib_before": before,
        "kib_after": after,
        "generator_cpu": report["cpu"],
    }
    row |= watched | {name: report[name] for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms")}
    row |= {name: whole[name] for name in ("repeated", "reordered", "gaps", "bad", "closed")}
    options.progress(f"{stalled} stalled: p99 {row['p99_ms']:.2f} ms, lost {row['lost']}, cut {row['cut']}")
    return row


def _watch(on: Stage, seconds: float) -> dict[str, Any]:
    """How many are cut, when the last of them was, and the most memory on the way."""
    begin, cut, cut_after_s, most = time.monotonic(), 0, None, 0
    while (elapsed := time.monotonic() - begin) < seconds:
        most = max(most, on.server.program.memory_kib())
        found = round(on.server.metric(*CUT))
        if found > cut:
            cut, cut_after_s = found, elapsed
        time.sleep(LOOK_S)
    return {"cut": cut, "cut_after_s": cut_after_s, "kib_most": most}
