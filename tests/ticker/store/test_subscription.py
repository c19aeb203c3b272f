import asyncio
import os
import signal
from time import monotonic

import pytest

from ticker.errors import StoreUnavailable
from ticker.store.connection import connect
from ticker.store.embedded import EmbeddedServer
from ticker.store.subscription import Subscription


class Heard:
    """A subscription that runs, and all that came of it."""

    def __init__(self, client, *always):
        self.messages = []
        self.reads = []
        self.changes = []
        self.subscription = Subscription(client, self.take, self.changes.append, always)
        self.task = asyncio.create_task(self.subscription.run())

    def take(self, batch):
        self.reads.append(len(batch))
        self.messages += batch


@pytest.fixture
async def listen(wait_until):
    """Starts subscriptions, which end with the test."""
    started = []

    async def listen(client, *always, connected=True):
        heard = Heard(client, *always)
        started.append(heard.task)
        if connected:
            await wait_until(lambda: heard.changes == [True])
        return heard

    try:
        yield listen
    finally:
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)


async def test_channels_are_confirmed_before_ensure_returns(redis_client, listen, wait_until):
    """What is published right after it is heard."""
    heard = await listen(redis_client, "always")
    await heard.subscription.ensure(["a", "b"])
    for number, channel in enumerate(("always", "a", "b", "other")):
        assert await redis_client.publish(channel, str(number)) == (channel != "other")
    await wait_until(lambda: len(heard.messages) == 3)
    assert heard.messages == [(b"always", b"0"), (b"a", b"1"), (b"b", b"2")]


async def test_released_channels_are_silent(redis_client, listen, wait_until):
    """And may be wanted again."""
    heard = await listen(redis_client)
    await heard.subscription.ensure(["a", "b"])
    heard.subscription.release(["a", "never wanted"])
    await heard.subscription.ensure(["b", "c"])
    assert [await redis_client.publish(c, "x") for c in "abc"] == [0, 1, 1]
    await heard.subscription.ensure(["a"])
    assert await redis_client.publish("a", "x") == 1
    await wait_until(lambda: len(heard.messages) == 3)


async def test_two_may_want_the_same_at_once(redis_client, listen):
    """Both wait for the one confirmation."""
    heard = await listen(redis_client)
    await asyncio.gather(*(heard.subscription.ensure([f"c{i}" for i in range(1200)]) for _ in range(3)))
    assert await redis_client.publish("c1199", "x") == 1


async def test_one_read_of_the_socket_is_handed_over_together(redis_client, listen, wait_until):
    """Many messages, few calls; nothing is lost at the borders."""
    heard = await listen(redis_client, "a")
    async with redis_client.pipeline(transaction=False) as pipe:
        for number in range(5000):
            pipe.publish("a", str(number) * 20)
        await pipe.execute()
    await wait_until(lambda: len(heard.messages) == 5000)
    assert [payload for _, payload in heard.messages] == [str(number).encode() * 20 for number in range(5000)]
    assert len(heard.reads) < 2500


async def test_a_cut_connection_is_made_again(redis_client, listen, wait_until):
    """Loss and gain are told, and every channel is subscribed by then."""
    heard = await listen(redis_client, "a")
    await heard.subscription.ensure(["b"])
    for turn in range(1, 4):
        for client in await redis_client.client_list(_type="pubsub"):
            await redis_client.client_kill_filter(_id=client["id"])
        await wait_until(lambda turn=turn: heard.changes == [True] + turn * [False, True])
        assert await redis_client.publish("a", "x") == 1
        assert await redis_client.publish("b", "x") == 1
    await wait_until(lambda: len(heard.messages) == 6)


async def test_a_server_that_stalls_is_noticed(tmp_path, free_port, listen, wait_until):
    """Within a second and a half, though its socket stays open; channels cannot be had meanwhile."""
    with EmbeddedServer(tmp_path / "data", free_port()) as server:
        async with connect(server.url) as client:
            heard = await listen(client, "a")
            os.kill(server.pid, signal.SIGSTOP)
            try:
                begun = monotonic()
                await wait_until(lambda: heard.changes == [True, False])
                assert monotonic() - begun < 1.5
                with pytest.raises(StoreUnavailable):
                    await heard.subscription.ensure(["b"])
                heard.subscription.release(["a"])
            finally:
                os.kill(server.pid, signal.SIGCONT)
            await wait_until(lambda: heard.changes == [True, False, True])
            await heard.subscription.ensure(["b"])
            assert await client.publish("b", "x") == 1


async def test_a_quiet_connection_is_kept(redis_client, redis_url, listen, wait_until):
    """Silence of the channels is not silence of the server."""

    async def own():
        return [c for c in await redis_client.client_list(_type="pubsub") if c["name"] == "quiet"]

    async def is_old():
        return int((await own())[0]["age"]) >= 2

    async with connect(redis_url, name="quiet") as client:
        heard = await listen(client, "a")
        before = await own()
        await wait_until(is_old)
        assert [c["id"] for c in await own()] == [c["id"] for c in before]
        assert heard.changes == [True]


async def test_without_a_server_it_keeps_trying(tmp_path, free_port, listen, wait_until):
    """And is there once the server is."""
    server = EmbeddedServer(tmp_path / "data", free_port())
    async with connect(server.url) as client:
        heard = await listen(client, "a", connected=False)
        with pytest.raises(StoreUnavailable):
            await heard.subscription.ensure(["b"])
        with server:
            await wait_until(lambda: heard.changes == [True])
            assert await client.publish("a", "x") == 1
