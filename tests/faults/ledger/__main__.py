"""`make faults`: every fault again and again, and the table of what was found."""

import argparse
import random
import sys
from pathlib import Path

from ledger import report
from ledger.faults import FAULTS
from ledger.scenario import Outcome, play


def main() -> int:
    """0 where nothing was broken."""
    parser = argparse.ArgumentParser(prog="make faults ARGS=", description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="faults whose name has this in it")
    parser.add_argument("--times", type=int, help="how often each is done, instead of what is listed")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="what all chance comes from")
    parser.add_argument("--table", type=Path, help="write the table to this file, too")
    parser.add_argument("--list", action="store_true", help="name all faults, and end")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if options.only.lower() in fault.name.lower()]
    if not chosen:
        parser.error(f"--only: no fault has {options.only!r} in its name; --list names them")
    if options.list:
        print("\n".join(fault.name for fault in chosen))
        return 0
    print(f"seed {options.seed}", flush=True)
    outcomes = []
    for number, fault in enumerate(chosen):
        if why := fault.needs():
            outcomes.append(Outcome(fault.name, options.seed, skipped=why))
            continue
        print(fault.name, flush=True)
        seed = options.seed + number
        outcomes.append(
            play(fault.name, [fault] * (options.times or fault.times), seed, lambda text: print(text, flush=True))
        )
        print(f"  {' | '.join(report.row(outcomes[-1])[1:])}, in {outcomes[-1].took_s:.0f} s", flush=True)
        if failed := report.failures(outcomes[-1:]):
            print(failed, flush=True)
    page = report.page(outcomes, options.seed)
    print(f"\n{page}")
    if options.table:
        options.table.write_text(page)
    failed_names = [outcome.name for outcome in outcomes if not outcome.passed]
    if failed_names:
        print(f"failed, see above: {'; '.join(failed_names)}")
    return 1 if failed_names else 0


if __name__ == "__main__":
    sys.exit(main())
