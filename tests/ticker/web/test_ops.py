from time import time_ns

import pytest
from websockets.exceptions import InvalidStatus

from feeds.trading_hours import TradingHours
from ticker.ingest import ingester
from ticker.store.embedded import EmbeddedServer


async def test_healthz_asks_nobody(start_service, tmp_path, free_port):
    """It answers also where the store does not."""
    with EmbeddedServer(tmp_path / "data", free_port()) as server:
        service = await start_service(server.url)
        server.stop()
        answer = await service.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["cache-control"] == "no-store"
        server.start()


async def test_readyz_needs_the_store_and_the_live_connection(start_service, tmp_path, free_port, wait_until):
    """503 while either is missing, 200 once both are back; the body says what is wrong and lists the feeds."""
    with EmbeddedServer(tmp_path / "data", free_port()) as server:
        service = await start_service(server.url)

        async def ready():
            return (await service.get("/readyz")).status_code == 200

        await wait_until(ready)
        body = (await service.get("/readyz")).json()
        assert body["checks"] == {"store": True, "live": True}
        assert body["feeds"]["hand"]["state"] == "live"
        server.stop()

        async def lost():
            body = (await service.get("/readyz")).json()
            return body["status"] == "not ready" and body["checks"] == {"store": False, "live": False}

        await wait_until(lost)
        assert (await service.get("/readyz")).status_code == 503
        server.start()
        await wait_until(ready)


async def test_a_failed_feed_makes_its_own_process_unready(service, wait_until):
    """And no other: a gateway elsewhere still serves."""
    service.feed.raises.append(RuntimeError("gone"))

    async def unready():
        return (await service.get("/readyz")).status_code == 503

    await wait_until(unready)
    feed = (await service.get("/readyz")).json()["feeds"]["hand"]
    assert (feed["state"], feed["reason"]) == ("retrying", "RuntimeError: gone")


async def test_feeds_do_not_decide_for_a_gateway_without_any(start_service, service, valkey_url, wait_until):
    """Its body lists them all the same."""
    gateway = await start_service(valkey_url, feed=None)
    service.feed.raises.append(RuntimeError("gone"))

    async def listed():
        answer = await gateway.get("/readyz")
        return answer.status_code == 200 and answer.json()["feeds"].get("hand", {}).get("state") == "retrying"

    await wait_until(listed)


async def test_metrics_are_prometheus_text(service, tape, wait_until):
    """Counters of ticks, connections and limits among them."""
    ticks = 'ticker_ticks_appended_total{feed="hand",kind="trades"}'
    before = await value(service, ticks)
    answer = await service.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    await service.connect()
    service.feed.give(*tape.trades(3))

    async def counted():
        return await value(service, ticks) == before + 3

    await wait_until(counted)
    assert await value(service, "ticker_websocket_connections") == 1


async def value(service, name):
    lines = (await service.get("/metrics")).text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " ")), 0.0)


async def test_connections_are_counted_in_every_state(service, tape, wait_until):
    """What they have subscribed, what was sent, and how they ended."""
    sent = await value(service, "ticker_websocket_messages_total"), await value(service, "ticker_websocket_bytes_total")
    left = await value(service, 'ticker_websocket_closed_total{by="client",code=""}')
    opened = await value(service, "ticker_websocket_opened_total")
    asked = await value(service, 'ticker_websocket_requests_total{op="subscribe"}')
    client, idle = await service.connect(), await service.connect()
    await client.subscribe("trades", "AAPL", "MSFT")
    await client.subscribe("quotes", "*")
    state = 'ticker_websocket_connection_states{state="%s"}'
    assert [await value(service, state % name) for name in ("new", "current", "behind")] == [1, 1, 0]
    assert await value(service, 'ticker_websocket_subscriptions{channel="trades"}') == 2
    assert await value(service, 'ticker_websocket_subscriptions{channel="quotes"}') == 1
    assert await value(service, "ticker_websocket_opened_total") == opened + 2
    assert await value(service, 'ticker_websocket_requests_total{op="subscribe"}') == asked + 2
    assert await value(service, "ticker_websocket_messages_total") >= sent[0] + 4
    assert await value(service, "ticker_websocket_bytes_total") > sent[1] + 400
    await client.socket.close()
    await idle.socket.send(b"binary")
    assert (await idle.closing())[0] == 1003

    async def gone():
        return await value(service, "ticker_websocket_connections") == 0

    await wait_until(gone)
    assert await value(service, 'ticker_websocket_closed_total{by="client",code=""}') == left + 1


async def test_what_uvicorn_closes_is_closed_by_the_server(service):
    """It is not the client who went away with 1009."""
    name = 'ticker_websocket_closed_total{by="server",code="1009"}'
    before = await value(service, name)
    client = await service.connect()
    await client.socket.send("x" * 70_000)
    await client.closing()

    async def counted():
        return await value(service, name) == before + 1

    await service.wait_until(counted)


