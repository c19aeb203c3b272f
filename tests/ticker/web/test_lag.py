import json
from time import time_ns

import pytest

from ticker import metrics
from ticker.hub.frame import text_frame
from ticker.web.lag import EVERY_S, Lag

SECOND = 1_000_000


def now_us():
    return time_ns() // 1000


def count(stage):
    return metrics.REGISTRY.get_sample_value("ticker_gateway_lag_seconds_count", {"stage": stage}) or 0.0


def total(stage):
    return metrics.REGISTRY.get_sample_value("ticker_gateway_lag_seconds_sum", {"stage": stage}) or 0.0


def trade(time, **more):
    return json.dumps(
        {"type": "trade", "symbol": "AAPL", "price": 1, "size": 1, "time": time, "seq": 1} | more, separators=(",", ":")
    )


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
    lag.sent(text_frame(trade(now_us() - 3 * SECOND).encode()))
    assert 2 <= total("received") - before[0] < 3
    assert 3 <= total("sent") - before[1] < 4


def test_a_replay_that_keeps_its_times_tells_nothing(lag, clock):
    """How long ago it was recorded is no lag."""
    clock[0] -= 3_600 * SECOND
    before = count("sent")
    lag.sent(text_frame(trade(clock[0]).encode()))
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
    lag.sent(text_frame(message.encode(errors="surrogateescape")))
    assert count("sent") == before


@pytest.mark.parametrize("stage", ["received", "sent"])
def test_of_many_few_are_looked_at(lag, monkeypatch, stage):
    """At most one in 10 ms, however many there are."""
    now_s = [50.0]
    monkeypatch.setattr("ticker.web.lag.monotonic", lambda: now_s[0])
    before = count(stage)
    for _ in range(100):
        getattr(lag, stage)(trade(now_us()).encode())
    assert count(stage) == before + 1
    now_s[0] += EVERY_S
    getattr(lag, stage)(trade(now_us()).encode())
    assert count(stage) == before + 2


def test_the_age_of_the_newest_message_is_known(lag):
    """Of whatever kind it is; before the first there is none."""
    assert lag.newest_ms() is None
    lag.received(trade(now_us() - 2 * SECOND).encode())
    assert 2_000 <= lag.newest_ms() < 3_000
