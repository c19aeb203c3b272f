import json
from time import time_ns

import pytest

from ticker import metrics
from ticker.web.lag import RECEIVED_EVERY_S, Lag, next_sample_s

SECOND = 1_000_000


def now_us():
    return time_ns() // 1000


def count(stage):
    return metrics.REGISTRY.get_sample_value("ticker_gateway_lag_seconds_count", {"stage": stage}) or 0.0


def total(stage):
    return metrics.REGISTRY.get_sample_value("ticker_gateway_lag_seconds_sum", {"stage": stage}) or 0.0


def trade(time, **more):
    return json.dumps({"type": "trade", "symbol": "AAPL", "price": 1, "size": 1, "time": time, "seq": 1} | more)


@pytest.fixture
def clock():
    """The feed clock that the gateway has heard of."""
    return [now_us()]


@pytest.fixture
def lag(clock):
    return Lag(lambda symbol: clock[0] if symbol == "AAPL" else 0)


def test_a_live_tick_tells_how_old_it_is(lag):
    """In both places."""
    before = total("received"), total("sent")
    lag.received(trade(now_us() - 2 * SECOND).encode())
    lag.sent(trade(now_us() - 3 * SECOND))
    assert 2 <= total("received") - before[0] < 3
    assert 3 <= total("sent") - before[1] < 4


def test_a_replay_that_keeps_its_times_tells_nothing(lag, clock):
    """How long ago it was recorded is no lag."""
    clock[0] -= 3_600 * SECOND
    before = count("sent")
    lag.sent(trade(clock[0]))
    assert count("sent") == before


@pytest.mark.parametrize(
    "message",
    [
        trade(1, symbol="NONE"),
        trade(1, snapshot=True),
        trade(None),
        '{"type":"heartbeat","time":1}',
        '{"type":"candle","symbol":"AAPL","time":1}',
        "[]",
        '"trade"',
        "{",
        "\udcff",
    ],
)
def test_what_is_no_live_tick_is_passed_over(lag, message):
    """Snapshots are old by nature, and anybody may publish anything."""
    before = count("sent")
    lag.sent(message)
    assert count("sent") == before


def test_of_many_reads_few_are_looked_at(lag, monkeypatch):
    """At most one in 10 ms, however many there are."""
    now_s = [50.0]
    monkeypatch.setattr("ticker.web.lag.monotonic", lambda: now_s[0])
    before = count("received")
    for _ in range(100):
        lag.received(trade(now_us()).encode())
    assert count("received") == before + 1
    now_s[0] += RECEIVED_EVERY_S
    lag.received(trade(now_us()).encode())
    assert count("received") == before + 2


def test_many_connections_give_a_hundred_samples_a_second_together():
    """And few of them one a second each, the first at any time."""
    assert next_sample_s(10_000) == 100
    assert next_sample_s(1) == 1
    assert len({next_sample_s(1, first=True) for _ in range(10)}) > 1
    assert all(0 <= next_sample_s(1, first=True) <= 1 for _ in range(100))
