"""Long answers: many pages, one result, and a position that is true of it."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from ticker.client import Misuse, Position, Progress
from ticker.client.history import moment, range_of

PAGES = {"limits": {"page_rows": 10, "page_rows_default": 10}}


@pytest.fixture
async def paged(start_gateway, valkey_url):
    """A service whose pages have at most ten rows."""
    return await start_gateway(valkey_url, **PAGES)


async def fill(gateway, market, tape, count, wait_until, step=100_000):
    """Trades in the store, and a feed clock that has closed their candles."""
    begun = tape.time
    gateway.feed.give(*tape.trades(count, step), clock=tape.time + 5_000_000)

    async def stored():
        rows = await market.trades("AAPL", limit=1)
        return rows and rows[-1].time == tape.time

    await wait_until(stored)
    return begun


async def test_all_from_a_start(paged, open_market, tape, wait_until):
    """Every row once, in order, and the position of the last."""
    market = await open_market(paged.url)
    begun = await fill(paged, market, tape, 37, wait_until)
    told = []
    rows = await market.trades("AAPL", start=begun, progress=told.append)
    assert [row.seq for row in rows] == list(range(1, 38))
    assert (rows.position.seq, rows[0].symbol) == (37, "AAPL")
    assert [progress.rows for progress in told] == [10, 20, 30, 37]
    assert told[0] == Progress(10, None)
    assert [row.price for row in rows] == [tick.price for tick in tape.ticks]
    other = await market.trades("AAPL", start=begun, end=tape.time, progress=told.append)
    assert [row.seq for row in other] == list(range(1, 37))
    assert 0.9 < told[-1].share <= 1


async def test_the_newest_without_a_start(paged, open_market, tape, wait_until):
    """Pages lead back in time, the result goes forward."""
    market = await open_market(paged.url)
    await fill(paged, market, tape, 37, wait_until)
    rows = await market.trades("AAPL", limit=25)
    assert [row.seq for row in rows] == list(range(13, 38))
    assert rows.position.seq == 37
    everything = await market.trades("AAPL")
    assert (len(everything), everything.position.seq) == (37, 37)
    assert len(await market.trades("AAPL", limit=1)) == 1


async def test_a_limit_cuts(paged, open_market, tape, wait_until):
    """The first from the start on; then the rows do not reach the present, and have no position."""
    market = await open_market(paged.url)
    begun = await fill(paged, market, tape, 37, wait_until)
    rows = await market.trades("AAPL", start=begun, limit=25)
    assert [row.seq for row in rows] == list(range(1, 26))
    assert rows.position is None
    assert (await market.trades("AAPL", start=begun, limit=37)).position.seq == 37
    assert (await market.trades("AAPL", start=begun, limit=100)).position.seq == 37
    few = await market.trades("AAPL", start=begun, limit=5)
    assert ([row.seq for row in few], few.position) == ([1, 2, 3, 4, 5], None)


async def test_what_comes_meanwhile_is_behind_the_position(paged, open_market, tape, wait_until):
    """Rows hold everything up to it and nothing after, however much is written while pages are turned."""
    market = await open_market(paged.url)
    begun = await fill(paged, market, tape, 25, wait_until)
    for count in (25, 28, 34):
        rows = await market.trades("AAPL", start=begun, progress=lambda told: paged.feed.give(*tape.trades(3)))
        assert len(rows) >= count
        assert [row.seq for row in rows] == list(range(1, rows.position.seq + 1))


async def test_candles_of_many_pages(paged, open_market, tape, wait_until):
    """With the forming one where it is asked for; an interval has its own columns."""
    market = await open_market(paged.url)
    begun = await fill(paged, market, tape, 60, wait_until, step=1_000_000)
    rows = await market.candles("AAPL", "1s", start=begun)
    assert [row.time for row in rows] == sorted({row.time for row in rows})
    assert len(rows) > 50
    assert {(row.symbol, row.interval, row.final) for row in rows} == {("AAPL", "1s", True)}
    assert sum(row.trades for row in rows) == 60
    assert rows.position.seq == 60
    newest = await market.candles("AAPL", "1s", limit=15)
    assert list(newest) == rows[-15:]
    minute = await market.candles("AAPL", "1m", forming=True)
    assert not minute[-1].final
    assert minute.position.seq == 60


async def test_a_page_that_ends_in_the_past_has_no_position(paged, open_market, tape, wait_until):
    """Nothing live goes on from there."""
    market = await open_market(paged.url)
    begun = await fill(paged, market, tape, 37, wait_until)
    rows = await market.trades("AAPL", start=begun, end=begun + 2_000_000)
    assert (len(rows) > 10, rows.position) == (True, None)


async def test_an_empty_answer_has_a_position(paged, open_market):
    """From which the first tick follows."""
    market = await open_market(paged.url)
    rows = await market.trades("AAPL", start="2020-01-01")
    assert (len(rows), rows.position) == (0, Position(None, 0))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, None),
        (1_795_569_646_000_000, "1795569646000000"),
        ("2026-11-20", "2026-11-20"),
        (date(2026, 11, 20), "2026-11-20"),
        (datetime(2026, 11, 20, 14, 30, tzinfo=UTC), "2026-11-20T14:30:00+00:00"),
        (datetime(2026, 11, 20, 9, 30, 0, 5, timezone(timedelta(hours=-5))), "2026-11-20T09:30:00.000005-05:00"),
    ],
)
def test_moments(given, text):
    """As a gateway reads them."""
    assert moment(given, "start") == text


@pytest.mark.parametrize("given", [datetime(2026, 11, 20), True, 1.5, object()])  # noqa: DTZ001
def test_what_is_no_moment(given):
    """A time without a zone could be any of 24 moments."""
    with pytest.raises(Misuse, match="start"):
        moment(given, "start")


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "5"])
def test_what_is_no_limit(limit):
    """One row at least."""
    with pytest.raises(Misuse, match="limit"):
        range_of("trades", "AAPL", None, None, limit)
