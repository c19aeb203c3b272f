"""Commands and live messages go to whichever server the sentinels say is the primary."""

import asyncio
import logging
import socket
import time

import pytest
from redis.asyncio import SSLConnection

from ticker.errors import ConfigError, StoreUnavailable
from ticker.store.connection import answers, check_server, connect
from ticker.store.sentinel import ANSWER_S, SentinelPool
from ticker.store.subscription import Subscription


def port_of(client):
    """The server that commands of the client go to."""
    return client.connection_pool.master_address[1]


async def answered(client, *command):
    """Whether the store takes a command now."""
    try:
        with answers("ping"):
            await client.execute_command(*command)
    except StoreUnavailable:
        return False
    return True


async def refusal(url):
    async with connect(url) as client:
        with pytest.raises(StoreUnavailable) as refused:
            await check_server(client)
    line = str(refused.value)
    assert "\n" not in line
    assert "hunter2" not in line
    return line


async def test_when_the_primary_dies_its_replica_is_written_to(failover, wait_until, caplog):
    """Commands fail meanwhile as with any server that is away; live messages come over the new one."""
    caplog.set_level(logging.WARNING, "ticker.store")
    heard, changes = [], []
    async with connect(failover.url, connections_max=2, timeout_s=2) as client:
        assert (await check_server(client)).name == "Valkey"
        live = Subscription(client, heard.extend, changes.append, ["news"])
        run = asyncio.create_task(live.run())
        await wait_until(lambda: live.connected)
        await client.set("a", 1)
        await client.wait(1, 1000)
        killed, began = failover.kill_primary(), time.monotonic()
        assert not await answered(client, "SET", "a", 2)
        await wait_until(lambda: answered(client, "SET", "a", 3))
        took_s = time.monotonic() - began
        await wait_until(lambda: live.connected)
        await client.publish("news", "after")
        await wait_until(lambda: (b"news", b"after") in heard)
        run.cancel()
        assert port_of(client) == failover.primary != killed
        assert failover.command(failover.primary, "GET", "a") == b"3"
    assert changes[:3] == [True, False, True]
    assert took_s < 8, took_s
    assert f"127.0.0.1:{failover.primary} now, 127.0.0.1:{killed} before" in caplog.text


async def test_a_primary_that_steps_down_is_left(failover, wait_until):
    """By hand, as for an update: it lives on as a replica, and neither commands nor live messages stay with it."""
    async with connect(failover.url, timeout_s=2) as client:
        await client.set("a", 1)
        live = Subscription(client, lambda messages: None, lambda connected: None, ["news"])
        run = asyncio.create_task(live.run())
        await wait_until(lambda: live.connected)
        before = port_of(client)
        failover.ask(failover.sentinels[0], "SENTINEL FAILOVER", failover.SERVICE)
        await wait_until(lambda: failover.primary != before)
        await wait_until(lambda: answered(client, "SET", "a", 2))
        await wait_until(lambda: b"news" in failover.command(failover.primary, "PUBSUB", "CHANNELS"))
        assert port_of(client) == failover.primary
        run.cancel()


async def test_a_server_that_takes_no_writes_is_asked_for_no_more(failover, wait_until):
    """What it holds against them is told, and the connection is given up; the others that are idle are not."""
    async with connect(failover.url, timeout_s=2) as client:
        await client.set("a", 1)
        primary = port_of(client)
        failover.command(primary, "CONFIG", "SET", "min-replicas-to-write", "2")
        with pytest.raises(StoreUnavailable, match="the server takes no writes: NOREPLICAS"), answers("ping"):
            await client.set("a", 2)
        failover.command(primary, "CONFIG", "SET", "min-replicas-to-write", "0")
        await wait_until(lambda: answered(client, "SET", "a", 3))
        with pytest.raises(StoreUnavailable, match="the store refuses: wrong number"), answers("ping"):
            await client.execute_command("SET", "a")


async def test_an_old_primary_out_of_the_sentinels_sight_is_left(failover, wait_until):
    """It answers still, so nothing but asking the sentinels tells."""
    async with connect(failover.url, timeout_s=2) as client:
        await client.set("a", 1)
        pool = client.connection_pool
        connection = pool.make_connection()
        await connection.connect()
        (replica,) = failover.servers.keys() - {port_of(client)}
        told = 0

        async def discover(service):
            nonlocal told
            told += 1
            return "127.0.0.1", replica

        # A partition in one machine: what the sentinels would say, said for them.
        pool.sentinel_manager.discover_master = discover
        await wait_until(lambda: told)
        await wait_until(connection.can_read)
        assert (await client.info("replication"))["role"] == "slave"
        await connection.disconnect()


