"""Pages of any range, with any limit, in both orders, while ticks come: each row once, on a real Valkey."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ticker.candles.interval import INTERVALS
from ticker.history.candle_query import CandleQuery
from ticker.history.candles import CandleHistory
from ticker.history.ticks import TickHistory, TickQuery
from ticker.store.connection import connect

SECOND = 1_000_000
ZONE = ZoneInfo("America/New_York")
GRACE, LATENESS = 500_000, 60 * SECOND

STEPS = st.lists(st.integers(0, 40 * SECOND), min_size=1, max_size=60)
MORE = st.lists(st.integers(0, 20 * SECOND), max_size=3)
EDGE = st.one_of(st.none(), st.integers(-5 * SECOND, 1_500 * SECOND))
LIMITS = st.one_of(st.integers(1, 9), st.integers(1, 200))


@contextmanager
def running() -> Iterator[asyncio.Runner]:
    """Hypothesis calls a plain function many times: each gets a loop of its own."""
    with asyncio.Runner() as runner:
        yield runner


async def fill(client, new_writer, new_tape, steps):
    await client.flushall()
    writer, tape = new_writer(client), new_tape()
    await writer.claim("AAPL")
    for step in steps:
        tape.time += step
        await writer.write(tape.trade(100 + len(tape.ticks), 1))
    return writer, tape


async def turn(page_of, writer, tape, more):
    """Every page, while ticks come between two of them."""
    pages, cursor = [], None
    while True:
        page = await page_of(cursor)
        pages.append(page)
        cursor = page.next
        if cursor is None:
            return pages
        for step in more:
            tape.time += step
            await writer.write(tape.trade(5, 1))
            late = max(tape.time - 30 * SECOND, writer.batches.clock - 50 * SECOND)
            await writer.write(tape.trade(6, 1, time=late))


def in_order(pages, rows_of, *, forward, descending):
    """Rows of all pages in rising order, after each page was found to be in the order asked for."""
    found = []
    for page in pages:
        rows = rows_of(page)[::-1] if descending else rows_of(page)
        found = found + rows if forward else rows + found
    return found


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=STEPS,
    more=MORE,
    start=EDGE,
    end=EDGE,
    limit=LIMITS,
    interval=st.sampled_from(["1s", "5s", "1m", "5m"]),
    descending=st.booleans(),
    fill_holes=st.booleans(),
)
def test_every_candle_is_on_one_page(
    valkey_url, new_writer, new_tape, noon, steps, more, start, end, limit, interval, descending, fill_holes
):
    """Those that were closed when the first page was asked for, whatever closes or is corrected meanwhile."""
    start, end = [None if edge is None else noon + edge for edge in (start, end)]
    if fill_holes and interval in ("1s", "5s"):
        limit = max(limit, 60)

    async def check():
        async with connect(valkey_url) as client:
            writer, tape = await fill(client, new_writer, new_tape, steps)
            history = CandleHistory(client, writer.candles, ZONE, GRACE, LATENESS)
            query = {"symbol": "AAPL", "interval": INTERVALS[interval], "start": start, "end": end}
            query |= {"descending": descending, "fill": "previous" if fill_holes else "none"}
            everything = await history.page(CandleQuery(**query | {"descending": False}, limit=10_000), "hand")
            wanted = [candle.time for candle, _ in everything.candles]

            async def page_of(cursor):
                return await history.page(CandleQuery(**query, limit=limit, cursor=cursor), "hand")

            pages = await turn(page_of, writer, tape, more)
            assert all(len(page.candles) <= limit for page in pages)
            times = in_order(
                pages,
                lambda page: [candle.time for candle, _ in page.candles],
                forward=start is not None,
                descending=descending,
            )
            # A trade that comes late may open a candle where there was none; no other comes or goes.
            assert times == sorted(set(times))
            assert set(wanted) <= set(times)
            late = {
                tick.time // INTERVALS[interval].width * INTERVALS[interval].width for tick in tape.ticks[len(steps) :]
            }
            assert set(times) - set(wanted) <= late

    with running() as runner:
        runner.run(check())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, more=MORE, start=EDGE, end=EDGE, limit=LIMITS, descending=st.booleans())
def test_every_tick_is_on_one_page(valkey_url, new_writer, new_tape, noon, steps, more, start, end, limit, descending):
    """Those that were stored when the first page was asked for, and no other."""
    start, end = [None if edge is None else noon + edge for edge in (start, end)]

    async def check():
        async with connect(valkey_url) as client:
            writer, tape = await fill(client, new_writer, new_tape, steps)
            history = TickHistory(writer.streams, 120_000)
            wanted = [
                seq
                for seq, tick in enumerate(tape.ticks, 1)
                if (start is None or tick.time >= start) and (end is None or tick.time < end)
            ]

            async def page_of(cursor):
                return await history.page(TickQuery("trades", "AAPL", start, end, limit, descending, cursor))

            pages = await turn(page_of, writer, tape, more)
            seqs = in_order(
                pages, lambda page: [e.seq for e in page.entries], forward=start is not None, descending=descending
            )
            assert seqs == wanted

    with running() as runner:
        runner.run(check())
