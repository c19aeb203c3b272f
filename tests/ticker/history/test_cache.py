import pytest

from ticker import metrics
from ticker.candles.candle import Candle, Candles
from ticker.candles.packed import pack
from ticker.history.cache import ENTRY_BYTES, Cache


@pytest.mark.limit("history_cache_bytes")
def test_what_was_not_asked_for_the_longest_gives_way():
    """The bytes stay below the limit, and whoever put something in hears that it is gone."""
    gone, cache = [], Cache(10 * (1_000 + ENTRY_BYTES))
    for number in range(10):
        assert cache.put(number, str(number), 1_000, lambda number=number: gone.append(number))
    assert (len(cache), gone) == (10, [])
    assert cache.get(0) == "0"
    cache.put(10, "10", 1_000)
    assert gone == [1]
    assert (cache.get(0), cache.get(1), cache.get(10)) == ("0", None, "10")
    assert cache.size_bytes <= 10 * (1_000 + ENTRY_BYTES)
    assert metrics.REGISTRY.get_sample_value("ticker_history_cache_bytes") == cache.size_bytes


@pytest.mark.limit("history_cache_bytes")
def test_one_large_value_does_not_cost_all_others():
    """It is not kept; nor is what it would have replaced."""
    cache = Cache(10_000)
    cache.put("small", 1, 100)
    cache.put("same", 1, 100)
    assert not cache.put("same", 2, 5_000)
    assert (cache.get("small"), cache.get("same"), len(cache)) == (1, None, 1)


def test_a_value_is_replaced_and_dropped():
    """With its bytes."""
    gone, cache = [], Cache(10_000)
    cache.put("a", 1, 100, lambda: gone.append(1))
    cache.put("a", 2, 50, lambda: gone.append(2))
    assert (cache.get("a"), cache.size_bytes, gone) == (2, 50 + ENTRY_BYTES, [1])
    cache.drop("a")
    cache.drop("a")
    assert (cache.get("a"), cache.size_bytes, gone) == (None, 0, [1, 2])


def test_a_chunk_is_unpacked_once():
    """The same bytes are the same candles, which nobody may change."""
    cache = Cache(1 << 20)
    packed = pack(Candles.of([Candle(60_000_000, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)]))
    first = cache.unpack(packed)
    assert first.rows() == [Candle(60_000_000, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)]
    assert cache.unpack(bytes(bytearray(packed))) is first
    with pytest.raises(ValueError, match="read-only"):
        first.data[0, 0] = 5
