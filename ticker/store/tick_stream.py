"""The streams of trades and quotes, read back and trimmed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, NamedTuple, Protocol

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from ticker.errors import StoreError
from ticker.store import archived, keys
from ticker.store.append import StreamEnd
from ticker.store.archived import Archived
from ticker.store.connection import answers

Kind = Literal["trades", "quotes"]
KINDS: tuple[Kind, ...] = ("trades", "quotes")
STREAM: dict[Kind, Callable[[str], str]] = {"trades": keys.trades, "quotes": keys.quotes}
MESSAGE_TYPE: dict[Kind, str] = {"trades": "trade", "quotes": "quote"}

END = files("ticker.store").joinpath("stream_end.lua").read_text("utf-8")
READ = files("ticker.store").joinpath("read_ticks.lua").read_text("utf-8")
ENTRIES_PER_READ = 1_000


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a stream stands: its epoch, its end, and the fields of its last entry (None where none is kept)."""

    epoch: str | None
    end: StreamEnd
    entry: list[bytes] | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its id `ms`-`seq`, and its fields, flat."""

    ms: int
    seq: int
    time: int
    fields: list[bytes]


class Wanted(NamedTuple):
    """Ticks that are asked for: `most` of them, from the number `seq` on."""

    kind: Kind
    symbol: str
    seq: int
    most: int


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, and where the stream stood at that moment."""

    epoch: str | None
    last: int
    """The number of the last tick that was ever appended."""
    first: int
    """That of the oldest one kept; behind `last` where none is."""
    whole: bool
    """Nothing is missing between the two."""
    entries: list[tuple[int, list[bytes]]]
    """Number and fields, flat, in order."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A read of a stream, with what else must be known at that moment to go on beyond it."""

    entries: list[Entry]
    oldest: tuple[int, int] | None
    """The id of the oldest entry that is kept."""
    archived: Archived


class TickSource(Protocol):
    """What history reads ticks from: the streams, or the streams and the archive as if they were one."""

    async def tips(self, kind: Kind, symbols: Sequence[str]) -> list[Tip]:
        """Where the streams of these symbols stand, each at one moment."""

    async def read(self, kind: Kind, symbol: str, first: str, last: str, *, newest: bool = False) -> list[Entry]:
        """Entries with ids from `first` to `last`, at most `ENTRIES_PER_READ`: the oldest, or the newest first."""

    async def oldest(self, kind: Kind, symbol: str) -> Entry | None:
        """The first entry that is still kept."""


