"""Makes the clients through which everything in Redis is read and written."""

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qs, urlsplit

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ticker import metrics
from ticker.errors import ConfigError, StoreUnavailable

NEEDED = (7, 0)
"""The oldest Redis that has all we use; every Valkey does."""
DEFAULT_PORT = 6379
CONNECT_TIMEOUT_S = 2.0
"""A server on the way to which nobody answers is found out in this time, where `store_timeout_s` is not less."""
NO_CONNECTION = "No connection available"
"""What redis-py says where all connections stay in use."""
_ESCAPE = "in a password, write / ? # @ : % as %2F %3F %23 %40 %3A %25"
EXPECTED = "redis://HOST:PORT/DB, rediss://HOST:PORT/DB (TLS), unix:///PATH, or embedded"

_LOGIN = frozenset({"db", "username", "password"})
_TLS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
QUERY = {"redis": _LOGIN, "rediss": _LOGIN | _TLS, "unix": _LOGIN}
"""What may stand behind the `?` of a URL. All else would override what `connect` sets, or fail at the first command."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Which server it is, and what about it deserves a warning."""

    name: str
    version: str
    warning: str | None = None


class _Cancellable:
    """Sends so that whoever is cancelled meanwhile is cancelled.

    redis-py sends under `asyncio.wait_for`, which before Python 3.12 may swallow a cancellation (cpython issue 81839): a
    task that is cancelled once, at the wrong moment, would go on for ever.
    """

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """The same under a timeout of our own."""
        timeout_s, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(timeout_s):
                await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except TimeoutError:
            raise RedisTimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = timeout_s


def _cancellable(kind: type) -> type:
    return type(f"Cancellable{kind.__name__}", (_Cancellable, kind), {})


