import random

import pytest

from ticker.candles.candle import Candle
from ticker.candles.interval import INTERVALS
from ticker.candles.packed import unpack
from ticker.store.chunks import CHUNK_CANDLES, ChunkLog

SECOND = 1_000_000
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
