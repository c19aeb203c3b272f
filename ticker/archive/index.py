"""Knows which files the archive has of each kind and symbol, without asking the storage each time."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from ticker import metrics
from ticker.archive.layout import FIRST, File, Place, Stretch, parse, stretches, symbol_folder
from ticker.archive.storage import Storage

LISTED_FOR_S = 60.0
"""Files that somebody else has written are seen after this long; sooner where it is known that they are there."""


@dataclass(frozen=True, slots=True)
class Known:
    """What Redis tells of the files of one kind and symbol: up to where there is something, and how often was imported."""

    reaches: Place = FIRST
    imports: int | None = None


NOTHING = Known()


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of one kind and symbol at a time."""

    files: tuple[File, ...]
    listed_s: float
    imports: int | None
    """How many were known of when it was listed."""
    stretches: list[Stretch] = field(default_factory=list)
    """Their rows that count, in order."""

    def has(self, known: Known) -> bool:
        """Whether all that is known to be there was there when it was listed."""
        return self.last >= known.reaches and known.imports in (None, self.imports)

    @property
    def newest(self) -> File | None:
        """The file with the last row of the newest generation."""
        return max(self.files, key=lambda file: (file.generation, file.last), default=None)

    @property
    def last(self) -> Place:
        """Up to where there is something, of the newest generation."""
        return self.newest.last if self.newest else FIRST


class Index:
    """Listings that are kept; may be used by several threads."""

    def __init__(self, storage: Storage, listings_max: int = 2_000, clock_s: Callable[[], float] = monotonic) -> None:
        self._storage = storage
        self._listings_max = listings_max
        self._clock_s = clock_s
        self._listings: OrderedDict[tuple[str, str], Listing] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, kind: str, symbol: str, known: Known = NOTHING) -> Listing:
        """The files of a kind and symbol; listed again where something else is known of them than was seen."""
        with self._lock:
            seen = self._listings.get((kind, symbol))
            if seen:
                self._listings.move_to_end((kind, symbol))
        if seen and self._clock_s() - seen.listed_s < LISTED_FOR_S and seen.has(known):
            return seen
        return self.again(kind, symbol, known.imports)

    def again(self, kind: str, symbol: str, imports: int | None = None) -> Listing:
        """The files of a kind and symbol as they are now."""
        listed_s = self._clock_s()
        found = (parse(path) for path in self._storage.files(symbol_folder(kind, symbol)))
        return self._keep(kind, symbol, [file for file in found if file], listed_s, imports)

    def changed(self, kind: str, symbol: str, added: list[File], removed: list[File]) -> None:
        """What we have written ourselves need not be asked for."""
        known = self.of(kind, symbol)
        kept = {file.path: file for file in (*known.files, *added)}
        for file in removed:
            kept.pop(file.path, None)
        self._keep(kind, symbol, list(kept.values()), known.listed_s, known.imports)

    def _keep(self, kind: str, symbol: str, files: list[File], listed_s: float, imports: int | None) -> Listing:
        made = Listing(tuple(sorted(files, key=lambda file: file.path)), listed_s, imports, stretches(files))
        with self._lock:
            self._listings[kind, symbol] = made
            self._listings.move_to_end((kind, symbol))
            if len(self._listings) > self._listings_max:
                self._listings.popitem(last=False)
                metrics.met("archive_listings")
        return made
