import json

import pytest

from ticker.candles.interval import INTERVALS
from ticker.limits import LIMITS

SECOND = 1_000_000
MINUTE = 60 * SECOND


async def test_candles_look_as_promised(filled, noon):
    """The envelope, the fields of a row in their order, newest last; `1m` is the interval where none is named."""
    body = await filled.json("/v1/candles/AAPL")
    assert list(body) == ["symbol", "interval", "candles", "next", "position"]
    assert (body["symbol"], body["interval"], body["next"]) == ("AAPL", "1m", None)
    assert list(body["candles"][0]) == ["time", "open", "high", "low", "close", "volume", "trades", "vwap", "final"]
    assert [row["time"] for row in body["candles"]] == [noon, noon + MINUTE]
    assert all(row["final"] for row in body["candles"])
    assert set(body["position"]) == {"epoch", "seq"}
    forming = await filled.json("/v1/candles/AAPL", forming="true")
    assert [row["final"] for row in forming["candles"]] == [True, True, False]
    assert forming["position"]["seq"] == 171
    assert sum(row["trades"] for row in forming["candles"]) == 171


@pytest.mark.parametrize("interval", INTERVALS)
async def test_every_interval_is_answered(filled, interval):
    """By its name in the answer."""
    body = await filled.json("/v1/candles/AAPL", interval=interval, forming="true")
    assert body["interval"] == interval
    assert sum(row["trades"] for row in body["candles"]) == 171


async def test_trades_and_quotes_look_as_promised(filled, tape):
    """Time first, seq last, optional fields where the feed has them, a missing side null with size 0."""
    body = await filled.json("/v1/trades/AAPL", limit=2)
    assert list(body) == ["symbol", "trades", "next", "position"]
    plain, rich = body["trades"]
    assert set(plain) == {"time", "price", "size", "seq"}
    assert rich == {
        "time": tape.ticks[-1].time,
        "price": 189.23,
        "size": 0.5,
        "id": "t",
        "exchange": "Q",
        "conditions": "@ T",
        "seq": 171,
    }
    assert next(iter(rich)) == "time"
    assert body["position"]["seq"] == 171
    quotes = (await filled.json("/v1/quotes/AAPL"))["quotes"]
    assert [quote["seq"] for quote in quotes] == [1, 2]
    assert (quotes[1]["bid"], quotes[1]["bid_size"], quotes[1]["ask"]) == (None, 0, 100.01)


async def test_pages_follow_each_other(filled):
    """`next` leads on until it is null, forwards and backwards."""
    for path, name in (("/v1/trades/AAPL", "trades"), ("/v1/candles/AAPL", "candles")):
        for start in ({}, {"start": "2020-01-01T00:00:00Z"}):
            query, rows = {"limit": 33, "interval": "1s"} | start if name == "candles" else {"limit": 33} | start, []
            while True:
                body = await filled.json(path, **query)
                rows = rows + body[name] if start else body[name] + rows
                if not body["next"]:
                    break
                query["cursor"] = body["next"]
            times = [row["time"] for row in rows]
            assert times == sorted(set(times))
            assert len(times) == 171 - (name == "candles") * (171 - len(times))
            assert len(times) > 160


async def test_order_sorts_within_a_page(filled):
    """The same rows, the other way round."""
    rising = await filled.json("/v1/trades/AAPL", limit=9, order="asc")
    falling = await filled.json("/v1/trades/AAPL", limit=9, order="desc")
    assert falling["trades"] == rising["trades"][::-1]


@pytest.mark.parametrize(
    "start",
    ["1763985660000000", "2025-11-24T12:01:00Z", "2025-11-24T12:01:00.000+00:00", "2025-11-24 07:01:00-05:00"],
)
async def test_times_have_many_forms(filled, noon, start):
    """Microseconds, RFC 3339 with an offset; the same moment is the same answer."""
    body = await filled.json("/v1/candles/AAPL", start=start)
    assert [row["time"] for row in body["candles"]] == [noon + MINUTE]


