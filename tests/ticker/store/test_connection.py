"""Clients never send a command twice, and each thing that can be wrong with a server is told in one line."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, InvalidResponse, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ticker.errors import ConfigError, StoreUnavailable
from ticker.store.address import public_address
from ticker.store.connection import ServerInfo, answers, check_server, connect, identify

SECRET = "hunter2"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def info(text: str) -> dict[str, str]:
    """An INFO reply, read as redis-py reads it."""
    return dict(line.split(":", 1) for line in text.splitlines() if not line.startswith("#"))


@pytest.fixture
async def stranger() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    """Starts something that is no Redis; returns its URL."""
    servers: list[asyncio.Server] = []

    async def start(handler: Handler) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            finally:
                writer.close()

        servers.append(await asyncio.start_server(handle, "127.0.0.1", 0))
        return f"redis://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


async def refusal(url: str, **options: Any) -> str:
    """What check_server says of a server that it cannot ask."""
    client = connect(url, **options)
    try:
        with pytest.raises(StoreUnavailable) as refused:
            await check_server(client)
    finally:
        await client.aclose()
    line = str(refused.value)
    assert "\n" not in line
    assert SECRET not in line
    return line


class TestConnect:
    async def test_it_speaks_to_each_server(self, redis_client: Redis) -> None:
        """Bytes go in and come out."""
        await redis_client.set("a", b"\xff\x00")
        assert await redis_client.get("a") == b"\xff\x00"

    async def test_the_database_is_the_one_of_the_url(self, redis_url: str) -> None:
        """The number behind the port."""
        async with connect(f"{redis_url}/3", name="tests") as client:
            found = await client.client_info()
        assert found["db"] == 3
        assert found["name"] == "tests"

    async def test_a_command_is_never_sent_twice(self, stranger: Callable[[Handler], Awaitable[str]]) -> None:
        """A server that stalls has got it once, and the caller learns of the timeout."""
        received = bytearray()

        async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(4096):
                received.extend(data)
                # What redis-py says of itself at the start of each connection is answered, XADD is not.
                writer.write(b"+OK\r\n" * data.count(b"SETINFO"))

        async with connect(await stranger(stall), timeout_s=0.2) as client:
            with pytest.raises(RedisTimeoutError):
                await client.xadd("s", {"n": 1})
        assert received.count(b"XADD") == 1

    async def test_a_lost_connection_is_not_hidden(
        self, redis_client: Redis, redis_url: str, wait_until: Callable[..., Awaitable[None]]
    ) -> None:
        """The command that was under way fails; the next one connects anew."""
        async with connect(redis_url) as other, asyncio.TaskGroup() as tasks:

            async def is_blocked() -> bool:
                return any("blpop" in one["cmd"] for one in await other.client_list())

            async def pop() -> None:
                with pytest.raises(RedisConnectionError):
                    await redis_client.blpop(["nothing"], timeout=4)

            tasks.create_task(pop())
            await wait_until(is_blocked)
            await other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
        assert await redis_client.ping()

    async def test_a_connection_with_an_unread_answer_is_not_used(
        self, redis_client: Redis, wait_until: Callable[..., Awaitable[None]]
    ) -> None:
        """Nobody gets the answer to somebody else's command (what maintenance notifications would switch off)."""
        pool = redis_client.connection_pool
        await redis_client.set("mine", "mine")
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        await connection.send_command("ECHO", "not yours")
        await wait_until(connection.can_read)
        await pool.release(connection)
        assert await redis_client.get("mine") == b"mine"

    async def test_the_pool_is_bounded(self, redis_url: str) -> None:
        """Commands over the bound wait for a connection, and no longer than the timeout."""
        async with connect(redis_url, connections_max=2, timeout_s=0.3) as client:
            assert all(await asyncio.gather(*(client.ping() for _ in range(50))))
            assert len(await client.client_list()) <= 2
            held = [await client.connection_pool.get_connection() for _ in range(2)]  # type: ignore[no-untyped-call]
            with pytest.raises(RedisConnectionError, match="No connection available"):
                await client.ping()
            for connection in held:
                await client.connection_pool.release(connection)
            assert await client.ping()

    async def test_a_unix_socket_will_do(self) -> None:
        """The path is the socket's, the database stands behind the question mark."""
        client = connect("unix:///run/redis.sock?db=2")
        assert client.connection_pool.connection_kwargs["path"] == "/run/redis.sock"
        assert client.connection_pool.connection_kwargs["db"] == 2
        await client.aclose()

    async def test_tls_checks_who_answers(self) -> None:
        """Certificates are checked unless the URL says otherwise."""
        client = connect("rediss://db.example.com/0?ssl_ca_certs=/etc/ca.pem")
        connection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        assert connection.ssl_context.ca_certs == "/etc/ca.pem"
        assert connection.ssl_context.check_hostname
        await client.aclose()

    async def test_login_stands_in_the_url(self) -> None:
        """With whatever must be escaped."""
        client = connect("redis://ann%40home:p%2Fw%3A%23@db.example.com")
        assert client.connection_pool.connection_kwargs["username"] == "ann@home"
        assert client.connection_pool.connection_kwargs["password"] == "p/w:#"
        await client.aclose()

    @pytest.mark.parametrize(
        ("url", "found"),
        [
            (f"redis+cluster://:{SECRET}@a:6379,b:6379", "a Redis Cluster (redis+cluster://) is not supported"),
            (f"http://:{SECRET}@a", "the scheme 'http'"),
            (f"{SECRET}@a:6379", "no scheme"),
            ("localhost:6379", "no scheme"),
            ("", "no scheme"),
            (f"redis://:{SECRET}/2@a:6379", "cannot be read"),
            (f"redis://:12/{SECRET}@a:6379", "names no host"),
            (f"redis://ann:12/{SECRET}@a", "no number of a database"),
            (f"redis://ann:12?{SECRET}@a", "no number of a database"),
            (f"redis://ann:12#{SECRET}@a", "no number of a database"),
            ("redis://a:99999", "cannot be read"),
            ("redis://[::1", "cannot be read"),
            ("redis:///0", "names no host"),
            ("redis://a/main", "no number of a database"),
            ("redis://a/0?db=x", "Invalid value for 'db'"),
            ("redis://a/0?retry_on_timeout=1", "not known; allowed for redis: db, password, username"),
            ("redis://a/0?ssl_ca_certs=x", "not known"),
            ("redis://a/0?decode_responses=", "not known"),
            ("unix://", "names no socket"),
            ("unix://run/redis.sock", "names no socket"),
            (f"unix://ann:{SECRET}/{SECRET}@/run/redis.sock", "cannot be read"),
            ("redis+sentinel://a:26379", "does not say what the sentinels watch (as in /mymaster)"),
            ("redis+sentinel://a:26379,b:26379/?db=1", "does not say what the sentinels watch"),
            ("redis+sentinel://a:26379,/main", "the hosts and ports of the sentinels cannot be read"),
            ("redis+sentinel:///main", "the hosts and ports of the sentinels cannot be read"),
            ("redis+sentinel://a:99999/main", "the hosts and ports of the sentinels cannot be read"),
            (f"redis+sentinel://:{SECRET}/2@a/main", "the hosts and ports of the sentinels cannot be read"),
            (f"redis+sentinel://ann:12/{SECRET}@a/main", "no service and number"),
            (f"redis+sentinel://ann/{SECRET}@a/main", "no service and number"),
            (f"redis+sentinel://ann/main?{SECRET}@a/main", "no service and number"),
            ("redis+sentinel://a/main/x", "no service and number"),
            ("redis+sentinel://a/main/0/1", "no service and number"),
            (
                "redis+sentinel://a/main?ssl_ca_certs=x",
                "not known; allowed for redis+sentinel: db, password, sentinel_",
            ),
            ("rediss+sentinel://a/main?min_other_sentinels=1", "not known; allowed for rediss+sentinel"),
        ],
    )
    def test_a_wrong_url_is_refused(self, url: str, found: str) -> None:
        """One line says what was found and what is allowed, and lets no part of a password out."""
        with pytest.raises(ConfigError) as refused:
            connect(url)
        line = str(refused.value)
        assert line.startswith("redis.url")
        assert found in line
        assert SECRET not in line
        assert "\n" not in line


