"""Reads one recorded file: what is in it, and its ticks in the order of its lines."""

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from feeds.feed import FeedError
from feeds.listings import check_symbol
from feeds.recorded_rows import Layout, check_width, layout_of, parse_columns, parse_row, parse_time, split_columns
from feeds.tick import Tick

BLOCK_CHARACTERS = 1 << 16
"""Text that is read and parsed at once: enough for speed, little enough that a poll stays short."""

HEADER_LINE = 1


class Recorded(Protocol):
    """What a replay needs of a recorded file, whatever its format."""

    @property
    def digest(self) -> bytes:
        """Of the bytes of the file."""

    @property
    def rows(self) -> int:
        """How many."""

    @property
    def first_times(self) -> dict[str, int]:
        """The time of each symbol's first row, in the order of these rows."""

    @property
    def begin(self) -> int:
        """The time of the first row."""

    def ticks(self, names: Mapping[str, str]) -> Generator[Sequence[Tick]]:
        """All ticks, some thousands at a time; `names` has each symbol as key and value."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of trades or of quotes, as a first look found it."""

    path: str
    layout: Layout
    digest: bytes
    """Of the bytes of the file."""
    rows: int
    first_times: dict[str, int]
    """The time of each symbol's first row, in the order of these rows."""

    @property
    def begin(self) -> int:
        """The time of the first row."""
        return next(iter(self.first_times.values()))

    def ticks(self, names: Mapping[str, str]) -> Generator[Sequence[Tick]]:
        """All ticks, some thousands at a time; the file is open until the generator is closed or used up.

        `names` has each symbol as key and value: the ticks share these texts.
        """
        with closing(_blocks(self.path)) as blocks:
            for line, text in blocks:
                try:
                    ticks = parse_columns(self.layout, split_columns(self.layout, text), names)
                except (ValueError, KeyError):
                    ticks = self._parsed_singly(line, text, names)
                yield ticks

    def _parsed_singly(self, line: int, text: str, names: Mapping[str, str]) -> list[Tick]:
        ticks: list[Tick] = []
        for number, row in _numbered_rows(self.path, line, text):
            with _naming(self.path, number):
                tick = parse_row(self.layout, row)
                if tick.symbol not in names:
                    raise ValueError(f"symbol {tick.symbol!r} was not there at the start: the file has changed")
                ticks.append(tick)
        return ticks


def look_at(path: str) -> Recording:
    """Read a file once, for its digest, its symbols and what would make reading it in earnest impossible.

    Raises `FeedError` for a file that cannot be read, has no rows, rows of a wrong length, or bad symbols.
    """
    rows = 0
    first_times: dict[str, int] = {}
    layout = _layout(path)
    with closing(_blocks(path)) as blocks:
        for line, text in blocks:
            try:
                symbols = split_columns(layout, text)["symbol"]
                is_new = not set(symbols) <= first_times.keys()
                rows += len(symbols)
            except ValueError:
                is_new = True
                rows += sum(1 for _ in _numbered_rows(path, line, text))
            if is_new:
                _note_first_times(path, layout, _numbered_rows(path, line, text), first_times)
    if not first_times:
        raise FeedError(f"{path}: found no rows after the header, expected at least one")
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return Recording(path, layout, digest, rows, first_times)


def _note_first_times(
    path: str, layout: Layout, rows: Iterator[tuple[int, list[str]]], first_times: dict[str, int]
) -> None:
    """Add the symbols that are new; each row is checked as far as that needs."""
    symbol, time = layout.place("symbol"), layout.place("time")
    for line, row in rows:
        with _naming(path, line):
            check_width(layout, row)
            if row[symbol] not in first_times:
                check_symbol(row[symbol])
                first_times[row[symbol]] = parse_time(row[time])


def _layout(path: str) -> Layout:
    with _open(path) as file, _reading(path):
        text = file.readline()
    _, header = next(_numbered_rows(path, HEADER_LINE, text), (HEADER_LINE, []))
    with _naming(path, HEADER_LINE):
        return layout_of(header)


def _blocks(path: str) -> Generator[tuple[int, str]]:
    """Whole lines after the header, many at a time, with the number of the first of them."""
    with _open(path) as file:
        with _reading(path):
            file.readline()
        line, rest = HEADER_LINE + 1, ""
        while True:
            with _reading(path):
                read = file.read(BLOCK_CHARACTERS)
            if not read:
                break
            whole, newline, rest = (rest + read).rpartition("\n")
            if newline:
                yield line, whole + newline
                line += whole.count("\n") + 1
        if rest:
            yield line, rest


def _numbered_rows(path: str, line: int, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of some lines with their numbers, without blank lines.

    A line break inside quotes would make the numbers wrong, but such a text is refused, so there is none before the
    first mistake.
    """
    try:
        for row in csv.reader(io.StringIO(text, newline=""), strict=True):
            if row:
                yield line, row
            line += 1
    except csv.Error as error:
        raise FeedError(f"{path}: line {line}: {error}; expected comma-separated values") from None


def _open(path: str) -> IO[str]:
    """The file as text. A byte order mark, which spreadsheets write, is passed over."""
    with _reading(path):
        return io.TextIOWrapper(_open_bytes(path), encoding="utf-8-sig", newline="")


def _open_bytes(path: str) -> gzip.GzipFile | io.BufferedReader:
    return gzip.open(path) if path.endswith(".gz") else Path(path).open("rb")


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turn what can go wrong with a file into an error that says where."""
    try:
        yield
    except UnicodeDecodeError as error:
        found = error.object[error.start : error.end]
        raise FeedError(f"{path}: line {_broken_line(path)}: found the bytes {found!r}, expected UTF-8 text") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FeedError(f"{path}: line {_broken_line(path)}: {error}; expected a complete gzip file") from None
    except OSError as error:
        raise FeedError(f"{path}: {error.strerror}") from None


def _broken_line(path: str) -> int:
    """The line where a file cannot be read on or decoded. Reading runs ahead of lines, so it is done again to see."""
    line = 0
    with _open_bytes(path) as file:
        try:
            for line, text in enumerate(file, HEADER_LINE):  # noqa: B007 - is where the loop was left
                text.decode()
        except UnicodeDecodeError:
            return line
        except (EOFError, zlib.error, OSError):
            return line + 1
    return line


@contextmanager
def _naming(path: str, line: int) -> Iterator[None]:
    """Turn what is wrong with a line into an error that says where it is."""
    try:
        yield
    except ValueError as error:
        raise FeedError(f"{path}: line {line}: {error}") from None
