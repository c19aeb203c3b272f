import asyncio
import random
import threading
from zoneinfo import ZoneInfo

import pytest

from feeds.tick import Quote, Trade
from ticker.archive.archive import Archive
from ticker.archive.layout import FIRST, Place
from ticker.archive.spanning import ArchiveThreads, SpanningCandles, SpanningTicks, _high, _low
from ticker.archive.storage import open_storage
from ticker.candles.interval import INTERVALS
from ticker.errors import ArchiveError
from ticker.history.candle_query import CandleQuery
from ticker.history.candles import CandleHistory
from ticker.history.ticks import TickHistory, TickQuery
from ticker.ingest.archiver import Archiver
from ticker.store import archived

SECOND = 1_000_000
ZONE = ZoneInfo("America/New_York")
GRACE, LATENESS, LATE_MS = 500_000, 60 * SECOND, 120_000
LIMITS = (7, 400, 1000, 10_000)


@pytest.fixture
def archive(tmp_path):
    return Archive(open_storage(str(tmp_path)), ZONE)


def ticks_of(seed, noon, count):
    """Trades and quotes over two and a half days, a tenth late, some with what is optional, some at one moment."""
    rng, time, made = random.Random(seed), noon, []
    for number in range(count):
        time += int(rng.expovariate(count / (2.5 * 86_400 * SECOND))) if rng.random() < 0.9 else 0
        at = max(noon, time - (rng.randint(1, 59 * SECOND) if rng.random() < 0.1 else 0))
        more = {"id": f"t{number}", "exchange": "Q"} if rng.random() < 0.2 else {}
        price = round(100 + rng.random(), 6)
        if rng.random() < 0.3:
            made.append(Quote("AAPL", price, 3, None if rng.random() < 0.1 else price + 1, 0, at, **more))
        else:
            made.append(Trade("AAPL", price, rng.randint(0, 9), at, **more))
    return [t._replace(ask=None if t.ask is None else round(t.ask, 6)) if isinstance(t, Quote) else t for t in made]


@pytest.fixture
async def ticks(writer, noon):
    """In the store, in batches."""
    made = ticks_of(11, noon, 9_000)
    for first in range(0, len(made), 300):
        await writer.write(*made[first : first + 300])
    return made


@pytest.fixture
def whole(writer):
    """History from Redis alone."""
    return (
        TickHistory(writer.streams, LATE_MS),
        CandleHistory(writer.client, writer.candles, ZONE, GRACE, LATENESS),
    )


@pytest.fixture
def spanning(writer, archive):
    """History from Redis with the archive behind it, the archive opened as by another process."""
    other, threads = Archive(archive._storage, ZONE), ArchiveThreads(2)
    ticks, candles = SpanningTicks(writer.streams, other, threads), SpanningCandles(writer.candles, other, threads)
    return TickHistory(ticks, LATE_MS), CandleHistory(writer.client, candles, ZONE, GRACE, LATENESS)


def queries(rng, noon, **fixed):
    """A range that may be open at either end."""
    span = 3 * 86_400 * SECOND
    ends = sorted(rng.randint(noon - SECOND, noon + span) for _ in range(2))
    start = ends[0] if rng.random() < 0.5 else None
    return {"start": start, "end": ends[1] if rng.random() < 0.5 else None, "descending": rng.random() < 0.2, **fixed}


async def all_pages(ask):
    """Pages until the last: what is in them, and the position of the first."""
    cursor, rows, first = None, [], None
    while True:
        page = await ask(cursor)
        rows.append(page.entries if hasattr(page, "entries") else page.candles)
        first = first or (page.position,)
        cursor = page.next
        if cursor is None:
            return rows, first


async def answers(histories, noon):
    """What is answered to many questions of all kinds."""
    ticks, candles = histories
    rng, found = random.Random(5), []
    for kind in ("trades", "quotes"):
        for limit in LIMITS:
            for _ in range(2):
                asked = queries(rng, noon, limit=max(limit, 300))
                found.append(
                    await all_pages(lambda c, a=asked, k=kind: ticks.page(TickQuery(k, "AAPL", **a, cursor=c)))
                )
    for interval in INTERVALS.values():
        for limit in LIMITS:
            asked = queries(rng, noon, limit=max(limit, 50), forming=rng.random() < 0.5)
            found.append(
                await all_pages(
                    lambda c, a=asked, i=interval: candles.page(CandleQuery("AAPL", i, **a, cursor=c), "hand")
                )
            )
    return found


