"""Durations as config.yaml has them, `90s` or `forever`, and as the code does: microseconds, or None for ever."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

UNITS_US = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6, "w": 7 * 86400 * 10**6}
UNITS_US["y"] = 366 * UNITS_US["d"]
DURATION = re.compile(r"([1-9][0-9]*)([smhdwy])")


class Microseconds(int):
    """A duration that is no text any more; a plain number in config.yaml is none, since it does not say of what."""


def _duration(value: object) -> int | None:
    """`90s`, `15m`, `2h`, `1d`, `3w`, `1y` in microseconds; `forever` is None."""
    if value is None or value == "forever":
        return None
    if isinstance(value, Microseconds):
        return value
    if isinstance(value, str) and (found := DURATION.fullmatch(value)):
        return int(found[1]) * UNITS_US[found[2]]
    raise ValueError(f"{value!r} is no duration; allowed: a whole number and one of s m h d w y (as in 2d), or forever")


def _duration_text(value: int | None) -> str:
    """The inverse of `_duration`, in the largest unit that fits."""
    if value is None:
        return "forever"
    unit = next(name for name in ("y", "w", "d", "h", "m", "s") if value % UNITS_US[name] == 0)
    return f"{value // UNITS_US[unit]}{unit}"


def _not_for_ever(value: int | None) -> int:
    if value is None:
        raise ValueError("found 'forever'; allowed: a whole number and one of s m h d w y (as in 1h)")
    return value


Duration = Annotated[int | None, BeforeValidator(_duration), PlainSerializer(_duration_text)]
EndingDuration = Annotated[Duration, AfterValidator(_not_for_ever)]
