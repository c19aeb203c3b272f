"""Builds every part, in the order in which a tick passes them, and owns their lifetimes."""

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from time import monotonic, perf_counter
from typing import Any

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware

from feeds.feed import Feed
from feeds.market import Market
from feeds.registry import feed_kinds
from ticker.archive.opening import open_archive, sources
from ticker.calendar import feed_hours
from ticker.candles.interval import INTERVALS
from ticker.config import Config
from ticker.errors import StoreUnavailable
from ticker.history.cache import Cache
from ticker.history.candles import CandleHistory
from ticker.history.candles_since import CandlesSince
from ticker.history.formats import Writer
from ticker.history.kept import KeptReader
from ticker.history.snapshots import SnapshotReader
from ticker.history.ticks import TickHistory
from ticker.hub.blocks import Blocks
from ticker.hub.candle_replay import CandleUpstream
from ticker.hub.forming import Forming, Loaded
from ticker.hub.hub import Hub
from ticker.hub.outlet import Outlet
from ticker.hub.pace import Pace
from ticker.hub.relay import Relay
from ticker.hub.replay import Upstream
from ticker.ingest.ingester import Ingester, one_feed_a_symbol, wall_us
from ticker.store import catalog, outages
from ticker.store.candle_store import CandleReader
from ticker.store.connection import answers, check_server, connect
from ticker.store.subscription import Subscription
from ticker.store.tick_stream import TickReader
from ticker.web import instant
from ticker.web.gateway import PRIVATE, Gateway
from ticker.web.gateway import History as Doors
from ticker.web.history import History
from ticker.web.measure import Measured
from ticker.web.ops import Ops, Ping
from ticker.web.problems import HANDLERS
from ticker.web.rate_limit import Quotas, RateLimited, RateLimiter
from ticker.web.rest import Rest
from ticker.web.routes import routes
from ticker.web.security import Origins, SecurityHeaders
from ticker.web.server import RequiredServer

log = logging.getLogger(__name__)

CONNECT_S = 2.0
"""A gateway serves without the store too, but gives it so long before it begins."""
REPLAYS_A_TURN = 8
"""So many resuming clients are written to in one turn of the loop."""
HISTORY_A_TURN = 1
"""So many parts of history's answers are made in one turn of the loop, each of a millisecond or less."""

FAILED = threading.Event()
"""Set once a part of the service has failed: the process ends in order, but not with exit code 0."""

Part = Callable[[], Coroutine[Any, Any, None]]


def make_feeds(config: Config) -> list[Feed]:
    """The feeds of a configuration; may read the beginnings of files. Raises `FeedError` or `ConfigError`."""
    kinds, hours = feed_kinds(), feed_hours(config, wall_us())
    feeds = [kinds[feed.type].make(feed.options, Market(config.market.zone, hours[feed.name])) for feed in config.feeds]
    one_feed_a_symbol(config.feeds, feeds)
    return feeds


@asynccontextmanager
async def running(*parts: Part) -> AsyncIterator[None]:
    """Run these for as long as the block lasts. One that fails ends the process: half a service would only look alive."""

    async def guarded(part: Part) -> None:
        try:
            await part()
        except Exception:
            log.critical("a part of the service failed; stopping", exc_info=True)
            FAILED.set()
            signal.raise_signal(signal.SIGTERM)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(guarded(part)) for part in parts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _connect(config: Config, name: str) -> Redis:
    limits = config.limits
    return connect(
        config.redis.address, name=name, connections_max=limits.store_connections, timeout_s=limits.store_timeout_s
    )


async def check_store(client: Redis) -> None:
    """Refuse a server that does not fit, before anything is built on it."""
    info = await check_server(client)
    if info.warning:
        log.warning("%s", info.warning)
    await catalog.check_schema(client)


@asynccontextmanager
async def ingesting(config: Config, feeds: Sequence[Feed], *, restored: bool = False) -> AsyncIterator[Ingester]:
    """Feeds into the store, for as long as the block lasts; `restored` where it may hold an earlier copy."""
    archive = open_archive(config)
    if archive is not None:
        await asyncio.to_thread(archive.check)
    async with _connect(config, "ticker-ingest") as client:
        await check_store(client)
        ingester = Ingester(client, config, feeds, archive=archive, restored=restored)
        async with running(ingester.run):
            yield ingester


def _soon(after_s: float, call: Callable[[], None]) -> None:
    """In the next turn of the loop, or later."""
    loop = asyncio.get_running_loop()
    if after_s:
        loop.call_later(after_s, call)
    else:
        loop.call_soon(call)


@asynccontextmanager
async def ingesting_apart(
    config: Config, feeds: Sequence[Feed], *, restored: bool = False
) -> AsyncIterator[tuple[Ingester, Starlette]]:
    """The same in a process of its own, with what answers there."""
    async with ingesting(config, feeds, restored=restored) as ingester, _connect(config, "ticker-ingest-ops") as client:
        yield ingester, create_ingest_app(client, ingester)