async def trim(client, share, rng):
    """Cut off the oldest part of each stream and of each interval's chunks, at a place of its own."""
    for kind in ("trades", "quotes"):
        length = await client.xlen(f"{kind}:{{AAPL}}")
        await client.xtrim(f"{kind}:{{AAPL}}", maxlen=int(length * (1 - share * rng.random())), approximate=False)
    for name in ("1s", "1m", "1d"):
        index = f"ticker:index:{{AAPL}}:{name}"
        fields = await client.zrange(index, 0, -1)
        for field in fields[: int(len(fields) * share * rng.random())]:
            await client.hdel(f"ticker:candles:{{AAPL}}:{name}", field)
            await client.zrem(index, field)


@pytest.mark.parametrize("share", [0.5, 0.999, 1.0])
async def test_no_question_tells_where_the_seam_is(writer, archive, ticks, whole, spanning, noon, share):
    """Every page, cursor by cursor, is what Redis alone had answered before it was trimmed; with any limit, both ways."""
    before = await answers(whole, noon)
    archiver = Archiver(archive, writer.client, ZONE, GRACE + LATENESS)
    assert await archiver.archive("AAPL", max(tick.time for tick in ticks)) > len(ticks)
    rng = random.Random(share)
    await trim(writer.client, share, rng)
    assert await answers(spanning, noon) == before


async def test_what_is_trimmed_between_two_pages_comes_from_the_archive(writer, archive, ticks, whole, spanning, noon):
    """A cursor goes on over the seam, wherever that has moved meanwhile."""
    archiver = Archiver(archive, writer.client, ZONE, GRACE + LATENESS)
    await archiver.archive("AAPL", max(tick.time for tick in ticks))
    trades = [entry async for entry in stream(writer, "trades")]
    seen, cursor = [], None
    while len(seen) < len(trades):
        page = await spanning[0].page(TickQuery("trades", "AAPL", start=noon, limit=500, cursor=cursor))
        seen += page.entries
        cursor = page.next
        await writer.client.xtrim("trades:{AAPL}", maxlen=max(len(trades) - len(seen) - 250, 0), approximate=False)
    assert cursor is None
    assert seen == trades


async def stream(writer, kind):
    for entry in await writer.streams.newest(kind, "AAPL", 10**6, 10**9):
        yield entry


async def test_ticks_that_come_meanwhile_stay_out_of_later_pages(writer, new_writer, archive, ticks, spanning, noon):
    """As without an archive; also where a lost store numbers from 1 again."""
    archiver = Archiver(archive, writer.client, ZONE, GRACE + LATENESS)
    await archiver.archive("AAPL", max(tick.time for tick in ticks))
    trades = [entry async for entry in stream(writer, "trades")]
    await writer.client.flushall()
    newest = max(tick.time for tick in ticks)
    # The one from before would put back what it holds.
    other = new_writer(writer.client)
    await other.claim("AAPL")
    await other.write(Trade("AAPL", 5, 1, newest + SECOND))
    page = await spanning[0].page(TickQuery("trades", "AAPL", start=noon, limit=len(trades)))
    assert page.entries == trades
    assert page.position is None
    await other.write(Trade("AAPL", 6, 1, newest + 2 * SECOND))
    last = await spanning[0].page(TickQuery("trades", "AAPL", start=noon, limit=len(trades), cursor=page.next))
    assert [(entry.seq, entry.time) for entry in last.entries] == [(1, newest + SECOND)]
    edge = await spanning[0].page(TickQuery("trades", "AAPL", limit=3))
    assert [entry.seq for entry in edge.entries] == [trades[-1].seq, 1, 2]
    assert edge.position.seq == 2


async def test_what_is_kept_reaches_back_into_the_archive(writer, archive, ticks, noon):
    """The oldest tick and candle are those of the archive once Redis has let them go."""
    reader = SpanningCandles(writer.candles, archive, ArchiveThreads(1))
    streams = SpanningTicks(writer.streams, archive, ArchiveThreads(1))
    minute = INTERVALS["1m"]
    before = await reader.oldest("AAPL", minute)
    first = await streams.oldest("trades", "AAPL")
    archiver = Archiver(archive, writer.client, ZONE, GRACE + LATENESS)
    await archiver.archive("AAPL", max(tick.time for tick in ticks))
    await trim(writer.client, 0.9, random.Random(1))
    assert (await writer.candles.oldest("AAPL", minute)).time > before.time
    assert await reader.oldest("AAPL", minute) == before
    assert await streams.oldest("trades", "AAPL") == first
    assert await streams.oldest("trades", "MSFT") is None
    assert (await streams.archived("trades", "AAPL", 1, 5))[0] == first
    assert await reader.oldest("MSFT", minute) is None
    tail = [chunk.rows() for chunk in await reader.tail("AAPL", minute, 0)]
    assert tail == [chunk.rows() for chunk in await writer.candles.tail("AAPL", minute, 0)] != []


