"""How far history moves live delivery: the p99 of 500 WebSocket clients alone, and while history is asked on a schedule.

One server has both: the clients, of one symbol at 50 ticks/s, stay connected and the publisher goes on through all of it.
What is measured alternates, alone and beside, so that what disturbs the machine for a while disturbs both of a pair.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fanout.contenders import CONTENDERS, OURS
from fanout.generator import Generator
from fanout.generator import Load as Clients
from fanout.stage import ARRIVED_SHARE, Publishing
from fanout.store import names
from fanout.tables import spread
from history_questions import anywhere, target
from history_stage import GENERATOR_SHARE, SYMBOLS, Stage
from history_told import table
from http_load import Load, Measured, measure, request

CLIENTS = Clients(clients=500, per_client=1, symbols=1)
TICKS_PER_S = 50.0
REQUESTS_PER_S = 200.0
COUNT = 500
PAIRS, SECONDS = 5, 10.0
"""At 50 ticks a second, a p99 of less time would be that of a single tick."""
WARM_S = 1.0
ASKED_LONGER_S = 0.5
"""The requests begin before the measured time and end after it."""
MORE_MS, MORE_SHARE = 2.0, 0.2
"""History may move the live p99 by less than one of these."""
PUBLISHED_S = 3_600.0
"""Longer than all of it takes: numbers go on through all windows, and the publisher is ended after the last."""


@dataclass(frozen=True, slots=True)
class Window:
    """What the clients saw for a while, and what history answered meanwhile."""

    report: dict[str, Any]
    server_cpu: float
    asked: Measured | None = None

    @property
    def p99_ms(self) -> float:
        """Of delivery."""
        found: float = self.report["p99_ms"]
        return found


Pair = tuple[Window, Window]
"""Alone, and beside history."""


def again(_: int) -> list[bytes]:
    """The newest candles of each symbol in turn, every time the same."""
    return [request(target(symbol, COUNT)) for symbol in names(SYMBOLS)]


def unasked(pair: int) -> list[bytes]:
    """Ranges anywhere in all symbols, none of which was asked for before."""
    return anywhere(COUNT, seed=1_000 + pair)


QUESTIONS: dict[str, Callable[[int], list[bytes]]] = {
    "the same ranges again": again,
    "ranges not asked for before": unasked,
}


def beside(stage: Stage, pairs: int, seconds: float) -> Iterator[str]:
    """Live delivery beside 200 history requests a second."""
    found: dict[str, list[Pair]] = {name: [] for name in QUESTIONS}
    with Generator(stage.warm.port, CONTENDERS[OURS].path, CLIENTS, stage.cores.generator) as clients:
        publisher = Publishing(stage.store, CLIENTS.symbols, TICKS_PER_S, PUBLISHED_S, stage.cores.others)
        try:
            for number in range(pairs):
                for name, questions in QUESTIONS.items():
                    alone = _window(stage, clients, seconds)
                    found[name].append((alone, _window(stage, clients, seconds, questions(number))))
                    _note(stage, name, found[name][-1])
        finally:
            publisher.stop()
        _whole(stage, clients.report())
    for name, of in found.items():
        _aim(stage, name, of)
    yield _table(found)


def _window(stage: Stage, clients: Generator, seconds: float, requests: Sequence[bytes] = ()) -> Window:
    """Look at the clients for a while, with these requests from before it to after it."""
    load = Load(warm_s=WARM_S / 2, seconds=WARM_S / 2 + seconds + ASKED_LONGER_S, rate=REQUESTS_PER_S)
    with ThreadPoolExecutor(1) as beside:
        asking = beside.submit(measure, stage.warm.port, requests, load, stage.cores.generator) if requests else None
        time.sleep(WARM_S)
        clients.begin()
        cpu_s = stage.warm.program.cpu_s()
        time.sleep(seconds)
        report = clients.report()
        cpu = (stage.warm.program.cpu_s() - cpu_s) / report["seconds"]
        return Window(report, cpu, asking.result() if asking else None)


def _note(stage: Stage, name: str, pair: Pair) -> None:
    """Keep the numbers, and say where they must not be believed."""
    for one in pair:
        what = name if one.asked else "alone"
        row = {"part": "beside", "what": what, "server_cpu": one.server_cpu}
        stage.raw.append(row | {"asked_per_s": one.asked.per_s if one.asked else 0} | one.report)
        due = CLIENTS.clients * TICKS_PER_S * one.report["seconds"]
        if one.report["ticks"] < ARRIVED_SHARE * due:
            stage.remarks.append(f"**Less was delivered than was due**, live, {what}.")
        if one.asked and one.asked.per_s < ARRIVED_SHARE * REQUESTS_PER_S:
            stage.remarks.append(f"**Less was answered than was asked for**: {what}.")
        if max(one.report["cpu"], one.asked.cpu if one.asked else 0) >= GENERATOR_SHARE:
            stage.remarks.append(f"**A generator may be the limit**: live, {what}.")
    alone, with_history = pair
    told = f"  {name}: live p99 {alone.p99_ms:.2f} ms alone, {with_history.p99_ms:.2f} ms beside it"
    print(told, file=sys.stderr, flush=True)


def _whole(stage: Stage, report: dict[str, Any]) -> None:
    """Whether everything was delivered as it should be, over all the time."""
    wrong = {name: n for name in ("lost", "repeated", "reordered", "bad", "closed") if (n := report[name])}
    if wrong:
        stage.remarks.append(f"**Not delivered as it should be**, live, beside history: {wrong}.")
    if stage.cores.shared:
        stage.remarks.append(
            "Two cores: what asks history shares one with the clients, the publisher and the store, and delays them too."
        )


def _aim(stage: Stage, name: str, pairs: Sequence[Pair]) -> None:
    """The median pair decides: by the clock, or in proportion."""
    more_ms, share = statistics.median(_more_ms(pairs)), statistics.median(_shares(pairs))
    what = f"live p99, more beside {REQUESTS_PER_S:g} requests/s for {COUNT} candles: {name}"
    reached = more_ms < MORE_MS or share < MORE_SHARE
    wanted = f"less than {MORE_MS:g} ms or {MORE_SHARE:.0%}"
    stage.aims.append((what, wanted, f"{more_ms:.2f} ms, {share:.0%}", "yes" if reached else "**no**"))


def _more_ms(pairs: Sequence[Pair]) -> list[float]:
    return [with_history.p99_ms - alone.p99_ms for alone, with_history in pairs]


def _shares(pairs: Sequence[Pair]) -> list[float]:
    return [with_history.p99_ms / alone.p99_ms - 1 for alone, with_history in pairs]


def _table(found: dict[str, list[Pair]]) -> str:
    heads = ("live p99 ms, alone", "beside it", "more, ms", "more, %", "live p50 ms, alone", "beside it")
    more = ("server CPU %, alone", "beside it", "history answers/s", "history p99 ms")
    return table(("history is asked for", *heads, *more), [_row(name, pairs) for name, pairs in found.items()])


def _row(name: str, pairs: Sequence[Pair]) -> tuple[str, ...]:
    asked = [one.asked for _, one in pairs if one.asked]
    return (
        name,
        *(spread([pair[i].p99_ms for pair in pairs], 2) for i in (0, 1)),
        spread(_more_ms(pairs), 2),
        spread([100 * share for share in _shares(pairs)]),
        *(spread([pair[i].report["p50_ms"] for pair in pairs], 2) for i in (0, 1)),
        *(spread([100 * pair[i].server_cpu for pair in pairs]) for i in (0, 1)),
        spread([one.per_s for one in asked]),
        spread([one.p99_ms for one in asked], 2),
    )
