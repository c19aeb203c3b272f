import httpx
import pytest

from ticker.limits import LIMITS
from ticker.web.rate_limit import RateLimiter


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def fields(limiter, address="a"):
    return {name.decode(): value.decode() for name, value in limiter.headers(address)}


@pytest.mark.limit("requests_per_minute")
def test_requests_come_back_evenly(clock):
    """As many at once as a minute has, then one each time that its share has passed."""
    limiter = RateLimiter(lambda _: (60, None), 10, clock)
    assert [limiter.take("a") for _ in range(60)] == [0] * 60
    assert limiter.take("a") == pytest.approx(1)
    assert limiter.take("b") == 0
    clock.now += 0.75
    assert limiter.take("a") == pytest.approx(0.25)
    clock.now += 0.25
    assert limiter.take("a") == 0
    clock.now += 3_600
    assert [limiter.take("a") for _ in range(61)].count(0) == 60


@pytest.mark.limit("rows_per_minute")
def test_rows_are_counted_once_they_are_known(clock):
    """The last answer may overdraw; the next waits until there is something again."""
    limiter = RateLimiter(lambda _: (None, 600), 10, clock)
    assert limiter.take("a") == 0
    limiter.charge("a", 700)
    assert limiter.take("a") == pytest.approx(10.1)
    clock.now += 10.2
    assert limiter.take("a") == 0


def test_the_fields_say_what_is_allowed_and_left(clock):
    """As structured fields: a list of named policies, and where each stands."""
    limiter = RateLimiter(lambda _: (60, 600), 10, clock)
    limiter.take("a")
    limiter.charge("a", 300)
    assert fields(limiter) == {
        "ratelimit-policy": '"requests";q=60;w=60, "rows";q=600;w=60',
        "ratelimit": '"requests";r=59;t=1, "rows";r=300;t=30',
    }
    limiter.charge("a", 900)
    assert fields(limiter)["ratelimit"] == '"requests";r=59;t=1, "rows";r=0;t=120'
    assert not RateLimiter(lambda _: (None, None), 10, clock).applies("a")
    assert RateLimiter(lambda _: (None, 5), 10, clock).applies("a")


@pytest.mark.limit("rate_addresses")
def test_addresses_are_counted_up_to_a_bound(clock):
    """The one that was quiet the longest begins anew."""
    limiter = RateLimiter(lambda _: (1, None), 2, clock)
    assert (limiter.take("a"), limiter.take("b"), limiter.take("a") > 0) == (0, 0, True)
    assert limiter.take("c") == 0
    assert len(limiter) == 2
    assert limiter.take("a") > 0
    assert limiter.take("b") == 0


@pytest.mark.limit("requests_per_minute")
async def test_too_many_requests_are_refused_with_429(start_service, valkey_url):
    """When to come again, what is allowed and what is left; other paths are not counted."""
    service = await start_service(valkey_url, limits={"requests_per_minute": 40})
    async with httpx.AsyncClient(base_url=service.url) as client:
        while (answer := await client.get("/v1/candles/AAPL")).status_code == 200:
            assert answer.headers["ratelimit-policy"] == '"requests";q=40;w=60'
            left = int(answer.headers["ratelimit"].partition("r=")[2].partition(";")[0])
        assert left == 0
        assert answer.status_code == 429
        assert answer.json()["code"] == "rate_limited"
        assert 1 <= int(answer.headers["retry-after"]) <= 2
        assert answer.headers["ratelimit"].startswith('"requests";r=0;t=')
        for path in ("/healthz", "/metrics", "/"):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers


async def test_loopback_is_free_where_nothing_is_set(service):
    """As with every limit of an address."""
    assert "ratelimit" not in (await service.get("/v1/candles/AAPL")).headers
    found = (await service.json("/v1/limits"))["limits"]
    assert found["requests_per_minute"]["value"] is None
    assert LIMITS["requests_per_minute"].per == "address"


@pytest.mark.limit("rows_per_minute")
async def test_rows_are_charged_by_what_is_sent(start_service, valkey_url, tape):
    """A 304 costs none."""
    service = await start_service(valkey_url, limits={"rows_per_minute": 100})
    service.feed.give(*tape.trades(50))
    body = {}

    async def stored():
        body.update((await service.get("/v1/trades/AAPL?limit=1")).json())
        return body["position"]["seq"] == 50

    await service.wait_until(stored, 5)
    answer = await service.get("/v1/trades/AAPL?limit=45")
    assert len(answer.json()["trades"]) == 45
    left = answer.headers["ratelimit"]
    etag = answer.headers["etag"]
    answer = await service.get("/v1/trades/AAPL?limit=45", headers={"If-None-Match": etag})
    assert answer.status_code == 304
    rows = [int(text.partition("r=")[2].partition(";")[0]) for text in (left, answer.headers["ratelimit"])]
    assert rows[1] >= rows[0]
    while answer.status_code != 429:
        answer = await service.get("/v1/trades/AAPL?limit=45")
    assert answer.json()["code"] == "rate_limited"
