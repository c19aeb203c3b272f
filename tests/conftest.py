"""What every test may ask for: real servers, a client, and waiting without sleeping for a fixed time."""

import asyncio
import inspect
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from ticker import metrics
from ticker.errors import ConfigError
from ticker.store.connection import connect
from ticker.store.embedded import EmbeddedServer

DEADLINE_S = 15.0
POLL_S = 0.005


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _run_server(data_dir: Path, binary: Path | None = None) -> Iterator[str]:
    """A server for the whole session; it ends with us even where pytest is killed."""
    for attempt in range(5):
        server = EmbeddedServer(data_dir, _free_port(), binary=binary)
        try:
            server.start()
            break
        except ConfigError:
            # Between asking for a free port and using it, somebody else may have.
            if attempt == 4:
                raise
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the Valkey in the wheel."""
    yield from _run_server(tmp_path_factory.mktemp("valkey"))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis from $TICKER_TEST_REDIS_SERVER or the PATH: may be absent on a laptop, but not in CI."""
    binary = shutil.which(os.environ.get("TICKER_TEST_REDIS_SERVER", "redis-server"))
    if binary is None:
        absent = "no redis-server on the PATH; install one, or set TICKER_TEST_REDIS_SERVER to its path"
        if os.environ.get("CI"):
            pytest.fail(absent)
        pytest.skip(absent)
    yield from _run_server(tmp_path_factory.mktemp("redis"), Path(binary))


def _emptied(url: str) -> str:
    with BlockingRedis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def valkey_url(valkey_server: str) -> str:
    """An empty Valkey, for tests to which the kind of server does not matter."""
    return _emptied(valkey_server)


@pytest.fixture(params=["valkey", "redis"])
def redis_url(request: pytest.FixtureRequest) -> str:
    """Each kind of server in turn, empty."""
    return _emptied(request.getfixturevalue(f"{request.param}_server"))


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[Redis]:
    """A client of `redis_url`, made as ticker makes its own."""
    client = connect(redis_url)
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture(autouse=True)
def _limits_are_met(request: pytest.FixtureRequest) -> Iterator[None]:
    """What is marked with limits meets each of them, and the metric tells."""
    names = [str(name) for mark in request.node.iter_markers("limit") for name in mark.args]
    before = {name: _hits(name) for name in names}
    yield
    for name in names:
        assert _hits(name) > before[name], f"ticker_limit_hits_total has not counted {name}"


def _hits(limit: str) -> float:
    value = metrics.REGISTRY.get_sample_value("ticker_limit_hits_total", {"limit": limit})
    assert value is not None, f"no limit is called {limit}"
    return value


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Asks the kernel for a port that nobody uses."""
    return _free_port


@pytest.fixture
def wait_until() -> Callable[..., Awaitable[None]]:
    """Returns what a coroutine awaits until a condition holds, itself perhaps a coroutine function; fails when late."""

    async def wait_until(condition: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            met = condition()
            if await met if inspect.isawaitable(met) else met:
                return
            if time.monotonic() > deadline:
                pytest.fail(_late(condition, timeout_s))
            await asyncio.sleep(POLL_S)

    return wait_until


@pytest.fixture
def block_until() -> Callable[..., None]:
    """The same for tests that are no coroutines."""

    def block_until(condition: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(_late(condition, timeout_s))
            time.sleep(POLL_S)

    return block_until


def _late(condition: Callable[[], object], timeout_s: float) -> str:
    where = getattr(condition, "__code__", None)
    line = f" in line {where.co_firstlineno} of {where.co_filename}" if where else ""
    return f"not met within {timeout_s:g} s: the condition{line}"
