"""What schemathesis must know of REST beyond its document: rules between parameters, and symbols that there are.

Loaded by schemathesis (SCHEMATHESIS_HOOKS); writes what it has seen to the file that TICKER_FUZZ_TALLY names.
"""

import atexit
import json
import os
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

TALLY: Counter[str] = Counter()
KNOWN = ("AAPL", "MSFT", "AMD")
UNKNOWN_ONE_IN = AS_IT_IS_ONE_IN = 8
SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-]{0,15}")
REAL_CURSOR = re.compile(r"(\w+:)?WyI")
random_numbers = random.Random(os.environ.get("TICKER_FUZZ_TALLY", ""))


@schemathesis.hook
def before_call(ctx: Any, case: Any, kwargs: Any) -> None:
    """Most symbols that could be one become one that there is: else nearly all that is asked would be 404.

    Of what should be accepted, most made-up cursors are left out, and most ranges put the right way round: else that is all
    that would be answered to.
    """
    symbol = (case.path_parameters or {}).get("symbol")
    if isinstance(symbol, str) and SYMBOL.fullmatch(symbol) and random_numbers.randrange(UNKNOWN_ONE_IN):
        case.path_parameters["symbol"] = random_numbers.choice(KNOWN)
    query = case.query
    if (
        not query
        or not case.meta
        or not case.meta.generation.mode.is_positive
        or not random_numbers.randrange(AS_IT_IS_ONE_IN)
    ):
        return
    if isinstance(cursor := query.get("cursor"), str) and not REAL_CURSOR.match(cursor):
        del query["cursor"]
    start, end = query.get("start"), query.get("end")
    if isinstance(start, int) and isinstance(end, int) and start > end:
        query["start"], query["end"] = end, start
    elif start is not None and end is not None:
        del query["end"]


@schemathesis.hook
def after_call(ctx: Any, case: Any, response: Any) -> None:
    """Count what was answered to what."""
    TALLY[f"{case.method} {case.operation.path} {response.status_code}"] += 1


@schemathesis.hook
def filter_failure(ctx: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether it is one. A document cannot say that `start` lies before `end`, or which cursors there are."""
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 400:
        return True
    problem = json.loads(response.content)
    query, parameter = case.query or {}, problem.get("parameter")
    between = parameter == "start" and {"start", "end"} <= set(query) and " lies after end " in problem["detail"]
    return not (between or (parameter == "cursor" and "cursor" in query))


def write_tally() -> None:
    """For whoever started schemathesis."""
    if place := os.environ.get("TICKER_FUZZ_TALLY"):
        Path(place).write_text(json.dumps(TALLY), "utf-8")


atexit.register(write_tally)