class TestPublicAddress:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("redis://a", "redis://a:6379"),
            ("redis://a:6380/0", "redis://a:6380"),
            ("redis://a:6380/2", "redis://a:6380/2"),
            ("redis://a:6380?db=2", "redis://a:6380/2"),
            (f"redis://ann:{SECRET}@a/1", "redis://a:6379/1"),
            (f"redis://:{SECRET}@[::1]:6380", "redis://[::1]:6380"),
            (f"rediss://:{SECRET}%2F{SECRET}@a?ssl_keyfile=x", "rediss://a:6379"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
            (f"unix://ann:{SECRET}@/run/redis.sock?db=1&password={SECRET}@{SECRET}", "unix:///run/redis.sock?db=1"),
            (f"redis://:{SECRET}/x@a", "redis://***"),
            (f"redis+sentinel://ann:{SECRET}@a,[::1]:1/main", "redis+sentinel://a:26379,[::1]:1/main"),
            (f"redis+sentinel://a/main/2?sentinel_password={SECRET}", "redis+sentinel://a:26379/main/2"),
            (f"rediss+sentinel://a/main?db=3&ssl_keyfile={SECRET}", "rediss+sentinel://a:26379/main/3"),
            (f"redis+sentinel://:{SECRET}@a:x/main", "redis+sentinel://***"),
            (f"redis://a/0?x={SECRET}", "redis://***"),
            (f"mysql://:{SECRET}@a", "***"),
            (SECRET, "***"),
        ],
    )
    def test_it_shows_no_secret(self, url: str, shown: str) -> None:
        """Host, port and database; of a URL that cannot be understood, nothing."""
        assert public_address(url) == shown