async def test_a_gateway_sees_at_once_what_is_trimmed(writer, archive, ticks, spanning, noon):
    """It has listed the archive before; what the ingester writes and then trims is no hole for it."""
    archiver = Archiver(archive, writer.client, ZONE, GRACE + LATENESS)
    for _ in range(3):
        await archiver.archive("AAPL", max(tick.time for tick in ticks))
        await writer.client.xtrim("trades:{AAPL}", maxlen=1, approximate=False)
        page = await spanning[0].page(TickQuery("trades", "AAPL", start=noon, limit=10**6))
        seqs = [entry.seq for entry in page.entries]
        assert seqs == list(range(1, seqs[-1] + 1))
        newest = max(tick.time for tick in ticks)
        more = [Trade("AAPL", 7, 1, newest + SECOND * number) for number in range(1, 40)]
        await writer.write(*more)
        ticks += more


@pytest.mark.limit("archive_reads")
async def test_reads_wait_for_their_turn():
    """So many at once; each gets its answer."""
    threads, at_once, most, lock = ArchiveThreads(2), [0], [0], threading.Lock()
    barrier = threading.Barrier(2, timeout=10)

    def read():
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        barrier.wait()
        with lock:
            at_once[0] -= 1
        return 1

    assert await asyncio.gather(*(threads.run(read) for _ in range(6))) == [1] * 6
    assert most == [2]


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("-", FIRST, None),
        ("5", Place(5, 0), Place(6, 0)),
        ("5-7", Place(5, 7), Place(5, 8)),
        ("(5-7", Place(5, 8), Place(5, 7)),
    ],
)
def test_bounds_are_those_of_streams(text, low, high):
    """A number alone means all of its millisecond."""
    assert _low(text) == low
    assert high is None or _high(text) == high
    with pytest.raises(ValueError, match="no bound"):
        _low("x" + text)


async def test_an_archive_that_cannot_be_read_is_told_only_where_it_is_needed(
    writer, archive, ticks, spanning, tmp_path
):
    """What Redis has is answered as ever."""
    archiver = Archiver(archive, writer.client, ZONE, GRACE + LATENESS)
    await archiver.archive("AAPL", max(tick.time for tick in ticks))
    await writer.client.xtrim("trades:{AAPL}", maxlen=2000, approximate=False)
    for path in tmp_path.rglob("*.parquet"):
        path.write_bytes(b"broken")
    assert len((await spanning[0].page(TickQuery("trades", "AAPL", limit=900))).entries) == 900
    with pytest.raises(ArchiveError, match="cannot be read"):
        await spanning[0].page(TickQuery("trades", "AAPL", limit=9000))


async def test_a_symbol_that_was_only_imported_has_history_and_no_position(
    valkey, writer, archive, trades, spanning, noon
):
    """Numbers begin with its first live tick, which enters no earlier cursor's pages."""
    archive.write_ticks("trades", "AAPL", 0, "import", trades(1, 50, ms=noon // 1000 - 86_400_000))
    page = await spanning[0].page(TickQuery("trades", "AAPL", start=0, limit=20))
    assert [entry.seq for entry in page.entries] == list(range(1, 21))
    newest = await spanning[0].page(TickQuery("trades", "AAPL", limit=100))
    assert (len(newest.entries), newest.position.epoch, newest.position.seq) == (50, None, 0)
    await writer.write(Trade("AAPL", 5, 1, noon))
    found = page.entries
    while page.next:
        page = await spanning[0].page(TickQuery("trades", "AAPL", start=0, limit=20, cursor=page.next))
        found = found + page.entries
    assert [entry.seq for entry in found] == list(range(1, 51))
    newest = await spanning[0].page(TickQuery("trades", "AAPL", limit=100))
    assert (len(newest.entries), newest.position.seq) == (51, 1)


async def test_an_import_is_seen_at_once(valkey, writer, archive, trades, spanning, noon):
    """By a gateway that has looked before, since the import is noted in Redis."""
    await writer.write(Trade("AAPL", 5, 1, noon))
    query = TickQuery("trades", "AAPL", start=0, limit=100)
    assert len((await spanning[0].page(query)).entries) == 1
    for days in (1, 2, 3):
        archive.write_ticks("trades", "AAPL", 0, "import", trades(1, 10, ms=noon // 1000 - days * 86_400_000))
        await archived.note_import(valkey, "AAPL")
        assert len((await spanning[0].page(query)).entries) == 1 + 10 * days
    await valkey.delete("ticker:archived:{AAPL}")
    assert len((await spanning[0].page(query)).entries) == 31
