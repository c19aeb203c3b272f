"""The symbols that the store knows of: announced by whoever writes them, read by everyone."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from redis.asyncio import Redis

from feeds.tick import Listing
from ticker import codec
from ticker.errors import ConfigError
from ticker.store import keys
from ticker.store.connection import answers

log = logging.getLogger(__name__)


async def register(client: Redis, listings: Sequence[Listing], feed: str, ingester: str | None = None) -> None:
    """Write down a feed's symbols and who writes them, if somebody does; gateways may see some for the first time."""
    owners = {listing.symbol: ingester for listing in listings if ingester}
    rows = {listing.symbol: codec.to_json(_metadata(listing, feed)) for listing in listings}
    with answers("symbols"):
        async with client.pipeline(transaction=True) as pipe:
            pipe.hset(keys.SYMBOLS, mapping=rows)  # type: ignore[arg-type]
            if owners:
                pipe.hset(keys.OWNERS, mapping=owners)  # type: ignore[arg-type]
            pipe.publish(keys.EVENTS, codec.to_json({"event": "symbols"}))
            await pipe.execute()


def _metadata(listing: Listing, feed: str) -> dict[str, Any]:
    """A symbol's row; `simulated` is in it only where it is true."""
    row = asdict(listing) | {"feed": feed}
    if not row["simulated"]:
        del row["simulated"]
    return row


async def read(client: Redis) -> dict[str, dict[str, Any]]:
    """What is known of each symbol, in order of their names."""
    with answers("symbols"):
        rows: Any = await client.hgetall(keys.SYMBOLS)
    found = {symbol: _row(symbol, text) for symbol, text in sorted((s.decode(), text) for s, text in rows.items())}
    return {symbol: row for symbol, row in found.items() if row}


async def read_owners(client: Redis) -> dict[str, str]:
    """The id of the ingester that claimed each symbol last."""
    with answers("symbols"):
        found: Any = await client.hgetall(keys.OWNERS)
    return {symbol.decode(): ingester.decode() for symbol, ingester in found.items()}


def _row(symbol: str, text: bytes) -> dict[str, Any] | None:
    """One symbol's row; None where somebody else has written what is none."""
    try:
        row = codec.from_json(text)
    except ValueError:
        row = None
    if isinstance(row, dict) and row.get("symbol") == symbol:
        return row
    log.warning("the store says of symbol %r what cannot be read: %.80r", symbol, text, extra={"symbol": symbol})
    return None


async def check_schema(client: Redis) -> None:
    """Mark an empty store with our layout's version; refuse one of another version."""
    with answers("symbols"):
        await client.set(keys.SCHEMA, keys.SCHEMA_VERSION, nx=True)
        found = await client.get(keys.SCHEMA)
    if found != keys.SCHEMA_VERSION:
        raise ConfigError(
            f"the store has layout {found!r}, this version reads {keys.SCHEMA_VERSION!r}; use another database"
        )