async def test_the_pool_is_bounded_behind_sentinels_too(failover):
    """Commands over the bound wait for a connection, and no longer than the timeout."""
    async with connect(failover.url, connections_max=2, timeout_s=0.5, name="tests") as client:
        assert all(await asyncio.gather(*(client.ping() for _ in range(50))))
        assert len([one for one in await client.client_list() if one["name"] == "tests"]) <= 2
        held = [await client.connection_pool.get_connection() for _ in range(2)]
        with pytest.raises(StoreUnavailable, match="No connection available"), answers("ping"):
            await client.ping()
        for connection in held:
            await client.connection_pool.release(connection)


async def test_what_is_wrong_with_sentinels_is_told_in_one_line(failover, valkey_url, free_port):
    """Of each that was asked, why it did not tell; and a sentinel is no store."""
    (sentinel, *_), server = failover.sentinels, valkey_url.removeprefix("redis://")
    secret = failover.SENTINEL_PASSWORD
    absent = f"127.0.0.1:{free_port()}"
    line = await refusal(f"redis+sentinel://:hunter2@{absent},127.0.0.1:{sentinel}/other?sentinel_password={secret}")
    assert line.startswith(f"redis+sentinel://{absent},127.0.0.1:{sentinel}/other has no primary: ")
    assert f"sentinel {absent} does not answer (Connection refused); " in line
    assert f"sentinel 127.0.0.1:{sentinel} knows no service 'other'; those it watches: mymaster" in line
    line = await refusal(f"redis+sentinel://127.0.0.1:{sentinel}/mymaster?sentinel_password=hunter2")
    assert f"sentinel 127.0.0.1:{sentinel} refuses the login (" in line
    line = await refusal(f"redis+sentinel://127.0.0.1:{sentinel}/mymaster")
    assert "check sentinel_username and sentinel_password" in line
    assert f"sentinel {server} is no sentinel (" in await refusal(f"redis+sentinel://{server}/mymaster")
    line = await refusal(f"redis+sentinel://:hunter2@127.0.0.1:{sentinel}/mymaster?sentinel_password={secret}")
    assert "refuses the login" in line
    assert "check user and password in redis.url" in line
    async with connect(f"redis://:{secret}@127.0.0.1:{sentinel}") as client:
        with pytest.raises(ConfigError, match="is a sentinel, which keeps no ticks"):
            await check_server(client)


async def test_a_sentinel_that_is_silent_costs_little(failover):
    """It is passed over in half a second, and asked last from then on."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = failover.url.replace("@127.0.0.1", f"@127.0.0.1:{silent.getsockname()[1]},127.0.0.1", 1)
        async with connect(url) as client:
            began = time.monotonic()
            await client.ping()
            assert time.monotonic() - began < 3 * ANSWER_S
            await client.connection_pool.disconnect()
            began = time.monotonic()
            await client.ping()
            assert time.monotonic() - began < ANSWER_S


async def test_tls_holds_for_sentinels_too():
    """One set of certificates for all, checked unless the URL says otherwise."""
    url = (
        "rediss+sentinel://ann:a@db.example.com/main/2?ssl_ca_certs=/etc/ca.pem&sentinel_username=b&sentinel_password=c"
    )
    async with connect(url, name="tests") as client:
        pool = client.connection_pool
        assert isinstance(pool, SentinelPool)
        (sentinel,) = pool.sentinel_manager.sentinels
        for kind in (pool, sentinel.connection_pool):
            connection = kind.make_connection()
            assert isinstance(connection, SSLConnection)
            assert connection.ssl_context.ca_certs == "/etc/ca.pem"
            assert connection.ssl_context.check_hostname
        assert (pool.connection_kwargs["username"], pool.connection_kwargs["password"]) == ("ann", "a")
        assert pool.connection_kwargs["db"] == 2
        asked = sentinel.connection_pool.connection_kwargs
        assert (asked["host"], asked["port"], asked["username"], asked["password"]) == (
            "db.example.com",
            26379,
            "b",
            "c",
        )
