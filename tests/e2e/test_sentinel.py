"""`ticker ingest` and `ticker serve` on a Sentinel address: the primary is killed, and both go on by themselves."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest
import yaml
from websockets.sync.client import connect

DEADLINE_S = 20.0
STALE_S, BACK_S = 2.0, 10.0
"""How soon a client hears that prices are old; and how long all of it may take where a dead primary is seen in 0.5 s."""


class Told:
    """What a client was told, with when."""

    def __init__(self, socket):
        self.socket = socket
        self.messages = []

    def until(self, wanted):
        """Read up to the first message that is wanted; when it came, and what it says."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            message = json.loads(self.socket.recv(max(deadline - time.monotonic(), 0.01)))
            self.messages.append(message)
            if wanted(message):
                return time.monotonic(), message


def is_live_trade(message):
    return message["type"] == "trade" and not message.get("snapshot")


def service(state):
    return lambda message: message["type"] == "service" and message["state"] == state


@pytest.fixture
def start(tmp_path, failover):
    """Starts `ticker` on the sentinels; all end with the test."""
    folder = tmp_path / "ticker"
    folder.mkdir()
    feed = {"type": "simulated", "symbols": ["AAPL", "MSFT"], "ticks_per_s": 30}
    (folder / "config.yaml").write_text(yaml.safe_dump({"server": {"port": 0}, "feeds": [feed]}))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("TICKER_")}
    environ |= {"PYTHONUNBUFFERED": "1", "TICKER_REDIS__URL": failover.url}
    started = []

    def start(command, line):
        errors = folder / f"{command}.log"
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "ticker", command],
                cwd=folder,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        started.append(process)
        found = next((text for text in process.stdout if text.startswith(line)), None)
        assert found, errors.read_text()
        return process, found.split()[-1] if line == "page" else found, errors

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_killed_primary_costs_seconds_and_no_tick_twice(start, failover, block_until):
    """Clients hear `stale`, then `live`; numbers go on without a hole, or a reset says where they begin again."""
    ingester, announced, ingest_log = start("ingest", "ingesting")
    _, url, serve_log = start("serve", "page")
    secrets = failover.PASSWORD, failover.SENTINEL_PASSWORD
    assert f"127.0.0.1:{failover.sentinels[0]}" in announced
    block_until(lambda: httpx.get(f"{url}v1/symbols/AAPL").status_code == 200)
    address = f"{url.replace('http', 'ws')}v1/stream?channel=trades&symbols=AAPL"
    with connect(address, proxy=None) as socket:
        told, killed = fail_over(Told(socket), failover)
    answer = httpx.get(f"{url}v1/trades/AAPL", params={"limit": 5, "order": "desc"}).json()
    assert answer["trades"][0]["seq"] >= told[-1]["seq"]
    check(told)
    ingester.send_signal(signal.SIGTERM)
    ingester.communicate(timeout=10)
    assert ingester.returncode == 0
    for log in (ingest_log, serve_log):
        text = log.read_text()
        assert f"127.0.0.1:{killed} before" in text
        assert not any(secret in text for secret in secrets)


def fail_over(told, failover):
    """Kill the primary and listen until ticks flow again: all that was told, and which server died."""
    told.until(is_live_trade)
    killed, began = failover.kill_primary(), time.monotonic()
    stale_at, stale = told.until(service("stale"))
    live_at, _ = told.until(service("live"))
    for _ in range(20):
        told.until(is_live_trade)
    took = {"stale": round(stale_at - began, 2), "live": round(live_at - began, 2)}
    print(f"seconds after the kill: {took}")
    assert stale["reason"] in ("store", "ingest")
    assert took["stale"] < STALE_S, took
    assert took["live"] < BACK_S, took
    assert failover.primary != killed
    return told.messages, killed


def check(messages):
    """Each trade's number is the one after that before it, unless a gap or a reset says otherwise."""
    seq = None
    for message in messages:
        if message["type"] == "subscribed":
            seq = message["positions"]["AAPL"]["seq"]
        elif message["type"] == "gap":
            assert message["from"] == seq + 1
            seq = message["to"]
        elif message["type"] == "reset":
            seq = message["seq"]
        elif message["type"] == "trade":
            assert message["seq"] == (seq if message.get("snapshot") else seq + 1), message
            seq = message["seq"]


def test_the_check_sees_what_is_wrong():
    """A tick twice, and a hole of which nobody told."""
    begin = {"type": "subscribed", "positions": {"AAPL": {"epoch": "a", "seq": 1}}}
    ticks = [{"type": "trade", "seq": seq} for seq in (2, 3, 4)]
    check([begin, *ticks])
    check([begin, {"type": "gap", "from": 2, "to": 3}, ticks[2]])
    check([begin, *ticks, {"type": "reset", "seq": 3}, ticks[2]])
    for wrong in itertools.permutations(ticks):
        if list(wrong) != ticks:
            with pytest.raises(AssertionError):
                check([begin, *wrong])
    with pytest.raises(AssertionError):
        check([begin, ticks[0], ticks[2]])
