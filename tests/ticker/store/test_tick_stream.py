from itertools import accumulate

import pytest

from ticker import codec
from ticker.errors import StoreUnavailable
from ticker.store.connection import connect
from ticker.store.tick_stream import ENTRIES_PER_READ, TickReader, Wanted


@pytest.fixture
async def filled(writer, tape):
    """2,500 trades and two quotes."""
    await writer.write(*tape.trades(2500, step=1000), tape.quote(), tape.quote())
    return writer.streams


async def test_a_tip_is_where_a_stream_stands(writer, filled, tape):
    """With the epoch and the last entry; of an unknown stream, the beginning."""
    tip, unknown = await filled.tips("trades", ["AAPL", "NONE"])
    assert (tip.end.seq, tip.end.time) == (2500, tape.ticks[2499].time)
    assert tip.epoch == (await writer.client.get("epoch:{AAPL}")).decode()
    assert codec.entry_message("trade", "AAPL", tip.entry).endswith('"seq":2500}')
    assert (unknown.epoch, unknown.end.seq, unknown.entry) == (None, 0, None)
    assert await filled.tips("trades", []) == []


async def test_reads_are_bounded(filled):
    """The oldest, or the newest first."""
    oldest = await filled.read("trades", "AAPL", "-", "+")
    newest = await filled.read("trades", "AAPL", "-", "+", newest=True)
    assert [entry.seq for entry in oldest] == list(range(1, ENTRIES_PER_READ + 1))
    assert [entry.seq for entry in newest] == list(range(2500, 2500 - ENTRIES_PER_READ, -1))


@pytest.mark.parametrize(("count", "until"), [(1, 2500), (5, 2000), (1500, 2500), (1000, 1000), (9999, 2500), (7, 3)])
async def test_the_newest_up_to_a_number_come_in_order(filled, count, until):
    """Fewer where fewer are kept."""
    found = await filled.newest("trades", "AAPL", count, until)
    assert [entry.seq for entry in found] == list(range(max(1, until - count + 1), until + 1))


@pytest.mark.parametrize("gaps", [[0], [1], [0, 0, 0, 5], [0, 3_600_000, 1], [7, 0, 86_400_000]], ids=str)
async def test_ticks_are_found_by_their_numbers(writer, tape, gaps):
    """However far apart in time they are, and however many have the same millisecond."""
    times = accumulate((gaps[n % len(gaps)] * 1000 for n in range(60)), initial=tape.time)
    await writer.write(*(tape.trade(time=time) for time in times))
    pages = await writer.streams.pages([Wanted("trades", "AAPL", seq, 3) for seq in range(1, 64)])
    for seq, page in enumerate(pages, 1):
        assert [number for number, _ in page.entries] == [n for n in range(seq, seq + 3) if n <= 61]
        assert (page.first, page.last, page.whole) == (1, 61, True)


async def test_a_page_says_what_of_the_stream_is_there(writer, filled):
    """What was trimmed, what somebody has deleted, what is all gone, and what never was."""
    key = "trades:{AAPL}"
    await writer.client.xtrim(key, maxlen=1000, approximate=False)
    page, ahead, unknown = await filled.pages(
        [Wanted("trades", "AAPL", 9, 2), Wanted("trades", "AAPL", 2501, 2), Wanted("trades", "NONE", 1, 2)]
    )
    assert ([seq for seq, _ in page.entries], page.first, page.last, page.whole) == ([1501, 1502], 1501, 2500, True)
    assert page.epoch == (await writer.client.get("epoch:{AAPL}")).decode()
    assert (ahead.entries, ahead.last) == ([], 2500)
    assert (unknown.epoch, unknown.entries, unknown.last, unknown.whole) == (None, [], 0, True)
    entry = (await writer.client.xrange(key))[499][0]
    await writer.client.xdel(key, entry)
    (page,) = await filled.pages([Wanted("trades", "AAPL", 1999, 3)])
    assert ([seq for seq, _ in page.entries], page.whole) == ([1999, 2001, 2002], False)
    await writer.client.xtrim(key, maxlen=0, approximate=False)
    (page,) = await filled.pages([Wanted("trades", "AAPL", 1, 3)])
    assert (page.entries, page.first, page.last) == ([], 2501, 2500)


async def test_ends_are_those_of_the_kind(writer):
    """Of each epoch that has ended; none of a symbol that never had another."""
    await writer.client.hset("ticker:epochs:{AAPL}", mapping={"first": "40 7", "second": "60 9"})
    assert await writer.streams.ends("trades", ["AAPL", "NONE"]) == [{"first": 40, "second": 60}, {}]
    assert await writer.streams.ends("quotes", ["AAPL"]) == [{"first": 7, "second": 9}]


async def test_ids_are_read_back_where_the_feed_gives_any(writer, tape, filled):
    """Oldest first; none where the newest tick has none."""
    assert await filled.last_ids("trades", "AAPL", 10) == []
    await writer.write(*(tape.trade(id=name) for name in "abc"))
    assert await filled.last_ids("trades", "AAPL", 2) == ["b", "c"]
    assert await filled.last_ids("trades", "AAPL", 100) == ["a", "b", "c"]
    assert await filled.last_ids("quotes", "NONE", 100) == []


async def test_old_ticks_are_trimmed_by_age(writer, filled, tape):
    """Both streams, by about; numbers go on."""
    await filled.trim("AAPL", tape.ticks[2000].time // 1000)
    kept = await writer.client.xrange("trades:{AAPL}")
    assert 500 <= len(kept) < 700
    assert int(kept[-1][1][b"seq"]) == 2500
    await writer.write(tape.trade())
    assert (await filled.tips("trades", ["AAPL"]))[0].end.seq == 2501


async def test_a_server_that_is_away_is_unavailable(free_port):
    """For every question."""
    async with connect(f"redis://127.0.0.1:{free_port()}") as client:
        reader = TickReader(client)
        for question in (
            reader.tips("trades", ["A"]),
            reader.read("trades", "A", "-", "+"),
            reader.newest("trades", "A", 1, 1),
            reader.last_ids("trades", "A", 1),
            reader.trim("A", 1),
        ):
            with pytest.raises(StoreUnavailable):
                await question
