import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from feeds.tick import Trade
from ticker.candles.interval import INTERVALS
from ticker.codec import candle_row
from ticker.errors import BadRequest
from ticker.history.candle_query import CandleQuery, Position
from ticker.history.candles import CandleHistory

SECOND = 1_000_000
MINUTE = 60 * SECOND
ZONE = ZoneInfo("America/New_York")
GRACE, LATENESS = 500_000, 60 * SECOND


def opened(interval, time):
    """The open time of the candle that a moment lies in, in the plainest way."""
    widths = {"s": 1, "m": 60, "h": 3600}
    if interval[-1] in widths:
        width = int(interval[:-1]) * widths[interval[-1]] * SECOND
        return time // width * width
    day = datetime.fromtimestamp(time // SECOND, UTC).astimezone(ZONE).date()
    if interval == "1w":
        day -= timedelta(days=day.weekday())
    return int(datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp()) * SECOND


def plain(value):
    return None if value is None else float(value)


def naive(trades, interval):
    """Candles straight from the definition, in exact arithmetic; `trades` are numbered from 1."""
    groups = {}
    for seq, trade in enumerate(trades, 1):
        price, size = Fraction(str(trade.price)), Fraction(str(trade.size))
        groups.setdefault(opened(interval, trade.time), []).append((trade.time, seq, price, size))
    rows = []
    for time, group in sorted(groups.items()):
        ordered = sorted(group)
        prices = [price for _, _, price, _ in ordered]
        volume = sum(size for *_, size in ordered)
        notional = sum(price * size for _, _, price, size in ordered)
        # Rounding a Fraction is half to even.
        vwap = Fraction(round(notional / volume * 10**6), 10**6) if volume else None
        rows.append(
            {
                "time": time,
                "open": plain(prices[0]),
                "high": plain(max(prices)),
                "low": plain(min(prices)),
                "close": plain(prices[-1]),
                "volume": plain(volume),
                "trades": len(group),
                "vwap": plain(vwap),
            }
        )
    return rows


def random_trades(seed, count, mean_gap, start):
    """Trades with quiet times, bursts at one moment, late ones, and sizes of zero."""
    made, rng, time, price = [], random.Random(seed), start, 10_000
    for _ in range(count):
        time += int(rng.expovariate(1 / mean_gap)) if rng.random() < 0.9 else 0
        price = max(100, price + rng.randint(-20, 20))
        late = rng.randint(1, LATENESS) if rng.random() < 0.05 else 0
        size = rng.choice([0, 1, 7, 100, 0.5, 0.000001, 12345.678901])
        made.append(Trade("AAPL", price / 100, size, time - late))
    return made


@pytest.fixture
def history(writer):
    return CandleHistory(writer.client, writer.candles, ZONE, GRACE, LATENESS)


def rows_of(page):
    return [candle_row(candle, final=final) for candle, final in page.candles]


def without_final(rows):
    return [{name: value for name, value in row.items() if name != "final"} for row in rows]


async def fill(writer, trades, size=97):
    for first in range(0, len(trades), size):
        await writer.write(*trades[first : first + size])


async def all_pages(history, query, while_reading=None):
    """Rows of every page, in the order of the pages, and the limits of none exceeded."""
    pages = []
    cursor = None
    while True:
        page = await history.page(CandleQuery(**query, cursor=cursor), "hand")
        assert len(page.candles) <= query["limit"]
        pages.append(rows_of(page))
        if page.next is None:
            return pages
        assert page.candles
        cursor = page.next
        if while_reading:
            await while_reading()


@pytest.mark.parametrize(
    ("seed", "mean_gap", "start"),
    [
        (1, 300_000, datetime(2025, 11, 24, 12, tzinfo=UTC)),
        (2, 90 * SECOND, datetime(2025, 11, 1, 22, tzinfo=UTC)),
        (3, 7200 * SECOND, datetime(2025, 3, 7, tzinfo=UTC)),
    ],
    ids=["busy minutes", "over the end of summer time", "months"],
)
async def test_candles_of_every_interval_are_those_of_the_definition(writer, history, seed, mean_gap, start):
    """Exactly: opens, extremes, closes, volumes and average prices, over clock changes and with late trades."""
    trades = random_trades(seed, 1500, mean_gap, int(start.timestamp()) * SECOND)
    newest, kept = 0, []
    for trade in trades:
        newest = max(newest, trade.time)
        if trade.time >= newest - LATENESS:
            kept.append(trade)
    await fill(writer, trades)
    for name in INTERVALS:
        query = CandleQuery("AAPL", INTERVALS[name], start=0, limit=10_000, forming=True)
        page = await history.page(query, "hand")
        assert without_final(rows_of(page)) == naive(kept, name)
        assert page.position == Position(page.position.epoch, len(kept))
        assert page.next is None
        closed = rows_of(await history.page(CandleQuery("AAPL", INTERVALS[name], start=0, limit=10_000), "hand"))
        assert closed == [row for row in rows_of(page) if row["final"]]
        assert len(page.candles) - len(closed) <= 2


@pytest.mark.parametrize("interval", ["1s", "5s", "1m", "15m"])
@pytest.mark.parametrize("limit", [1, 7, 64, 333])
@pytest.mark.parametrize("forward", [True, False], ids=["forward", "backward"])
async def test_pages_give_each_candle_once_while_trades_come(writer, history, tape, interval, limit, forward):
    """With any limit, in both directions; what closes meanwhile stays out."""
    await writer.write(*tape.trades(2000, step=SECOND))
    whole = {"symbol": "AAPL", "interval": INTERVALS[interval], "start": 0, "limit": 10_000}
    expected = rows_of(await history.page(CandleQuery(**whole), "hand"))
    query = whole | {"limit": limit, "start": 0 if forward else None}

    async def more():
        await writer.write(*tape.trades(3, step=SECOND))

    if limit == 1:
        # A single row a page makes as many pages as there are candles: a part of them will do.
        expected = expected[:40] if forward else expected[-40:]
        query |= {"end": expected[-1]["time"] + 1} if forward else {"start": None}
        pages = await all_pages(history, query, more) if forward else await some_pages(history, query, more, 40)
    else:
        pages = await all_pages(history, query, more)
    rows = [row for page in (pages if forward else reversed(pages)) for row in page]
    assert rows == expected[-len(rows) :]
    assert len(rows) == len(expected)


async def some_pages(history, query, while_reading, count):
    pages, cursor = [], None
    while len(pages) < count:
        page = await history.page(CandleQuery(**query, cursor=cursor), "hand")
        pages.append(rows_of(page))
        cursor = page.next
        await while_reading()
        if cursor is None:
            break
    return pages


@pytest.mark.parametrize("interval", ["1s", "5m", "4h", "1d", "1w"])
async def test_ranges_hold_the_candles_that_open_in_them(writer, history, noon, interval):
    """`start` belongs to the range, `end` does not, whatever they cut."""
    trades = random_trades(5, 800, 400 * SECOND, noon)
    await fill(writer, trades)
    query = {"symbol": "AAPL", "interval": INTERVALS[interval], "forming": True, "limit": 10_000}
    everything = rows_of(await history.page(CandleQuery(**query, start=0), "hand"))
    times = [row["time"] for row in everything]
    rng = random.Random(9)
    edges = [t + d for t in rng.sample(times, min(8, len(times))) for d in (-1, 0, 1)] + [noon - 1, trades[-1].time + 1]
    for start in edges:
        for end in edges:
            if start <= end:
                page = await history.page(CandleQuery(**query, start=start, end=end), "hand")
                assert [row["time"] for row in rows_of(page)] == [t for t in times if start <= t < end]


async def test_the_newest_come_without_a_start(writer, history, tape):
    """As many as the limit, in rising order, or falling where that is wanted."""
    await writer.write(*tape.trades(30, step=SECOND))
    query = {"symbol": "AAPL", "interval": INTERVALS["1s"], "limit": 5}
    everything = rows_of(await history.page(CandleQuery(**query | {"limit": 100}), "hand"))
    page = await history.page(CandleQuery(**query), "hand")
    assert rows_of(page) == everything[-5:]
    assert page.next
    page = await history.page(CandleQuery(**query, descending=True), "hand")
    assert rows_of(page) == everything[:-6:-1]


async def test_a_position_stands_for_every_trade_up_to_it(writer, history, tape):
    """With the forming candle: all trades. Closed ones only: those before the first trade that is not in them."""
    for _ in range(40):
        await writer.write(*tape.trades(3, step=700_000))
        for interval in ("1s", "5s", "1m"):
            query = {"symbol": "AAPL", "interval": INTERVALS[interval], "start": 0, "limit": 1000}
            page = await history.page(CandleQuery(**query, forming=True), "hand")
            assert page.position.seq == len(tape.ticks)
            assert without_final(rows_of(page)) == naive(tape.ticks, interval)
            page = await history.page(CandleQuery(**query), "hand")
            assert without_final(rows_of(page)) == naive(tape.ticks[: page.position.seq], interval)


async def test_a_page_that_does_not_reach_the_edge_has_no_position(writer, history, tape):
    """Nothing could be resumed from it without a hole."""
    await writer.write(*tape.trades(30, step=SECOND))
    query = {"symbol": "AAPL", "interval": INTERVALS["1s"], "forming": True}
    first = await history.page(CandleQuery(**query, start=0, limit=5), "hand")
    assert first.position is None
    assert first.next
    behind = await history.page(CandleQuery(**query, start=0, limit=5, cursor=first.next), "hand")
    assert behind.position is None
    assert (await history.page(CandleQuery(**query, end=tape.ticks[9].time), "hand")).position is None
    assert (await history.page(CandleQuery(**query, limit=5), "hand")).position.seq == 30


async def test_a_symbol_without_trades_has_no_candles(writer, history):
    """And stands at the beginning."""
    page = await history.page(CandleQuery("AAPL", INTERVALS["1m"], forming=True), "hand")
    assert (page.candles, page.next, page.position) == ([], None, Position(None, 0))


async def test_a_cursor_goes_with_its_query(writer, history, tape):
    """Another interval, range or order is refused, and so is what is no cursor; another limit is not."""
    await writer.write(*tape.trades(30, step=SECOND))
    query = {"symbol": "AAPL", "interval": INTERVALS["1s"], "limit": 5}
    cursor = (await history.page(CandleQuery(**query), "hand")).next
    assert len((await history.page(CandleQuery(**query | {"limit": 7}, cursor=cursor), "hand")).candles) == 7
    for change in (
        {"interval": INTERVALS["5s"]},
        {"start": 5},
        {"descending": True},
        {"forming": True},
        {"symbol": "B"},
    ):
        with pytest.raises(BadRequest, match="another query"):
            await history.page(CandleQuery(**query | change, cursor=cursor), "hand")
    for wrong in ("", "x", "bm9wZQ", cursor[:-4], "é", "W10"):
        with pytest.raises(BadRequest, match="cursor"):
            await history.page(CandleQuery(**query, cursor=wrong or "="), "hand")


async def test_candles_close_by_the_clock_of_the_feed(writer, history, tape, noon):
    """Large ones at their own end, not with the last stored one in them."""
    await writer.write(tape.trade(), clock=noon + 4 * MINUTE)
    query = {"symbol": "AAPL", "limit": 10}
    assert [f for _, f in (await history.page(CandleQuery(interval=INTERVALS["1m"], **query), "hand")).candles] == [
        True
    ]
    five = CandleQuery(interval=INTERVALS["5m"], **query)
    assert (await history.page(five, "hand")).candles == []
    await writer.write(clock=noon + 5 * MINUTE + GRACE - 1)
    assert (await history.page(five, "hand")).candles == []
    await writer.write(clock=noon + 5 * MINUTE + GRACE)
    assert [final for _, final in (await history.page(five, "hand")).candles] == [True]
