"""Refuses what cannot be asked for, before anything is sent: what was found, and what is allowed."""

import re
from collections.abc import Iterable, Mapping, Sequence

from ticker.candles.interval import INTERVALS
from ticker.client import records
from ticker.client.errors import Misuse
from ticker.client.records import Given, Position
from ticker.client.tracker import ALL

CHANNELS = ("trades", "quotes", "candles")
EVERY_MS_MOST = 60_000
SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-]{0,15}")
SYMBOL_RULE = "1 to 16 of A-Z 0-9 . - beginning with a letter or digit"

Resume = Given | Mapping[str, Given] | None
"""A position, or one for each symbol."""


def check_channel(channel: str, interval: str | None) -> None:
    """Refuse a channel that there is not, and an interval where there should be none or the other way round."""
    if channel not in CHANNELS:
        raise Misuse(f"channel is {channel!r}; allowed: {', '.join(CHANNELS)}")
    if channel == "candles":
        check_interval(interval)
    elif interval is not None:
        raise Misuse(f"interval {interval!r} goes with channel 'candles', not with {channel!r}")


def check_interval(interval: str | None) -> None:
    """Refuse an interval that there is not."""
    if interval not in INTERVALS:
        raise Misuse(f"interval is {interval!r}; allowed: {', '.join(INTERVALS)}")


def check_delivery(deliver: str, every_ms: int | None) -> None:
    """Refuse a delivery that there is not."""
    if deliver not in ("all", "latest"):
        raise Misuse(f"deliver is {deliver!r}; allowed: all, latest")
    if every_ms is None:
        return
    if deliver != "latest":
        raise Misuse("every_ms goes with deliver='latest'")
    if isinstance(every_ms, bool) or not isinstance(every_ms, int) or not 1 <= every_ms <= EVERY_MS_MOST:
        raise Misuse(f"every_ms is {every_ms!r}; allowed: 1 to {EVERY_MS_MOST}")


def check_symbol(name: str) -> str:
    """A symbol that could be one."""
    if not isinstance(name, str) or not SYMBOL.fullmatch(name):
        raise Misuse(f"{name!r} is no symbol; expected {SYMBOL_RULE}")
    return name


def checked_symbols(symbols: str | Iterable[str]) -> tuple[str, ...]:
    """Names without repeats; refuses what can be none."""
    names = tuple(dict.fromkeys([symbols] if isinstance(symbols, str) else symbols))
    if not names:
        raise Misuse("symbols is empty; expected names, or '*' for all")
    for name in names:
        if not isinstance(name, str) or not (name == ALL or SYMBOL.fullmatch(name)):
            raise Misuse(
                f"{name!r} is no symbol; expected 1 to 16 of A-Z 0-9 . - beginning with a letter or digit, or '*'"
            )
    return names


def positions_of(resume: Resume, names: Sequence[str]) -> dict[str, Position]:
    """The position of each symbol that is to be resumed."""
    if resume is None:
        return {}
    if isinstance(resume, Position) or set(resume) == {"epoch", "seq"}:
        if len(names) != 1 or names[0] == ALL:
            raise Misuse(f"one position for {len(names)} symbols; expected one for each, as {{symbol: position}}")
        return {names[0]: records.position(resume)}
    found = {symbol: records.position(given) for symbol, given in resume.items()}
    if strange := [symbol for symbol in found if symbol not in names and ALL not in names]:
        raise Misuse(f"resume names {strange[0]!r}, which is not among the symbols: {', '.join(names[:10])}")
    return found
