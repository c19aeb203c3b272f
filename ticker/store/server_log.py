"""The log that an embedded server writes: kept from growing for ever, and read for why it ended."""

import re
from contextlib import suppress
from pathlib import Path

LOG_BYTES_MAX = 1 << 20
"""A log larger than this is put aside at the next start, in place of the one put aside before."""
LOG_LINE = re.compile(r"\d+:[A-Z] .{20,30} (?P<level>[.*#-]) (?P<text>.*)")
NOISE = ("WARNING Memory overcommit", "Valkey is now ready to exit", "Redis is now ready to exit")


def rotate_log(path: Path) -> int:
    """Put a large log aside; where in it the lines of this start will begin."""
    with suppress(FileNotFoundError):
        size = path.stat().st_size
        if size <= LOG_BYTES_MAX:
            return size
        path.replace(path.with_suffix(".log.old"))
    return 0


def read_log(path: Path, start: int) -> str:
    """What was written from there on."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(LOG_BYTES_MAX).decode(errors="replace")


def last_words(text: str, count: int = 2) -> str:
    """The last lines of a server's log that tell why it ended: its warnings where there are any, in one line."""
    lines = [line for line in text.splitlines() if line.strip()]
    found = [match for line in lines if (match := LOG_LINE.fullmatch(line))]
    told = [match["text"] for match in found if match["level"] == "#" and not match["text"].startswith(NOISE)]
    # What is wrong with the options is printed bare, before there is a log.
    bare = [line for line in lines if not LOG_LINE.fullmatch(line)]
    return "; ".join((told or bare or [match["text"] for match in found])[-count:])
