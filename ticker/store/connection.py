"""Makes the clients through which everything in Redis is read and written."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ticker import metrics
from ticker.errors import ConfigError, StoreUnavailable
from ticker.store.address import is_tls, read_address, shown
from ticker.store.cancellable import cancellable
from ticker.store.explain import NoPrimary, explain, one_line
from ticker.store.sentinel import SentinelPool

NEEDED = (7, 0)
"""The oldest Redis that has all we use; every Valkey does."""
CONNECT_TIMEOUT_S = 2.0
"""A server on the way to which nobody answers is found out in this time, where `store_timeout_s` is not less."""
NO_CONNECTION = "No connection available"
"""What redis-py says where all connections stay in use."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Which server it is, and what about it deserves a warning."""

    name: str
    version: str
    warning: str | None = None


def connect(
    url: str,
    *,
    connections_max: int = 16,
    timeout_s: float = 5.0,
    name: str | None = None,
) -> Redis:
    """A client with its own pool, which connects at the first command; raises `ConfigError` where `url` is wrong."""
    address = read_address(url)
    options = address.options | {
        "max_connections": connections_max,
        # Where all connections are in use, wait for one; the ordinary pool fails at once.
        "timeout": timeout_s,
        # A command that blocks on the server (XREAD BLOCK) needs more than it blocks for.
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(timeout_s, CONNECT_TIMEOUT_S),
        # By default a command that timed out is sent again, and an append written twice (redis-py issue 3554).
        "retry": Retry(NoBackoff(), 0),
        # RESP3 brings maintenance notifications, for whose sake redis-py no longer looks, before it uses a connection
        # again, whether that still holds the answer to somebody else's command.
        "protocol": 2,
        "decode_responses": False,
        "client_name": name,
    }
    if address.sentinels:
        return Redis.from_pool(SentinelPool(address, **options))
    options["connection_class"] = cancellable(options.get("connection_class", Connection))
    return Redis.from_pool(BlockingConnectionPool(**options))


Part = Literal[
    "append", "archived", "claim", "candles", "heartbeat", "outages", "ping", "snapshots", "symbols", "ticks", "trim"
]
"""What a call of the store is about, for the metrics."""


@contextmanager
def answers(part: Part) -> Iterator[None]:
    """Around one round trip: `StoreUnavailable` where the store does not answer, or refuses for now."""
    began_s = perf_counter()
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, InvalidResponse, OSError) as error:
        raise _no_answer(error, part) from error
    except ResponseError as error:
        metrics.REDIS_ERRORS.labels(part, "refused").inc()
        raise StoreUnavailable(f"the store refuses: {one_line(error)}") from error
    metrics.REDIS_SECONDS.labels(part).observe(perf_counter() - began_s)
    metrics.REDIS_UP.set(1)


def _no_answer(error: Exception, part: Part) -> StoreUnavailable:
    metrics.REDIS_ERRORS.labels(part, "no_answer").inc()
    metrics.REDIS_UP.set(0)
    if isinstance(error, RedisTimeoutError):
        metrics.met("store_timeout_s")
    elif str(error).startswith(NO_CONNECTION):
        metrics.met("store_connections")
    # Which sentinels there are, and what each says, is for the log and no client's business.
    told = "no sentinel names a primary" if isinstance(error, NoPrimary) else one_line(error)
    return StoreUnavailable(f"the store does not answer: {told}")


async def check_server(client: Redis) -> ServerInfo:
    """Ask the server what it is; raises `ConfigError` where it is too old, `StoreUnavailable` where it is not there."""
    pool = client.connection_pool
    address = (
        pool.shown
        if isinstance(pool, SentinelPool)
        else shown(pool.connection_kwargs, tls=is_tls(pool.connection_class))
    )
    try:
        found = identify(await client.info("server"), address)
    except (RedisError, OSError) as error:
        raise StoreUnavailable(explain(address, error)) from error
    return ServerInfo(found.name, found.version, await _eviction(client, address))


def identify(info: Mapping[str, Any], address: str = "the server") -> ServerInfo:
    """The server behind what INFO says; raises `ConfigError` where it is too old, or not one to keep ticks in."""
    mode = info.get("redis_mode") or info.get("server_mode")
    if mode == "sentinel":
        raise ConfigError(f"{address} is a sentinel, which keeps no ticks; write redis+sentinel://HOST:PORT/SERVICE")
    if mode == "cluster":
        raise ConfigError(
            f"{address} is a node of a cluster, which this version does not support; needed is a single server"
        )
    if "valkey_version" in info:
        return ServerInfo("Valkey", str(info["valkey_version"]))
    version = str(info.get("redis_version", ""))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if not numbers:
        raise ConfigError(f"{address} does not say which version it is; needed is Redis >= 7.0 or Valkey")
    if (int(numbers[1]), int(numbers[2])) < NEEDED:
        raise ConfigError(f"{address} is Redis {version}; needed is Redis >= 7.0 or Valkey")
    return ServerInfo("Redis", version)


async def _eviction(client: Redis, address: str) -> str | None:
    """A warning where the server would throw away ticks to make room."""
    try:
        found = await client.config_get("maxmemory", "maxmemory-policy")
    except ResponseError:
        # Hosted servers and careful users do not allow CONFIG.
        return None
    except (RedisError, OSError) as error:
        raise StoreUnavailable(explain(address, error)) from error
    settings = {_text(name): _text(value) for name, value in found.items()}
    policy = settings.get("maxmemory-policy", "noeviction")
    if policy == "noeviction" or settings.get("maxmemory", "0") == "0":
        return None
    return (
        f"{address} has maxmemory {settings['maxmemory']} and maxmemory-policy {policy}: "
        "it throws ticks and candles away when it is full; set maxmemory-policy to noeviction"
    )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