class TestIdentify:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone", ServerInfo("Redis", "7.0.15")),
            ("redis_version:8.2.1", ServerInfo("Redis", "8.2.1")),
            ("redis_version:10.0.0", ServerInfo("Redis", "10.0.0")),
            ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2", ServerInfo("Valkey", "9.1.2")),
            # Valkey may one day stop claiming to be a Redis.
            ("valkey_version:7.2.5", ServerInfo("Valkey", "7.2.5")),
        ],
    )
    def test_servers_that_will_do(self, text: str, found: ServerInfo) -> None:
        """Redis from 7.0, and Valkey whatever Redis it says it is."""
        assert identify(info(text)) == found

    @pytest.mark.parametrize("version", ["6.2.14", "5.0.7", "2.8.24", "6.9.240"])
    def test_an_old_redis_is_refused(self, version: str) -> None:
        """One line names the server, what it is, and what is needed."""
        with pytest.raises(ConfigError) as refused:
            identify(info(f"redis_version:{version}"), "redis://a:6379")
        assert str(refused.value) == f"redis://a:6379 is Redis {version}; needed is Redis >= 7.0 or Valkey"

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            (
                "redis_version:7.2.4\r\nredis_mode:sentinel",
                "is a sentinel, which keeps no ticks; write redis+sentinel://",
            ),
            ("valkey_version:9.1.2\r\nserver_mode:cluster", "is a node of a cluster"),
        ],
    )
    def test_a_server_of_another_kind_is_refused(self, text: str, found: str) -> None:
        """Whatever its version."""
        with pytest.raises(ConfigError) as refused:
            identify(info(text), "redis://a:6379")
        assert found in str(refused.value)

    @pytest.mark.parametrize("text", ["", "redis_version:", "redis_version:unstable"])
    def test_a_server_without_a_version_is_refused(self, text: str) -> None:
        """It may be anything."""
        with pytest.raises(ConfigError, match="does not say which version"):
            identify(info(text))


