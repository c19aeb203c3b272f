import asyncio
import re
from dataclasses import replace
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.feed import FeedError, HistoryCandles, HistoryFeed
from ticker import codec
from ticker.candles.candle import NO_TRADE, Candles, Origin
from ticker.candles.interval import INTERVALS, STORED, bounds
from ticker.candles.rollup import roll_up
from ticker.check import Checker
from ticker.history.candle_query import CandleQuery
from ticker.history.candles import CandleHistory
from ticker.ingest.backfill import SYMBOLS_AT_ONCE, Backfiller, Reach, make_backfill
from ticker.ingest.ingester import Ingester
from ticker.store import keys
from ticker.store.candle_store import TIME_MAX

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY_US = 24 * HOUR
ZONE = ZoneInfo("America/New_York")
REACH = Reach(2 * DAY_US, 30 * DAY_US, ZONE)
MILLION = 1_000_000


async def all_candles(writer, symbol="AAPL"):
    found = {}
    for interval in STORED:
        rows, low = [], 0
        while True:
            block = await writer.candles.read(symbol, interval, low, TIME_MAX, newest=False)
            rows += block.closed.rows()
            if block.complete:
                break
            low = rows[-1].time + 1
        found[interval.name] = rows, block.open
    return found


@pytest.fixture
def backfill(writer, past_feed):
    """Stores what was before `begin` with the writer's next batch; whether it was taken."""

    async def backfill(begin, feed=None, reach=REACH, clock=None):
        made = await Backfiller(feed or past_feed(), writer.candles, reach).make(["AAPL"], begin)
        waiting = asyncio.create_task(writer.batches.backfill(made, 10))
        await asyncio.sleep(0)
        await writer.write(clock=clock or writer.batches.clock or begin)
        assert await waiting
        return not writer.batches.not_backfilled()

    return backfill


def joined(chunks):
    return [row for chunk in chunks for row in chunk.candles.rows()]


def test_days_are_the_sums_of_their_minutes(noon, past_feed):
    """Where minutes reach; before, they are made as days. What `until` leaves of its day is the open candle's."""
    until = noon + 7 * MINUTE
    made = make_backfill(past_feed(), ["AAPL", "MSFT"], until, REACH)["MSFT"]
    minutes, days = joined(made.minutes), joined(made.days)
    today = bounds(INTERVALS["1d"], until, ZONE)[0]
    assert (made.until, made.day) == (until, today)
    assert minutes[0].time == bounds(INTERVALS["1d"], until - DAY_US, ZONE)[0]
    assert [row.time for row in minutes] == list(range(minutes[0].time, until, MINUTE))
    assert days[-1].time == bounds(INTERVALS["1d"], today - 1, ZONE)[0] == minutes[0].time
    summed = {row.time: row for row in roll_up(Candles.of(minutes), INTERVALS["1d"], ZONE).rows()}
    assert days[-1] == summed[days[-1].time]
    assert made.part == summed[today]
    assert len(days) == 29
    assert days[0].time >= until - REACH.days_us
    assert all(after.time == bounds(INTERVALS["1d"], day.time, ZONE)[1] for day, after in pairwise(days))


def test_candles_of_before_say_that_no_trade_is_in_them(noon, past_feed):
    """Their origin is history, and numbers of candles joined with them are those of the trades alone."""
    made = make_backfill(past_feed(), ["AAPL"], noon, REACH)["AAPL"]
    for row in (*joined(made.minutes), *joined(made.days), made.part):
        assert (row.first_seq, row.seq, row.origin) == (NO_TRADE, 0, Origin.HISTORY)
        assert row.open_time == row.time
        assert row.time < row.close_time
    first, second = joined(made.minutes)[:2]
    assert first.close_time == second.time - 1


@pytest.mark.parametrize(
    ("minutes", "days", "counts"), [(0, 0, (0, 0)), (0, 10 * DAY_US, (0, 9)), (DAY_US, 0, (7 * 60, 0))]
)
def test_a_feed_may_know_one_interval_or_none(noon, past_feed, minutes, days, counts):
    """Without minutes, today begins with the first trade."""
    made = make_backfill(past_feed(), ["AAPL"], noon, Reach(minutes, days, ZONE))["AAPL"]
    assert (len(joined(made.minutes)), len(joined(made.days))) == counts
    assert (made.part is None) == (not minutes)


