"""Closed candles of the stored intervals, read back in ranges from their chunks; `chunks` is how they are written."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from ticker import codec
from ticker.candles.candle import Candle, Candles
from ticker.candles.interval import Interval
from ticker.candles.packed import unpack, unpack_open
from ticker.store import archived, keys
from ticker.store.append import StreamEnd
from ticker.store.archived import Archived
from ticker.store.connection import answers

CHUNKS_PER_READ = 128
"""Chunks of one script call: longer ranges are read in several, so that nobody else waits long for the server."""

CHUNKS_A_TURN = 16
"""Chunks that are unpacked without a pause: about a millisecond, for which live messages may have to wait."""

READ = files("ticker.store").joinpath("read_candles.lua").read_text("utf-8")
TIME_MAX = (1 << 53) - 1


@dataclass(frozen=True, slots=True)
class StoredCandles:
    """A consistent view of one symbol's candles of a stored interval.

    `closed` lie in the range asked for, `open` are all that are not closed; `complete` says whether `closed` is all there
    is in the range. `trades` is where the trades stood at that moment: everything up to its seq is in these candles.
    """

    closed: Candles
    open: list[Candle]
    complete: bool
    epoch: str | None
    trades: StreamEnd
    oldest: int | None = None
    """The open time of the oldest closed candle of all that are stored."""


@dataclass(frozen=True, slots=True)
class Oldest:
    """The open time of the oldest candle that is stored, and whether it is not closed yet."""

    time: int
    forming: bool


class CandleSource(Protocol):
    """What history reads candles from: the chunks, or the chunks and the archive as if they were one."""

    async def read(
        self, symbol: str, base: Interval, start: int, end: int, *, newest: bool, chunks: int = CHUNKS_PER_READ
    ) -> StoredCandles:
        """Candles with start <= time < end, a bounded number of them: the newest or the oldest."""

    async def tail(self, symbol: str, base: Interval, since: int) -> list[Candles]:
        """The newest chunks, whole, in order of time, back to the one that holds `since`."""

    async def oldest(self, symbol: str, base: Interval) -> Oldest | None:
        """The oldest candle; None where there is none."""


class CandleReader:
    """Reads chunks back."""

    def __init__(
        self,
        client: Redis,
        unpack: Callable[[bytes], Candles] = unpack,
        pace: AbstractAsyncContextManager[None] | None = None,
    ) -> None:
        """`unpack` may remember what it has unpacked before; `pace` is around each part of an answer that is unpacked."""
        self._read = client.register_script(READ)
        self._unpack = unpack
        self._pace = nullcontext() if pace is None else pace

    async def read(
        self, symbol: str, base: Interval, start: int, end: int, *, newest: bool, chunks: int = CHUNKS_PER_READ
    ) -> StoredCandles:
        """Candles with start <= time < end, at most so many chunks of them: the newest or the oldest."""
        args = [max(start, 0), min(end, TIME_MAX), chunks, int(newest)]
        with answers("candles"):
            reply = await self._read(keys=_read_keys(symbol, base), args=args)
        unpacked: list[Candles] = []
        for first in range(0, len(reply[4]), CHUNKS_A_TURN):
            async with self._pace:
                unpacked += map(self._unpack, reply[4][first : first + CHUNKS_A_TURN])
        return _stored(reply, base, start, end, unpacked, newest=newest)

    async def tail_in(self, pipe: Pipeline, symbol: str, base: Interval) -> Callable[[Any], StoredCandles]:
        """Put a read of the newest chunks into a pipeline; what is returned makes the result of the pipeline's answer."""
        await self._read(keys=_read_keys(symbol, base), args=[0, TIME_MAX, 2, 1], client=pipe)
        return lambda reply: _stored(reply, base, 0, TIME_MAX, list(map(self._unpack, reply[4])), newest=True)

    async def tail(self, symbol: str, base: Interval, since: int) -> list[Candles]:
        """The newest chunks, whole, in order of time, back to the one that holds `since`."""
        with answers("candles"):
            reply = await self._read(keys=_read_keys(symbol, base), args=[since, TIME_MAX, CHUNKS_PER_READ, 1])
        return [unpack(chunk) for chunk in reversed(reply[4])]

    async def oldest(self, symbol: str, base: Interval) -> Oldest | None:
        """The oldest stored candle; None where there is none."""
        with answers("candles"):
            reply = await self._read(keys=_read_keys(symbol, base), args=[0, TIME_MAX, 1, 0])
        closed = [Oldest(int(unpack(chunk).time[0]), forming=False) for chunk in reply[4]]
        forming = [Oldest(candle.time, forming=True) for candle in unpack_open(reply[2])[base.name]]
        return min(closed + forming, key=lambda found: found.time, default=None)

    async def archived(self, symbol: str, base: Interval) -> Archived:
        """What is known to be archived."""
        fields = [f"candles_{base.name}", archived.IMPORTS]
        with answers("archived"):
            noted: Any = await self._read.registered_client.hmget(keys.archived(symbol), fields)
        return archived.of(*noted)

    async def trim(self, symbol: str, base: Interval, before: int) -> int:
        """Forget chunks whose candles are all older than `before`; how many were dropped."""
        index, chunks = keys.chunk_index(symbol, base.name), keys.chunks(symbol, base.name)
        client = self._read.registered_client
        with answers("trim"):
            # The newest chunk that begins before the line may reach over it: it stays.
            found: Any = await client.zrangebyscore(index, "-inf", f"({before}")
            if fields := found[:-1]:
                async with client.pipeline(transaction=True) as pipe:
                    pipe.hdel(chunks, *fields)
                    pipe.zrem(index, *fields)
                    pipe.publish(keys.EVENTS, candles_event(symbol, {base.name: (0, int(found[-1]))}))
                    await pipe.execute()
        return len(fields)


def candles_event(symbol: str, changed: Mapping[str, tuple[int, int]] | None = None) -> str:
    """What gateways are told of closed candles that have changed: from when until when, by stored interval; or all."""
    event: dict[str, Any] = {"event": "candles", "symbol": symbol}
    if changed is not None:
        event["changed"] = changed
    return codec.to_json(event).decode()


def _read_keys(symbol: str, base: Interval) -> list[str]:
    return [
        keys.state(symbol),
        keys.trades(symbol),
        keys.epoch(symbol),
        keys.chunks(symbol, base.name),
        keys.chunk_index(symbol, base.name),
    ]


def _stored(
    reply: Any, base: Interval, start: int, end: int, chunks: Sequence[Candles], *, newest: bool
) -> StoredCandles:
    """What the script's reply says, and its chunks, unpacked."""
    epoch, trade_id, kept, more, _, oldest = reply
    return StoredCandles(
        closed=Candles.joined(chunks[::-1] if newest else chunks).between(start, end),
        open=unpack_open(kept)[base.name],
        complete=not more,
        epoch=epoch.decode() if epoch else None,
        trades=StreamEnd.of(trade_id, None),
        oldest=int(oldest) if oldest else None,
    )