async def test_a_plus_sign_may_arrive_as_a_space(filled, noon):
    """As it does where nobody encoded it."""
    answer = await filled.get("/v1/candles/AAPL?start=2025-11-24T13:01:00+01:00")
    assert [row["time"] for row in answer.json()["candles"]] == [noon + MINUTE]


async def test_a_date_is_midnight_of_the_market(filled, noon):
    """Not of UTC: in New York the day began five hours later."""
    rows = (await filled.json("/v1/candles/AAPL", interval="1d", start="2025-11-24", forming="true"))["candles"]
    assert [row["time"] for row in rows] == [noon - 7 * 60 * MINUTE]
    assert (await filled.json("/v1/trades/AAPL", start="2025-11-25"))["trades"] == []
    for start in ("0001-01-01", "1969-12-31T23:59:59Z", "1970-01-01"):
        assert len((await filled.json("/v1/trades/AAPL", start=start))["trades"]) == 171
        assert len((await filled.json("/v1/candles/AAPL", start=start))["candles"]) == 2
        assert (await filled.json("/v1/trades/AAPL", end=start))["trades"] == []
        assert (await filled.json("/v1/candles/AAPL", end=start))["candles"] == []
    assert len((await filled.json("/v1/trades/AAPL", start="2025-11-24", end="9999-12-31"))["trades"]) == 171


async def test_snapshots_look_as_promised(filled, tape):
    """Of one symbol, of several, and of all; unknown ones are errors of their own."""
    body = await filled.json("/v1/snapshots/AAPL")
    names = "symbol trade quote minute day previous_close change change_percent positions"
    assert list(body) == names.split()
    assert body["trade"]["price"] == 189.23
    assert body["quote"]["seq"] == 2
    assert body["day"]["trades"] == 171
    assert (body["previous_close"], body["change"], body["change_percent"]) == (None, None, None)
    assert {name: position["seq"] for name, position in body["positions"].items()} == {"trades": 171, "quotes": 2}
    many = await filled.json("/v1/snapshots", symbols="MSFT,ZZZZ,AAPL")
    assert many["errors"] == [{"symbol": "ZZZZ", "code": "unknown_symbol"}]
    assert many["snapshots"]["AAPL"] == body
    assert many["snapshots"]["MSFT"]["positions"]["quotes"] == {"epoch": None, "seq": 0}
    everything = await filled.json("/v1/snapshots", symbols="*")
    assert list(everything["snapshots"]) == ["AAPL", "MSFT"]
    assert everything["errors"] == []


async def test_the_change_is_since_the_previous_close(service, tape, noon):
    """In money and in percent."""
    day = 24 * 60 * MINUTE
    service.feed.give(tape.trade(80, 1))
    service.feed.give(tape.trade(90, 1, time=noon + day), clock=noon + day)
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    if not any(m.get("seq") == 2 for m in await client.barrier()):
        await client.until(lambda m: m.get("seq") == 2)
    body = await service.json("/v1/snapshots/AAPL")
    assert (body["previous_close"], body["change"], body["change_percent"]) == (80, 10, 12.5)


async def test_symbols_are_listed_and_searched(filled):
    """By symbol or name, any case, page by page."""
    body = await filled.json("/v1/symbols")
    assert [row["symbol"] for row in body["symbols"]] == ["AAPL", "MSFT"]
    assert body["symbols"][0] == {
        "symbol": "AAPL",
        "name": "AAPL Inc.",
        "exchange": "XNAS",
        "currency": "USD",
        "sector": "Technology",
        "tick_size": 0.01,
        "feed": "hand",
    }
    assert [r["symbol"] for r in (await filled.json("/v1/symbols", query="msft in"))["symbols"]] == ["MSFT"]
    first = await filled.json("/v1/symbols", limit=1)
    second = await filled.json("/v1/symbols", limit=1, cursor=first["next"])
    assert [r["symbol"] for r in first["symbols"] + second["symbols"]] == ["AAPL", "MSFT"]
    assert second["next"] is None
    assert (await filled.json("/v1/symbols/MSFT")).items() >= body["symbols"][1].items()


