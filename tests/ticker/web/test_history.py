import asyncio
import csv
import gzip
import io
import json
import random
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import zstandard

from ticker import metrics
from ticker.candles.interval import INTERVALS
from ticker.store import keys
from ticker.store.candle_store import CandleReader, candles_event

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
PLAIN = {"Accept-Encoding": "identity"}


def calls():
    """Round trips to the store that asked for candles or ticks."""
    name = "ticker_redis_call_seconds_count"
    return sum(metrics.REGISTRY.get_sample_value(name, {"part": part}) or 0 for part in ("candles", "ticks"))


async def clock_is(service, clock):
    """Until the store knows how far the feed is, and the gateway everything up to there."""

    async def reached():
        return (
            int(await service.store.hget(keys.CLOCKS, "hand") or 0) >= clock
            and service.gateway.clock_of("AAPL") >= clock
        )

    await service.wait_until(reached)


@pytest.fixture
async def filled(service, tape, new_tape, noon):
    """An hour of AAPL and MSFT, a trade every two seconds, closed up to an hour and two minutes."""
    both = [made.trades(1_800, step=2 * SECOND) for made in (tape, new_tape("MSFT"))]
    service.feed.give(*[trade for pair in zip(*both, strict=True) for trade in pair], clock=noon + 60 * MINUTE)
    service.feed.give(tape.quote(), tape.quote(None), clock=noon + 62 * MINUTE)
    await clock_is(service, noon + 62 * MINUTE)
    return service


def rows_of(answer, kind, name="candles"):
    import pyarrow as pa

    if kind == "json":
        return answer.json()[name]
    if kind == "columns":
        columns = answer.json()[name]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if kind == "arrow":
        return pa.ipc.open_stream(answer.content).read_all().to_pylist()
    rows = csv.DictReader(io.StringIO(answer.text, newline=""))
    return [{column: json.loads(value or "null") for column, value in row.items()} for row in rows]


