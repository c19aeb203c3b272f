"""The times in which a feed was away, with the reason: written by its ingester, read by gateways."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from ticker import codec
from ticker.store import keys
from ticker.store.connection import answers

Kind = Literal["feed", "store", "ingest"]

OUTAGES_KEPT = 1_000
"""Of each feed; the oldest go."""
REASON_MAX = 200


@dataclass(frozen=True, slots=True)
class Outage:
    """From when to when, in microseconds of the wall clock; `to` is None while it lasts."""

    begin: int
    end: int | None
    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True)
class Beat:
    """When an ingester last said that it writes a feed, and the outage that lasted then, if any."""

    time: int
    lasting: Outage | None = None


def put(pipe: Pipeline, feed: str, beat: Beat, over: Sequence[Outage]) -> None:
    """Note in a pipeline that the feed has a writer, what lasts, and what is over."""
    lasting = None if beat.lasting is None else asdict(beat.lasting)
    pipe.hset(keys.BEATS, feed, codec.to_json({"time": beat.time, "lasting": lasting}).decode())
    for outage in over:
        row: Any = {"from": outage.begin, "to": outage.end or beat.time, "kind": outage.kind}
        row["reason"] = outage.reason[:REASON_MAX]
        pipe.xadd(keys.outages(feed), row, maxlen=OUTAGES_KEPT, approximate=True)


async def last_beat(client: Redis, feed: str) -> Beat | None:
    """What was noted last; None where nothing was."""
    with answers("outages"):
        found: Any = await client.hget(keys.BEATS, feed)
    return _beat(found)


async def read(client: Redis, feed: str) -> tuple[list[Outage], Beat | None]:
    """Outages that are over, in order of their ends, and the last beat, both of the same moment."""
    with answers("outages"):
        async with client.pipeline(transaction=True) as pipe:
            pipe.xrange(keys.outages(feed))
            pipe.hget(keys.BEATS, feed)
            rows, beat = await pipe.execute()
    return [_outage(fields) for _, fields in rows], _beat(beat)


def _beat(text: bytes | None) -> Beat | None:
    if text is None:
        return None
    found: dict[str, Any] = codec.from_json(text)
    lasting = found["lasting"]
    return Beat(found["time"], None if lasting is None else Outage(**lasting))


def _outage(fields: dict[bytes, bytes]) -> Outage:
    kind: Any = fields[b"kind"].decode()
    return Outage(int(fields[b"from"]), int(fields[b"to"]), kind, fields[b"reason"].decode())
