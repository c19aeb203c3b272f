"""What history is asked in these measurements: ranges of closed candles, the same again or never the same."""

import random
from collections.abc import Mapping

from history_stage import CANDLES, END, MINUTE, SYMBOLS
from http_load import request

ANEW = 20_000
"""Ranges that are asked for once: more than a measurement comes to."""


def target(symbol: str, count: int, *, end: int = END, more: str = "") -> str:
    """The newest `count` closed candles before a moment; the start is given, as the peers need it."""
    return f"/v1/candles/{symbol}?interval=1m&start={end - count * MINUTE}&end={end}&limit={count}{more}"


def anew(symbol: str, count: int, more: str = "", headers: Mapping[str, str] | None = None) -> list[bytes]:
    """The same candles in ranges that differ by a microsecond: no answer to one is an answer to another."""
    return [request(target(symbol, count, end=END - MINUTE - i, more=more), headers) for i in range(ANEW)]


def anywhere(count: int, seed: int = 5) -> list[bytes]:
    """Ranges that have little in common; another seed gives others."""
    rng = random.Random(seed)
    ends = [END - rng.randrange(1, CANDLES - count) * MINUTE - i for i in range(ANEW)]
    return [request(target(f"SYM{rng.randrange(SYMBOLS)}", count, end=end)) for end in ends]
