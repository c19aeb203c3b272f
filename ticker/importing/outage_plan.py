"""Decides which candles of a file go into an outage, and what becomes of the larger ones that they are part of. Pure.

A candle that the store has stays as it is, but for being part of more: what is added are seconds that nobody has, or where
the store has no seconds any more, minutes. A minute is then what its seconds make, and a day what its minutes make; where
the stored ones are not that already, as those that a feed's history gave, nothing is added to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from ticker.candles.candle import FIELDS, Candle, Candles, merge
from ticker.candles.interval import INTERVALS, Interval, bounds, open_times
from ticker.candles.rollup import roll_up
from ticker.store.candle_change import Change, Held, Range

S1, M1, D1 = INTERVALS["1s"], INTERVALS["1m"], INTERVALS["1d"]
NOTHING = Candles.of(())
SAME = [number for number, name in enumerate(FIELDS) if name != "origin"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, and of each candle of the file whether it goes in, or is there; the others overlap."""

    added: Mask
    there: Mask
    change: Change | None = None
    made: dict[str, int] = field(default_factory=dict)
    """Larger candles that are new, or are more than they were."""


def ranges_of(base: Interval, candles: Candles, zone: ZoneInfo) -> dict[str, Range]:
    """What must be known of the store to plan for these candles."""
    first, last = int(candles.time[0]), int(candles.time[-1])
    days = bounds(D1, first, zone)[0], bounds(D1, last, zone)[1]
    seconds = bounds(M1, first, zone)[0], bounds(M1, last, zone)[1]
    return {"1s": seconds if base is S1 else (0, 0), "1m": days, "1d": days}


def plan(base: Interval, candles: Candles, held: Held, final: int, zone: ZoneInfo) -> Plan:
    """For candles of a stored interval, in order of time, of which all have ended before `final`: no live trade comes there."""
    known = {name: _with(held.closed[name], held.open[name]) for name in held.closed}
    there = _equal(candles, known[base.name])
    missing = ~np.isin(candles.time, known[base.name].time)
    if base is D1:
        missing &= (candles.time >= held.since["1d"]) & ~np.isin(candles.time, _opens(D1, known["1m"], zone))
        return _planned(missing, there, held, {"1d": _part(candles, missing)}, [])
    seconds, minutes = NOTHING, candles
    if base is S1:
        missing, there, seconds, minutes = _minutes_of(candles, missing, there, known, held, zone)
    fits = _fits(minutes, known, held, zone)
    missing &= np.isin(open_times(M1, candles.time, zone), minutes.time[fits])
    seconds = _part(seconds, np.isin(_opens(M1, seconds, zone), minutes.time[fits]))
    minutes = _part(minutes, fits)
    if base is M1:
        minutes = _part(minutes, np.isin(minutes.time, candles.time[missing]))
    if not len(minutes):
        return Plan(missing & False, there)
    closed, opened = _days(minutes, known, held, final, zone)
    return _planned(missing, there, held, {"1s": seconds, "1m": minutes, "1d": closed}, opened)


def _minutes_of(
    candles: Candles, missing: Mask, there: Mask, known: dict[str, Candles], held: Held, zone: ZoneInfo
) -> tuple[Mask, Mask, Candles, Candles]:
    """Of seconds: which are missing, which are there, those to add, and the minutes that they make with those there are."""
    of_minute = open_times(M1, candles.time, zone)
    # Where the store has forgotten some seconds of a minute, only the whole minute can be added.
    forgotten = of_minute < held.since["1s"]
    whole = roll_up(_part(candles, forgotten), M1, zone)
    there = np.where(forgotten, np.isin(of_minute, whole.time[_equal(whole, known["1m"])]), there)
    missing = np.where(forgotten, ~np.isin(of_minute, known["1m"].time), missing)
    sums = roll_up(known["1s"], M1, zone)
    true_sums = np.concatenate((sums.time[_equal(sums, known["1m"], origins=False)], of_minute[forgotten]))
    is_sum = np.isin(of_minute, true_sums) | ~np.isin(of_minute, known["1m"].time)
    is_open = np.isin(of_minute, [candle.time for candle in held.open["1m"]])
    missing &= is_sum & ~is_open
    seconds = _part(candles, missing & ~forgotten)
    both = merge(known["1s"], seconds)
    grown = roll_up(_part(both, np.isin(open_times(M1, both.time, zone), of_minute[missing & ~forgotten])), M1, zone)
    new = _part(whole, np.isin(whole.time, of_minute[missing & forgotten]))
    return missing, there, seconds, merge(grown, new)


def _fits(minutes: Candles, known: dict[str, Candles], held: Held, zone: ZoneInfo) -> Mask:
    """Which minutes are of days that the store has minutes of, and that are their sum or not there."""
    days = open_times(D1, minutes.time, zone)
    sums = roll_up(known["1m"], D1, zone)
    true_sums = sums.time[_equal(sums, known["1d"], origins=False)]
    is_sum = np.isin(days, true_sums) | ~(np.isin(days, known["1d"].time) | np.isin(days, sums.time))
    found: Mask = (minutes.time >= held.since["1m"]) & is_sum
    return found


def _days(
    minutes: Candles, known: dict[str, Candles], held: Held, final: int, zone: ZoneInfo
) -> tuple[Candles, list[Candle]]:
    """The days of these minutes with all others: those that are closed, and those that are not."""
    all_minutes = merge(known["1m"], minutes)
    touched = np.isin(open_times(D1, all_minutes.time, zone), open_times(D1, minutes.time, zone))
    days = roll_up(_part(all_minutes, touched), D1, zone)
    forming = {candle.time for candle in held.open["1d"]}
    closed = np.array([t not in forming and _is_over(t, held, final, zone) for t in days.time.tolist()], bool)
    return _part(days, closed), _part(days, ~closed).rows()


def _is_over(opened: int, held: Held, final: int, zone: ZoneInfo) -> bool:
    return opened in held.closed["1d"].time or bounds(D1, opened, zone)[1] <= final


def _planned(missing: Mask, there: Mask, held: Held, closed: dict[str, Candles], opened: list[Candle]) -> Plan:
    if not missing.any():
        return Plan(missing, there)
    unclosed = None
    if opened:
        days = {candle.time: candle for candle in (*held.open["1d"], *opened)}
        unclosed = held.open | {"1d": [days[time] for time in sorted(days)]}
    made = {name: len(found) for name, found in closed.items() if len(found)}
    made["1d"] = made.get("1d", 0) + len(opened)
    return Plan(missing, there, Change(closed, unclosed), made)


def _with(closed: Candles, unclosed: Sequence[Candle]) -> Candles:
    """Both, in order of time."""
    return merge(closed, Candles.of(unclosed))


def _opens(interval: Interval, candles: Candles, zone: ZoneInfo) -> npt.NDArray[np.int64]:
    return open_times(interval, candles.time, zone) if len(candles) else candles.time


def _part(candles: Candles, mask: Mask) -> Candles:
    return Candles(candles.data[:, mask])


def _equal(candles: Candles, known: Candles, *, origins: bool = True) -> Mask:
    """Which of these candles are known just as they are."""
    rows = slice(None) if origins else SAME
    of = {int(time): row for time, row in zip(known.time.tolist(), known.data.T[:, rows].tolist(), strict=True)}
    mine = zip(candles.time.tolist(), candles.data.T[:, rows].tolist(), strict=True)
    return np.array([of.get(time) == row for time, row in mine], bool)