def test_no_more_is_made_than_is_kept(past_feed):
    """A retention of an hour makes five days pointless."""
    assert Reach.of(past_feed(minutes=5, days=50), {"1m": 3, "1d": None}, ZONE) == Reach(3, 50, ZONE)
    assert Reach.of(past_feed(minutes=5, days=50), {"1m": None, "1d": 7}, ZONE) == Reach(5, 7, ZONE)


@given(
    st.lists(
        st.tuples(st.integers(1, 10**13), st.integers(1, 10**18)).filter(lambda row: row[0] * row[1] < 2**60 * 10**12),
        min_size=1,
        max_size=20,
    )
)
def test_sums_of_price_and_size_are_exact(rows):
    """The average price that a feed gives is the one that is shown."""
    time = np.arange(len(rows)) * MINUTE + DAY_US * 20_000
    vwap, volume = (np.array(column, np.int64) for column in zip(*rows, strict=True))

    class Given:
        @property
        def history_us(self):
            return {"1m": DAY_US, "1d": 0}

        def history(self, symbols, edges_us):
            return {"A": HistoryCandles(time, vwap, vwap, vwap, vwap, volume, np.ones_like(time), vwap)}

    made = make_backfill(Given(), ["A"], int(time[-1]) + MINUTE, Reach(DAY_US, 0, ZoneInfo("UTC")))["A"]
    for (price, size), candle in zip(rows, joined(made.minutes), strict=True):
        assert candle.units * 10**12 + candle.rest == price * size
        assert candle.vwap == price


async def test_live_candles_go_on_where_history_ends(writer, tape, noon, backfill, past_feed):
    """The day is one candle of both, and nothing of the record itself changes."""
    await writer.write(tape.trade(100, 5))
    assert writer.batches.not_backfilled() == ["AAPL"]
    assert await backfill(noon)
    assert writer.batches.not_backfilled() == []
    await writer.write(*tape.trades(10, step=30 * SECOND))
    found = await all_candles(writer)
    made = make_backfill(past_feed(), ["AAPL"], noon, REACH)["AAPL"]
    minutes, days = joined(made.minutes), joined(made.days)
    assert found["1m"][0][: len(minutes)] == minutes
    assert [row.origin for row in found["1m"][0][len(minutes) :]] == [Origin.TICKS] * 4
    assert found["1d"][0] == days
    (today,) = found["1d"][1]
    volume = sum(tick.size for tick in tape.ticks)
    assert today == made.part._replace(
        high=max(made.part.high, *(codec.millionths(t.price, "") for t in tape.ticks)),
        low=min(made.part.low, *(codec.millionths(t.price, "") for t in tape.ticks)),
        close=codec.millionths(tape.ticks[-1].price, ""),
        close_time=tape.ticks[-1].time,
        volume=made.part.volume + volume * MILLION,
        trades=made.part.trades + 11,
        units=today.units,
        rest=today.rest,
        first_seq=1,
        seq=11,
    )
    assert today.units * 10**12 + today.rest == made.part.units * 10**12 + made.part.rest + sum(
        codec.millionths(t.price, "") * t.size * MILLION for t in tape.ticks
    )
    assert found["1s"][0][0].time >= noon


async def test_a_day_without_a_trade_yet_forms_from_history(writer, noon, backfill):
    """And its first trade is counted as such."""
    assert await backfill(noon, clock=noon)
    (today,) = (await all_candles(writer))["1d"][1]
    assert today.first_seq == NO_TRADE
    assert await writer.client.get("epoch:{AAPL}") is None


