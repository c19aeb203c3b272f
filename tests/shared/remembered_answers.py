"""Tells what a service answers from what it remembers, and what it asks the store for."""

from ticker import metrics
from ticker.store import keys

MINUTE = 60_000_000
PLAIN = {"Accept-Encoding": "identity"}


def calls():
    """Round trips to the store that asked for candles or ticks."""
    name = "ticker_redis_call_seconds_count"
    return sum(metrics.REGISTRY.get_sample_value(name, {"part": part}) or 0 for part in ("candles", "ticks"))


async def clock_is(service, clock):
    """Until the store knows how far the feed is, and the gateway everything up to there."""

    async def reached():
        return (
            int(await service.store.hget(keys.CLOCKS, "hand") or 0) >= clock
            and service.gateway.clock_of("AAPL") >= clock
        )

    await service.wait_until(reached)


def closed(noon, interval="1s", **more):
    """The parameters of five minutes that are over."""
    query = {"interval": interval, "start": noon + 10 * MINUTE, "end": noon + 15 * MINUTE, "limit": 500} | more
    return "&".join(f"{name}={value}" for name, value in query.items())


async def settled(service, path):
    """The answer once it is remembered."""
    found = []

    async def remembered():
        found[:] = [await service.get(path, headers=PLAIN)]
        asked = calls()
        again = await service.get(path, headers=PLAIN)
        return calls() == asked and again.content == found[0].content

    await service.wait_until(remembered)
    return found[0]