class TickReader:
    """Reads streams back."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._end = client.register_script(END)
        self._read = client.register_script(READ)

    async def tips(self, kind: Kind, symbols: Sequence[str]) -> list[Tip]:
        """Where the streams of these symbols stand, each at one moment."""
        if not symbols:
            return []
        with answers("ticks"):
            async with self._client.pipeline(transaction=False) as pipe:
                for symbol in symbols:
                    await self._end(keys=[STREAM[kind](symbol), keys.epoch(symbol)], client=pipe)
                return [_tip(reply) for reply in await pipe.execute()]

    async def tip_in(self, pipe: Pipeline, kind: Kind, symbol: str) -> Callable[[Any], Tip]:
        """Put the same for one symbol into a pipeline; what is returned makes the result of the pipeline's answer."""
        await self._end(keys=[STREAM[kind](symbol), keys.epoch(symbol)], client=pipe)
        return _tip

    async def pages(self, wanted: Sequence[Wanted]) -> list[Page]:
        """Ticks by their numbers, each page from one moment, all in one round trip."""
        with answers("ticks"):
            async with self._client.pipeline(transaction=False) as pipe:
                for kind, symbol, seq, most in wanted:
                    await self._read(keys=[STREAM[kind](symbol), keys.epoch(symbol)], args=[seq, most], client=pipe)
                return [_page(reply) for reply in await pipe.execute()]

    async def ends(self, kind: Kind, symbols: Sequence[str]) -> list[dict[str, int]]:
        """Of each symbol: epochs that have ended, and the number up to which those of each are still true."""
        with answers("ticks"):
            async with self._client.pipeline(transaction=False) as pipe:
                for symbol in symbols:
                    pipe.hgetall(keys.epochs(symbol))
                return [
                    {epoch.decode(): int(ends.split()[KINDS.index(kind)]) for epoch, ends in reply.items()}
                    for reply in await pipe.execute()
                ]

    async def read(self, kind: Kind, symbol: str, first: str, last: str, *, newest: bool = False) -> list[Entry]:
        """Entries with ids from `first` to `last`, at most `ENTRIES_PER_READ`: the oldest, or the newest first."""
        key = STREAM[kind](symbol)
        with answers("ticks"):
            if newest:
                reply: Any = await self._client.xrevrange(key, last, first, ENTRIES_PER_READ)
            else:
                reply = await self._client.xrange(key, first, last, ENTRIES_PER_READ)
        return [_entry(*entry) for entry in reply]

    async def read_kept(self, kind: Kind, symbol: str, first: str, last: str, *, newest: bool) -> Kept:
        """The same as `read`, with where the stream begins at that moment."""
        key = STREAM[kind](symbol)
        with answers("ticks"):
            async with self._client.pipeline(transaction=True) as pipe:
                if newest:
                    pipe.xrevrange(key, last, first, ENTRIES_PER_READ)
                else:
                    pipe.xrange(key, first, last, ENTRIES_PER_READ)
                pipe.xrange(key, count=1)
                pipe.hmget(keys.archived(symbol), [kind, archived.IMPORTS])
                page, oldest, noted = await pipe.execute()
        begins = archived.place(oldest[0][0]) if oldest else None
        return Kept([_entry(*entry) for entry in page], begins, archived.of(*noted))

    async def oldest(self, kind: Kind, symbol: str) -> Entry | None:
        """The first entry that is still kept."""
        with answers("ticks"):
            reply: Any = await self._client.xrange(STREAM[kind](symbol), count=1)
        return _entry(*reply[0]) if reply else None

    async def newest(self, kind: Kind, symbol: str, count: int, until: int) -> list[Entry]:
        """The `count` entries up to and with sequence number `until`, in order; fewer where fewer are kept."""
        found: list[Entry] = []
        last = "+"
        while len(found) < count:
            page = await self.read(kind, symbol, "-", last, newest=True)
            found += [entry for entry in page if entry.seq <= until]
            if len(page) < ENTRIES_PER_READ:
                break
            last = f"({page[-1].ms}-{page[-1].seq}"
        return found[:count][::-1]

    async def last_ids(self, kind: Kind, symbol: str, count: int) -> list[str]:
        """The ids that the feed gave to the newest `count` ticks, oldest first; none where the last one has none."""
        key, ids = STREAM[kind](symbol), []
        with answers("ticks"):
            last: Any = await self._client.xrevrange(key, count=1)
            if last and b"id" in last[0][1]:
                entries: Any = await self._client.xrevrange(key, count=count)
                ids = [fields[b"id"].decode() for _, fields in entries if b"id" in fields]
        return ids[::-1]

    async def length(self, kind: Kind, symbol: str) -> int:
        """How many ticks a stream has."""
        with answers("ticks"):
            return int(await self._client.xlen(STREAM[kind](symbol)))

    async def trim(self, symbol: str, before_ms: int) -> None:
        """Forget ticks whose ids are older, a macro node at a time."""
        with answers("trim"):
            async with self._client.pipeline(transaction=False) as pipe:
                for kind in KINDS:
                    pipe.xtrim(STREAM[kind](symbol), minid=before_ms, approximate=True)
                await pipe.execute()

    async def trim_to(self, kind: Kind, symbol: str, before: str | None, max_len: int) -> int:
        """Forget ticks whose ids are older, and those beyond a length, a macro node at a time; how many went by age."""
        key = STREAM[kind](symbol)
        with answers("trim"):
            async with self._client.pipeline(transaction=False) as pipe:
                if before is not None:
                    pipe.xtrim(key, minid=before, approximate=True)
                pipe.xtrim(key, maxlen=max_len, approximate=True)
                replies: list[int] = await pipe.execute()
        return replies[0] if before is not None else 0


def _tip(reply: Any) -> Tip:
    epoch, last_id, entry = reply
    return Tip(epoch.decode() if epoch else None, StreamEnd.of(last_id, entry), entry)


def _page(reply: Any) -> Page:
    epoch, last_id, first_id, length, rows = reply
    last = _seq(last_id)
    first = _seq(first_id) if length else last + 1
    entries = [(_seq(entry_id), fields) for entry_id, fields in rows]
    return Page(epoch.decode() if epoch else None, last, first, length == last - first + 1, entries)


def _seq(entry_id: bytes) -> int:
    return int(entry_id[entry_id.index(b"-") + 1 :])


def _entry(entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    ms, seq = entry_id.split(b"-")
    time = fields.get(b"time", b"")
    if not time.isdigit():
        raise StoreError(
            f"stream entry {entry_id.decode()} has no time: somebody else than the ingester has written it"
        )
    return Entry(int(ms), int(seq), int(time), [part for pair in fields.items() for part in pair])
