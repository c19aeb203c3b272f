import random

import pytest

from feeds.tick import Trade
from ticker.codec import entry_fields
from ticker.errors import BadRequest
from ticker.history.ticks import TickHistory, TickQuery

SECOND = 1_000_000


@pytest.fixture
def history(writer):
    return TickHistory(writer.streams, 120_000)


@pytest.fixture
async def stored(writer, noon):
    """Three thousand trades, a tenth of them late by up to a minute."""
    rng, time, trades = random.Random(4), noon, []
    for number in range(3000):
        time += rng.randint(0, 400_000)
        late = rng.randint(1, 59 * SECOND) if rng.random() < 0.1 else 0
        trades.append(Trade("AAPL", round(100 + number / 100, 2), 1, max(noon, time - late)))
    for first in range(0, 3000, 250):
        await writer.write(*trades[first : first + 250])
    return trades


async def pages_of(history, while_reading=None, **query):
    cursor, pages = None, []
    while True:
        page = await history.page(TickQuery("trades", "AAPL", **query, cursor=cursor))
        assert len(page.entries) <= query["limit"]
        pages.append([entry.seq for entry in page.entries])
        if page.next is None:
            return pages
        cursor = page.next
        if while_reading:
            await while_reading()


def within(trades, start, end):
    return [seq for seq, trade in enumerate(trades, 1) if (start or 0) <= trade.time < (end or 1 << 60)]


@pytest.mark.parametrize("limit", [40, 999, 1000, 1001, 10_000])
@pytest.mark.parametrize("forward", [True, False], ids=["forward", "backward"])
async def test_pages_give_each_tick_once_while_ticks_come(writer, history, stored, tape, limit, forward):
    """In the order of their numbers, with any limit and in both directions; what comes meanwhile stays out."""
    tape.time = max(trade.time for trade in stored)

    async def more():
        await writer.write(*tape.trades(2), tape.trade(time=tape.time - 30 * SECOND))

    start = min(trade.time for trade in stored) if forward else None
    pages = await pages_of(history, more, start=start, limit=limit)
    seqs = [seq for page in (pages if forward else reversed(pages)) for seq in page]
    assert seqs == list(range(1, 3001))


async def test_ranges_go_by_time_also_with_late_ticks(history, stored, noon):
    """A late tick stands far behind in the stream, and is in the range of its own time all the same."""
    rng = random.Random(8)
    for _ in range(12):
        start, end = sorted(noon + rng.randint(0, 600 * SECOND) for _ in range(2))
        for query in ({"start": start, "end": end}, {"start": start}, {"end": end}):
            pages = await pages_of(history, limit=350, **query)
            seqs = [seq for page in (pages if "start" in query else reversed(pages)) for seq in page]
            assert seqs == within(stored, query.get("start"), query.get("end"))


async def test_the_bounds_are_a_closed_and_an_open_one(history, stored):
    """`start` belongs to the range, `end` does not."""
    time = stored[1500].time
    page = await history.page(TickQuery("trades", "AAPL", start=time, end=time + 1))
    assert {entry.time for entry in page.entries} == {time}
    page = await history.page(TickQuery("trades", "AAPL", start=time, end=time))
    assert page.entries == []


async def test_order_sorts_within_the_page(history, stored):
    """The newest page is the newest page either way."""
    rising = await history.page(TickQuery("trades", "AAPL", limit=10))
    falling = await history.page(TickQuery("trades", "AAPL", limit=10, descending=True))
    assert [entry.seq for entry in rising.entries] == list(range(2991, 3001))
    assert [entry.seq for entry in falling.entries] == list(range(3000, 2990, -1))


async def test_the_position_is_where_live_messages_go_on(history, stored):
    """Only of a page that reaches the live edge."""
    assert (await history.page(TickQuery("trades", "AAPL", limit=10))).position.seq == 3000
    assert (await history.page(TickQuery("trades", "AAPL", start=stored[2990].time, limit=500))).position.seq == 3000
    assert (await history.page(TickQuery("trades", "AAPL", start=stored[0].time, limit=10))).position is None
    assert (await history.page(TickQuery("trades", "AAPL", end=stored[2000].time, limit=10))).position is None
    first = await history.page(TickQuery("trades", "AAPL", limit=10))
    behind = await history.page(TickQuery("trades", "AAPL", limit=10, cursor=first.next))
    assert behind.position is None


@pytest.mark.parametrize("start", [-(10**16), -1, 0, 1])
async def test_a_start_before_all_times_is_the_beginning(history, stored, start):
    """Also a date long before 1970."""
    page = await history.page(TickQuery("trades", "AAPL", start=start, limit=5))
    assert [entry.seq for entry in page.entries] == [1, 2, 3, 4, 5]
    assert (await history.page(TickQuery("trades", "AAPL", end=start, limit=5))).entries == []


async def test_quotes_keep_their_missing_sides(writer, history, tape):
    """A side that is missing is null with size 0; optional fields come back as texts."""
    await writer.write(tape.quote(None, 12.5), tape.quote(12.25, None, exchange="Q"))
    page = await history.page(TickQuery("quotes", "AAPL"))
    first, second = [entry_fields(entry.fields) for entry in page.entries]
    assert (first["bid"], first["bid_size"], first["ask"], first["ask_size"]) == (None, 0, 12.5, 4)
    assert (second["bid"], second["ask"], second["exchange"], second["seq"]) == (12.25, None, "Q", 2)


async def test_a_symbol_without_ticks_has_an_empty_page(history, writer):
    """At the beginning of its numbers."""
    for query in (TickQuery("trades", "AAPL"), TickQuery("quotes", "AAPL", start=5)):
        page = await history.page(query)
        assert (page.entries, page.next, page.position.seq, page.position.epoch) == ([], None, 0, None)


async def test_a_cursor_goes_with_its_query(history, stored):
    """Of another kind or range it is refused."""
    cursor = (await history.page(TickQuery("trades", "AAPL", limit=10))).next
    for query in (
        TickQuery("quotes", "AAPL", cursor=cursor),
        TickQuery("trades", "MSFT", cursor=cursor),
        TickQuery("trades", "AAPL", end=stored[7].time, cursor=cursor),
    ):
        with pytest.raises(BadRequest, match="another query"):
            await history.page(query)
