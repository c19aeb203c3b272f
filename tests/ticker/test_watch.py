"""What `ticker watch` says: one line an event, for people or for programs, and a sum at the end."""

import json
from datetime import UTC, datetime

import pytest

from ticker.client import Candle, Disconnected, Gap, Quote, Reset, Resumed, Service, Trade
from ticker.watch import Watch, as_json, as_text, when

TIME = 1_763_985_600_000_007

LINES = [
    (Trade("AAPL", 189.2, 100, TIME, 7), "2025-11-24T12:00:00.000007Z  AAPL  189.2 x 100  seq 7"),
    (
        Trade("AAPL", 189.2, 100, TIME, 7, "x1", exchange="XNAS", snapshot=True, skipped=3),
        "2025-11-24T12:00:00.000007Z  AAPL  189.2 x 100  id x1  exchange XNAS  skipped 3  seq 7",
    ),
    (
        Quote("AAPL", None, 0, 189.3, 200, TIME, 9),
        "2025-11-24T12:00:00.000007Z  AAPL  none / 189.3 x 200  seq 9",
    ),
    (
        Candle("AAPL", "1m", TIME - 7, 1, 3, 0.5, 2, 10, 4, 1.5, True, 9),
        "2025-11-24T12:00:00Z  AAPL 1m  open 1  high 3  low 0.5  close 2  volume 10  final  seq 9",
    ),
    (Gap("trades", "AAPL", 3, 5, "trimmed"), "gap AAPL 3 to 5: trimmed, 3 missed"),
    (Reset("trades", "AAPL", "e", 5), "reset AAPL: epoch e begins; what came above 5 is withdrawn"),
    (Service("stale", "feed", TIME, ("AAPL", "MSFT")), "stale (feed): AAPL, MSFT"),
    (Service("live", "store", TIME), "live (store)"),
    (Disconnected("connection refused", None, 0.42), "disconnected: connection refused; trying again in 0.4 s"),
    (Disconnected("restarting", 1012, 1.0), "disconnected: restarting (1012); trying again in 1.0 s"),
    (Resumed("trades", "AAPL", None, 1234, 1646, 412, 0), "resumed AAPL after 1234: 412 replayed, 0 missed"),
    (Resumed("candles", "AAPL", "1m", 4, 9, 2, 0), "resumed AAPL 1m after 4: 2 replayed, 0 missed"),
]


@pytest.mark.parametrize(("one", "line"), LINES, ids=lambda value: type(value).__name__)
def test_lines_for_people(one, line):
    """Each on one line."""
    assert as_text(one) == line


def test_the_date_is_left_out_today():
    """It would be the same on every line."""
    now = datetime.now(UTC)
    assert when(int(now.timestamp()) * 1_000_000, "seconds") in (
        now.strftime("%H:%M:%SZ"),
        now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def test_lines_for_programs():
    """As the gateway's messages, without what says nothing."""
    assert json.loads(as_json(LINES[0][0])) == {
        "type": "trade",
        "symbol": "AAPL",
        "price": 189.2,
        "size": 100,
        "time": TIME,
        "seq": 7,
    }
    assert json.loads(as_json(LINES[2][0]))["bid"] is None
    assert json.loads(as_json(LINES[2][0]))["bid_size"] == 0
    assert json.loads(as_json(LINES[4][0])) == {
        "type": "gap",
        "channel": "trades",
        "symbol": "AAPL",
        "reason": "trimmed",
        "from": 3,
        "to": 5,
    }
    assert json.loads(as_json(LINES[7][0])) == {"type": "service", "state": "live", "reason": "store", "time": TIME}
    assert json.loads(as_json(LINES[10][0]))["replayed"] == 412


def test_the_sum():
    """Of all that was said."""
    said = []
    for as_json_ in (False, True):
        watch = Watch(said.append, as_json=as_json_)
        for one, _ in LINES:
            (watch.notice if isinstance(one, Disconnected | Resumed) else watch.event)(one)
        watch.sum_up()
    assert said[len(LINES)] == "received 4, resumes 2, replayed 414, missed 3"
    assert json.loads(said[-1]) == {"type": "summary", "received": 4, "resumes": 2, "replayed": 414, "missed": 3}
