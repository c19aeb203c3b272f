import random
from zoneinfo import ZoneInfo

from ticker.candles.builder import CandleBuilder
from ticker.candles.interval import INTERVALS, STORED
from ticker.candles.packed import unpack
from ticker.store import keys
from ticker.store.candle_store import CHUNKS_A_TURN, CHUNKS_PER_READ, TIME_MAX, CandleReader
from ticker.store.chunks import CHUNK_CANDLES

SECOND = 1_000_000
S1 = INTERVALS["1s"]


async def test_ranges_are_read_back(writer, tape):
    """Start included, end not; over the borders of chunks."""
    await writer.write(*tape.trades(500, step=SECOND))
    everything = await writer.candles.read("AAPL", S1, 0, TIME_MAX, newest=False)
    assert everything.complete
    times = everything.closed.time.tolist()
    assert times == sorted(set(times))
    for first, last in ((0, 1), (0, 64), (63, 65), (100, 400), (10, 10), (0, len(times) - 1)):
        for newest in (True, False):
            found = await writer.candles.read("AAPL", S1, times[first], times[last], newest=newest)
            assert found.closed.time.tolist() == times[first:last]
    assert everything.trades.seq == 500
    assert everything.open[-1].seq == 500


async def test_long_ranges_are_read_in_blocks(writer, tape):
    """The newest or the oldest, and it says that there is more."""
    for _ in range(10):
        await writer.write(*tape.trades(900, step=SECOND))
    most = CHUNK_CANDLES * CHUNKS_PER_READ
    everything = [row for c in await writer.candles.tail("AAPL", S1, 0) for row in c.time.tolist()]
    newest = await writer.candles.read("AAPL", S1, 0, TIME_MAX, newest=True)
    oldest = await writer.candles.read("AAPL", S1, 0, TIME_MAX, newest=False)
    assert not newest.complete
    assert not oldest.complete
    assert most / 2 < len(newest.closed) <= most
    assert newest.closed.time[-1] > oldest.closed.time[-1]
    assert oldest.closed.time[0] < newest.closed.time[0]
    assert oldest.closed.time.tolist()[-1] < everything[-1]


async def test_long_ranges_are_unpacked_in_turns_with_all_others(writer, tape):
    """So that live messages go out in between: no turn takes more chunks than it may."""
    for _ in range(3):
        await writer.write(*tape.trades(900, step=SECOND))
    unpacked, turns = [], []

    def counted(packed):
        unpacked.append(packed)
        return unpack(packed)

    class Turns:
        async def __aenter__(self):
            self.before = len(unpacked)

        async def __aexit__(self, *_):
            turns.append(len(unpacked) - self.before)

    found = await CandleReader(writer.client, counted, Turns()).read("AAPL", S1, 0, TIME_MAX, newest=False)
    plain = await writer.candles.read("AAPL", S1, 0, TIME_MAX, newest=False)
    assert found.closed.rows() == plain.closed.rows()
    assert sum(turns) == len(unpacked) > CHUNKS_A_TURN
    assert max(turns) <= CHUNKS_A_TURN


async def test_old_chunks_are_trimmed_whole(writer, tape):
    """The one that reaches over the line stays, and so does the newest, however old."""
    await writer.write(*tape.trades(500, step=SECOND))
    before = await writer.candles.read("AAPL", S1, 0, TIME_MAX, newest=False)
    line = int(before.closed.time[200])
    assert await writer.candles.trim("AAPL", S1, line) == 200 // CHUNK_CANDLES
    after = await writer.candles.read("AAPL", S1, 0, TIME_MAX, newest=False)
    assert after.closed.time.tolist() == before.closed.time.tolist()[200 // CHUNK_CANDLES * CHUNK_CANDLES :]
    assert await writer.candles.trim("AAPL", S1, TIME_MAX) > 0
    assert await writer.client.hlen(keys.chunks("AAPL", "1s")) == 1
    assert await writer.client.zcard(keys.chunk_index("AAPL", "1s")) == 1
    assert await writer.candles.trim("AAPL", S1, TIME_MAX) == 0
    await writer.write(*tape.trades(10, step=SECOND))
    assert (await writer.candles.read("AAPL", S1, 0, TIME_MAX, newest=True)).trades.seq == 510


async def test_a_candle_costs_at_most_64_bytes(redis_client, new_writer, tape):
    """Over all keys of a symbol's candles, as the server counts its memory."""
    writer = new_writer(redis_client)
    await writer.claim("AAPL")
    rng, price = random.Random(1), 18_923
    for _ in range(60):
        ticks = []
        for _ in range(400):
            price += rng.randint(-3, 3)
            tape.time += rng.randint(1000, 400_000)
            ticks.append(tape.trade(price / 100, rng.choice([1, 10, 25, 100, 300, 1200])))
        await writer.write(*ticks)
    candles = memory = 0
    for interval in STORED:
        stored = await writer.candles.read("AAPL", interval, 0, TIME_MAX, newest=False)
        candles += len(stored.closed)
        for key in (keys.chunks("AAPL", interval.name), keys.chunk_index("AAPL", interval.name)):
            memory += await redis_client.memory_usage(key, samples=0) or 0
    assert candles > 4000
    assert memory / candles <= 64


async def test_candles_are_those_of_a_builder_without_a_store(writer, tape):
    """What is stored, closed and open together, is what folding all trades at once gives."""
    ticks = tape.trades(300, step=700_000)
    for first in range(0, 300, 7):
        await writer.write(*ticks[first : first + 7])
    for interval in STORED:
        builder = CandleBuilder(interval, ZoneInfo("America/New_York"), 0, TIME_MAX)
        for seq, tick in enumerate(ticks, 1):
            builder.add(tick.time, round(tick.price * 10**6), round(tick.size * 10**6), seq)
        stored = await writer.candles.read("AAPL", interval, 0, TIME_MAX, newest=False)
        assert stored.closed.rows() + stored.open == builder.unclosed()
