import asyncio
import gzip

import httpx
import pytest
import zstandard
from remembered_answers import PLAIN, calls, closed, settled

from ticker import metrics

SECOND = 1_000_000
MINUTE = 60 * SECOND


PATHS = {
    "candles": lambda noon: f"/v1/candles/AAPL?{closed(noon)}",
    "without a start": lambda noon: f"/v1/candles/AAPL?interval=5m&end={noon + 30 * MINUTE}&limit=3",
    "filled": lambda noon: f"/v1/candles/AAPL?{closed(noon)}&fill=previous",
    "forming": lambda noon: f"/v1/candles/AAPL?{closed(noon)}&forming=true",
    "falling": lambda noon: f"/v1/candles/AAPL?{closed(noon)}&order=desc",
    "csv": lambda noon: f"/v1/candles/AAPL?{closed(noon)}&format=csv",
    "arrow": lambda noon: f"/v1/candles/AAPL?{closed(noon)}&format=arrow",
    "several": lambda noon: f"/v1/candles?symbols=AAPL,MSFT&{closed(noon)}",
    "trades": lambda noon: f"/v1/trades/AAPL?start={noon + 10 * MINUTE}&end={noon + 15 * MINUTE}",
    "quotes": lambda noon: f"/v1/quotes/AAPL?start={noon + 10 * MINUTE}&end={noon + 15 * MINUTE}",
}


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("origin", [None, "http://localhost:3000"], ids=["direct", "from another origin"])
async def test_a_closed_range_is_answered_again_without_the_store(filled_hour, noon, name, origin):
    """With the same bytes, and with 304 where the client has them; in each encoding with an ETag of its own."""
    path, also = PATHS[name](noon), {"Origin": origin} if origin else {}
    etags = set()
    for encoding in ("identity", "gzip", "zstd"):
        headers = {"Accept-Encoding": encoding} | also
        first = await filled_hour.get(path, headers=headers)
        assert first.status_code == 200
        asked = calls()
        again = await filled_hour.get(path, headers=headers)
        assert again.content == first.content
        for header in ("etag", "content-type", "vary", "cache-control", "content-length"):
            assert again.headers[header] == first.headers[header]
        assert first.headers["etag"].startswith('"')
        assert first.headers["cache-control"] == "no-cache"
        etags.add((first.headers["etag"], first.headers.get("content-encoding")))
        for none_match in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
            kept = await filled_hour.get(path, headers=headers | {"If-None-Match": none_match})
            assert (kept.status_code, kept.content) == (304, b"")
            assert kept.headers["etag"] == first.headers["etag"]
        assert (await filled_hour.get(path, headers=headers | {"If-None-Match": '"other"'})).status_code == 200
        assert calls() == asked
    assert len({etag for etag, _ in etags}) == len(etags)


@pytest.mark.parametrize("name", ["candles", "several", "trades"])
async def test_a_closed_range_that_many_ask_for_at_once_is_made_once(filled_hour, noon, name):
    """All get the same bytes."""
    path = PATHS[name](noon)

    def made():
        return metrics.REGISTRY.get_sample_value("ticker_history_answers_total", {"source": "made"}) or 0

    before = made()
    answers = await asyncio.gather(*(filled_hour.get(path) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert made() == before + 1


async def test_head_and_get_agree(filled_hour, noon):
    """Made or remembered."""
    path = PATHS["candles"](noon)
    async with httpx.AsyncClient(base_url=filled_hour.url, headers=PLAIN) as client:
        for _ in range(2):
            head, get = await client.head(path), await client.get(path)
            assert head.content == b""
            assert {k: v for k, v in head.headers.items() if k != "date"} == {
                k: v for k, v in get.headers.items() if k != "date"
            }


async def test_the_short_way_and_the_long_way_answer_alike(filled_hour, noon):
    """Every header but the date, whichever part of the service has answered."""
    path = PATHS["candles"](noon)
    first = await filled_hour.get(path, headers=PLAIN)
    short = await filled_hour.get(path, headers=PLAIN)
    # Whoever sends a range is answered by the application.
    long = await filled_hour.get(path, headers=PLAIN | {"Range": "bytes=0-5"})
    plain = [{k: v for k, v in one.headers.items() if k != "date"} for one in (first, short, long)]
    assert plain[0] == plain[1] == plain[2]
    assert first.content == short.content == long.content


async def test_the_live_edge_is_never_remembered(filled_hour, noon):
    """What may still change is read anew; its ETag changes with it, and is kept while it does not."""
    for path in (
        "/v1/candles/AAPL?interval=1s",
        f"/v1/candles/AAPL?interval=1s&end={noon + 63 * MINUTE}",
        "/v1/trades/AAPL",
    ):
        first = await filled_hour.get(path)
        asked = calls()
        again = await filled_hour.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert calls() > asked
        assert again.status_code == 304


async def test_every_header_is_open_to_other_origins(filled_hour, noon):
    """To those that may read."""
    answer = await filled_hour.get("/v1/candles/AAPL?limit=3", headers={"Origin": "http://localhost:3000"})
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed == {"etag", "link", "ticker-position", "ratelimit", "ratelimit-policy", "retry-after"}
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    path = f"/v1/candles/AAPL?{closed(noon)}"
    await settled(filled_hour, path)
    answer = await filled_hour.get(path, headers={"Origin": "http://localhost:3000"})
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert (
        "access-control-allow-origin"
        not in (await filled_hour.get(path, headers={"Origin": "http://evil.example"})).headers
    )


async def test_answers_are_compressed_as_the_client_takes_them(filled_hour):
    """The live edge too."""
    path = "/v1/candles/AAPL?interval=1s&limit=1000&end=2025-11-24T13:03:00Z"
    plain = await filled_hour.get(path, headers=PLAIN)
    async with httpx.AsyncClient(base_url=filled_hour.url) as client:
        for encoding, unpack in (
            ("gzip", gzip.decompress),
            ("zstd", zstandard.decompress),
            ("zstd, gzip", gzip.decompress),
        ):
            async with client.stream("GET", path, headers={"Accept-Encoding": encoding}) as answer:
                body = b"".join([part async for part in answer.aiter_raw()])
            assert unpack(body) == plain.content
            assert len(body) < len(plain.content) / 2
            assert answer.headers["vary"] == "Accept, Accept-Encoding, Origin"


async def test_an_answer_for_no_symbols_is_not_remembered(start_service, valkey_url, noon):
    """There may be some soon."""
    service = await start_service(valkey_url, feed=None)
    path = f"/v1/candles?symbols=*&start={noon}&end={noon + MINUTE}"
    for _ in range(2):
        assert (await service.get(path)).json() == {"interval": "1m", "symbols": {}, "errors": []}
    assert len(service.gateway.history.cache) == 0