class TestCheckServer:
    async def test_real_servers_pass(self, redis_client: Redis, redis_url: str) -> None:
        """Those that the tests run are recent and keep everything."""
        found = await check_server(redis_client)
        assert found.name in ("Redis", "Valkey")
        assert int(found.version.split(".")[0]) >= 7
        assert found.warning is None

    async def test_eviction_is_warned_of(self, redis_client: Redis, redis_url: str) -> None:
        """Only where there is a limit and a policy that throws away."""
        try:
            await redis_client.config_set("maxmemory-policy", "allkeys-lru")
            assert (await check_server(redis_client)).warning is None
            await redis_client.config_set("maxmemory", "100mb")
            warning = (await check_server(redis_client)).warning
            assert warning
            assert "104857600" in warning
            assert "allkeys-lru" in warning
            assert "noeviction" in warning
            assert public_address(redis_url) in warning
            await redis_client.config_set("maxmemory-policy", "noeviction")
            assert (await check_server(redis_client)).warning is None
        finally:
            await redis_client.config_set("maxmemory-policy", "noeviction")
            await redis_client.config_set("maxmemory", "0")

    async def test_config_may_be_denied(self, redis_client: Redis, redis_url: str) -> None:
        """Then nothing is known of eviction, and all is well."""
        await redis_client.acl_setuser("poor", enabled=True, passwords=[f"+{SECRET}"], commands=["+info"])
        try:
            async with connect(_with_login(redis_url, "poor")) as client:
                found = await check_server(client)
            assert found.warning is None
        finally:
            await redis_client.acl_deluser("poor")

    async def test_info_must_be_allowed(self, redis_client: Redis, redis_url: str) -> None:
        """The line names the command that is lacking."""
        await redis_client.acl_setuser("poor", enabled=True, passwords=[f"+{SECRET}"], commands=["+ping"])
        try:
            line = await refusal(_with_login(redis_url, "poor"))
        finally:
            await redis_client.acl_deluser("poor")
        assert line.startswith(f"{redis_url} lacks a right")
        assert "'info'" in line

    async def test_a_wrong_password_is_told(self, redis_url: str) -> None:
        """The line names the address, not the password."""
        line = await refusal(_with_login(redis_url, "nobody"))
        assert line.startswith(f"{redis_url} refuses the login")
        assert "check user and password" in line

    async def test_a_missing_password_is_told(self, redis_client: Redis, redis_url: str) -> None:
        """A server that wants one, and a URL without."""
        await redis_client.config_set("requirepass", SECRET)
        try:
            line = await refusal(redis_url)
        finally:
            await redis_client.config_set("requirepass", "")
        assert line.startswith(f"{redis_url} refuses the login")

    async def test_a_database_that_is_not_there_is_told(self, redis_url: str) -> None:
        """The line names the number."""
        line = await refusal(f"{redis_url}/9999")
        assert line.startswith(f"{redis_url}/9999 has no such database")

    async def test_a_server_that_is_not_there_is_told(self, free_port: Callable[[], int]) -> None:
        """Nobody listens on the port."""
        port = free_port()
        line = await refusal(f"redis://:{SECRET}@127.0.0.1:{port}")
        assert line == (
            f"redis://127.0.0.1:{port} cannot be reached (Connection refused); "
            "check that the server runs, and host and port of redis.url"
        )

    async def test_a_host_that_is_not_there_is_told(self) -> None:
        """The name is reserved never to exist."""
        line = await refusal("redis://no-such-host.invalid")
        assert line.startswith("redis://no-such-host.invalid:6379 cannot be reached (")

    async def test_a_socket_that_is_not_there_is_told(self) -> None:
        """The line names the path."""
        line = await refusal("unix:///tmp/no/such.sock")
        assert line.startswith(f"unix:///tmp/no/such.sock cannot be reached ({os.strerror(2)})")

    async def test_a_server_that_is_still_loading_is_told(self, stranger: Callable[[Handler], Awaitable[str]]) -> None:
        """It will answer in a moment."""

        async def load(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(4096):
                writer.write(b"-LOADING Valkey is loading the dataset in memory\r\n" * data.count(b"*"))

        assert "is still loading its data" in await refusal(await stranger(load))

    async def test_a_silent_server_is_told(self, stranger: Callable[[Handler], Awaitable[str]]) -> None:
        """It takes the connection and says nothing, like one that expects TLS."""

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(4096):
                pass

        assert "does not answer in time" in await refusal(await stranger(listen), timeout_s=0.1)

    async def test_a_web_server_is_told(self, stranger: Callable[[Handler], Awaitable[str]]) -> None:
        """Something answers that is no Redis."""

        async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            await reader.read()

        assert "does not speak the Redis protocol" in await refusal(await stranger(http))

    async def test_tls_to_a_plain_server_is_told(self, redis_url: str) -> None:
        """The line still names the address as given."""
        line = await refusal(redis_url.replace("redis://", "rediss://"), timeout_s=0.3)
        assert line.startswith(redis_url.replace("redis://", "rediss://"))


class TestAnswers:
    @pytest.mark.parametrize(
        "error",
        [
            RedisConnectionError("Connection closed by server."),
            RedisTimeoutError("Timeout reading"),
            InvalidResponse("Protocol error"),
            ConnectionResetError("reset"),
        ],
    )
    def test_silence_becomes_unavailable(self, error: Exception) -> None:
        """Whatever ended the connection."""
        with pytest.raises(StoreUnavailable, match="the store does not answer") as raised, answers("ping"):
            raise error
        assert raised.value.__cause__ is error

    def test_a_refusal_becomes_unavailable(self) -> None:
        """As of a full disk; the server's own words are kept."""
        with pytest.raises(StoreUnavailable, match="the store refuses: MISCONF Errors writing"), answers("ping"):
            raise ResponseError("MISCONF Errors writing to the AOF file")

    def test_a_mistake_of_ours_stays_one(self) -> None:
        """What was never sent says nothing about the store."""
        with pytest.raises(DataError), answers("ping"):
            raise DataError("Invalid input of type: 'dict'")


def _with_login(url: str, user: str) -> str:
    return url.replace("redis://", f"redis://{user}:{SECRET}@")


@pytest.mark.limit("store_timeout_s")
async def test_a_store_that_takes_too_long_is_a_limit_that_was_met(valkey_url):
    """Whatever it may be busy with: the command is given up."""
    async with connect(valkey_url, timeout_s=0.05) as client:
        with pytest.raises(StoreUnavailable, match="the store does not answer: Timeout"), answers("ping"):
            await client.blpop(["nothing"], timeout=5)


@pytest.mark.limit("store_connections")
async def test_a_command_waits_for_a_free_connection_but_not_for_ever(valkey_url, wait_until):
    """And once one is free, commands are answered again."""
    async with connect(valkey_url, connections_max=1, timeout_s=0.5) as client, connect(valkey_url) as other:
        busy = asyncio.create_task(client.blpop(["nothing"], timeout=0))
        await wait_until(lambda: len(client.connection_pool._in_use_connections) == 1)
        client.connection_pool.timeout = 0.05
        with pytest.raises(StoreUnavailable, match="No connection available"), answers("ping"):
            await client.ping()
        await other.rpush("nothing", "something")
        assert await busy
        with answers("ping"):
            assert await client.ping()
