"""What is known in Redis of the archive of a symbol, so that gateways see at once what they must look for elsewhere."""

from dataclasses import dataclass

from redis.asyncio import Redis

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
