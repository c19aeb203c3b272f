"""What connections cost that get nothing but heartbeats: resident memory each, and processor time."""

import time
from typing import Any

import rig

from fanout.contenders import CONTENDERS, Missing
from fanout.generator import Generator, Load
from fanout.options import Options
from fanout.stage import serving
from fanout.tables import Findings

SETTLE_S = 3.0
KIB_NOTE = "Resident memory of the server alone; the kernel's own for a socket is not in it."


def run(options: Options, cores: rig.Cores) -> list[Findings]:
    """Every server."""
    found = Findings(f"Idle: {options.connections:,} clients of one quiet symbol, {options.seconds:g} s")
    rows = []
    for server in options.servers:
        try:
            row = _measure(server, options, cores)
        except (Missing, RuntimeError) as why:
            found.missing(server, why)
            continue
        found.raw.append(row)
        rows.append(
            (
                server,
                f"{row['kib_each']:.2f}",
                f"{row['kib_before'] / 1024:.0f}",
                f"{row['cpu']:.2%}",
                f"{1e6 * row['cpu'] / row['connections']:.2f}",
                row["pings"],
                row["closed"],
            )
        )
    heads = ("server", "KiB a connection", "MiB before", "CPU of its core", "CPU us/s a connection", "pings", "closed")
    found.table(heads, rows)
    found.remark(KIB_NOTE)
    found.remark("Every server has its own default for pings; one that sends none keeps dead connections.")
    return [found]


def _measure(server: str, options: Options, cores: rig.Cores) -> dict[str, Any]:
    contender = CONTENDERS[server]
    with serving(contender, 1, cores) as (_, running):
        program = running.program
        with Generator(running.port, contender.path, Load(1), cores.generator):
            # What a server makes once, for its first client, is not counted to the others.
            before = program.memory_kib()
        with Generator(running.port, contender.path, Load(options.connections), cores.generator) as clients:
            time.sleep(SETTLE_S)
            pings = clients.report()["pings"]
            clients.begin()
            cpu_s, begin = program.cpu_s(), time.monotonic()
            time.sleep(options.seconds)
            took, cpu_s = time.monotonic() - begin, program.cpu_s() - cpu_s
            report, after = clients.report(), program.memory_kib()
    options.progress(
        f"{server}: {(after - before) / options.connections:.2f} KiB a connection, {cpu_s / took:.2%} of a core"
    )
    return {
        "experiment": "idle",
        "server": server,
        "connections": options.connections,
        "kib_before": before,
        "kib_after": after,
        "kib_each": (after - before) / options.connections,
        "seconds": took,
        "cpu": cpu_s / took,
        "pings": report["pings"] - pings,
        "closed": report["closed"],
        "generator_cpu": report["cpu"],
    }
