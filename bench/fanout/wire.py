"""What a tick costs on the wire: bytes of the WebSocket stream, with every tick and with only the latest."""

import json
from collections.abc import Sequence

import rig

from fanout.contenders import CONTENDERS, OURS, Missing
from fanout.generator import Load
from fanout.options import Options
from fanout.stage import Sample, stage
from fanout.tables import Findings, ratio

CLIENTS, PER_CLIENT, SYMBOLS = 50, 20, 100
MODES: Sequence[tuple[str, dict[str, object]]] = (
    ("all", {}),
    ("latest, every_ms 100", {"deliver": "latest", "every_ms": 100}),
    ("latest, every_ms 250", {"deliver": "latest", "every_ms": 250}),
)


def run(options: Options, cores: rig.Cores) -> list[Findings]:
    """Every way of delivery."""
    a_symbol = options.rate / SYMBOLS
    found = Findings(
        f"On the wire: {CLIENTS} clients x {PER_CLIENT} of {SYMBOLS} symbols, {a_symbol:g} ticks/s a symbol"
    )
    samples: dict[str, Sample] = {}
    try:
        for mode, fields in MODES:
            tail = "]" + "".join(f",{json.dumps(name)}:{json.dumps(value)}" for name, value in fields.items()) + "}"
            with stage(CONTENDERS[OURS], Load(CLIENTS, PER_CLIENT, SYMBOLS, tail=tail), cores) as on:
                samples[mode] = sample = on.measure(options.rate, options.seconds, options.warm)
            found.add(sample, experiment="wire", deliver=mode)
            options.progress(f"{mode}: {sample.bytes_per_s / sample.due_per_s:.1f} bytes a tick")
    except (Missing, RuntimeError) as why:
        found.missing(OURS, why)
        return [found]
    every = samples["all"].bytes_per_s / samples["all"].due_per_s
    rows = [_row(mode, sample, every) for mode, sample in samples.items()]
    found.table(("deliver", "bytes a tick", "of `all`", "bytes a message", "messages of ticks", "p99 ms"), rows)
    found.remark(
        "A tick is one that was published on a symbol the client has, sent or skipped; bytes are those of WebSocket."
    )
    return [found]


def _row(mode: str, sample: Sample, every: float) -> tuple[str, ...]:
    a_tick = sample.bytes_per_s / sample.due_per_s
    return (
        mode,
        f"{a_tick:.1f}",
        ratio(a_tick, every),
        f"{sample.bytes_per_s / max(sample.delivered_per_s, 1):.1f}",
        f"{sample.delivered_per_s / sample.due_per_s:.1%}",
        f"{sample.p99_ms:.1f}",
    )
