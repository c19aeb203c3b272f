"""Changes candles of a symbol from beside its writer, all that belongs together in one atomic step.

A writer has the newest chunks in hand and would write over what it does not know of. So its fence is renewed in the same
step: its next append is refused, it reads anew what is stored, as after any doubt, and goes on without losing a tick.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import WatchError

from ticker import codec
from ticker.candles.candle import Candle, Candles, merge
from ticker.candles.interval import STORED
from ticker.candles.packed import pack_open, unpack, unpack_open
from ticker.errors import StoreError
from ticker.store import archived, keys
from ticker.store.candle_store import TIME_MAX, candles_event
from ticker.store.chunks import chunks_of
from ticker.store.connection import answers

TRIES = 200
"""Each append of the symbol in between makes one more try necessary."""
PATIENCE = 10
"""Tries after which the writer's fence is renewed beforehand: while it reads anew what is stored, it does not append."""
RENEW = "return redis.call('HGET', KEYS[1], 'fence') == ARGV[1] and redis.call('HSET', KEYS[1], 'fence', ARGV[2])"

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Held:
    """What the store has of a symbol, by stored interval, at one moment."""

    closed: dict[str, Candles]
    """At least those in the range asked for."""
    open: dict[str, list[Candle]]
    since: dict[str, int]
    """The open time of the oldest closed candle; `TIME_MAX` where there is none."""


@dataclass(frozen=True, slots=True)
class Change:
    """Closed candles that are put in place of those of the same times, or beside them; and all open ones, if they change."""

    closed: dict[str, Candles]
    open: dict[str, list[Candle]] | None = None

    @property
    def ranges(self) -> dict[str, Range]:
        """From when until when, by interval."""
        return {name: (int(c.time[0]), int(c.time[-1]) + 1) for name, c in self.closed.items() if len(c)}


async def change_candles(
    client: Redis, symbol: str, ranges: Mapping[str, Range], decide: Callable[[Held], Change | None]
) -> None:
    """Do what `decide` says of the candles in these ranges; it is asked again where the store has changed meanwhile.

    Raises `StoreUnavailable`, and `StoreError` where the symbol is written all the time.
    """
    watched = [keys.state(symbol), keys.archived(symbol), keys.CLEAN]
    for base in STORED:
        watched += keys.chunks(symbol, base.name), keys.chunk_index(symbol, base.name)
    with answers("candles"):
        async with client.pipeline(transaction=True) as pipe:
            for number in range(TRIES):
                await pipe.watch(*watched)
                clean: Any = await client.hget(keys.CLEAN, symbol)
                found = await _look(client, symbol, ranges)
                if (change := decide(found.held)) is None:
                    return
                pipe.multi()  # type: ignore[no-untyped-call]
                _put(pipe, symbol, change, found)
                _note(pipe, symbol, change, found.noted)
                is_held = bool(found.fence) and found.fence != clean
                if is_held:
                    pipe.hset(keys.state(symbol), "fence", _renewed(found.fence))
                try:
                    await pipe.execute()
                except WatchError:
                    if is_held and number % PATIENCE == PATIENCE - 1:
                        await client.eval(RENEW, 1, keys.state(symbol), found.fence, _renewed(found.fence))
                    continue
                return
    raise StoreError(
        f"{symbol} was written {TRIES} times while its candles were to be changed; try again when it is quieter"
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What was read in one try."""

    held: Held
    fields: dict[str, list[int]]
    """Of the chunks that were read, by interval."""
    fence: bytes
    noted: Mapping[bytes, bytes]


async def _look(client: Redis, symbol: str, ranges: Mapping[str, Range]) -> _Found:
    """The chunks that may have candles in these ranges, and what else is needed; in two trips."""
    async with client.pipeline(transaction=False) as pipe:
        pipe.hmget(keys.state(symbol), "open", "fence")
        pipe.hgetall(keys.archived(symbol))
        for name, (low, high) in ranges.items():
            index = keys.chunk_index(symbol, name)
            pipe.zrange(index, 0, 0)
            pipe.zrevrangebyscore(index, low, "-inf", start=0, num=1)
            pipe.zrangebyscore(index, f"({low}", f"({high}")
        (packed, fence), noted, *told = await pipe.execute()
        since = {name: int(one[0]) if one else TIME_MAX for name, one in zip(ranges, told[::3], strict=True)}
        pairs = zip(told[1::3], told[2::3], strict=True)
        fields = {name: [*before, *inside] for name, (before, inside) in zip(ranges, pairs, strict=True)}
        wanted = [name for name, found in fields.items() if found]
        for name in wanted:
            pipe.hmget(keys.chunks(symbol, name), fields[name])
        chunks = dict(zip(wanted, await pipe.execute() if wanted else [], strict=True))
    # A chunk that has gone meanwhile makes this try void anyway.
    closed = {name: Candles.joined([unpack(one) for one in chunks.get(name, ()) if one]) for name in ranges}
    held = Held(closed, unpack_open(packed), since)
    return _Found(held, {name: [int(one) for one in found] for name, found in fields.items()}, fence or b"", noted)


def _put(pipe: Pipeline, symbol: str, change: Change, found: _Found) -> None:
    """Write the chunks that change: those between the first and the last candle."""
    for name, candles in change.closed.items():
        if not len(candles):
            continue
        index, chunks = keys.chunk_index(symbol, name), keys.chunks(symbol, name)
        known = found.fields[name]
        first = max((field for field in known if field <= int(candles.time[0])), default=int(candles.time[0]))
        last = int(candles.time[-1])
        gone = [field for field in known if first <= field <= last]
        after = min((field for field in known if field > last), default=TIME_MAX)
        whole = merge(found.held.closed[name].between(first, after), candles)
        if gone:
            pipe.hdel(chunks, *map(str, gone))
            pipe.zrem(index, *map(str, gone))
        for chunk in chunks_of(whole):
            pipe.hset(chunks, str(chunk.opens), chunk.packed)
            pipe.zadd(index, {str(chunk.opens): chunk.opens})
        for candle in candles.rows() if name == "1m" else ():
            pipe.publish(keys.candles(symbol), codec.candle_message(symbol, name, candle, final=True))
    if change.open is not None:
        pipe.hset(keys.state(symbol), "open", pack_open(change.open))


def _note(pipe: Pipeline, symbol: str, change: Change, noted: Mapping[bytes, bytes]) -> None:
    """Have it archived again, and tell gateways: of what they remember, and of candles that they are folding."""
    for name, (low, high) in change.ranges.items():
        field = archived.again_field(name)
        before = archived.place(noted.get(field.encode()))
        low, high = (min(low, before[0]), max(high, before[1])) if before else (low, high)
        pipe.hset(keys.archived(symbol), field, f"{low}-{high}")
    pipe.publish(keys.EVENTS, candles_event(symbol, change.ranges))
    pipe.publish(keys.EVENTS, codec.to_json({"event": "backfill", "symbol": symbol}))


def _renewed(fence: bytes) -> str:
    """The next fence of the same writer."""
    number, _, holder = fence.decode().partition("-")
    return f"{int(number) + 1}-{holder}"
