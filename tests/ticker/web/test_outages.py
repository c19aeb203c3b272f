"""GET /v1/outages/{symbol}, and what clients hear meanwhile, over real sockets."""

import asyncio
import os
import signal
import threading

import pytest

from feeds.feed import FeedError
from ticker.store.connection import connect
from ticker.store.embedded import EmbeddedServer

NEVER = 10**15 + 1


async def outages(service, symbol="AAPL", **params):
    answer = await service.json(f"/v1/outages/{symbol}", **params)
    assert answer["symbol"] == symbol
    return answer["outages"]


def stale(message):
    return message["type"] == "service" and message["state"] == "stale"


def live(message):
    return message["type"] == "service" and message["state"] == "live"


async def test_a_feed_that_fails_is_away_until_it_is_started_again(service, tape):
    """While it lasts, `to` is null; afterwards the interval and its reason stay."""
    client = await service.connect()
    assert await outages(service) == []
    service.feed.raises += [OSError("the line is dead")]
    heard = await client.until(stale, 2.5)
    assert (heard["reason"], heard["symbols"]) == ("feed", ["AAPL", "MSFT"])
    await client.until(live)

    async def over():
        found = await outages(service)
        return len(found) == 1 and found[0]["to"]

    await service.wait_until(over)
    (row,) = await outages(service, "MSFT")
    assert (row["kind"], row["reason"]) == ("feed", "retrying: OSError: the line is dead")
    assert 0 < row["to"] - row["from"] < 10_000_000
    assert await outages(service, start=row["to"]) == []
    assert await outages(service, end=row["from"]) == []
    assert await outages(service, start=row["from"], end=row["to"]) == [row]


async def test_a_feed_that_cannot_go_on_is_away_for_as_long_as_that_lasts(service):
    service.feed.raises += [FeedError("line 7 is torn")]

    async def there():
        return bool(await outages(service))

    await service.wait_until(there)
    (row,) = await outages(service)
    assert (row["to"], row["kind"], row["reason"]) == (None, "feed", "failed: line 7 is torn")
    assert await outages(service, start=NEVER) == [row]


def running(name):
    """The object whose method of this name runs as a task."""
    (found,) = [task.get_coro() for task in asyncio.all_tasks() if f" {name} " in repr(task.get_coro())]
    return found.cr_frame.f_locals["self"]


async def test_a_silent_ingester_is_an_outage_for_every_gateway(start_service, valkey, valkey_url, hand_feed):
    """Clients hear `ingest` within two seconds; while it lasts, `to` is null."""
    gateway = await start_service(valkey_url, None)
    await start_service(valkey_url, hand_feed("AAPL"))
    client = await gateway.connect()

    async def known():
        beats = await valkey.hexists("ticker:beats", "hand")
        return beats and (await gateway.get("/v1/outages/AAPL")).status_code == 200

    await gateway.wait_until(known)
    assert await outages(gateway) == []
    heart, awake = running("Heartbeat.run"), asyncio.Event()
    heart._beat = awake.wait
    assert (await client.until(stale, 2.5))["reason"] == "ingest"
    (row,) = await outages(gateway)
    assert (row["to"], row["kind"], row["reason"]) == (None, "ingest", "no ingester is there")
    del heart._beat
    awake.set()
    await client.until(live)

    async def over():
        found = await outages(gateway)
        return len(found) == 1 and found[0]["to"]

    await gateway.wait_until(over)
    (ended,) = await outages(gateway)
    assert 1_200_000 < ended["to"] - ended["from"] < 10_000_000
    assert abs(ended["from"] - row["from"]) < 1_000_000


async def until_booked(service, store):
    """The feed's book is open: its heart has beaten since its symbols were claimed."""
    await service.wait_until(lambda: store.hexists("ticker:beats", "hand"))


async def only_outage(service):
    """The one that there is, once it is over."""

    async def over():
        found = await outages(service)
        return len(found) == 1 and found[0]["to"]

    await service.wait_until(over)
    return (await outages(service))[0]


async def test_an_ingester_that_could_not_go_on_does_not_blame_the_store(service):
    """A poll that waits keeps its heart from beating, while the store is well."""
    await until_booked(service, service.store)
    poll, block = service.feed.poll, threading.Event()

    def waits(now_us):
        service.feed.poll = poll
        block.wait(2.0)
        return poll(now_us)

    service.feed.poll = waits
    row = await only_outage(service)
    assert (row["kind"], row["reason"]) == ("ingest", "the ingester could not go on")
    assert 1_200_000 < row["to"] - row["from"] < 10_000_000


async def test_a_store_that_does_not_answer_in_time_is_the_store_s_outage(start_service, tmp_path, free_port):
    """It need not fail: an answer that comes late is no answer."""
    with EmbeddedServer(tmp_path / "data", free_port()) as server:
        service = await start_service(server.url)
        client = await service.connect()
        async with connect(server.url) as store:
            await until_booked(service, store)
        await service.wait_until(lambda: service.gateway.service.live)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await client.until(stale, 2.5)
            await asyncio.to_thread(threading.Event().wait, 1.5)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await client.until(live)
        row = await only_outage(service)
        assert (row["kind"], row["reason"]) == ("store", "the store did not answer")
        # What runs on the server must end before it does.
        await service.stack.aclose()


async def test_a_scheduler_that_is_stuck_is_told_within_two_seconds(service):
    """The feed's clock stands still, although the ingester's heart beats."""
    client = await service.connect()
    scheduler = running("Scheduler.watch")
    scheduler._scheduler.pause()
    heard = await client.until(stale, 2.5)
    assert (heard["reason"], heard["symbols"]) == ("feed", ["AAPL", "MSFT"])
    (row,) = await outages(service)
    assert row["reason"].startswith("stuck: it was not polled for")
    scheduler._scheduler.resume()
    await client.until(live)


async def test_a_feed_that_gives_nothing_is_told(start_service, valkey_url, tape):
    """After `silence_s`, and until it gives something again."""
    service = await start_service(
        valkey_url, feeds=[{"type": "simulated", "name": "hand", "poll_ms": 5, "silence_s": 0.3}]
    )
    client = await service.connect()
    heard = await client.until(stale, 2.5)
    assert heard["reason"] == "feed"
    service.feed.give(*tape.trades(1))
    await client.until(live)
    row = (await outages(service))[0]
    assert row["reason"].startswith("silent: it has given nothing for")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/outages/ZZZZ", 404, "unknown_symbol"),
        ("/v1/outages/AAPL?since=1", 400, "bad_request"),
        ("/v1/outages/AAPL?start=1700000000", 400, "bad_request"),
        ("/v1/outages/AAPL?format=csv", 406, "not_acceptable"),
    ],
)
async def test_what_is_asked_wrongly_is_refused(service, path, status, code):
    answer = await service.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
