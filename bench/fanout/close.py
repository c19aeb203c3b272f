"""The minute's end: how long until the last client has the last of all `1m` candles that close at once."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rig
import yaml

from fanout.boundary import Boundaries
from fanout.contenders import CONTENDERS, OURS, Missing
from fanout.generator import SUBSCRIBE_CANDLES, Generator, Load
from fanout.options import Options
from fanout.stage import GENERATOR_SHARE, serving
from fanout.store import Store, names
from fanout.tables import Findings, spread
from ticker.store import keys

LOAD = Load(clients=1_000, per_client=20, symbols=500, head=SUBSCRIBE_CANDLES)
TICKS_PER_S = 2.0
"""Trades and quotes of each symbol."""
MINUTE_S = 60
TRADED_S = 120.0
AFTER_S = 5.0
"""Behind the minute's end, by when everything has come."""
RUN_UP_S = 15.0
"""Between the last client's arrival and the first minute's end: the feed may be busy with what was before its first tick."""


def run(options: Options, cores: rig.Cores) -> list[Findings]:
    """ticker, and its peers with the channel of closed candles."""
    found = Findings(
        f"Candle close: {LOAD.symbols} symbols, {LOAD.clients:,} clients x {LOAD.per_client}, real minutes"
    )
    rows = []
    for server in options.servers:
        try:
            minutes = _measure(server, options, cores)
        except (Missing, RuntimeError) as why:
            found.missing(server, why)
            continue
        found.raw += minutes
        rows.append((server, *_cells(minutes)))
        if max(row["generator_cpu"] for row in minutes) >= GENERATOR_SHARE:
            found.remark(f"**The generator may be the limit**: {server}.")
    heads = ("server", "minutes", "candles arrived", "ms after the signal", "first to last ms", "ms after the minute")
    found.table(heads, rows, "Until the last client's last candle, medians (and from where to where):")
    found.remark(
        "The signal: for ticker the heartbeat that closes the minute, for others the first candle that is published."
    )
    found.remark("A candle closes `candles.grace_ms`, 500 ms, after its minute; heartbeats come every 250 ms.")
    return [found]


def _cells(minutes: list[dict[str, Any]]) -> tuple[object, ...]:
    whole = LOAD.clients * LOAD.per_client
    return (
        len(minutes),
        f"{spread([row['arrived'] for row in minutes])} of {whole:,}",
        spread([row["after_signal_ms"] for row in minutes if row["after_signal_ms"] is not None], 1),
        spread([row["first_to_last_ms"] for row in minutes], 1),
        spread([row["after_minute_ms"] for row in minutes]),
    )


def _measure(server: str, options: Options, cores: rig.Cores) -> list[dict[str, Any]]:
    contender, rows = CONTENDERS[server], []
    with (
        serving(contender, LOAD.symbols, cores, "candles") as (store, running),
        _ingesting(store, cores),
        Generator(running.port, contender.path, LOAD, cores.generator) as clients,
        Boundaries(store.port) as boundaries,
    ):
        end_s = _minute_after(time.time() + RUN_UP_S)
        for number in range(options.minutes):
            options.progress(f"{server}: minute {number + 1} of {options.minutes} ends in {end_s - time.time():.0f} s")
            time.sleep(end_s - 1 - time.time())
            clients.begin()
            time.sleep(end_s + AFTER_S - time.time())
            rows.append(_row(server, end_s, clients.report(), boundaries))
            end_s += MINUTE_S
    return rows


def _minute_after(time_s: float) -> int:
    return (int(time_s) // MINUTE_S + 1) * MINUTE_S


def _row(server: str, end_s: int, report: dict[str, Any], boundaries: Boundaries) -> dict[str, Any]:
    open_us = (end_s - MINUTE_S) * 1_000_000
    closed = next((minute for minute in report["minutes"] if minute["time"] == open_us), None)
    if closed is None:
        raise RuntimeError(f"no closed candle has come within {AFTER_S:g} s of the minute's end")
    signal_us = boundaries.heartbeat_us(end_s) if server == OURS else boundaries.published_us(open_us)
    return {
        "experiment": "close",
        "server": server,
        "minute_end": end_s,
        "arrived": closed["count"],
        "after_signal_ms": None if signal_us is None else (closed["last_us"] - signal_us) / 1000,
        "first_to_last_ms": (closed["last_us"] - closed["first_us"]) / 1000,
        "after_minute_ms": closed["last_us"] / 1000 - end_s * 1000,
        "generator_cpu": report["cpu"],
        "bad_frames": report["bad"],
        "closed": report["closed"],
    }


@contextmanager
def _ingesting(store: Store, cores: rig.Cores) -> Iterator[None]:
    """`ticker ingest` with a simulated feed, once every symbol has been traded."""
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "config.yaml"
        feed = {"type": "simulated", "symbols": names(LOAD.symbols), "ticks_per_s": TICKS_PER_S}
        config.write_text(yaml.safe_dump({"feeds": [feed], "retention": {"candles": {"1m": "1h", "1d": "1d"}}}))
        address = f"redis://127.0.0.1:{store.port}"
        command = [*_ticker(), "ingest", "--config", str(config), "--redis-url", address]
        with rig.Program(command, cores.others, Path(name)) as program:
            _wait_traded(store, program)
            yield


def _ticker() -> list[str]:
    """The command, as the contender has it."""
    command = CONTENDERS[OURS].command(0, 0, "")
    return list(command[: command.index("serve")])


def _wait_traded(store: Store, program: rig.Program) -> None:
    deadline = time.monotonic() + TRADED_S
    for symbol in names(LOAD.symbols):
        while not store.client.exists(keys.trades(symbol)):
            if program.process.poll() is not None:
                raise RuntimeError(f"ticker ingest: {program.last_words()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"not every symbol has been traded after {TRADED_S:g} s")
            time.sleep(0.1)
