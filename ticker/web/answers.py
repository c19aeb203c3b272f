"""Whole answers to questions of history, remembered for as long as nothing can have changed what they rest on.

What makes one stale is told over the store's channel of events, in the same atomic step that changes the candles: a
correction, a backfill or import, trimming, a new epoch. While that channel is not heard, nothing that is remembered is used.
An answer is only kept if nothing was told between the reading of its rows and the keeping. While one is made, others that ask
the same may wait for it, and take it where it was kept.
"""

import asyncio
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import zstandard

from ticker.history.cache import Cache
from ticker.history.formats import Piece, gzipped
from ticker.web.negotiation import Shape
from ticker.web.security import HEADERS

COMPRESS_FROM_BYTES = 1_024
"""Less than a packet is not worth it."""
ZSTD_LEVEL = 1
"""9 would save a tenth of the bytes and take eight times as long."""
VARY = (b"vary", b"Accept, Accept-Encoding")
VARY_ALSO = (b"vary", b"Origin")
"""What the layer for other origins adds, where an answer passes through it."""
CACHE_CONTROL = (b"cache-control", b"no-cache")

Header = tuple[bytes, bytes]


class RestsOn(NamedTuple):
    """Stored rows that an answer was made of: a kind or stored interval of a symbol, and the times [low, high)."""

    symbol: str
    kind: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, ready to be sent."""

    route: str
    rows: int
    etag: bytes
    headers: tuple[Header, ...]
    """Of a 200, without those that every answer has."""
    body: bytes
    head: bytes
    """The lines of its head, with those that every answer has."""
    not_modified: bytes
    """Those of a 304."""

    @property
    def validators(self) -> tuple[Header, ...]:
        """The headers of a 304."""
        return _of_304(self.headers)

    @property
    def size_bytes(self) -> int:
        """About the memory that it takes."""
        return len(self.body) + 2 * len(self.head)


def _of_304(headers: Sequence[Header]) -> tuple[Header, ...]:
    return tuple(header for header in headers if header[0] not in (b"content-type", b"content-length"))


def make_answer(
    pieces: Sequence[Piece],
    shape: Shape,
    encodings: Sequence[str],
    *,
    route: str,
    rows: int,
    more: Sequence[Header] = (),
    kept: bool = False,
) -> Answer:
    """An answer of these pieces. `kept`: it may be sent again, so that compressing all of it anew is worth it."""
    body, used = _encoded(pieces, encodings, kept=kept)
    # One for each encoding: two that differ in a byte must not share a strong one.
    etag = b'"' + blake2b(body, digest_size=12, salt=(used or "").encode()).hexdigest().encode() + b'"'
    headers: list[Header] = [
        (b"content-type", shape.media_type.encode()),
        (b"content-length", str(len(body)).encode()),
        CACHE_CONTROL,
        VARY,
        (b"etag", etag),
        *more,
    ]
    if used:
        headers.append((b"content-encoding", used.encode()))
    head, not_modified = (_lines([*found, VARY_ALSO, *HEADERS]) for found in (headers, _of_304(headers)))
    return Answer(route, rows, etag, tuple(headers), body, head, not_modified)


def _encoded(pieces: Sequence[Piece], encodings: Sequence[str], *, kept: bool) -> tuple[bytes, str | None]:
    """The body, and how it is compressed."""
    if not encodings or sum(len(piece.text) for piece in pieces) < COMPRESS_FROM_BYTES:
        return b"".join([piece.text for piece in pieces]), None
    if encodings[0] == "gzip" or (not kept and "gzip" in encodings):
        # What goes out for once is put together from rows that were compressed before.
        return gzipped(pieces), "gzip"
    # Frames that are joined not every client reads, so it is one of all.
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(b"".join([piece.text for piece in pieces])), "zstd"


def _lines(headers: Sequence[Header]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


class Key(NamedTuple):
    """What makes an answer the same: the target as it was sent, and the form it is wanted in."""

    target: bytes
    shape: Shape | None
    """By `Accept`; None where the target names the format."""
    encodings: tuple[str, ...]


class Answers:
    """The answers of one gateway."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._by_symbol: dict[str, dict[Hashable, tuple[RestsOn, ...]]] = {}
        self._making: dict[Key, asyncio.Event] = {}
        self._told = 0
        self._told_of: dict[str, int] = {}
        self._told_of_all = 0
        self.heard = False
        """Whether changes are told of at this moment."""

    def mark(self) -> int:
        """Ask for this before rows are read, and give it to `keep`."""
        return self._told

    def get(self, key: Key) -> Answer | None:
        """What is remembered, if it can be relied upon."""
        if not self.heard:
            return None
        found: Answer | None = self._cache.get(key)
        return found

    async def soon(self, key: Key) -> Answer | None:
        """What is remembered, or will be once somebody else has made it; None where that comes to nothing.

        Whoever makes it may be cancelled, or find that it cannot be kept: then all who waited make their own.
        """
        found = self.get(key)
        if found is None and (making := self._making.get(key)):
            await making.wait()
            found = self.get(key)
        return found

    @contextmanager
    def making(self, key: Key) -> Iterator[None]:
        """An answer is made in this block, and kept by its end if it can be: let others wait for it."""
        if key in self._making:
            yield
            return
        made = self._making[key] = asyncio.Event()
        try:
            yield
        finally:
            del self._making[key]
            made.set()

    def keep(self, key: Key, answer: Answer, rests_on: Sequence[RestsOn], mark: int) -> None:
        """Remember an answer, unless something has changed since the mark."""
        symbols = {one.symbol for one in rests_on}
        if not self.heard or max([self._told_of_all, *(self._told_of.get(symbol, 0) for symbol in symbols)]) > mark:
            return
        places = tuple(rests_on)

        def forget() -> None:
            for symbol in symbols:
                keys = self._by_symbol[symbol]
                del keys[key]
                if not keys:
                    del self._by_symbol[symbol]

        if self._cache.put(key, answer, answer.size_bytes + len(key.target), forget):
            for symbol in symbols:
                self._by_symbol.setdefault(symbol, {})[key] = places

    def changed(self, symbol: str, ranges: Mapping[str, Sequence[int]] | None = None) -> None:
        """Rows of a symbol have changed: from when until when, by kind; or, who knows, all of them."""
        self._told += 1
        self._told_of[symbol] = self._told
        for key, places in list(self._by_symbol.get(symbol, {}).items()):
            if ranges is None or any(_touches(place, symbol, ranges) for place in places):
                self._cache.drop(key)

    def hear(self, *, heard: bool) -> None:
        """Changes are told of from now on, or no longer: either way, what was remembered may be stale."""
        self.heard = heard
        self._told += 1
        self._told_of_all = self._told
        self._told_of.clear()
        for symbol in list(self._by_symbol):
            for key in list(self._by_symbol.get(symbol, {})):
                self._cache.drop(key)


def _touches(place: RestsOn, symbol: str, ranges: Mapping[str, Any]) -> bool:
    if place.symbol != symbol or place.kind not in ranges:
        return False
    low, high = ranges[place.kind]
    return bool(low < place.high and place.low < high)
