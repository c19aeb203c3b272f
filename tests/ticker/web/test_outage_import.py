"""An import into an outage while clients are connected: what REST answers next, and what open charts are sent."""

import csv
from zoneinfo import ZoneInfo

from ticker.archive.archive import Archive
from ticker.archive.storage import LocalStorage
from ticker.candles.interval import INTERVALS
from ticker.importing.existing import days_free_before, holes
from ticker.importing.filling import fill
from ticker.importing.importer import Importer
from ticker.importing.rows import Options, look_at
from ticker.importing.values import Timing
from ticker.store import keys, outages

SECOND = 1_000_000
MINUTE = 60 * SECOND
LATE = 60 * SECOND + 500_000
ZONE = ZoneInfo("America/New_York")


async def load(client, archive, path, now):
    """Import a file as the command does."""
    missing = await holes(client, LATE, now)
    times = {symbol: found.times for symbol, found in missing.items()}
    options = Options(Timing("us", None, ZONE), INTERVALS["1m"])
    limits = await days_free_before(client, archive)
    importer = Importer(archive, options.interval, limits, now, dry_run=False, strict=True, outages=times)
    importer.take(look_at(path, options), lambda at: None)
    result = importer.finish()
    for missed in importer.missed.found:
        await fill(client, missed, missing[missed.symbol].final, ZONE, result, dry_run=False)
    return result.counts["trades", "AAPL"]


async def pages(service, **params):
    """All candles of a range, some at a time, by cursor."""
    rows, cursor = [], {}
    while True:
        page = await service.json("/v1/candles/AAPL", **params, **cursor)
        rows += page["candles"]
        if page["next"] is None:
            return rows
        cursor = {"cursor": page["next"]}


async def test_gateways_answer_with_what_was_imported_and_live_candles_have_it(service, valkey, tape, noon, tmp_path):
    """Under another ETag, on one row of pages; a forming day goes on from all trades, and ticks keep their numbers."""
    trades = tape.trades(1_199, step=3 * SECOND)
    begin, end = noon + 20 * MINUTE + 7 * SECOND, noon + 40 * MINUTE + 40 * SECOND
    live = [trade for trade in trades if not begin <= trade.time < end]
    service.feed.give(*live, clock=noon + 65 * MINUTE)

    async def reached():
        clock = int(await valkey.hget(keys.CLOCKS, "hand") or 0)
        return min(clock, service.gateway.clock_of("AAPL")) >= noon + 65 * MINUTE

    await service.wait_until(reached)
    async with valkey.pipeline() as pipe:
        outages.put(pipe, "hand", outages.Beat(end), [outages.Outage(begin, end, "feed", "the line is dead")])
        await pipe.execute()
    client = await service.connect()
    await client.subscribe("candles", "AAPL", interval="1d")
    path = f"/v1/candles/AAPL?interval=1m&start={noon}&end={noon + 60 * MINUTE}"
    before = await service.get(path)
    assert len(before.json()["candles"]) < 60

    with (tmp_path / "missed.csv").open("w", newline="") as file:
        rows = [(trade.time, "AAPL", f"{trade.price:g}", f"{trade.size:g}") for trade in trades]
        csv.writer(file).writerows([("time", "symbol", "price", "size"), *rows])
    archive = Archive(LocalStorage(tmp_path / "archive"), ZONE)
    count = await load(valkey, archive, tmp_path / "missed.csv", noon + 24 * 60 * MINUTE)
    assert (count.filled, count.overlap) == (len(trades) - len(live), len(live))

    async def answered():
        return (await service.get(path, headers={"If-None-Match": before.headers["etag"]})).status_code == 200

    await service.wait_until(answered)
    rows = await pages(service, interval="1m", start=noon, end=noon + 60 * MINUTE, limit=7)
    assert [row["time"] for row in rows] == [noon + n * MINUTE for n in range(60)]
    assert sum(row["trades"] for row in rows) == len(trades)
    days = (await service.json("/v1/candles/AAPL", interval="1d", forming="true"))["candles"]
    assert (days[-1]["trades"], days[-1]["volume"]) == (len(trades), sum(trade.size for trade in trades))
    service.feed.give(tape.trade(time=noon + 65 * MINUTE))
    await client.until(lambda m: m["type"] == "candle" and m["trades"] == len(trades) + 1)
    ticks = (await service.json("/v1/trades/AAPL", start=noon, limit=10_000))["trades"]
    assert [tick["seq"] for tick in ticks] == list(range(1, len(live) + 2))