ACCEPT = {
    "json": "application/json",
    "columns": "application/vnd.ticker.columns+json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}


@pytest.mark.parametrize("kind", ACCEPT)
@pytest.mark.parametrize("path", ["candles", "trades", "quotes"])
async def test_every_format_has_the_same_rows_and_leads_on(filled, kind, path):
    """By `format` or `Accept`; `Link` leads through all pages, and `Ticker-Position` stands where JSON has it."""
    whole = await filled.json(f"/v1/{path}/AAPL", interval="1s", limit=10_000) if path == "candles" else None
    whole = whole or await filled.json(f"/v1/{path}/AAPL", limit=10_000)
    expected = [dict.fromkeys(whole[path][0]) | row for row in whole[path]]
    limit = 700 if path != "quotes" else 1
    query = {"limit": limit} | ({"interval": "1s"} if path == "candles" else {})
    answer = await filled.get(f"/v1/{path}/AAPL", params=query | {"format": kind})
    by_accept = await filled.get(f"/v1/{path}/AAPL", params=query, headers={"Accept": ACCEPT[kind]})
    assert answer.content == by_accept.content
    assert by_accept.headers["content-type"].startswith(ACCEPT[kind])
    place = whole["position"]
    assert answer.headers["ticker-position"] == f"{place['epoch']}:{place['seq']}"
    rows, pages = rows_of(answer, kind, path), 1
    while "next" in answer.links:
        assert "ticker-position" not in answer.headers or pages == 1
        answer = await filled.get(answer.links["next"]["url"])
        assert answer.status_code == 200, answer.text
        rows = rows_of(answer, kind, path) + rows
        pages += 1
    assert rows == expected
    assert pages == -(-len(expected) // limit)


async def test_errors_are_json_in_every_format(filled):
    """Whatever was wanted."""
    for kind in ACCEPT:
        answer = await filled.get(f"/v1/candles/ZZZZ?format={kind}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_symbol")


@pytest.mark.parametrize("kind", ACCEPT)
async def test_where_all_symbols_are_unknown_there_are_no_rows(filled, kind):
    """An answer of the format all the same, and what is wrong with the rest of the request is refused as ever."""
    answer = await filled.get(f"/v1/candles?symbols=ZZZZ,YYYY&format={kind}")
    assert answer.status_code == 200
    if kind in ("csv", "arrow"):
        assert rows_of(answer, kind, "/v1/candles") == []
    else:
        errors = [{"symbol": symbol, "code": "unknown_symbol"} for symbol in ("ZZZZ", "YYYY")]
        assert answer.json() == {"interval": "1m", "symbols": {}, "errors": errors}
    assert (await filled.get(f"/v1/candles?symbols=ZZZZ&format={kind}&limit=0")).json()["parameter"] == "limit"


async def test_candles_of_several_symbols_are_those_of_each(filled):
    """With its own page and position; unknown ones are errors of their own, and a page leads on for all that have more."""
    query = {"interval": "1s", "limit": 400}
    body = await filled.json("/v1/candles", symbols="MSFT,ZZZZ,AAPL", **query)
    assert list(body) == ["interval", "symbols", "errors"]
    assert (body["interval"], list(body["symbols"])) == ("1s", ["MSFT", "AAPL"])
    assert body["errors"] == [{"symbol": "ZZZZ", "code": "unknown_symbol"}]
    for symbol, part in body["symbols"].items():
        one = await filled.json(f"/v1/candles/{symbol}", **query)
        assert part == {name: one[name] for name in ("candles", "next", "position")}
        # Its cursor leads on there, too.
        behind = await filled.json(f"/v1/candles/{symbol}", **query, cursor=part["next"])
        assert behind["candles"][-1]["time"] < part["candles"][0]["time"]
    rows = {"AAPL": [], "MSFT": []}
    answer = await filled.get("/v1/candles", params=query | {"symbols": "*"})
    assert answer.headers["ticker-position"] == ",".join(
        f"{s}={p['position']['epoch']}:{p['position']['seq']}" for s, p in answer.json()["symbols"].items()
    )
    while True:
        for symbol, part in answer.json()["symbols"].items():
            rows[symbol] = part["candles"] + rows[symbol]
        if "next" not in answer.links:
            break
        url = answer.links["next"]["url"]
        assert parse_qs(urlsplit(url).query)["symbols"] == [",".join(rows)]
        answer = await filled.get(url)
    for symbol, found in rows.items():
        assert found == (await filled.json(f"/v1/candles/{symbol}", interval="1s", limit=10_000))["candles"]


async def test_a_symbol_that_has_no_more_is_left_out_of_the_next_page(service, tape, new_tape, noon):
    """So that it does not begin anew."""
    service.feed.give(*tape.trades(30, step=SECOND), *new_tape("MSFT").trades(3, step=SECOND), clock=noon + MINUTE)
    await clock_is(service, noon + MINUTE)
    answer = await service.get("/v1/candles?symbols=AAPL,MSFT&interval=1s&limit=20")
    assert len(answer.json()["symbols"]["MSFT"]["candles"]) == 3
    answer = await service.get(answer.links["next"]["url"])
    assert [len(part["candles"]) for part in answer.json()["symbols"].values()] == [10]
    assert "next" not in answer.links


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "symbols"),
        ("symbols=", "symbols"),
        ("symbols=aapl", "symbols"),
        ("symbols=AAPL&cursor=x", "cursor"),
        ("symbols=AAPL&cursor=AAPL:x", "cursor"),
        ("symbols=AAPL&cursor=MSFT:x", "cursor"),
        ("symbols=AAPL&fill=next", "fill"),
        ("symbols=AAPL&symbol=AAPL", "symbol"),
        ("symbols=AAPL&format=xml", "format"),
    ],
)
async def test_a_wrong_request_for_several_is_refused(service, query, parameter):
    """By the name of what is wrong."""
    answer = await service.get(f"/v1/candles?{query}")
    assert answer.status_code in (400, 406)
    assert answer.json()["parameter"] == parameter


@pytest.mark.limit("answer_rows")
async def test_an_answer_over_several_symbols_is_bounded(start_service, valkey_url):
    """By the rows that it may have."""
    service = await start_service(valkey_url, symbols=["A", "B", "C"], limits={"answer_rows": 1_000})
    assert (await service.get("/v1/candles?symbols=A,B&limit=500")).status_code == 200
    answer = await service.get("/v1/candles?symbols=*&limit=500")
    assert (answer.status_code, answer.json()["parameter"]) == (400, "limit")
    assert "limits.answer_rows" in answer.json()["detail"]


async def test_many_requests_for_several_symbols_wait_for_their_turn(start_service, valkey_url):
    """Not for connections to the store, of which the others then get none in time."""
    names = [f"S{number}" for number in range(40)]
    service = await start_service(valkey_url, symbols=names, limits={"store_connections": 4, "store_timeout_s": 1})
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        asked = [client.get(f"/v1/candles?symbols=*&limit={number}&fill=previous") for number in range(1, 61)]
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def test_an_answer_for_no_symbols_is_not_remembered(start_service, valkey_url, noon):
    """There may be some soon."""
    service = await start_service(valkey_url, feed=None)
    path = f"/v1/candles?symbols=*&start={noon}&end={noon + MINUTE}"
    for _ in range(2):
        assert (await service.get(path)).json() == {"interval": "1m", "symbols": {}, "errors": []}
    assert len(service.gateway.history.cache) == 0


