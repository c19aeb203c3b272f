"""What is known in Redis of the archive of a symbol, so that gateways see at once what they must look for elsewhere."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import WatchError

from ticker import codec
from ticker.store import keys
from ticker.store.connection import answers

IMPORTS = "imports"
"""How often something was imported: whoever has seen another number looks again."""


@dataclass(frozen=True, slots=True)
class Archived:
    """Up to where the archive has everything of one kind (a tick's id, or a candle's open time and 0), and its imports."""

    place: tuple[int, int] | None
    imports: int


async def note(client: Redis, symbol: str, kind: str, place: tuple[int, int]) -> None:
    """The archive has everything of this kind up to a place."""
    with answers("archived"):
        await client.hset(keys.archived(symbol), kind, f"{place[0]}-{place[1]}")


def again_field(interval: str) -> str:
    """The field that tells which candles of a stored interval are to be archived again: `low-high` of their open times."""
    return f"again_{interval}"


async def again(client: Redis, symbol: str, interval: str) -> tuple[int, int] | None:
    """From when until when candles have changed after they may have been archived; None where none have."""
    with answers("archived"):
        found: Any = await client.hget(keys.archived(symbol), again_field(interval))
    return place(found)


async def done_again(client: Redis, symbol: str, interval: str, was: tuple[int, int]) -> None:
    """These are archived as they are now, unless it was said meanwhile that others have changed."""
    key, field = keys.archived(symbol), again_field(interval)
    with answers("archived"):
        async with client.pipeline(transaction=True) as pipe:
            await pipe.watch(key)
            found: Any = await pipe.hget(key, field)
            pipe.multi()  # type: ignore[no-untyped-call]
            if place(found) == was:
                pipe.hdel(key, field)
            with suppress(WatchError):
                # Somebody has noted something: this is done once more.
                await pipe.execute()


async def note_import(client: Redis, symbol: str) -> None:
    """Something of before the live record was added; gateways begin the candles anew that it may be part of."""
    with answers("archived"):
        async with client.pipeline(transaction=True) as pipe:
            pipe.hincrby(keys.archived(symbol), IMPORTS, 1)
            pipe.publish(keys.EVENTS, codec.to_json({"event": "backfill", "symbol": symbol}))
            await pipe.execute()


def of(noted: bytes | None, imports: bytes | None) -> Archived:
    """What was noted."""
    return Archived(place(noted), int(imports) if imports and imports.isdigit() else 0)


def place(text: bytes | None) -> tuple[int, int] | None:
    """A place, or an id, of its text; None where it is none."""
    at, _, seq = (text or b"").partition(b"-")
    return (int(at), int(seq)) if at.isdigit() and seq.isdigit() else None
