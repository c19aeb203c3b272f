import json
import random
from contextlib import suppress

import httpx
import pytest
from remembered_answers import PLAIN, calls, clock_is, closed, settled

from ticker.candles.interval import INTERVALS
from ticker.store import keys
from ticker.store.candle_store import CandleReader, candles_event

SECOND = 1_000_000
MINUTE = 60 * SECOND


@pytest.mark.parametrize("interval", ["1s", "30s", "1m", "15m", "1h"])
async def test_a_correction_is_seen(filled_hour, tape, noon, interval):
    """A trade that comes late changes candles that are closed; what was remembered of them is not used any more."""
    end, clock = noon + 120 * MINUTE, noon + 120 * MINUTE + 10 * SECOND
    late = end - 40 * SECOND
    filled_hour.feed.give(tape.trade(500, 1, time=late), tape.trade(501, 1, time=late + SECOND), clock=clock)
    await clock_is(filled_hour, clock)
    begin = late // INTERVALS[interval].width * INTERVALS[interval].width
    query = f"interval={interval}&start={begin}&end={end}"
    one, several = f"/v1/candles/AAPL?{query}", f"/v1/candles?symbols=AAPL,MSFT&{query}"
    assert (await settled(filled_hour, one)).json()["candles"][0]["close"] == (500 if interval == "1s" else 501)
    await settled(filled_hour, several)
    client = await filled_hour.connect()
    await client.subscribe("trades", "AAPL")
    await client.barrier()
    filled_hour.feed.give(tape.trade(77, 3, time=late + 1))
    await client.until(lambda m: m.get("price") == 77)
    # What the gateway is told of a correction arrives before the trade that makes it.
    assert (await filled_hour.get(one)).json()["candles"][0]["low"] == 77
    assert (await filled_hour.get(several)).json()["symbols"]["AAPL"]["candles"][0]["low"] == 77


async def test_what_is_told_takes_away_what_was_remembered(filled_hour, noon):
    """By symbol, stored interval and time: no more than that."""
    minutes, seconds = f"/v1/candles/AAPL?{closed(noon, '5m')}", f"/v1/candles/AAPL?{closed(noon)}"
    others = f"/v1/candles/MSFT?{closed(noon)}"
    for path in (minutes, seconds, others):
        await settled(filled_hour, path)

    async def asks_the_store(path):
        asked = calls()
        await filled_hour.get(path, headers=PLAIN)
        return calls() > asked

    await filled_hour.store.publish(
        keys.EVENTS, candles_event("AAPL", {"1s": (noon + 11 * MINUTE, noon + 11 * MINUTE + 1)})
    )
    await filled_hour.wait_until(lambda: asks_the_store(seconds))
    assert not await asks_the_store(minutes)
    assert not await asks_the_store(others)
    await filled_hour.store.publish(keys.EVENTS, candles_event("AAPL"))
    await filled_hour.wait_until(lambda: asks_the_store(minutes))
    assert not await asks_the_store(others)


async def test_trimming_is_seen(filled_hour, noon):
    """What has been trimmed away is in no answer any more."""
    path = f"/v1/candles/AAPL?{closed(noon)}"
    assert len((await settled(filled_hour, path)).json()["candles"]) == 150
    reader = CandleReader(filled_hour.store)
    assert await reader.trim("AAPL", INTERVALS["1s"], noon + 50 * MINUTE) > 0

    async def gone():
        return (await filled_hour.get(path)).json()["candles"] == []

    await filled_hour.wait_until(gone)


async def test_a_new_epoch_takes_everything_with_it(filled_hour, noon):
    """Numbers that were seen are withdrawn, and so is what was made of them."""
    path = f"/v1/candles/AAPL?{closed(noon)}"
    await settled(filled_hour, path)
    event = {"event": "epoch", "symbol": "AAPL", "epoch": "another", "trades": 0, "quotes": 0}
    await filled_hour.store.delete(keys.chunks("AAPL", "1s"), keys.chunk_index("AAPL", "1s"))
    await filled_hour.store.publish(keys.EVENTS, json.dumps(event))

    async def gone():
        return (await filled_hour.get(path)).json()["candles"] == []

    await filled_hour.wait_until(gone)


