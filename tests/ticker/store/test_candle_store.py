import random
from zoneinfo import ZoneInfo

import pytest

from ticker.candles.builder import CandleBuilder
from ticker.candles.candle import Candle, Candles
from ticker.candles.interval import INTERVALS, STORED
from ticker.candles.packed import unpack
from ticker.store import keys
from ticker.store.candle_store import (
    CHUNK_CANDLES,
    CHUNKS_A_TURN,
    CHUNKS_PER_READ,
    TIME_MAX,
    CandleReader,
    ChunkLog,
    merge,
)

SECOND = 1_000_000
MINUTE = 60 * SECOND
S1 = INTERVALS["1s"]


def candle(number, price=100):
    """The candle of a second; numbers count seconds since noon."""
    time = 1_763_985_600_000_000 + number * SECOND
    return Candle(time, price, price, price, price, 1, 0, price, 1, number + 1, number + 1, time, time)


def stored_by(writes, kept=None):
    """What a store holds after these writes: the first time of each chunk, and its candles."""
    kept = {} if kept is None else kept
    for write in writes:
        kept.pop(write.drop, None)
        kept[write.field] = unpack(write.packed)
    return kept


def rows(kept):
    return [row for _, chunk in sorted(kept.items(), key=lambda item: int(item[0])) for row in chunk.rows()]


def test_a_chunk_grows_until_it_is_full():
    """Only the last one is written again; the next candle after a full one begins a new chunk."""
    log, kept = ChunkLog(S1, []), {}
    for number in range(2 * CHUNK_CANDLES + 3):
        writes = log.put([candle(number)], 0)
        assert len(writes) == 1
        stored_by(writes, kept)
    assert [len(chunk) for chunk in kept.values()] == [CHUNK_CANDLES, CHUNK_CANDLES, 3]
    assert rows(kept) == [candle(number) for number in range(2 * CHUNK_CANDLES + 3)]


def test_many_candles_at_once_are_split():
    """However many close together."""
    kept = stored_by(ChunkLog(S1, []).put([candle(number) for number in range(1000)], 0))
    assert max(len(chunk) for chunk in kept.values()) == CHUNK_CANDLES
    assert rows(kept) == [candle(number) for number in range(1000)]


def test_a_corrected_candle_takes_the_place_of_the_old():
    """In its chunk, wherever that is; no other is written."""
    log = ChunkLog(S1, [])
    kept = stored_by(log.put([candle(number) for number in range(200)], 0))
    writes = log.put([candle(70, price=5)], 0)
    assert len(writes) == 1
    assert rows(stored_by(writes, kept)) == [candle(n, 5 if n == 70 else 100) for n in range(200)]


def test_a_candle_before_the_first_one_gives_the_chunk_a_new_name():
    """The old field is dropped in the same write."""
    log = ChunkLog(S1, [])
    kept = stored_by(log.put([candle(10), candle(11)], 0))
    (write,) = log.put([candle(5)], 0)
    assert write.drop == str(candle(10).time)
    assert write.field == str(candle(5).time)
    assert rows(stored_by([write], kept)) == [candle(5), candle(10), candle(11)]


def test_a_chunk_further_back_grows_to_twice_the_size_and_is_split():
    """Late candles do not make it grow for ever."""
    log = ChunkLog(S1, [])
    kept = stored_by(log.put([candle(3 * number) for number in range(2 * CHUNK_CANDLES)], 0))
    for number in range(CHUNK_CANDLES):
        stored_by(log.put([candle(3 * number + 1)], 0), kept)
        stored_by(log.put([candle(3 * number + 2)], 0), kept)
    assert max(len(chunk) for chunk in kept.values()) <= 2 * CHUNK_CANDLES
    assert [row.time for row in rows(kept)] == sorted(row.time for row in rows(kept))
    assert len(rows(kept)) == 4 * CHUNK_CANDLES


@pytest.mark.parametrize("seed", range(10))
def test_any_order_of_candles_gives_the_same(seed):
    """The newest version of each, once, in order of time; also where the log was begun again from what is stored."""
    rng, log, kept, expected = random.Random(seed), ChunkLog(S1, []), {}, {}
    for turn in range(120):
        changed = {}
        for _ in range(rng.randint(1, 9)):
            number = max(0, 5 * turn + rng.randint(-60, 5))
            changed[number] = candle(number, rng.randint(1, 999))
        expected |= changed
        stored_by(log.put(sorted(changed.values()), 0), kept)
        if rng.random() < 0.1:
            log = ChunkLog(S1, [chunk for _, chunk in sorted(kept.items(), key=lambda item: int(item[0]))])
    assert rows(kept) == [expected[number] for number in sorted(expected)]
    assert all(int(field) == chunk.time[0] for field, chunk in kept.items())


def test_merge_prefers_the_new():
    """Where both have a candle of a time."""
    both = merge(Candles.of([candle(1), candle(3)]), Candles.of([candle(2), candle(3, 7)]))
    assert both.rows() == [candle(1), candle(2), candle(3, 7)]


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
