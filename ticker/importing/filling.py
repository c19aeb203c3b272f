"""Puts imported candles into outages of the live record: into what the store holds, and so into what is archived of it."""

from collections.abc import Mapping
from zoneinfo import ZoneInfo

import numpy as np
from redis.asyncio import Redis

from ticker.candles.candle import Candles
from ticker.candles.interval import INTERVALS
from ticker.importing.counting import Count, Result
from ticker.importing.missed import Missed
from ticker.importing.outage_plan import Plan, plan, ranges_of
from ticker.store.candle_change import Change, Held, change_candles


async def fill(client: Redis, missed: Missed, final: int, zone: ZoneInfo, result: Result, *, dry_run: bool) -> None:
    """Add what the store does not have, and count it; what was added before by a run that was stopped is there."""
    count = result.counts.setdefault((missed.kind, missed.symbol), Count())
    for candles in missed.steps:
        planned = await _step(client, missed, candles, final, zone, dry_run=dry_run)
        # Of ticks, each second counts as often as it has trades.
        rows = candles.column("trades") if missed.kind == "trades" else np.ones(len(candles), np.int64)
        added, there = int(rows[planned.added].sum()), int(rows[planned.there].sum())
        count.filled += added
        count.there += there
        count.overlap += int(rows.sum()) - added - there
        _count_made(result, missed, planned.made)


async def _step(client: Redis, missed: Missed, candles: Candles, final: int, zone: ZoneInfo, *, dry_run: bool) -> Plan:
    planned: list[Plan] = []

    def decide(held: Held) -> Change | None:
        planned.append(plan(missed.base, candles, held, final, zone))
        return None if dry_run else planned[-1].change

    await change_candles(client, missed.symbol, ranges_of(missed.base, candles, zone), decide)
    return planned[-1]


def _count_made(result: Result, missed: Missed, made: Mapping[str, int]) -> None:
    for name, number in made.items():
        if INTERVALS[name] is not missed.base or missed.kind == "trades":
            result.made[f"candles_{name}", missed.symbol] += number
