"""Every kind of fault that does not take long, once, on real processes; `make faults` does all of them again and again."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from ledger.faults import FAULTS, LOAD, RUN, WORKERS, Fault
from ledger.report import failures
from ledger.scenario import play
from ledger.service import Shape

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

SMALL = {"ticks_per_s": 300, "clients": 48, "churn_s": 1.0}
SHAPES: dict[str, Shape] = {
    "apart": replace(LOAD, **SMALL, proxied=True, hostile=True, other_clock=True, disk_mb=256),
    "lossy": replace(LOAD, **SMALL),
    "run": replace(RUN, **SMALL),
    "workers": replace(WORKERS, **SMALL),
}


def scenario_of(fault: Fault) -> str:
    """What kills, cuts and stalls the parts of one service can be had from one that has all of it."""
    if fault.lossy:
        return "lossy"
    return fault.shape.topology


def faults_of(scenario: str) -> Sequence[Fault]:
    return [fault for fault in FAULTS if fault.quick and scenario_of(fault) == scenario]


@pytest.mark.parametrize("scenario", SHAPES)
def test_the_books_agree_after_every_fault(scenario: str) -> None:
    """Nothing is lost, doubled, disordered, made up or changed, and no number is left out without a word."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    shape, chosen = SHAPES[scenario], []
    for fault in faults_of(scenario):
        if why := fault.needs():
            print(f"{fault.name}: skipped, {why}")
            shape = replace(shape, disk_mb=0) if fault.shape.disk_mb else replace(shape, other_clock=False)
        else:
            chosen.append(fault)
    random.Random(seed).shuffle(chosen)
    outcome = play(scenario, chosen, seed, print, shape)
    assert outcome.passed, failures([outcome])
    assert outcome.done == {fault.name: 1 for fault in chosen}
    assert outcome.report
    assert outcome.report.deliveries


def test_every_quick_fault_is_in_one_of_the_scenarios() -> None:
    assert {scenario_of(fault) for fault in FAULTS if fault.quick} == set(SHAPES)


def test_the_long_run_does_each_kind_often_enough() -> None:
    """What the documentation says of it: 200 faults, each kind five times, twenty kills of processes."""
    assert all(fault.times >= 5 for fault in FAULTS)
    assert sum(fault.times for fault in FAULTS) >= 200
    assert sum(fault.times for fault in FAULTS if fault.kills) >= 20