async def test_nothing_is_remembered_over_a_loss_of_the_live_connection(filled_hour, noon):
    """Nobody knows what was told meanwhile."""
    path = f"/v1/candles/AAPL?{closed(noon)}"
    await settled(filled_hour, path)
    filled_hour.gateway.connection_changed(False)
    asked = calls()
    await filled_hour.get(path, headers=PLAIN)
    assert calls() > asked
    filled_hour.gateway.connection_changed(True)
    asked = calls()
    await filled_hour.get(path, headers=PLAIN)
    assert calls() > asked
    await settled(filled_hour, path)


async def test_a_feed_clock_that_goes_back_makes_nothing_closed_for_good(filled_hour, noon):
    """A recording that begins again closes its candles again."""
    path = f"/v1/candles/AAPL?{closed(noon)}"
    await settled(filled_hour, path)
    beat = {"time": 1, "feeds": {"hand": {"state": "live", "reason": "", "clock": noon}}}
    mark = filled_hour.gateway.answers.mark()
    filled_hour.gateway._heartbeat(json.dumps(beat).encode())
    assert filled_hour.gateway.answers.mark() > mark


async def test_remembered_answers_are_still_refused_where_they_must_be(filled_hour, noon):
    """A format that is not offered, a symbol that has vanished from the catalog."""
    path = f"/v1/candles/MSFT?{closed(noon)}"
    await settled(filled_hour, path)
    assert (await filled_hour.get(path, headers={"Accept": "text/html"})).status_code == 406
    await filled_hour.store.hdel(keys.SYMBOLS, "MSFT")
    await filled_hour.store.publish(keys.EVENTS, '{"event":"symbols"}')

    async def gone():
        return (await filled_hour.get(path)).status_code == 404

    await filled_hour.wait_until(gone)


async def test_a_new_symbol_is_in_the_answer_for_all(filled_hour, noon):
    """Which was remembered without it."""
    path = f"/v1/candles?symbols=*&{closed(noon)}"
    assert list((await settled(filled_hour, path)).json()["symbols"]) == ["AAPL", "MSFT"]
    await filled_hour.store.hset(keys.SYMBOLS, "NEW", json.dumps({"symbol": "NEW", "name": "New", "feed": "hand"}))
    await filled_hour.store.publish(keys.EVENTS, '{"event":"symbols"}')

    async def there():
        return "NEW" in (await filled_hour.get(path)).json()["symbols"]

    await filled_hour.wait_until(there)


async def test_random_questions_are_answered_as_if_nothing_were_remembered(filled_hour, tape, noon):
    """While late trades correct what is closed: an answer never shows less than what was already published."""
    rng = random.Random(7)
    client = await filled_hour.connect()
    await client.subscribe("trades", "AAPL")
    await client.barrier()
    clock = noon + 62 * MINUTE
    for _ in range(60):
        late = clock - rng.randrange(55 * SECOND)
        clock += rng.randrange(3 * SECOND)
        price = round(rng.uniform(1, 900), 2)
        filled_hour.feed.give(tape.trade(price, 1, time=late), clock=clock)
        await client.until(lambda m, price=price: m.get("price") == price)
        # The events of an append arrive before its messages.
        interval = rng.choice(["1s", "5s", "1m", "5m"])
        width = INTERVALS[interval].width
        start = late // width * width
        path = f"/v1/candles/AAPL?interval={interval}&start={start}&end={start + width}&forming=true"
        for _ in range(2):
            (row,) = (await filled_hour.get(path)).json()["candles"]
            assert row["low"] <= price <= row["high"]
    with suppress(httpx.HTTPError):
        await client.socket.close()