async def test_filled_candles_have_no_holes(filled, noon):
    """Every second of the hour, closed at the one before."""
    plain = (await filled.json("/v1/candles/AAPL", interval="1s", limit=10_000))["candles"]
    body = await filled.json("/v1/candles/AAPL", interval="1s", limit=10_000, fill="previous", start=noon)
    times = [row["time"] for row in body["candles"]]
    assert times == list(range(plain[0]["time"], noon + 62 * MINUTE - SECOND, SECOND))
    assert [row for row in body["candles"] if row["trades"]] == plain
    empty = [row for row in body["candles"] if not row["trades"]]
    assert all((row["volume"], row["vwap"], row["final"]) == (0, None, True) for row in empty)
    assert all(row["open"] == row["close"] for row in empty)
    assert body["position"] == (await filled.json("/v1/candles/AAPL", interval="1s"))["position"]


async def test_a_symbol_says_since_when_it_is_kept(filled, noon, tape):
    """Ticks by kind, candles by interval; null where there is nothing."""
    kept = (await filled.json("/v1/symbols/AAPL"))["kept"]
    quotes = [tick for tick in tape.ticks if hasattr(tick, "bid")]
    assert kept["trades"] == {"from": tape.ticks[0].time}
    assert kept["quotes"] == {"from": quotes[0].time}
    assert list(kept["candles"]) == list(INTERVALS)
    assert kept["candles"]["1m"] == kept["candles"]["4h"] == {"from": noon}
    assert kept["candles"]["1d"] == {"from": noon - 7 * 60 * MINUTE}
    kept = (await filled.json("/v1/symbols/MSFT"))["kept"]
    assert kept["quotes"] == {"from": None}


# Remembered answers.


def closed(noon, interval="1s", **more):
    query = {"interval": interval, "start": noon + 10 * MINUTE, "end": noon + 15 * MINUTE, "limit": 500} | more
    return "&".join(f"{name}={value}" for name, value in query.items())


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
async def test_a_closed_range_is_answered_again_without_the_store(filled, noon, name, origin):
    """With the same bytes, and with 304 where the client has them; in each encoding with an ETag of its own."""
    path, also = PATHS[name](noon), {"Origin": origin} if origin else {}
    etags = set()
    for encoding in ("identity", "gzip", "zstd"):
        headers = {"Accept-Encoding": encoding} | also
        first = await filled.get(path, headers=headers)
        assert first.status_code == 200
        asked = calls()
        again = await filled.get(path, headers=headers)
        assert again.content == first.content
        for header in ("etag", "content-type", "vary", "cache-control", "content-length"):
            assert again.headers[header] == first.headers[header]
        assert first.headers["etag"].startswith('"')
        assert first.headers["cache-control"] == "no-cache"
        etags.add((first.headers["etag"], first.headers.get("content-encoding")))
        for none_match in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
            kept = await filled.get(path, headers=headers | {"If-None-Match": none_match})
            assert (kept.status_code, kept.content) == (304, b"")
            assert kept.headers["etag"] == first.headers["etag"]
        assert (await filled.get(path, headers=headers | {"If-None-Match": '"other"'})).status_code == 200
        assert calls() == asked
    assert len({etag for etag, _ in etags}) == len(etags)