async def test_every_interval_is_answered_over_the_seam(writer, tape, noon, backfill):
    """A large candle of history and ticks is the sum of its minutes, and positions speak of trades only."""
    history = CandleHistory(writer.client, writer.candles, ZONE, 500_000, MINUTE)
    await writer.write(tape.trade())
    await backfill(noon + 17 * MINUTE)
    await writer.write(*tape.trades(200, step=30 * SECOND))
    for interval in ("5m", "1h", "4h", "1d", "1w"):
        for forming in (False, True):
            page = await history.page(CandleQuery("AAPL", INTERVALS[interval], limit=1000, forming=forming), "hand")
            times = [candle.time for candle, _ in page.candles]
            assert times == sorted(set(times))
            if forming:
                assert page.position.seq == 201
            elif interval in ("4h", "1d", "1w"):
                assert page.position.seq == 0
            else:
                assert 0 < page.position.seq < 201
    minutes = await history.page(CandleQuery("AAPL", INTERVALS["1m"], limit=10_000, forming=True), "hand")
    hours = await history.page(CandleQuery("AAPL", INTERVALS["1h"], limit=10_000, forming=True), "hand")
    for hour, _ in hours.candles:
        parts = [c for c, _ in minutes.candles if hour.time <= c.time < hour.time + HOUR]
        assert hour.volume == sum(part.volume for part in parts)
        assert (hour.open, hour.close) == (parts[0].open, parts[-1].close)


async def test_a_late_trade_still_corrects_the_last_candle_of_history(writer, tape, noon, backfill):
    """It is stored once, in its own chunk."""
    await backfill(noon, clock=noon + SECOND)
    await writer.write(tape.trade(1, 7, time=noon - 30 * SECOND), tape.trade(), clock=noon + 2 * SECOND)
    found = (await all_candles(writer))["1m"][0]
    assert [row.time for row in found] == sorted({row.time for row in found})
    (corrected,) = [row for row in found if row.time == noon - MINUTE]
    assert (corrected.low, corrected.trades, corrected.seq, corrected.origin) == (1 * MILLION, 2, 1, Origin.HISTORY)


async def test_history_comes_once(writer, tape, noon, backfill, new_writer):
    """A writer that takes over finds it stored."""
    await writer.write(tape.trade())
    await backfill(noon)
    again = new_writer(writer.client)
    await again.claim("AAPL")
    assert again.batches.not_backfilled() == []
    await again.write(*tape.trades(70, step=MINUTE))
    found = await all_candles(again)
    assert len({row.time for row in found["1m"][0]}) == len(found["1m"][0])
    assert found["1d"][1][0].trades == 71 + 7 * 60


async def test_what_a_kill_left_out_is_made_up_for_after_the_restart(writer, tape, noon, backfill, new_writer):
    """Ticks were stored without history: it ends before the first of their candles, however late it comes."""
    await writer.write(*tape.trades(400, step=MINUTE))
    taken_over = new_writer(writer.client)
    await taken_over.claim("AAPL")
    writer.batches = taken_over.batches
    assert await backfill(noon + 399 * MINUTE, clock=tape.time)
    found = await all_candles(writer)
    first = next(row for row in found["1m"][0] if row.origin == Origin.TICKS)
    assert first.time == noon + MINUTE
    assert [row.time for row in found["1m"][0]] == sorted({row.time for row in found["1m"][0]})
    (today,) = found["1d"][1]
    assert today.trades == 400 + 7 * 60 + 1
    assert (today.first_seq, today.seq) == (1, 400)


async def test_a_day_that_is_closed_is_not_added_to(writer, tape, noon, backfill):
    """History then ends with the day before, so that a day stays the sum of its minutes."""
    await writer.write(*tape.trades(3))
    await writer.write(clock=noon + 40 * HOUR)
    assert await backfill(noon + 40 * HOUR)
    found = await all_candles(writer)
    day = bounds(INTERVALS["1d"], noon, ZONE)[0]
    assert found["1d"][0][-1].trades == 3
    assert found["1d"][0][-2].time < day
    assert max(row.time for row in found["1m"][0] if row.origin == Origin.HISTORY) == day - MINUTE


async def test_one_that_comes_too_late_is_made_anew(writer, tape, noon, backfill, past_feed):
    """A late tick lies before its end: nothing is stored of it, and the next one ends before that tick."""
    made = await Backfiller(past_feed(), writer.candles, REACH).make(["AAPL"], noon)
    await writer.write(tape.trade(time=noon - 90 * SECOND), clock=noon - 60 * SECOND)
    waiting = asyncio.create_task(writer.batches.backfill(made, 10))
    await asyncio.sleep(0)
    await writer.write(clock=noon)
    assert await waiting
    assert writer.batches.not_backfilled() == ["AAPL"]
    assert (await all_candles(writer))["1d"][0] == []
    assert await backfill(noon)
    rows = (await all_candles(writer))["1m"][0]
    assert [row.origin for row in rows[-2:]] == [Origin.HISTORY, Origin.TICKS]


