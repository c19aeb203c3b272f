"""The archive: what has aged out of Redis, read by place, by number and by time, and written a file at a time.

Everything here waits for the storage: call it in a thread.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import numpy as np

from ticker import codec
from ticker.archive import layout, tables
from ticker.archive.files import Files
from ticker.archive.index import NOTHING, Index, Known, Listing
from ticker.archive.layout import IMPORT, File, Place, Stretch
from ticker.archive.storage import Storage
from ticker.candles.candle import Candles
from ticker.candles.interval import Interval
from ticker.errors import ArchiveError, ConfigError
from ticker.store.tick_stream import Entry, Kind

T = TypeVar("T")

ABOUT = "archive.json"
LAYOUT = 1
TRIES = 3
"""A file may be compacted away between listing and opening it: then it is listed anew."""


class Archive:
    """All files, by kind and symbol."""

    def __init__(self, storage: Storage, zone: ZoneInfo, footers_max: int = 4_096, listings_max: int = 2_000) -> None:
        self._storage = storage
        self.zone = zone
        self.files = Files(storage, footers_max)
        self.index = Index(storage, listings_max)
        self._is_ours = False

    # What there is

    def symbols(self, kind: str) -> list[str]:
        """Every symbol of which there is something of a kind."""
        return [found for name in self._storage.folders(kind) if (found := layout.symbol_of(name))]

    def oldest(self, kind: str, symbol: str) -> Place | None:
        """The place of the oldest row; None where there is none."""
        listing = self._listing(kind, symbol, NOTHING)
        return listing.stretches[0].low if listing.stretches else None

    # Reading

    def ticks(
        self, kind: Kind, symbol: str, low: Place, high: Place, count: int, *, newest: bool, known: Known = NOTHING
    ) -> list[Entry]:
        """At most `count` ticks with low <= id < high: the oldest, or the newest, the newest first.

        `known`: what is known to be archived, so that what another process has just written is seen.
        """

        def read(listing: Listing) -> list[Entry]:
            found: list[Entry] = []
            parts = [s for s in listing.stretches if s.low < high and low < s.high]
            for stretch in reversed(parts) if newest else parts:
                for rows in self._rows(stretch, low, high, newest=newest):
                    room = count - len(found)
                    # Only what is wanted is decoded: that costs more than to read it.
                    part = rows.slice(max(rows.num_rows - room, 0)) if newest else rows.slice(0, room)
                    entries = tables.entries_of(kind, part)
                    found += reversed(entries) if newest else entries
                    if len(found) == count:
                        return found
            return found

        return self._reading(kind, symbol, known, read)

    def read(self, kind: Kind, symbol: str, first_seq: int, count: int) -> list[Entry]:
        """At most `count` ticks by their numbers, in order, from `first_seq` on, as the current epoch counts them.

        Fewer, or none, where the archive has no more of them in one piece: a number that is not there ends the answer.
        """

        def read(listing: Listing) -> list[Entry]:
            found: list[Entry] = []
            for stretch in _numbered(listing.stretches):
                first = first_seq + len(found)
                if stretch.low.seq <= first <= stretch.file.last.seq and len(found) < count:
                    wanted = min(count - len(found), stretch.file.last.seq - first + 1)
                    table = self.files.numbered(stretch.file, first - stretch.file.first.seq, wanted)
                    _, seqs = tables.places_of(table)
                    kept = table.filter((seqs >= first) & (seqs < first + wanted))
                    found += [
                        entry for entry in tables.entries_of(kind, kept) if Place(entry.ms, entry.seq) < stretch.high
                    ]
            return found

        return self._reading(kind, symbol, NOTHING, read)

    def candles(
        self, symbol: str, base: Interval, start: int, end: int, most: int, *, newest: bool, known: Known = NOTHING
    ) -> tuple[Candles, bool]:
        """Candles with start <= time < end, in order: all, or about the `most` oldest or newest; and whether these are all."""
        kind = f"candles_{base.name}"

        def read(listing: Listing) -> tuple[Candles, bool]:
            parts = [s for s in listing.stretches if s.low.at < end and start < s.high.at + 1]
            if newest:
                parts.reverse()
            found: list[Candles] = []
            rows = 0
            for number, stretch in enumerate(parts, 1):
                candles = tables.candles_of(self.files.table(stretch.file))
                found.append(candles.between(max(start, _after(stretch.low)), min(end, _after(stretch.high))))
                rows += len(found[-1])
                if rows >= most and number < len(parts):
                    return Candles.joined(found[::-1] if newest else found), False
            return Candles.joined(found[::-1] if newest else found), True

        return self._reading(kind, symbol, known, read)

    # Writing

    def write_ticks(self, kind: Kind, symbol: str, generation: int, epoch: str, entries: Sequence[Entry]) -> list[File]:
        """Write ticks that follow each other, a file a day."""
        self._claim()
        ms = np.array([entry.ms for entry in entries], np.int64)
        written = []
        for period, first, end in layout.cut(kind, ms * 1000, self.zone):
            part = entries[first:end]
            ends = Place(part[0].ms, part[0].seq), Place(part[-1].ms, part[-1].seq)
            file = File(kind, symbol, period, *ends, generation, epoch)
            self.files.write(file, tables.ticks_table(kind, part, epoch))
            written.append(file)
        self.index.changed(kind, symbol, written, [])
        return written

    def write_table(self, file: File, table: object) -> None:
        """Write one file of which the name is known."""
        self._claim()
        self.files.write(file, table)
        self.index.changed(file.kind, file.symbol, [file], [])

    def write_candles(self, symbol: str, base: Interval, candles: Candles) -> list[File]:
        """Write candles of a stored interval, a file a day (of `1d`: a year)."""
        self._claim()
        kind = f"candles_{base.name}"
        written = []
        for period, first, end in layout.cut(kind, candles.time, self.zone):
            part = candles.part(first, end)
            file = candle_file(kind, symbol, period, part)
            self.files.write(file, tables.candles_table(part))
            written.append(file)
        self.index.changed(kind, symbol, written, [])
        return written

    def remove(self, kind: str, symbol: str, files: Sequence[File]) -> None:
        """Remove files whose rows are elsewhere too."""
        for file in files:
            self._storage.remove(file.path)
            self.files.forget(file)
        self.index.changed(kind, symbol, [], list(files))

    def sweep(self, file: File) -> None:
        """Remove what a killed process has left beside a file."""
        self._storage.sweep(layout.folder(file.kind, file.symbol, file.period))

    def check(self) -> bool:
        """Whether it is marked as ours; raises `ConfigError` where it has another layout, or days of another time zone."""
        try:
            with self._storage.open(ABOUT) as file:
                about = codec.from_json(bytes(file.read()))
        except FileNotFoundError:
            return False
        except ValueError:
            raise ArchiveError(f"the archive: {ABOUT} is no JSON") from None
        ours = self._about()
        for name, wanted in ours.items():
            found = about.get(name) if isinstance(about, dict) else None
            if found != wanted:
                raise ConfigError(f"archive.url: {ABOUT} has {name} {found!r}, this configuration {wanted!r}")
        return True

    def _about(self) -> dict[str, object]:
        return {"layout": LAYOUT, "timezone": self.zone.key}

    def _claim(self) -> None:
        """Mark an empty archive with our layout before the first file, and refuse one of another."""
        if not self._is_ours and not self.check():
            self._storage.write(ABOUT, codec.to_json(self._about()))
        self._is_ours = True

    def _rows(self, stretch: Stretch, low: Place, high: Place, *, newest: bool) -> Iterator[Any]:
        """The ticks of a stretch with low <= id < high, a table at a time, perhaps the newest first."""
        first, end = max(low, stretch.low), min(high, stretch.high)
        for table in self.files.groups(stretch.file, first, end, newest=newest):
            ms, seqs = tables.places_of(table)
            after = (ms > first.at) | ((ms == first.at) & (seqs >= first.seq))
            before = (ms < end.at) | ((ms == end.at) & (seqs < end.seq))
            yield table.filter(after & before)

    def _listing(self, kind: str, symbol: str, known: Known) -> Listing:
        if not self._is_ours:
            self._is_ours = self.check()
        return self.index.of(kind, symbol, known)

    def _reading(self, kind: str, symbol: str, known: Known, read: Callable[[Listing], T]) -> T:
        """What `read` makes of the files that there are."""
        listing = self._listing(kind, symbol, known)
        for _ in range(TRIES):
            try:
                return read(listing)
            except FileNotFoundError:
                for file in listing.files:
                    self.files.forget(file)
                listing = self.index.again(kind, symbol)
        return read(listing)


def candle_file(kind: str, symbol: str, period: str, candles: Candles) -> File:
    """The file of some candles."""
    ends = Place(int(candles.time[0])), Place(int(candles.time[-1]))
    return File(kind, symbol, period, *ends, candles=len(candles))


def _after(place: Place) -> int:
    """The first open time of a candle at or beyond a place."""
    return place.at + bool(place.seq)


def _numbered(found: Sequence[Stretch]) -> list[Stretch]:
    """The stretches that the newest epoch's numbers count, in order: back to where a store began with 1."""
    chain: list[Stretch] = []
    for stretch in reversed(found):
        if stretch.file.epoch == IMPORT or (chain and not _continues(stretch, chain[-1])):
            break
        chain.append(stretch)
    return chain[::-1]


def _continues(older: Stretch, newer: Stretch) -> bool:
    """Whether the numbers of one stretch go on in the other: a new epoch does not begin anew where the store was not empty."""
    if older.file.generation == newer.file.generation:
        return older.low.seq < newer.low.seq
    return older.high.seq == newer.low.seq
