"""A gateway through the eyes of a program: state by asking, and history that goes on live."""

import asyncio
import subprocess
import sys

import pytest

from ticker.client import Outage, Refused, Trade, UnknownSymbol


async def stored(market, gateway, tape, wait_until, count=5):
    gateway.feed.give(*tape.trades(count), tape.quote())

    async def there():
        rows, quotes = await market.trades("AAPL", limit=1), await market.quotes("AAPL", limit=1)
        return rows and quotes and rows[-1].seq == count

    await wait_until(there)


async def test_snapshots(gateway, market, tape, wait_until):
    """Of one symbol, of several, of all; what there is not is None."""
    await stored(market, gateway, tape, wait_until)
    one = await market.snapshot("AAPL")
    assert (one.symbol, one.trade.seq, one.quote.seq, one.minute.interval, one.day.interval) == (
        "AAPL",
        5,
        1,
        "1m",
        "1d",
    )
    assert (one.trades.seq, one.quotes.seq, one.previous_close, one.change) == (5, 1, None, None)
    assert await market.snapshots(["AAPL"]) == {"AAPL": one}
    everything = await market.snapshots()
    assert list(everything) == ["AAPL", "MSFT"]
    assert (everything["MSFT"].trade, everything["MSFT"].minute) == (None, None)
    with pytest.raises(UnknownSymbol, match="ZZZZ"):
        await market.snapshot("ZZZZ")
    with pytest.raises(UnknownSymbol, match="ZZZZ"):
        await market.snapshots(["AAPL", "ZZZZ"])


async def test_symbols_and_limits(gateway, market):
    """All of them, or those with a word in them; limits by name, with their units."""
    assert [one.symbol for one in await market.symbols()] == ["AAPL", "MSFT"]
    (found,) = await market.symbols("msft inc")
    assert (found.symbol, found.exchange, found.tick_size, found.feed, found.simulated) == (
        "MSFT",
        "XNAS",
        0.01,
        "hand",
        False,
    )
    limits = await market.limits()
    assert (limits["page_rows"].value, limits["page_rows"].unit) == (10_000, "rows")
    assert limits["connections_per_address"].value is None


async def test_symbols_of_many_pages(start_gateway, open_market, valkey_url):
    """Turned by itself."""
    names = [f"S{i:02}" for i in range(25)]
    gateway = await start_gateway(valkey_url, symbols=names, limits={"page_rows": 10, "page_rows_default": 10})
    market = await open_market(gateway.url)
    assert [one.symbol for one in await market.symbols()] == names


async def test_outages(scripted, open_market):
    """As records, in order; one that goes on has no end."""
    rows = [
        {"from": 1, "to": 5, "kind": "feed", "reason": "stuck"},
        {"from": 9, "to": None, "kind": "store", "reason": "away"},
    ]
    scripted.answer("/v1/outages/AAPL", {"symbol": "AAPL", "outages": rows})
    market = await open_market(scripted.url)
    assert await market.outages("AAPL", start=1, end=20) == [
        Outage(1, 5, "feed", "stuck"),
        Outage(9, None, "store", "away"),
    ]
    assert scripted.requests[0].path == "/v1/outages/AAPL?start=1&end=20"


async def test_what_the_gateway_refuses_says_why(gateway, market):
    """With the parameter that it names."""
    with pytest.raises(Refused, match="looks like seconds") as error:
        await market.candles("AAPL", "1m", start=1_795_569_646)
    assert (error.value.status, error.value.code, error.value.parameter) == (400, "bad_request", "start")
    assert error.value.request_id


async def test_history_goes_on_live(gateway, market, tape, wait_until, take):
    """From the position of the rows: no number missing, none twice; subscribing first, or resuming later."""
    await stored(market, gateway, tape, wait_until, 20)
    async with market.subscribe("trades", ["AAPL"], snapshot=False) as live:
        gateway.feed.give(*tape.trades(5))
        rows = await market.trades("AAPL", limit=10)
        gateway.feed.give(*tape.trades(5))
        seqs = [row.seq for row in rows]
        while seqs[-1] < 30:
            seqs += [e.seq for e in await take(live, 1) if isinstance(e, Trade) and e.seq > rows.position.seq]
    assert seqs == list(range(seqs[0], 31))


async def test_two_tasks_ask_at_once(gateway, market, tape, wait_until):
    """Requests share the client."""
    await stored(market, gateway, tape, wait_until)
    answers = await asyncio.gather(*(market.trades("AAPL", limit=5) for _ in range(20)))
    assert {len(rows) for rows in answers} == {5}


def test_the_client_loads_only_what_it_needs():
    """No server, no store, no frames: they would take most of a second."""
    code = (
        "import sys, ticker.client; "
        "sys.exit(', '.join(sorted({'pandas', 'polars', 'redis', 'starlette', 'uvicorn', 'pydantic', 'apscheduler'}"
        " & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
