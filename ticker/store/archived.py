"""How far a symbol is archived, noted in Redis so that gateways see at once what they must look for elsewhere."""

from redis.asyncio import Redis

from ticker.store import keys
from ticker.store.connection import answers


async def note(client: Redis, symbol: str, kind: str, place: tuple[int, int]) -> None:
    """The archive has everything of this kind up to a place: a tick's id, or a candle's open time and 0."""
    with answers("archived"):
        await client.hset(keys.archived(symbol), kind, f"{place[0]}-{place[1]}")


def place(text: bytes | None) -> tuple[int, int] | None:
    """What `note` has written; None where it has not."""
    at, _, seq = (text or b"").partition(b"-")
    return (int(at), int(seq)) if at.isdigit() and seq.isdigit() else None