def make_gateway(client: Redis, config: Config) -> Gateway:
    """The parts of the live and the historical side, put together."""
    zone, candles = config.market.zone, config.candles
    cache = Cache(config.limits.history_cache_bytes)
    chunks, streams = CandleReader(client, cache.unpack), TickReader(client)
    history_pace = Pace(HISTORY_A_TURN)
    grace_us, lateness_us = candles.grace_ms * 1000, candles.lateness_s * 1_000_000
    candle_source, tick_source = sources(config, CandleReader(client, cache.unpack, history_pace), streams)
    ahead_us = config.limits.tick_ahead_s * 1_000_000
    history = Doors(
        CandleHistory(client, candle_source, zone, grace_us, lateness_us),
        TickHistory(tick_source, (candles.lateness_s + config.limits.tick_ahead_s) * 1000),
        SnapshotReader(client, streams, chunks),
        KeptReader(tick_source, candle_source, zone).read,
        cache,
        lambda feed: outages.read(client, feed),
        lambda: catalog.read(client),
        lambda: catalog.read_owners(client),
        history_pace,
    )
    hub = Hub(monotonic, _soon, config.websocket.flush_ms / 1000, recorded=config.limits.replay_recorded)
    gateway = Gateway(config, hub, history)

    async def load(symbol: str, interval: str) -> Loaded:
        builder, span = await history.candles.builder(symbol, INTERVALS[interval], gateway.feed_of(symbol))
        return Loaded(builder, span.epoch, span.seq)

    # Nobody live is sent years of candles: what has aged out of Redis is asked for over REST.
    past = CandlesSince(chunks, zone, lateness_us, ahead_us)
    forming = Forming(hub, load, past, most=config.limits.heal_messages)
    subscription = Subscription(client, gateway.deliver, gateway.connection_changed, PRIVATE)
    outlet = Outlet(hub, forming.on_trade, forming.invalidate)
    relay = Relay(outlet, streams, subscription, heal_most=config.limits.heal_messages)
    blocks = Blocks(streams, config.limits.replay_cache_bytes, config.limits.replay_reads)
    pace = Pace(REPLAYS_A_TURN)
    upstream = Upstream(hub, relay, blocks, streams.ends, pace)
    candle_upstream = CandleUpstream(hub, relay, forming, past, streams.ends, pace)
    gateway.wire(upstream, candle_upstream, subscription)
    return gateway


def create_ingest_app(client: Redis, ingester: Ingester) -> Starlette:
    """What an ingester without a gateway answers: whether it is well, and what it counts."""
    routes = Ops(None, _ping(client), ingester.status).routes()
    return Starlette(
        routes=routes, exception_handlers=HANDLERS, middleware=[Middleware(Measured), Middleware(SecurityHeaders)]
    )


def _ping(client: Redis) -> Ping:
    async def ping() -> bool:
        with suppress(StoreUnavailable), answers("ping"):
            return bool(await client.ping())
        return False

    return ping


def create_app(config: Config, feeds: Sequence[Feed] | None = None, *also: Part, restored: bool = False) -> Starlette:
    """The gateway as an ASGI application; with `feeds`, the ingester runs in the same process. `also` runs beside them.

    `restored`: the store may hold an earlier copy, and the ingester must not count on its numbers.
    """
    client = _connect(config, "ticker-gateway")
    gateway = make_gateway(client, config)
    limiter = _limiter(gateway)
    ingester: list[Ingester] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(client)
            await check_store(client)
            if feeds is not None:
                ingester.append(await stack.enter_async_context(ingesting(config, feeds, restored=restored)))
            await stack.enter_async_context(running(gateway.run, *also))
            await gateway.connected(CONNECT_S)
            yield {instant.KEY: instant.Instant(gateway.answers, limiter, perf_counter)}

    ops = Ops(gateway, _ping(client), lambda: ingester[0].status() if ingester else None)
    history = History(gateway, Writer(gateway.history.cache, gateway.history.pace))
    return Starlette(
        routes=routes(gateway, history, Rest(gateway), ops),
        lifespan=lifespan,
        exception_handlers=HANDLERS,
        middleware=[
            Middleware(RequiredServer),
            Middleware(Measured),
            Middleware(SecurityHeaders),
            Origins(config.server.origins).cors(),
            Middleware(RateLimited, limiter),
        ],
    )


def _limiter(gateway: Gateway) -> RateLimiter:
    def quotas_of(address: str) -> Quotas:
        limits = gateway.limits(address)
        return limits["requests_per_minute"], limits["rows_per_minute"]

    return RateLimiter(quotas_of, gateway.config.limits.rate_addresses)
