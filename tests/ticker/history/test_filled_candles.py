from bisect import bisect_right
from zoneinfo import ZoneInfo

import pytest

from ticker.candles.interval import INTERVALS
from ticker.codec import candle_row
from ticker.history.candle_query import CandleQuery
from ticker.history.candles import CandleHistory

ZONE = ZoneInfo("America/New_York")
SECOND = 1_000_000
MINUTE = 60 * SECOND
GRACE, LATENESS = 500_000, 60 * SECOND


@pytest.fixture
def history(writer):
    return CandleHistory(writer.client, writer.candles, ZONE, GRACE, LATENESS)


@pytest.fixture
async def gappy(writer, tape, noon):
    """Trades of one hour with long gaps; the clock stands five minutes after the last."""
    times = [0, 1, 2, 40, 41, 300, 305, 306, 307, 1000, 2000, 2001, 3600]
    await writer.write(*[tape.trade(100 + i, 1, time=noon + t * SECOND) for i, t in enumerate(times)])
    await writer.write(clock=noon + 3900 * SECOND)
    return {noon + t * SECOND: 100 + i for i, t in enumerate(times)}


def expected(closes, interval, start, end):
    """A row for each open time: time, close, whether there was a trade."""
    width, times, rows = INTERVALS[interval].width, sorted(closes), []
    first = times[0] // width * width
    for opened in range(max(-(-start // width) * width, first), end, width):
        at = bisect_right(times, opened + width - 1)
        traded = at > 0 and times[at - 1] >= opened
        rows.append((opened, closes[times[at - 1]], traded))
    return rows


def shown(page):
    return [(c.time, candle_row(c, final=True)["close"], c.trades > 0) for c, _ in page.candles]


@pytest.mark.parametrize("interval", ["1s", "5s", "1m", "5m", "1h"])
@pytest.mark.parametrize("limit", [7, 100, 10_000])
@pytest.mark.parametrize("forward", [True, False], ids=["forward", "backward"])
async def test_pages_fill_every_closed_interval_once(history, gappy, noon, interval, limit, forward):
    """From the first trade to the clock, in both directions, with any limit, whatever the range cuts."""
    clock = noon + 3900 * SECOND
    edge = (clock - GRACE) // INTERVALS[interval].width * INTERVALS[interval].width
    for start, end in ((noon - 600 * SECOND, None), (noon + 50 * SECOND, noon + 2000 * SECOND + 1), (noon, noon)):
        query = {"symbol": "AAPL", "interval": INTERVALS[interval], "limit": limit, "fill": "previous", "end": end}
        query |= {"start": start} if forward else {}
        rows, cursor, pages = [], None, 0
        while True:
            page = await history.page(CandleQuery(**query, cursor=cursor), "hand")
            assert len(page.candles) <= limit
            assert all(final for _, final in page.candles)
            rows = rows + shown(page) if forward else shown(page) + rows
            pages += 1
            cursor = page.next
            if cursor is None or (not forward and limit == 7 and pages == 40):
                break
        wanted = expected(gappy, interval, start if forward else 0, min(end or edge, edge))
        assert rows == (wanted if cursor is None else wanted[-len(rows) :])


async def test_forming_candles_stand_behind_the_filled_ones(writer, history, gappy, tape, noon):
    """And the position is that of an answer without filling."""
    await writer.write(tape.trade(500, 1, time=noon + 3899 * SECOND), clock=noon + 3900 * SECOND)
    query = {"symbol": "AAPL", "interval": INTERVALS["1m"], "limit": 20}
    for forming in (False, True):
        plain = await history.page(CandleQuery(**query, forming=forming), "hand")
        page = await history.page(CandleQuery(**query, forming=forming, fill="previous"), "hand")
        assert page.position == plain.position
        assert [final for _, final in page.candles] == [True] * (20 - forming) + [False] * forming
        assert page.candles[-1][0].time == noon + (64 if forming else 63) * MINUTE
        ahead = CandleQuery(**query | {"limit": 100}, forming=forming, fill="previous", start=noon)
        page = await history.page(ahead, "hand")
        assert page.position == plain.position
        assert len(page.candles) == 64 + forming


async def test_a_record_that_has_ended_is_filled_to_its_end(writer, history, tape, noon):
    """Not to the end of time."""
    from feeds.feed import CLOCK_END

    await writer.write(tape.trade(time=noon), tape.trade(time=noon + 3 * MINUTE), clock=CLOCK_END)
    query = {"symbol": "AAPL", "interval": INTERVALS["1m"], "limit": 100, "fill": "previous"}
    for start in (None, 0):
        page = await history.page(CandleQuery(**query, start=start), "hand")
        assert [c.time for c, _ in page.candles] == [noon + i * MINUTE for i in range(4)]
        assert page.next is None


async def test_without_candles_there_is_nothing_to_fill(writer, history):
    """Neither from a start nor backwards."""
    for start in (None, 0):
        query = CandleQuery("AAPL", INTERVALS["1m"], fill="previous", forming=True, start=start)
        page = await history.page(query, "hand")
        assert (page.candles, page.next, page.position.seq) == ([], None, 0)