def connect(
    url: str,
    *,
    connections_max: int = 16,
    timeout_s: float = 5.0,
    name: str | None = None,
) -> Redis:
    """A client with its own pool, which connects at the first command; raises `ConfigError` where `url` is wrong."""
    options = _options(url)
    options |= {
        "connection_class": _cancellable(options.get("connection_class", Connection)),
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
    return Redis.from_pool(BlockingConnectionPool(**options))


Part = Literal["append", "claim", "candles", "heartbeat", "ping", "snapshots", "symbols", "ticks", "trim"]
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
        raise StoreUnavailable(f"the store refuses: {_one_line(error)}") from error
    metrics.REDIS_SECONDS.labels(part).observe(perf_counter() - began_s)
    metrics.REDIS_UP.set(1)


def _no_answer(error: Exception, part: Part) -> StoreUnavailable:
    metrics.REDIS_ERRORS.labels(part, "no_answer").inc()
    metrics.REDIS_UP.set(0)
    if isinstance(error, RedisTimeoutError):
        metrics.met("store_timeout_s")
    elif str(error).startswith(NO_CONNECTION):
        metrics.met("store_connections")
    return StoreUnavailable(f"the store does not answer: {_one_line(error)}")


async def check_server(client: Redis) -> ServerInfo:
    """Ask the server what it is; raises `ConfigError` where it is too old, `StoreUnavailable` where it is not there."""
    address = _address(client.connection_pool.connection_kwargs, tls=_is_tls(client.connection_pool.connection_class))
    try:
        found = identify(await client.info("server"), address)
    except (RedisError, OSError) as error:
        raise StoreUnavailable(_explain(address, error)) from error
    return ServerInfo(found.name, found.version, await _eviction(client, address))


def identify(info: Mapping[str, Any], address: str = "the server") -> ServerInfo:
    """The server behind what INFO says; raises `ConfigError` where it is too old."""
    if "valkey_version" in info:
        return ServerInfo("Valkey", str(info["valkey_version"]))
    version = str(info.get("redis_version", ""))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if not numbers:
        raise ConfigError(f"{address} does not say which version it is; needed is Redis >= 7.0 or Valkey")
    if (int(numbers[1]), int(numbers[2])) < NEEDED:
        raise ConfigError(f"{address} is Redis {version}; needed is Redis >= 7.0 or Valkey")
    return ServerInfo("Redis", version)


def public_address(url: str) -> str:
    """The URL without user, password and options, fit for logs; of one that makes no sense, nothing but the scheme."""
    try:
        options = _options(url)
    except ConfigError:
        scheme = url.partition("://")[0]
        return f"{scheme}://***" if scheme in QUERY else "***"
    return _address(options, tls=_is_tls(options.get("connection_class")))


def _options(url: str) -> dict[str, Any]:
    """What redis-py makes of a URL, once nothing in it can surprise."""
    # No message quotes the URL: where a password holds an unescaped `/`, `?` or `#`, any part of it may be secret.
    scheme, found, _ = url.partition("://")
    if scheme not in QUERY:
        shown = f"the scheme {scheme!r}" if found and scheme.replace("+", "").isalnum() else "no scheme"
        raise ConfigError(f"redis.url has {shown}; expected {EXPECTED}")
    try:
        parts = urlsplit(url)
        # Reading it is what checks it.
        _ = parts.port
    except ValueError:
        raise ConfigError(f"redis.url: host and port cannot be read; {_ESCAPE}; expected {EXPECTED}") from None
    _check_place(parts)
    unknown = parse_qs(parts.query, keep_blank_values=True).keys() - QUERY[parts.scheme]
    if unknown:
        allowed = ", ".join(sorted(QUERY[parts.scheme]))
        raise ConfigError(f"redis.url has options behind '?' that are not known; allowed for {parts.scheme}: {allowed}")
    try:
        return dict(parse_url(url))
    except ValueError as error:
        raise ConfigError(f"redis.url: {error}") from None


def _check_place(parts: SplitResult) -> None:
    """Host and database, or path: what redis-py would fill in by a guess."""
    if parts.scheme == "unix":
        if len(parts.path) < 2 or "@" in parts.path or parts.hostname:
            raise ConfigError(f"redis.url names no socket; {_ESCAPE}; expected unix:///PATH (three slashes)")
        return
    if not parts.hostname:
        raise ConfigError(f"redis.url names no host; expected {parts.scheme}://HOST:PORT/DB")
    if not re.fullmatch(r"/?[0-9]*", parts.path) or parts.fragment or "@" in parts.query:
        raise ConfigError(
            f"redis.url: what follows host and port is no number of a database; {_ESCAPE}; "
            f"expected {parts.scheme}://HOST:PORT/DB"
        )


def _address(options: Mapping[str, Any], *, tls: bool) -> str:
    database = f"/{options['db']}" if options.get("db") else ""
    if "path" in options:
        return f"unix://{options['path']}{database and '?db=' + database[1:]}"
    host = options.get("host", "localhost")
    host = f"[{host}]" if ":" in host else host
    return f"{'rediss' if tls else 'redis'}://{host}:{options.get('port', DEFAULT_PORT)}{database}"


def _is_tls(connection_class: object) -> bool:
    return isinstance(connection_class, type) and issubclass(connection_class, SSLConnection)


async def _eviction(client: Redis, address: str) -> str | None:
    """A warning where the server would throw away ticks to make room."""
    try:
        found = await client.config_get("maxmemory", "maxmemory-policy")
    except ResponseError:
        # Hosted servers and careful users do not allow CONFIG.
        return None
    except (RedisError, OSError) as error:
        raise StoreUnavailable(_explain(address, error)) from error
    settings = {_text(name): _text(value) for name, value in found.items()}
    policy = settings.get("maxmemory-policy", "noeviction")
    if policy == "noeviction" or settings.get("maxmemory", "0") == "0":
        return None
    return (
        f"{address} has maxmemory {settings['maxmemory']} and maxmemory-policy {policy}: "
        "it throws ticks and candles away when it is full; set maxmemory-policy to noeviction"
    )


def _explain(address: str, error: Exception) -> str:
    """One line: what happened and what to look at."""
    told = _one_line(error)
    match error:
        case AuthenticationError():
            return f"{address} refuses the login ({told}); check user and password in redis.url"
        case NoPermissionError():
            return f"{address} lacks a right for the user of redis.url ({told}); allow it in the server's ACL"
        case BusyLoadingError():
            return f"{address} is still loading its data; try again in a moment"
        case ResponseError() if "DB index" in told:
            return f"{address} has no such database ({told}); check the number at the end of redis.url"
        case RedisTimeoutError():
            return f"{address} does not answer in time; check host and port of redis.url, and whether it speaks TLS"
        case InvalidResponse():
            return f"{address} does not speak the Redis protocol; check host and port of redis.url"
        case RedisConnectionError() | OSError():
            return f"{address} cannot be reached ({told}); check that the server runs, and host and port of redis.url"
    return f"{address} cannot be used ({told}); check redis.url"


def _one_line(error: Exception) -> str:
    told = " ".join(str(error).split()) or type(error).__name__
    if refused := re.match(r"Error (\d+) connecting to .* Connect call failed", told):
        return os.strerror(int(refused[1]))
    return re.sub(r"^Error -?\d+ connecting to \S+\. ", "", told).rstrip(".")


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
