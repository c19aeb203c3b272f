from time import time_ns

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

    async def value(name):
        lines = (await service.get("/metrics")).text.splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " ")), 0.0)

    ticks = 'ticker_ticks_appended_total{feed="hand",kind="trades"}'
    before = await value(ticks)
    answer = await service.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    await service.connect()
    service.feed.give(*tape.trades(3))

    async def counted():
        return await value(ticks) == before + 3

    await wait_until(counted)
    assert await value("ticker_websocket_connections") == 1


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