async def test_the_way_of_a_tick_is_timed(service, hand_feed, tape, wait_until):
    """From its own time to poll, append, gateway and client; only while the feed's clock is the wall clock."""
    stages = [
        'ticker_ingest_lag_seconds_count{feed="hand",stage="polled"}',
        'ticker_ingest_lag_seconds_count{feed="hand",stage="appended"}',
        'ticker_gateway_lag_seconds_count{stage="received"}',
        'ticker_gateway_lag_seconds_count{stage="sent"}',
    ]
    before = [await value(service, name) for name in stages]
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    service.feed.give(*tape.trades(3))
    await client.until(lambda m: m["type"] == "trade" and m["seq"] == 3)
    assert [await value(service, name) for name in stages] == before

    async def timed():
        service.feed.give(tape.trade(time=time_ns() // 1000))
        await client.until(lambda m: m["type"] == "trade")
        return all([await value(service, name) > b for name, b in zip(stages, before, strict=True)])

    await wait_until(timed)


async def test_redis_calls_are_timed_and_their_errors_counted(start_service, tmp_path, free_port, wait_until):
    """By what they are about; and whether the store answers at all."""
    with EmbeddedServer(tmp_path / "data", free_port()) as server:
        service = await start_service(server.url)
        append = 'ticker_redis_call_seconds_count{part="claim"}'
        assert await value(service, append) > 0
        assert await value(service, "ticker_redis_up") == 1
        failed = await value(service, 'ticker_redis_errors_total{part="ping",reason="no_answer"}')
        server.stop()
        assert (await service.get("/readyz")).status_code == 503
        assert await value(service, "ticker_redis_up") == 0
        assert await value(service, 'ticker_redis_errors_total{part="ping",reason="no_answer"}') == failed + 1

        async def stale():
            return await value(service, 'ticker_service_stale{reason="store"}') == 1

        await wait_until(stale)
        server.start()

        async def live():
            return await value(service, 'ticker_service_stale{reason="store"}') == 0

        await wait_until(live)


async def test_the_health_of_feeds_and_tasks_is_told(service, wait_until):
    """State, clock, polls and their times, and how the scheduler keeps up."""

    async def failed():
        text = (await service.get("/metrics")).text
        return {
            'ticker_feed_state{feed="hand",state="retrying"} 1.0',
            'ticker_feed_state{feed="hand",state="live"} 0.0',
        } <= set(text.splitlines())

    async def polled():
        return await value(service, 'ticker_feed_state{feed="hand",state="live"}') == 1

    await wait_until(polled)
    assert await value(service, 'ticker_feed_clock_seconds{feed="hand"}') == service.feed.clock / 1_000_000
    assert await value(service, 'ticker_feed_poll_seconds_count{feed="hand"}') >= service.feed.polls - 1
    assert await value(service, 'ticker_task_seconds_count{task="poll hand"}') > 0
    assert await value(service, 'ticker_task_late_seconds_count{task="poll hand"}') > 0
    service.feed.raises.append(RuntimeError("gone"))
    await wait_until(failed)


async def test_refused_upgrades_are_counted(service):
    """By the status that they were answered with."""
    before = await value(service, 'ticker_websocket_denied_total{status="403"}')
    with pytest.raises(InvalidStatus):
        await service.connect(origin="http://evil.example")
    assert await value(service, 'ticker_websocket_denied_total{status="403"}') == before + 1


async def test_a_closed_feed_leaves_the_service_ready_and_live(start_service, valkey_url, monkeypatch, wait_until):
    """Its market has no session now: `/readyz` says so, and no client hears of anything stale."""
    soon = time_ns() // 1000 + 500_000
    hours = TradingHours([(soon - 3_600_000_000, soon), (soon + 3_600_000_000, soon + 7_200_000_000)])
    monkeypatch.setattr(ingester, "feed_hours", lambda config, now_us: {"hand": hours})
    feeds = [{"type": "simulated", "name": "hand", "poll_ms": 5, "trading_hours": "sessions"}]
    service = await start_service(valkey_url, feeds=feeds)
    client = await service.connect()

    async def closed():
        return (await service.json("/readyz"))["feeds"]["hand"]["state"] == "closed"

    await wait_until(closed)
    answer = await service.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.json()["feeds"]["hand"]["reason"].startswith("XNYS opens ")
    await client.subscribe("trades", "*", snapshot=False)
    clock = answer.json()["feeds"]["hand"]["clock"]

    async def a_second_later():
        return (await service.json("/readyz"))["feeds"]["hand"]["clock"] > clock + 1_000_000

    await wait_until(a_second_later)
    assert [message for message in await client.barrier() if message["type"] == "service"] == []
