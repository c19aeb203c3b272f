"""The seeded sequence of ticks: what tick number n is, and what the service must make of it, as a pure function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from feeds.tick import Quote, Tick, Trade

MILLION = 1_000_000
MASK = (1 << 64) - 1
REPEATED_WITHIN = 12
"""A tick that is made a second time is one of the last so many of its symbol."""
WITHIN, BEYOND = (0.1, 0.8), (2.5, 4.0)
"""How late ticks are that still count, and those that do not, in times `lateness_s`. After a restart the service knows the
time up to which it had come only by each symbol's last ticks: what is a little too late then may be let in."""


class Fate(StrEnum):
    """What must become of a tick."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    LATE = "late"
    BAD = "bad"


class Made(NamedTuple):
    """Tick `number` of the sequence."""

    number: int
    fate: Fate
    tick: Tick


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the sequence depends on."""

    seed: int
    symbols: tuple[str, ...]
    ticks_per_s: int
    """Of all symbols together."""
    origin_us: int
    """The time of the first tick."""
    lateness_s: int = 60
    hostile: bool = False
    """With duplicates, late ticks, ticks out of order and impossible ones."""

    def time(self, number: int) -> int:
        """When tick `number` is due, and what its time is, unless it is late."""
        return self.origin_us + number * MILLION // self.ticks_per_s


def made(plan: Plan, number: int) -> Made:
    """Tick `number`."""
    dice = _mixed(plan.seed, number)
    chance = dice % 1000
    # The first cannot be late, as nothing is newer yet: the service is right to take it.
    if plan.hostile and number and chance < 60:
        return _hostile(plan, number, chance, dice >> 10)
    return Made(number, Fate.STORED, _tick(plan, number, plan.time(number)))


def numbered(symbol: str) -> bool:
    """Whether trades of this symbol have ids. Of others the service cannot know that it was given one twice."""
    return symbol[-1] in "02468"


def number_of(kind: str, fields: Mapping[str, str]) -> int | None:
    """The number of the tick that these fields are of, where they can be any's."""
    text = (
        fields.get("bid_size", "")
        if kind == "quotes"
        else fields.get("id", "").removeprefix("t") or fields.get("size", "")
    )
    return int(text) if text.isdigit() else None


def _tick(plan: Plan, number: int, time: int) -> Tick:
    """A sound one; size or id carries its number, so that none can be taken for another."""
    symbol = plan.symbols[number % len(plan.symbols)]
    dice = _mixed(plan.seed + 1, number)
    # Half of the symbols are priced in cents, the others to the last decimal that is allowed.
    step = 10_000 if ord(symbol[-2]) % 2 else 1
    price = (100 * MILLION + dice % (20 * MILLION)) // step * step
    if dice >> 32 & 1:
        if numbered(symbol):
            size = 1 + (dice >> 33) % 500 if dice >> 43 & 1 else (1 + (dice >> 33) % 500 * MILLION) / MILLION
            return Trade(symbol, price / MILLION, size, time, f"t{number}", "XNAS" if dice >> 44 & 1 else None)
        return Trade(symbol, price / MILLION, number, time)
    if dice >> 33 & 7 == 0:
        return Quote(symbol, price / MILLION, number, None, 0, time)
    return Quote(symbol, price / MILLION, number, (price + step) / MILLION, 1 + (dice >> 36) % 900, time)


def _hostile(plan: Plan, number: int, chance: int, dice: int) -> Made:
    time = plan.time(number)
    if chance < 20:
        return Made(number, Fate.STORED, _tick(plan, number, time - 1 - dice % 300_000))
    if chance < 30:
        return Made(number, Fate.STORED, _tick(plan, number, time - _late(plan, WITHIN, dice)))
    if chance < 40:
        return Made(number, Fate.LATE, _tick(plan, number, time - _late(plan, BEYOND, dice)))
    if chance < 50:
        return _again(plan, number, dice) or Made(number, Fate.STORED, _tick(plan, number, time))
    return Made(number, Fate.BAD, BAD[dice % len(BAD)](_tick(plan, number, time)))


def _late(plan: Plan, times: tuple[float, float], dice: int) -> int:
    first, last = (round(share * plan.lateness_s * MILLION) for share in times)
    return first + dice % (last - first)


def _again(plan: Plan, number: int, dice: int) -> Made | None:
    """A trade that was made before, once more; its id is what it is known by."""
    if not numbered(plan.symbols[number % len(plan.symbols)]):
        return None
    for back in range(1 + dice % 4, REPEATED_WITHIN):
        earlier = number - back * len(plan.symbols)
        if earlier < 0:
            return None
        found = made(plan, earlier)
        if found.fate is Fate.STORED and found.tick.__class__ is Trade:
            return Made(number, Fate.DUPLICATE, found.tick)
    return None


def _worse(**changed: Any) -> Callable[[Tick], Tick]:
    def worse(tick: Tick) -> Tick:
        fits = {name: value for name, value in changed.items() if name in tick._fields}
        return tick._replace(**fits)

    return worse


BAD: tuple[Callable[[Tick], Tick], ...] = (
    _worse(price=float("nan"), bid=float("nan")),
    _worse(price=float("inf"), ask_size=float("-inf")),
    _worse(price=100.1234567, bid=100.1234567),
    _worse(size=-1, ask_size=-1),
    _worse(symbol="NOBODY"),
    lambda tick: tick._replace(time=tick.time // MILLION),
    lambda tick: tick._replace(time=tick.time + 3600 * MILLION),
    lambda tick: tick._replace(time=float(tick.time)),  # type: ignore[arg-type]
    lambda tick: tick._replace(id="\n"),
)


def _mixed(seed: int, number: int) -> int:
    """64 bits that look like chance (the finaliser of SplitMix64)."""
    x = (seed * 0x9E3779B97F4A7C15 + (number + 1) * 0xD1342543DE82EF95) & MASK
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return x ^ x >> 31
