"""One scenario: a service, faults at random instants, and the books compared at the end."""

import pickle
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledger.book import Breach, Count, Topic
from ledger.checker import Evidence, Report, check
from ledger.faults import Fault
from ledger.processes import NotMet
from ledger.sequence import Fate
from ledger.service import Service, Shape

BETWEEN_S = (0.1, 0.9)
"""From the moment at which all is well to the next fault, at random."""
REFUSED = {Fate.LATE: "late", Fate.DUPLICATE: "duplicate", Fate.BAD: "bad"}


@dataclass(slots=True)
class Outcome:
    """What one scenario came to."""

    name: str
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    """How often each fault was done, and noticed."""
    kills: int = 0
    report: Report | None = None
    failure: str = ""
    skipped: str = ""
    recovery_s: float = 0.0
    """The longest time after a fault until every client was whole again."""
    resumed: int = 0
    took_s: float = 0.0
    folder: Path | None = None
    """Where the books are, where they were kept."""

    @property
    def passed(self) -> bool:
        """Nothing was broken, and everything was noticed."""
        return bool(self.skipped) or (not self.failure and self.report is not None and self.report.clean)


def play(
    name: str, faults: Sequence[Fault], seed: int, say: Callable[[str], None], shape: Shape | None = None
) -> Outcome:
    """Do these faults, in this order, each at a random instant after the service has recovered from the one before."""
    outcome = Outcome(name, seed)
    began_s = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))
    dice = random.Random(seed)
    service = Service(shape or faults[0].shape, folder / "service", seed)
    try:
        service.start()
        for fault in faults:
            _strike(service, fault, dice, outcome, say)
        time.sleep(dice.uniform(*BETWEEN_S))
        evidence, status = service.close_books()
        outcome.resumed = status["resumed"].get("True", 0)
        outcome.report = check(evidence)
        outcome.report.breaches += _refusals(service, evidence, faults)
        if not outcome.report.clean:
            (folder / "evidence.pickle").write_bytes(pickle.dumps(evidence))
    except NotMet as error:
        outcome.failure = str(error)
        outcome.failure += f"; so far: {service.swarm.ask('status')}" if service.swarm else ""
    finally:
        service.stop()
        outcome.took_s = time.monotonic() - began_s
        if outcome.passed:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            outcome.folder = folder
    return outcome


def _strike(service: Service, fault: Fault, dice: random.Random, outcome: Outcome, say: Callable[[str], None]) -> None:
    time.sleep(dice.uniform(*BETWEEN_S))
    try:
        noticed = fault.do(service)
        took_s = service.wait_whole()
    except NotMet as error:
        raise NotMet(f"{fault.name}: {error}") from error
    outcome.done[fault.name] += 1
    outcome.kills += fault.kills
    outcome.recovery_s = max(outcome.recovery_s, took_s)
    say(f"  {fault.name}: {noticed}; whole again after {took_s:.1f} s")


def _refusals(service: Service, evidence: Evidence, faults: Sequence[Fault]) -> list[Breach]:
    """What was refused is counted, to the last one, as long as the same process counts."""
    if any(fault.kills for fault in faults) or service.ingest is None:
        return []
    made = Counter(tick.fate for tick in evidence.produced.ticks.values())
    nowhere = Topic("", "")
    breaches = []
    for fate, reason in REFUSED.items():
        metric = f'ticker_ticks_refused_total{{feed="ledger",reason="{reason}"}}'
        counted = round(service.metric(metric, service.ingest_port))
        if counted != made[fate]:
            what = f"{made[fate]} ticks were to be refused as {reason}, {counted} are counted"
            breaches.append(Breach(Count.CORRUPT, "metrics", nowhere, what))
    return breaches