@pytest.mark.parametrize("name", ["candles", "several", "trades"])
async def test_a_closed_range_that_many_ask_for_at_once_is_made_once(filled, noon, name):
    """All get the same bytes."""
    path = PATHS[name](noon)

    def made():
        return metrics.REGISTRY.get_sample_value("ticker_history_answers_total", {"source": "made"}) or 0

    before = made()
    answers = await asyncio.gather(*(filled.get(path) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert made() == before + 1


async def test_head_and_get_agree(filled, noon):
    """Made or remembered."""
    path = PATHS["candles"](noon)
    async with httpx.AsyncClient(base_url=filled.url, headers=PLAIN) as client:
        for _ in range(2):
            head, get = await client.head(path), await client.get(path)
            assert head.content == b""
            assert {k: v for k, v in head.headers.items() if k != "date"} == {
                k: v for k, v in get.headers.items() if k != "date"
            }


async def test_the_short_way_and_the_long_way_answer_alike(filled, noon):
    """Every header but the date, whichever part of the service has answered."""
    path = PATHS["candles"](noon)
    first = await filled.get(path, headers=PLAIN)
    short = await filled.get(path, headers=PLAIN)
    # Whoever sends a range is answered by the application.
    long = await filled.get(path, headers=PLAIN | {"Range": "bytes=0-5"})
    plain = [{k: v for k, v in one.headers.items() if k != "date"} for one in (first, short, long)]
    assert plain[0] == plain[1] == plain[2]
    assert first.content == short.content == long.content


async def test_the_live_edge_is_never_remembered(filled, noon):
    """What may still change is read anew; its ETag changes with it, and is kept while it does not."""
    for path in (
        "/v1/candles/AAPL?interval=1s",
        f"/v1/candles/AAPL?interval=1s&end={noon + 63 * MINUTE}",
        "/v1/trades/AAPL",
    ):
        first = await filled.get(path)
        asked = calls()
        again = await filled.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert calls() > asked
        assert again.status_code == 304


async def settled(service, path):
    """The answer once it is remembered."""
    found = []

    async def remembered():
        found[:] = [await service.get(path, headers=PLAIN)]
        asked = calls()
        again = await service.get(path, headers=PLAIN)
        return calls() == asked and again.content == found[0].content

    await service.wait_until(remembered)
    return found[0]


@pytest.mark.parametrize("interval", ["1s", "30s", "1m", "15m", "1h"])
async def test_a_correction_is_seen(filled, tape, noon, interval):
    """A trade that comes late changes candles that are closed; what was remembered of them is not used any more."""
    end, clock = noon + 120 * MINUTE, noon + 120 * MINUTE + 10 * SECOND
    late = end - 40 * SECOND
    filled.feed.give(tape.trade(500, 1, time=late), tape.trade(501, 1, time=late + SECOND), clock=clock)
    await clock_is(filled, clock)
    begin = late // INTERVALS[interval].width * INTERVALS[interval].width
    query = f"interval={interval}&start={begin}&end={end}"
    one, several = f"/v1/candles/AAPL?{query}", f"/v1/candles?symbols=AAPL,MSFT&{query}"
    assert (await settled(filled, one)).json()["candles"][0]["close"] == (500 if interval == "1s" else 501)
    await settled(filled, several)
    client = await filled.connect()
    await client.subscribe("trades", "AAPL")
    await client.barrier()
    filled.feed.give(tape.trade(77, 3, time=late + 1))
    await client.until(lambda m: m.get("price") == 77)
    # What the gateway is told of a correction arrives before the trade that makes it.
    assert (await filled.get(one)).json()["candles"][0]["low"] == 77
    assert (await filled.get(several)).json()["symbols"]["AAPL"]["candles"][0]["low"] == 77


async def test_what_is_told_takes_away_what_was_remembered(filled, noon):
    """By symbol, stored interval and time: no more than that."""
    minutes, seconds = f"/v1/candles/AAPL?{closed(noon, '5m')}", f"/v1/candles/AAPL?{closed(noon)}"
    others = f"/v1/candles/MSFT?{closed(noon)}"
    for path in (minutes, seconds, others):
        await settled(filled, path)

    async def asks_the_store(path):
        asked = calls()
        await filled.get(path, headers=PLAIN)
        return calls() > asked

    await filled.store.publish(keys.EVENTS, candles_event("AAPL", {"1s": (noon + 11 * MINUTE, noon + 11 * MINUTE + 1)}))
    await filled.wait_until(lambda: asks_the_store(seconds))
    assert not await asks_the_store(minutes)
    assert not await asks_the_store(others)
    await filled.store.publish(keys.EVENTS, candles_event("AAPL"))
    await filled.wait_until(lambda: asks_the_store(minutes))
    assert not await asks_the_store(others)


async def test_trimming_is_seen(filled, noon):
    """What has been trimmed away is in no answer any more."""
    path = f"/v1/candles/AAPL?{closed(noon)}"
    assert len((await settled(filled, path)).json()["candles"]) == 150
    reader = CandleReader(filled.store)
    assert await reader.trim("AAPL", INTERVALS["1s"], noon + 50 * MINUTE) > 0

    async def gone():
        return (await filled.get(path)).json()["candles"] == []

    await filled.wait_until(gone)


async def test_a_new_epoch_takes_everything_with_it(filled, noon):
    """Numbers that were seen are withdrawn, and so is what was made of them."""
    path = f"/v1/candles/AAPL?{closed(noon)}"
    await settled(filled, path)
    event = {"event": "epoch", "symbol": "AAPL", "epoch": "another", "trades": 0, "quotes": 0}
    await filled.store.delete(keys.chunks("AAPL", "1s"), keys.chunk_index("AAPL", "1s"))
    await filled.store.publish(keys.EVENTS, json.dumps(event))

    async def gone():
        return (await filled.get(path)).json()["candles"] == []

    await filled.wait_until(gone)


async def test_nothing_is_remembered_over_a_loss_of_the_live_connection(filled, noon):
    """Nobody knows what was told meanwhile."""
    path = f"/v1/candles/AAPL?{closed(noon)}"
    await settled(filled, path)
    filled.gateway.connection_changed(False)
    asked = calls()
    await filled.get(path, headers=PLAIN)
    assert calls() > asked
    filled.gateway.connection_changed(True)
    asked = calls()
    await filled.get(path, headers=PLAIN)
    assert calls() > asked
    await settled(filled, path)


async def test_a_feed_clock_that_goes_back_makes_nothing_closed_for_good(filled, noon):
    """A recording that begins again closes its candles again."""
    path = f"/v1/candles/AAPL?{closed(noon)}"
    await settled(filled, path)
    beat = {"time": 1, "feeds": {"hand": {"state": "live", "reason": "", "clock": noon}}}
    mark = filled.gateway.answers.mark()
    filled.gateway._heartbeat(json.dumps(beat).encode())
    assert filled.gateway.answers.mark() > mark


async def test_remembered_answers_are_still_refused_where_they_must_be(filled, noon):
    """A format that is not offered, a symbol that has vanished from the catalog."""
    path = f"/v1/candles/MSFT?{closed(noon)}"
    await settled(filled, path)
    assert (await filled.get(path, headers={"Accept": "text/html"})).status_code == 406
    await filled.store.hdel(keys.SYMBOLS, "MSFT")
    await filled.store.publish(keys.EVENTS, '{"event":"symbols"}')

    async def gone():
        return (await filled.get(path)).status_code == 404

    await filled.wait_until(gone)


async def test_a_new_symbol_is_in_the_answer_for_all(filled, noon):
    """Which was remembered without it."""
    path = f"/v1/candles?symbols=*&{closed(noon)}"
    assert list((await settled(filled, path)).json()["symbols"]) == ["AAPL", "MSFT"]
    await filled.store.hset(keys.SYMBOLS, "NEW", json.dumps({"symbol": "NEW", "name": "New", "feed": "hand"}))
    await filled.store.publish(keys.EVENTS, '{"event":"symbols"}')

    async def there():
        return "NEW" in (await filled.get(path)).json()["symbols"]

    await filled.wait_until(there)


async def test_every_header_is_open_to_other_origins(filled, noon):
    """To those that may read."""
    answer = await filled.get("/v1/candles/AAPL?limit=3", headers={"Origin": "http://localhost:3000"})
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed == {"etag", "link", "ticker-position", "ratelimit", "ratelimit-policy", "retry-after"}
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    path = f"/v1/candles/AAPL?{closed(noon)}"
    await settled(filled, path)
    answer = await filled.get(path, headers={"Origin": "http://localhost:3000"})
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert (
        "access-control-allow-origin" not in (await filled.get(path, headers={"Origin": "http://evil.example"})).headers
    )


async def test_answers_are_compressed_as_the_client_takes_them(filled):
    """The live edge too."""
    path = "/v1/candles/AAPL?interval=1s&limit=1000&end=2025-11-24T13:03:00Z"
    plain = await filled.get(path, headers=PLAIN)
    async with httpx.AsyncClient(base_url=filled.url) as client:
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


async def test_random_questions_are_answered_as_if_nothing_were_remembered(filled, tape, noon):
    """While late trades correct what is closed: an answer never shows less than what was already published."""
    rng = random.Random(7)
    client = await filled.connect()
    await client.subscribe("trades", "AAPL")
    await client.barrier()
    clock = noon + 62 * MINUTE
    for _ in range(60):
        late = clock - rng.randrange(55 * SECOND)
        clock += rng.randrange(3 * SECOND)
        price = round(rng.uniform(1, 900), 2)
        filled.feed.give(tape.trade(price, 1, time=late), clock=clock)
        await client.until(lambda m, price=price: m.get("price") == price)
        # The events of an append arrive before its messages.
        interval = rng.choice(["1s", "5s", "1m", "5m"])
        width = INTERVALS[interval].width
        start = late // width * width
        path = f"/v1/candles/AAPL?interval={interval}&start={start}&end={start + width}&forming=true"
        for _ in range(2):
            (row,) = (await filled.get(path)).json()["candles"]
            assert row["low"] <= price <= row["high"]
    with suppress(httpx.HTTPError):
        await client.socket.close()
