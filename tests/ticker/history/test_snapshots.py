import pytest

from ticker.codec import entry_fields
from ticker.history.snapshots import SnapshotReader

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE


@pytest.fixture
def reader(writer):
    return SnapshotReader(writer.client, writer.streams, writer.candles)


async def test_a_snapshot_shows_the_newest_of_everything(writer, reader, tape):
    """Last trade, last quote, the minute and the day as they form."""
    await writer.write(tape.trade(100, 1), tape.quote(99, 101), tape.trade(103, 2))
    snapshot = (await reader.read(["AAPL"]))["AAPL"]
    assert entry_fields(snapshot.trades.entry)["price"] == 103
    assert entry_fields(snapshot.quotes.entry)["bid"] == 99
    assert (snapshot.trades.end.seq, snapshot.quotes.end.seq) == (2, 1)
    assert snapshot.trades.epoch == snapshot.quotes.epoch
    for candle, final in (snapshot.minute, snapshot.day):
        assert (candle.open, candle.close, candle.trades, final) == (100_000_000, 103_000_000, 2, False)
    assert snapshot.previous_close is None


async def test_a_closed_minute_stays_until_there_is_a_newer_one(writer, reader, tape, noon):
    """It is final then."""
    await writer.write(tape.trade(100, 1), clock=noon + MINUTE + SECOND)
    snapshot = (await reader.read(["AAPL"]))["AAPL"]
    assert snapshot.minute[1] is True
    assert snapshot.day[1] is False
    await writer.write(tape.trade(101, 1, time=noon + 2 * MINUTE))
    candle, final = (await reader.read(["AAPL"]))["AAPL"].minute
    assert (candle.time, final) == (noon + 2 * MINUTE, False)


async def test_the_previous_close_is_that_of_the_trading_day_before(writer, reader, tape, noon):
    """The last day that had a trade, over days without any."""
    await writer.write(tape.trade(100, 1), tape.trade(105, 1))
    await writer.write(tape.trade(90, 1, time=noon + DAY))
    await writer.write(tape.trade(80, 1, time=noon + 4 * DAY))
    assert (await reader.read(["AAPL"]))["AAPL"].previous_close == 90_000_000
    await writer.write(tape.trade(70, 1, time=noon + 4 * DAY + MINUTE))
    assert (await reader.read(["AAPL"]))["AAPL"].previous_close == 90_000_000


async def test_a_symbol_without_ticks_has_an_empty_snapshot(reader):
    """Nothing, at the beginning; many are read at once."""
    found = await reader.read(["AAPL", "MSFT"])
    assert list(found) == ["AAPL", "MSFT"]
    for snapshot in found.values():
        assert (snapshot.trades.end.seq, snapshot.trades.entry, snapshot.minute, snapshot.day) == (0, None, None, None)
    assert await reader.read([]) == {}
