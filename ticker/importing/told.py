"""What `ticker import` is told in its options, and what it tells when it is done."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ticker.errors import ConfigError
from ticker.importing.counting import BAD_SHOWN, Count, Result

OURS = (
    *("time", "symbol", "price", "size", "bid", "bid_size", "ask", "ask_size", "id", "exchange", "conditions"),
    *("open", "high", "low", "close", "volume", "trades", "vwap"),
)
"""The columns that files may have."""


def columns_of(given: Sequence[str]) -> dict[str, str]:
    """`time=Date` and the like, by our names; raises `ConfigError`."""
    found: dict[str, str] = {}
    for text in given:
        ours, equals, theirs = text.partition("=")
        if not equals or not theirs or ours not in OURS or ours in found:
            raise ConfigError(f"--column {text!r}: expected OURS=THEIRS, each once, with OURS of: {', '.join(OURS)}")
        found[ours] = theirs
    return found


def zone_of(name: str | None) -> ZoneInfo | None:
    """A time zone by its name; raises `ConfigError`."""
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"--time-zone {name!r}: expected an IANA name such as America/New_York, or UTC") from None


def import_text(result: Result, *, dry_run: bool) -> str:
    """What was done, a line for each symbol and kind, and the bad rows."""
    lines = [
        f"{symbol} {kind}: {_count_text(count, dry_run=dry_run)}"
        for (kind, symbol), count in sorted(result.counts.items(), key=lambda item: (item[0][1], item[0][0]))
    ]
    lines += [
        f"{symbol} {kind}: {made} {'would be made' if dry_run else 'made'} of them"
        for (kind, symbol), made in sorted(result.made.items(), key=lambda item: (item[0][1], item[0][0]))
        if made
    ]
    lines += [str(row) for row in result.bad_rows]
    if result.bad > BAD_SHOWN:
        lines.append(f"and {result.bad - BAD_SHOWN} more bad rows")
    if result.bad:
        lines.append(f"{result.bad} bad rows were left out")
    return "\n".join(lines) or "the files have no rows"


def _count_text(count: Count, *, dry_run: bool) -> str:
    parts = [f"{count.added} {'would be added' if dry_run else 'added'}"]
    if count.there:
        parts.append(f"{count.there} there already")
    if count.filled:
        parts.append(f"{count.filled} {'would go' if dry_run else 'put'} into outages, as candles")
    if count.no_place:
        parts.append(
            f"{count.no_place} left out: quotes of an outage have no place among the numbers that are given out"
        )
    if count.overlap:
        parts.append(
            f"{count.overlap} left out: their days have other rows, are not over, or are those of the live record, "
            "which has candles of their time or no outage there"
        )
    return ", ".join(parts)
