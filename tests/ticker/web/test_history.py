import asyncio
import csv
import io
import json
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from ticker.candles.interval import INTERVALS

SECOND = 1_000_000
MINUTE = 60 * SECOND


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
async def test_every_format_has_the_same_rows_and_leads_on(filled_hour, kind, path):
    """By `format` or `Accept`; `Link` leads through all pages, and `Ticker-Position` stands where JSON has it."""
    whole = await filled_hour.json(f"/v1/{path}/AAPL", interval="1s", limit=10_000) if path == "candles" else None
    whole = whole or await filled_hour.json(f"/v1/{path}/AAPL", limit=10_000)
    expected = [dict.fromkeys(whole[path][0]) | row for row in whole[path]]
    limit = 700 if path != "quotes" else 1
    query = {"limit": limit} | ({"interval": "1s"} if path == "candles" else {})
    answer = await filled_hour.get(f"/v1/{path}/AAPL", params=query | {"format": kind})
    by_accept = await filled_hour.get(f"/v1/{path}/AAPL", params=query, headers={"Accept": ACCEPT[kind]})
    assert answer.content == by_accept.content
    assert by_accept.headers["content-type"].startswith(ACCEPT[kind])
    place = whole["position"]
    assert answer.headers["ticker-position"] == f"{place['epoch']}:{place['seq']}"
    rows, pages = rows_of(answer, kind, path), 1
    while "next" in answer.links:
        assert "ticker-position" not in answer.headers or pages == 1
        answer = await filled_hour.get(answer.links["next"]["url"])
        assert answer.status_code == 200, answer.text
        rows = rows_of(answer, kind, path) + rows
        pages += 1
    assert rows == expected
    assert pages == -(-len(expected) // limit)


async def test_errors_are_json_in_every_format(filled_hour):
    """Whatever was wanted."""
    for kind in ACCEPT:
        answer = await filled_hour.get(f"/v1/candles/ZZZZ?format={kind}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_symbol")


@pytest.mark.parametrize("kind", ACCEPT)
async def test_where_all_symbols_are_unknown_there_are_no_rows(filled_hour, kind):
    """An answer of the format all the same, and what is wrong with the rest of the request is refused as ever."""
    answer = await filled_hour.get(f"/v1/candles?symbols=ZZZZ,YYYY&format={kind}")
    assert answer.status_code == 200
    if kind in ("csv", "arrow"):
        assert rows_of(answer, kind, "/v1/candles") == []
    else:
        errors = [{"symbol": symbol, "code": "unknown_symbol"} for symbol in ("ZZZZ", "YYYY")]
        assert answer.json() == {"interval": "1m", "symbols": {}, "errors": errors}
    assert (await filled_hour.get(f"/v1/candles?symbols=ZZZZ&format={kind}&limit=0")).json()["parameter"] == "limit"


async def test_candles_of_several_symbols_are_those_of_each(filled_hour):
    """With its own page and position; unknown ones are errors of their own, and a page leads on for all that have more."""
    query = {"interval": "1s", "limit": 400}
    body = await filled_hour.json("/v1/candles", symbols="MSFT,ZZZZ,AAPL", **query)
    assert list(body) == ["interval", "symbols", "errors"]
    assert (body["interval"], list(body["symbols"])) == ("1s", ["MSFT", "AAPL"])
    assert body["errors"] == [{"symbol": "ZZZZ", "code": "unknown_symbol"}]
    for symbol, part in body["symbols"].items():
        one = await filled_hour.json(f"/v1/candles/{symbol}", **query)
        assert part == {name: one[name] for name in ("candles", "next", "position")}
        # Its cursor leads on there, too.
        behind = await filled_hour.json(f"/v1/candles/{symbol}", **query, cursor=part["next"])
        assert behind["candles"][-1]["time"] < part["candles"][0]["time"]
    rows = {"AAPL": [], "MSFT": []}
    answer = await filled_hour.get("/v1/candles", params=query | {"symbols": "*"})
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
        answer = await filled_hour.get(url)
    for symbol, found in rows.items():
        assert found == (await filled_hour.json(f"/v1/candles/{symbol}", interval="1s", limit=10_000))["candles"]


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


async def test_filled_candles_have_no_holes(filled_hour, noon):
    """Every second of the hour, closed at the one before."""
    plain = (await filled_hour.json("/v1/candles/AAPL", interval="1s", limit=10_000))["candles"]
    body = await filled_hour.json("/v1/candles/AAPL", interval="1s", limit=10_000, fill="previous", start=noon)
    times = [row["time"] for row in body["candles"]]
    assert times == list(range(plain[0]["time"], noon + 62 * MINUTE - SECOND, SECOND))
    assert [row for row in body["candles"] if row["trades"]] == plain
    empty = [row for row in body["candles"] if not row["trades"]]
    assert all((row["volume"], row["vwap"], row["final"]) == (0, None, True) for row in empty)
    assert all(row["open"] == row["close"] for row in empty)
    assert body["position"] == (await filled_hour.json("/v1/candles/AAPL", interval="1s"))["position"]


async def test_a_symbol_says_since_when_it_is_kept(filled_hour, noon, tape):
    """Ticks by kind, candles by interval; null where there is nothing."""
    kept = (await filled_hour.json("/v1/symbols/AAPL"))["kept"]
    quotes = [tick for tick in tape.ticks if hasattr(tick, "bid")]
    assert kept["trades"] == {"from": tape.ticks[0].time}
    assert kept["quotes"] == {"from": quotes[0].time}
    assert list(kept["candles"]) == list(INTERVALS)
    assert kept["candles"]["1m"] == kept["candles"]["4h"] == {"from": noon}
    assert kept["candles"]["1d"] == {"from": noon - 7 * 60 * MINUTE}
    kept = (await filled_hour.json("/v1/symbols/MSFT"))["kept"]
    assert kept["quotes"] == {"from": None}
