"""Follows the Redis streams from the command line, as any program may that taps them."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.asyncio import Redis

from ticker import codec
from ticker.store.connection import answers
from ticker.store.tick_stream import MESSAGE_TYPE, STREAM, Kind

BLOCK_MS = 1_000
COUNT = 1_000


async def follow(client: Redis, kind: Kind, symbols: Sequence[str], start: str) -> AsyncIterator[tuple[str, str, str]]:
    """Symbol, id and message of every entry after the id `start` (`$`: only new ones), for ever."""
    symbol_of = {STREAM[kind](symbol).encode(): symbol for symbol in symbols}
    places: dict[bytes, str | bytes] = dict.fromkeys(symbol_of, start)
    if start == "$":
        # From here on by id, so that nothing falls between two reads.
        for key in symbol_of:
            with answers("ticks"):
                last: Any = await client.xrevrange(key, count=1)
            places[key] = last[0][0] if last else "0-0"
    while True:
        with answers("ticks"):
            found: Any = await client.xread(dict(places), count=COUNT, block=BLOCK_MS)  # type: ignore[arg-type]
        for key, entries in found or []:
            for entry_id, fields in entries:
                places[key] = entry_id
                flat = [part for pair in fields.items() for part in pair]
                yield symbol_of[key], entry_id.decode(), codec.entry_message(MESSAGE_TYPE[kind], symbol_of[key], flat)