WRONG = [
    ("/v1/candles/AAPL?interval=2m", 400, "unknown_interval", "interval"),
    ("/v1/candles/AAPL?limit=0", 400, "bad_request", "limit"),
    ("/v1/candles/AAPL?limit=10001", 400, "bad_request", "limit"),
    ("/v1/candles/AAPL?limit=ten", 400, "bad_request", "limit"),
    ("/v1/candles/AAPL?limit=1e3", 400, "bad_request", "limit"),
    ("/v1/candles/AAPL?limit=9999999999999", 400, "bad_request", "limit"),
    ("/v1/candles/AAPL?start=1763985600000", 400, "bad_request", "start"),
    ("/v1/candles/AAPL?end=1763985600", 400, "bad_request", "end"),
    ("/v1/candles/AAPL?end=99999999999999999999", 400, "bad_request", "end"),
    ("/v1/candles/AAPL?start=2025-11-24T12:00:00", 400, "bad_request", "start"),
    ("/v1/candles/AAPL?start=yesterday", 400, "bad_request", "start"),
    ("/v1/candles/AAPL?start=2025-13-01", 400, "bad_request", "start"),
    ("/v1/candles/AAPL?start=2025-11-25&end=2025-11-24", 400, "bad_request", "start"),
    ("/v1/candles/AAPL?order=up", 400, "bad_request", "order"),
    ("/v1/candles/AAPL?forming=yes", 400, "bad_request", "forming"),
    ("/v1/candles/AAPL?cursor=abc", 400, "bad_request", "cursor"),
    ("/v1/candles/AAPL?colour=red", 400, "bad_request", "colour"),
    ("/v1/candles/AAPL?limit=1&limit=2", 400, "bad_request", "limit"),
    ("/v1/trades/AAPL?interval=1m", 400, "bad_request", "interval"),
    ("/v1/quotes/AAPL?cursor=", 400, "bad_request", "cursor"),
    ("/v1/candles/aapl", 400, "bad_request", "symbol"),
    ("/v1/candles/A%00B", 400, "bad_request", "symbol"),
    ("/v1/candles/ABCDEFGHIJKLMNOPQ", 400, "bad_request", "symbol"),
    ("/v1/candles/ZZZZ", 404, "unknown_symbol", "symbol"),
    ("/v1/trades/ZZZZ", 404, "unknown_symbol", "symbol"),
    ("/v1/quotes/ZZZZ", 404, "unknown_symbol", "symbol"),
    ("/v1/snapshots/ZZZZ", 404, "unknown_symbol", "symbol"),
    ("/v1/symbols/ZZZZ", 404, "unknown_symbol", "symbol"),
    ("/v1/snapshots", 400, "bad_request", "symbols"),
    ("/v1/snapshots?symbols=", 400, "bad_request", "symbols"),
    ("/v1/snapshots?symbols=AAPL,,MSFT", 400, "bad_request", "symbols"),
    ("/v1/symbols?cursor=%F0%9F%92%A3", 400, "bad_request", "cursor"),
    ("/v1/nothing", 404, "unknown_path", None),
    ("/nothing", 404, "unknown_path", None),
    ("/page/nothing.js", 404, "unknown_path", None),
    ("/page/..%2f..%2fconfig.py", 404, "unknown_path", None),
]


@pytest.fixture
def check_problem():
    def check_problem(answer, status, code, parameter):
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert (body["status"], body["code"], body.get("parameter")) == (status, code, parameter)
        assert body["type"]
        assert body["title"]
        assert body["detail"]
        assert len(body["request_id"]) == 12
        assert body["request_id"] != 12 * "0"

    return check_problem


async def test_a_wrong_request_is_a_problem(service, check_problem):
    """Of the right status, with the code and the parameter at fault, as RFC 9457 has it."""
    for path, *expected in WRONG:
        check_problem(await service.get(path), *expected)