async def test_after_a_flush_history_is_made_again(writer, tape, noon, backfill):
    """The store has lost it with everything else."""
    await writer.write(tape.trade())
    await backfill(noon)
    await writer.client.flushall()
    await writer.write(tape.trade())
    assert writer.batches.not_backfilled() == ["AAPL"]
    assert await backfill(noon)
    assert (await all_candles(writer))["1d"][1][0].trades == 2 + 7 * 60


async def test_the_check_says_that_history_cannot_be_checked(writer, tape, noon, backfill):
    """Nothing of it counts as different."""
    await writer.write(*tape.trades(5, step=MINUTE))
    await backfill(noon)
    findings = {f.interval: f for f in await Checker(writer.client, ZONE).check("AAPL")}
    assert not any(finding.different for finding in findings.values())
    assert findings["1m"].equal == 5
    assert findings["1d"].unchecked == {"made of history, not of ticks": len((await all_candles(writer))["1d"][0]) + 1}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"time": lambda time: time[::-1].copy()}, "a time that is no edge, or not after the one before"),
        ({"time": lambda time: time + 1}, "a time that is no edge, or not after the one before"),
        ({"low": lambda low: low * 0}, "a price below 1 millionth"),
        ({"vwap": lambda vwap: vwap * 2}, "an open, close or vwap outside of low to high"),
        ({"trades": lambda trades: trades * 0}, "no trade or no volume"),
        ({"volume": lambda volume: volume * 10**12, "high": lambda high: high * 10**6}, "price x size of 2^60 or more"),
    ],
)
async def test_a_history_that_cannot_be_is_refused(
    valkey, valkey_url, make_config, noon, past_feed, change, says, wait_until, caplog
):
    """The feed goes on without it, and the log says why, once."""

    class Wrong(past_feed):
        def history(self, symbols, edges_us):
            made = super().history(symbols, edges_us)["AAPL"]
            return dict.fromkeys(symbols, replace(made, **{name: f(getattr(made, name)) for name, f in change.items()}))

    with pytest.raises(FeedError, match=f"history of AAPL: {re.escape(says)}, in the candle at 17"):
        make_backfill(Wrong(), ["AAPL"], noon, REACH)
    feed = Wrong("AAPL")
    ingester = Ingester(valkey, make_config(valkey_url), [feed])
    task = asyncio.create_task(ingester.run())
    try:
        await wait_until(lambda: "goes on without its history" in caplog.text)
        await ingester.backfill()
        assert caplog.text.count("goes on without its history") == 1
        assert ingester.runners[0].state == "live"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_waiting_for_a_batch_ends(writer, noon, past_feed):
    """No more is made than the store takes."""
    made = await Backfiller(past_feed(), writer.candles, REACH).make(["AAPL"], noon)
    assert not await writer.batches.backfill(made, 0.01)


async def test_the_ingester_stores_what_a_feed_knows_and_says_so(
    valkey, valkey_url, make_config, hand_feed, past_feed, tape, wait_until
):
    """Of all symbols, beside the live ticks, with an event for the gateways."""
    names = [f"S{i}" for i in range(60)]
    feed = past_feed("AAPL", *names)
    assert isinstance(feed, HistoryFeed)
    assert not isinstance(hand_feed(), HistoryFeed)
    events = []
    async with valkey.pubsub() as pubsub:
        await pubsub.subscribe(keys.EVENTS)
        task = asyncio.create_task(Ingester(valkey, make_config(valkey_url), [feed]).run())
        try:
            feed.give(tape.trade())

            async def all_stored():
                return all([await valkey.hexists(f"ticker:state:{{{name}}}", "backfilled") for name in feed.names])

            await wait_until(all_stored)
            while len([e for e in events if e["event"] == "backfill"]) < 61:
                message = await pubsub.get_message(timeout=10)
                assert message is not None
                if message["type"] == "message":
                    events.append(codec.from_json(message["data"]))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert {e["symbol"] for e in events if e["event"] == "backfill"} == {"AAPL", *names}
    assert max(len(symbols) for symbols in feed.asked) <= SYMBOLS_AT_ONCE
    assert await valkey.zcard("ticker:index:{S7}:1d") == 1
