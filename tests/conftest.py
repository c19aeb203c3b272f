"""What every test may ask for: real servers, a client, and waiting without sleeping for a fixed time."""

import asyncio
import inspect
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ledger.processes import free_port as unused_port
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ticker import metrics
from ticker.errors import ConfigError
from ticker.store.connection import connect
from ticker.store.embedded import EmbeddedServer, _bundled_binary

DEADLINE_S = 15.0
POLL_S = 0.005


def _run_server(data_dir: Path, binary: Path | None = None) -> Iterator[str]:
    """A server for the whole session; it ends with us even where pytest is killed."""
    for attempt in range(5):
        server = EmbeddedServer(data_dir, unused_port(), binary=binary)
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


ENDS_WITH_US = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
"""On Linux the kernel kills it when we are gone, be it by SIGKILL."""


class Failover:
    """A primary and its replica, which three sentinels watch; all want a password, the sentinels another one."""

    SERVICE, PASSWORD, SENTINEL_PASSWORD = "mymaster", "of-the-store", "of-the-sentinels"

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.servers: dict[int, EmbeddedServer] = {}
        self._primary, replica = self._server("one"), self._server("two")
        for port in (self._primary, replica):
            with BlockingRedis(port=port) as client:
                client.config_set("masterauth", self.PASSWORD)
                client.config_set("repl-diskless-sync-delay", 0)
                client.config_set("requirepass", self.PASSWORD)
        self.command(replica, "REPLICAOF", "127.0.0.1", str(self._primary))
        _wait(lambda: self.is_copying(replica))
        self.sentinels = [self._sentinel(name) for name in ("three", "four", "five")]
        _wait(lambda: all(self._is_ready(port) for port in self.sentinels))

    @property
    def url(self) -> str:
        """What `redis.url` is told; the first sentinel in it does not exist."""
        places = ",".join(f"127.0.0.1:{port}" for port in (unused_port(), *self.sentinels))
        return f"redis+sentinel://:{self.PASSWORD}@{places}/{self.SERVICE}?sentinel_password={self.SENTINEL_PASSWORD}"

    @property
    def primary(self) -> int:
        """The port of the one that a sentinel says is the primary."""
        (_, port) = self.ask(self.sentinels[0], "SENTINEL GET-MASTER-ADDR-BY-NAME", self.SERVICE)
        return int(port)

    def is_copying(self, port: int) -> bool:
        """Whether a server is a replica that has all that its primary had when it came."""
        return "master_link_status:up" in str(self.command(port, "INFO replication"))

    def command(self, port: int, *words: str) -> object:
        """One command to one of the servers."""
        with BlockingRedis(port=port, password=self.PASSWORD) as client:
            return client.execute_command(*words)

    def kill_primary(self) -> int:
        """SIGKILL; its port."""
        port = self.primary
        pid = self.servers[port].pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        return port

    def _server(self, name: str) -> int:
        server = EmbeddedServer(self._folder / name, unused_port())
        self._stack.callback(server.stop)
        server.start()
        self.servers[server.port] = server
        return server.port

    def _sentinel(self, name: str) -> int:
        port, folder = unused_port(), self._folder / name
        folder.mkdir()
        (folder / "sentinel.conf").write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nrequirepass {self.SENTINEL_PASSWORD}\n"
            f"sentinel sentinel-pass {self.SENTINEL_PASSWORD}\n"
            f"sentinel monitor {self.SERVICE} 127.0.0.1 {self._primary} 2\n"
            f"sentinel auth-pass {self.SERVICE} {self.PASSWORD}\n"
            f"sentinel down-after-milliseconds {self.SERVICE} 500\nsentinel failover-timeout {self.SERVICE} 3000\n"
        )
        guard = (sys.executable, "-c", ENDS_WITH_US) if sys.platform == "linux" else ()
        process = subprocess.Popen(
            [*guard, str(_bundled_binary()), str(folder / "sentinel.conf"), "--sentinel"], stdout=subprocess.DEVNULL
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return port

    def _is_ready(self, port: int) -> bool:
        try:
            told = self.ask(port, "SENTINEL MASTER", self.SERVICE)
        except RedisError:
            return False
        assert isinstance(told, dict)
        return told["num-other-sentinels"] == 2 and told["num-slaves"] == 1

    def ask(self, port: int, *words: str) -> Any:
        """One command to one of the sentinels."""
        with BlockingRedis(port=port, password=self.SENTINEL_PASSWORD, protocol=2, socket_timeout=1) as client:
            return client.execute_command(*words)


@pytest.fixture
def failover(tmp_path: Path) -> Iterator[Failover]:
    """Servers that stand in for one another."""
    with ExitStack() as stack:
        yield Failover(tmp_path, stack)


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
    """A port that nobody uses, and that nobody is given before the test has it."""
    return unused_port


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
    return _wait


def _wait(condition: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(_late(condition, timeout_s))
        time.sleep(POLL_S)


def _late(condition: Callable[[], object], timeout_s: float) -> str:
    where = getattr(condition, "__code__", None)
    line = f" in line {where.co_firstlineno} of {where.co_filename}" if where else ""
    return f"not met within {timeout_s:g} s: the condition{line}"