async def test_other_methods_are_refused(service, check_problem):
    """With those that are allowed."""
    import httpx

    async with httpx.AsyncClient(base_url=service.url) as client:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = await client.request(method, "/v1/candles/AAPL")
            check_problem(answer, 405, "method_not_allowed", None)
            assert "GET" in answer.headers["allow"]
        answer = await client.head("/v1/candles/AAPL")
        assert (answer.status_code, answer.content) == (200, b"")


async def test_other_formats_are_refused(service, check_problem):
    """By `format` or `Accept`; what includes JSON is answered with JSON."""
    check_problem(await service.get("/v1/candles/AAPL?format=xml"), 406, "not_acceptable", "format")
    answer = await service.get("/v1/candles/AAPL", headers={"Accept": "text/html"})
    check_problem(answer, 406, "not_acceptable", "Accept")
    for accept in ("*/*", "application/json", "text/html, application/json;q=0.5", "application/*"):
        answer = await service.get("/v1/candles/AAPL", headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
    assert (await service.get("/v1/candles/AAPL?format=json", headers={"Accept": "text/html"})).status_code == 200


async def test_answers_may_not_be_used_without_asking(service):
    """`no-cache`: the newest rows change all the time."""
    assert (await service.get("/v1/candles/AAPL")).headers["cache-control"] == "no-cache"


async def test_limits_are_those_in_force_for_whoever_asks(start_service, valkey_url):
    """Every row of the table: name, value, unit and what one sees; by address none for this machine; as in `welcome`."""
    service = await start_service(valkey_url, limits={"page_rows": 7}, websocket={"outbox_ms": 4_000})
    found = (await service.json("/v1/limits"))["limits"]
    assert list(found) == list(LIMITS)
    assert found["page_rows"] == {
        "value": 7,
        "unit": "rows",
        "per": "request",
        "code": "bad_request",
        "setting": "limits.page_rows",
        "description": LIMITS["page_rows"].description,
    }
    assert (found["outbox_ms"]["value"], found["outbox_ms"]["setting"]) == (4_000, "websocket.outbox_ms")
    assert found["connections_per_address"]["value"] is None
    assert found["tick_ahead_s"]["code"] is None
    client = await service.connect()
    assert client.welcome["limits"] == {name: row["value"] for name, row in found.items()}


async def test_a_limit_by_address_that_is_set_is_in_force_for_loopback(start_service, valkey_url):
    """Even where it is set to its default."""
    default = LIMITS["connections_per_address"].default
    service = await start_service(valkey_url, limits={"connections_per_address": default})
    found = (await service.json("/v1/limits"))["limits"]
    assert found["connections_per_address"]["value"] == default


async def test_without_the_store_the_answer_is_503(start_service, tmp_path, free_port, check_problem):
    """With `Retry-After`; and once it is back, 200 again."""
    from ticker.store.embedded import EmbeddedServer

    with EmbeddedServer(tmp_path / "data", free_port()) as server:
        service = await start_service(server.url)
        server.stop()
        for path in (
            "/v1/candles/AAPL",
            "/v1/candles?symbols=*",
            "/v1/candles/AAPL?fill=previous&format=arrow",
            "/v1/trades/AAPL",
            "/v1/quotes/AAPL",
            "/v1/symbols/AAPL",
            "/v1/snapshots/AAPL",
            "/v1/snapshots?symbols=*",
        ):
            answer = await service.get(path)
            check_problem(answer, 503, "unavailable", None)
            assert int(answer.headers["retry-after"]) >= 1
        assert (await service.get("/v1/symbols")).status_code == 200
        server.start()
        assert (await service.get("/v1/candles/AAPL")).status_code == 200


async def test_answers_are_compact_json(filled):
    """And the same question gives the same bytes."""
    first, second = [(await filled.get("/v1/candles/AAPL?interval=1s")).content for _ in range(2)]
    assert first == second
    assert b": " not in first
    assert json.loads(first)["symbol"] == "AAPL"
