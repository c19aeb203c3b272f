"""Tells the gateways four times a second that this ingester lives, and how each feed is; notes when one was away."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic

from redis.asyncio import Redis

from feeds.trading_hours import TradingHours
from ticker import codec
from ticker.errors import StoreUnavailable
from ticker.ingest.feed_runner import FeedRunner
from ticker.ingest.outage_log import MISSED_S, OutageLog
from ticker.store import keys, outages
from ticker.store.connection import answers
from ticker.store.lease import Lease

HEARTBEAT_S = 0.25

_Note = tuple[int, float, outages.Outage | None, list[outages.Outage]]
"""Of a feed at one beat: the wall clock and the monotonic one, what lasts, and what is over."""


class Heartbeat:
    """The heart of one ingester. It renews the lease too: who is heard of lives, and who lives is heard of."""

    def __init__(
        self,
        client: Redis,
        lease: Lease,
        runners: Sequence[FeedRunner],
        now_us: Callable[[], int],
        on_doubt: Callable[[], None],
        hours: Mapping[str, TradingHours],
    ) -> None:
        """`on_doubt` is called where the store may have lost something, or others have counted us as dead.

        `hours` of each feed: outside of them, nothing is missed.
        """
        self._client = client
        self._lease = lease
        self._runners = runners
        self._now_us = now_us
        self._on_doubt = on_doubt
        self._hours = hours
        self._outages = OutageLog()
        self._store_failed = False
        """Whether it was the store that kept the last beat from being heard in time."""
        self._server = ""
        """The run of the server that answered last."""

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            for runner in self._runners:
                runner.note_health()
            begun_s = monotonic()
            try:
                await self._beat()
                # A late answer is none for those who wait for this beat.
                self._store_failed = monotonic() - begun_s > MISSED_S - HEARTBEAT_S
            except StoreUnavailable:
                # The runners report it, and its absence is what the gateways look for.
                self._store_failed = True
            await asyncio.sleep(HEARTBEAT_S)

    async def _beat(self) -> None:
        # Of a feed that stands by, whoever writes it is the one to speak.
        writing = [runner for runner in self._runners if runner.is_writing]
        begun = [runner for runner in writing if runner.has_claimed]
        noted = await self._books(begun)
        clocks = {runner.name: runner.clock for runner in writing if runner.clock}
        with answers("heartbeat"):
            async with self._client.pipeline(transaction=False) as pipe:
                self._lease.renew_in(pipe)
                pipe.info("server")
                if clocks:
                    pipe.hset(keys.CLOCKS, mapping=clocks)  # type: ignore[arg-type]
                for feed, (now_us, _, lasting, over) in noted.items():
                    outages.put(pipe, feed, outages.Beat(now_us, lasting), over)
                if writing:
                    feeds = {runner.name: runner.status() for runner in writing}
                    told = {"ingester": self._lease.id, "time": self._now_us(), "feeds": feeds}
                    pipe.publish(keys.HEARTBEAT, codec.to_json(told))
                renewed, info, *_ = await pipe.execute()
        for feed, (now_us, now_s, lasting, _) in noted.items():
            self._outages.noted(feed, lasting, now_us, now_s)
        server, self._server = self._server, str(info.get("run_id", ""))
        if renewed is None or self._server != server:
            self._on_doubt()

    async def _books(self, writing: Sequence[FeedRunner]) -> dict[str, _Note]:
        """What is to be noted of each feed; only once its symbols are claimed is its book ours."""
        names = {runner.name for runner in writing}
        for runner in self._runners:
            if runner.name not in names:
                self._outages.forget(runner.name)
        found: dict[str, _Note] = {}
        for runner in writing:
            if not self._outages.knows(runner.name):
                before = await outages.last_beat(self._client, runner.name)
                self._outages.open(runner.name, before, self._now_us(), monotonic())
            now_us, now_s = self._now_us(), monotonic()
            lasting, over = self._outages.beat(
                runner.name, runner.state, runner.reason, now_us, now_s, store_failed=self._store_failed
            )
            found[runner.name] = now_us, now_s, lasting, self._while_open(runner.name, over)
        return found

    def _while_open(self, feed: str, over: Sequence[outages.Outage]) -> list[outages.Outage]:
        """What of these fell into the feed's hours."""
        return [
            replace(outage, begin=begin, end=end)
            for outage in over
            for begin, end in self._hours[feed].between(outage.begin, outage.end or outage.begin)
        ]
