"""Remembers, within a bound of bytes, what is costly to make and cannot change: keys say what a value was made from."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from ticker import metrics
from ticker.candles.candle import Candles
from ticker.candles.packed import unpack

ENTRY_BYTES = 256
"""About what an entry takes beside its key and value."""


class Cache:
    """Values by key; the ones that were not asked for the longest give way to new ones."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._entries: OrderedDict[Hashable, tuple[Any, int, Callable[[], None] | None]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Any:
        """The value, or None."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: Any, size_bytes: int, dropped: Callable[[], None] | None = None) -> bool:
        """Keep a value; `dropped` is called once it is let go of. False where it is too large to be kept at all."""
        size_bytes += ENTRY_BYTES
        self.drop(key)
        if size_bytes > self._bytes_max // 4:
            # One answer must not cost all others.
            metrics.met("history_cache_bytes")
            return False
        self._entries[key] = value, size_bytes, dropped
        self.size_bytes += size_bytes
        while self.size_bytes > self._bytes_max:
            metrics.met("history_cache_bytes")
            self.drop(next(iter(self._entries)))
        metrics.HISTORY_CACHE_BYTES.set(self.size_bytes)
        return True

    def drop(self, key: Hashable) -> None:
        """Let go of one, where it is there."""
        found = self._entries.pop(key, None)
        if found is not None:
            self.size_bytes -= found[1]
            if found[2] is not None:
                found[2]()

    def unpack(self, packed: bytes) -> Candles:
        """The candles of a chunk, which is unpacked once: the same bytes are always the same candles."""
        found: Candles | None = self.get(packed)
        if found is None:
            found = unpack(packed)
            found.data.flags.writeable = False
            self.put(packed, found, len(packed) + found.data.nbytes)
        return found
