import pytest
from remembered_answers import clock_is

SECOND = 1_000_000
MINUTE = 60 * SECOND


async def test_a_symbol_that_has_no_more_is_left_out_of_the_next_page(service, tape, new_tape, noon):
    """So that it does not begin anew."""
    service.feed.give(*tape.trades(30, step=SECOND), *new_tape("MSFT").trades(3, step=SECOND), clock=noon + MINUTE)
    await clock_is(service, noon + MINUTE)
    answer = await service.get("/v1/candles?symbols=AAPL,MSFT&interval=1s&limit=20")
    assert len(answer.json()["symbols"]["MSFT"]["candles"]) == 3
    answer = await service.get(answer.links["next"]["url"])
    assert [len(part["candles"]) for part in answer.json()["symbols"].values()] == [10]
    assert "next" not in answer.links


@pytest.mark.limit("page_rows")
async def test_the_largest_page_is_as_configured(start_service, valkey_url):
    """And smaller than the default where that is wanted."""
    service = await start_service(valkey_url, limits={"page_rows": 3})
    assert (await service.get("/v1/trades/AAPL?limit=4")).status_code == 400
    assert (await service.get("/v1/trades/AAPL?limit=3")).status_code == 200
    assert (await service.get("/v1/trades/AAPL")).status_code == 200


@pytest.mark.limit("page_rows_default")
async def test_a_page_without_a_limit_is_as_long_as_configured(start_service, valkey_url):
    """`next` leads on."""
    service = await start_service(valkey_url, symbols=["A", "B", "C"], limits={"page_rows_default": 2})
    body = await service.json("/v1/symbols")
    assert [row["symbol"] for row in body["symbols"]] == ["A", "B"]
    body = await service.json("/v1/symbols", cursor=body["next"])
    assert ([row["symbol"] for row in body["symbols"]], body["next"]) == (["C"], None)
