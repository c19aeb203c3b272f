import httpx
import pytest

from ticker import metrics
from ticker.history.snapshots import SnapshotReader


def requests(route, method="GET", status=200):
    labels = {"route": route, "method": method, "status": str(status)}
    return metrics.REGISTRY.get_sample_value("ticker_http_requests_total", labels) or 0.0


def timed(route):
    return metrics.REGISTRY.get_sample_value("ticker_http_request_seconds_count", {"route": route}) or 0.0


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/v1/candles/AAPL", "/v1/candles/{symbol}", 200),
        ("/v1/candles/ZZZZ", "/v1/candles/{symbol}", 404),
        ("/v1/candles/AAPL?limit=x", "/v1/candles/{symbol}", 400),
        ("/page/page.css", "/page", 200),
        ("/nothing/at/all", "none", 404),
        ("/", "/", 200),
    ],
)
async def test_requests_are_counted_by_route_and_status(service, path, route, status):
    """Never by path: what callers make up must not become a label."""
    before, before_timed = requests(route, status=status), timed(route)
    assert (await service.get(path)).status_code == status
    # An answer is counted once it is sent, which its reader may know before we do.
    await service.wait_until(lambda: requests(route, status=status) == before + 1)
    await service.wait_until(lambda: timed(route) == before_timed + 1)


async def test_methods_that_nobody_knows_are_all_one(service):
    """A method is the caller's too."""
    before = requests("/v1/symbols", "other", 405)
    async with httpx.AsyncClient() as client:
        for method in ("DELETE", "BREW"):
            await client.request(method, f"{service.url}/v1/symbols")
    await service.wait_until(lambda: requests("/v1/symbols", "other", 405) >= before + 1)
    text = (await service.get("/metrics")).text
    assert "BREW" not in text


async def test_a_mistake_of_the_server_is_a_500(service, monkeypatch):
    """It passes through on its way to whoever answers it."""

    async def fails(*_):
        raise RuntimeError("on purpose")

    monkeypatch.setattr(SnapshotReader, "read", fails)
    before = requests("/v1/snapshots/{symbol}", status=500)
    assert (await service.get("/v1/snapshots/AAPL")).status_code == 500
    await service.wait_until(lambda: requests("/v1/snapshots/{symbol}", status=500) == before + 1)
