import os
import re
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ticker import metrics
from ticker.feed_state import FeedState
from ticker.limits import LIMITS

NOW = 1_763_933_333_333_333

BOUNDED = {
    "feed",
    "kind",
    "reason",
    "state",
    "stage",
    "task",
    "event",
    "part",
    "channel",
    "status",
    "by",
    "source",
    "code",
    "op",
    "limit",
    "route",
    "method",
    "version",
    "python",
    "numbers",
    "outcome",
}
"""Labels whose values are ours or the configuration's; a new one must be thought about."""


def value(name, **labels):
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def samples(text):
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for f in text_string_to_metric_families(text)
        for s in f.samples
    }


def test_what_a_scrape_has_is_documented():
    """Under the same names and types; and what is documented is there, once it has happened."""
    documented = {row.name: row for row in metrics.DOCUMENTED}
    assert len(documented) == len(metrics.DOCUMENTED)
    found = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        found[family.name + ("_total" if family.type == "counter" else "")] = family.type
    assert {name: kind for name, kind in found.items() if documented[name].type != kind} == {}
    missing = documented.keys() - found.keys()
    assert missing <= ({row.name for row in metrics.PROCESS} if sys.platform != "linux" else set())


@pytest.mark.parametrize("row", metrics.DOCUMENTED, ids=lambda row: row.name)
def test_every_metric_is_described(row):
    """A name with its unit, a sentence, and labels that cannot grow without bound."""
    assert re.fullmatch(r"(ticker|process)_[a-z_]+", row.name)
    assert re.fullmatch(r"[A-Z0-9].*\.", row.description)
    assert row.unit
    assert set(row.labels) <= BOUNDED
    if row.type == "counter":
        assert row.name.endswith("_total")
    if row.unit == "seconds" and row.type == "histogram":
        assert row.name.endswith("_seconds")


def test_times_are_told_apart_from_a_millisecond_to_a_minute():
    """In every histogram of them."""
    assert (metrics.SECONDS[0], metrics.SECONDS[-1]) == (0.001, 60)
    assert list(metrics.SECONDS) == sorted(metrics.SECONDS)


def test_a_feed_counts_its_appends():
    """Ticks by kind, and how many one append has."""
    meter = metrics.FeedMeter("counted")
    meter.appended(3, 0)
    meter.appended(2, 5)
    meter.appended(0, 0)
    assert value("ticker_appends_total", feed="counted") == 3
    assert value("ticker_ticks_appended_total", feed="counted", kind="trades") == 5
    assert value("ticker_ticks_appended_total", feed="counted", kind="quotes") == 5
    assert value("ticker_append_ticks_sum", feed="counted") == 10
    assert value("ticker_append_ticks_bucket", feed="counted", le="5.0") == 2


def test_polls_without_ticks_count_as_polls_only():
    """How large a batch is says nothing where there is none."""
    meter = metrics.FeedMeter("polled")
    meter.polled(0, 0.1)
    meter.polled(7, 0.2)
    assert value("ticker_feed_poll_seconds_count", feed="polled") == 2
    assert (value("ticker_batch_ticks_count", feed="polled"), value("ticker_batch_ticks_sum", feed="polled")) == (1, 7)


def test_a_clock_ahead_of_ours_makes_no_negative_lag():
    """An exchange's clock may run a little ahead."""
    meter = metrics.FeedMeter("ahead")
    meter.taken(NOW + 5_000, NOW, NOW)
    meter.taken(NOW - 5_000, NOW, NOW)
    assert value("ticker_ingest_lag_seconds_sum", feed="ahead", stage="polled") == 0.005
    assert value("ticker_ingest_lag_seconds_bucket", feed="ahead", stage="polled", le="0.001") == 1


def test_a_tick_is_timed_until_it_is_stored():
    """Once, however often nothing is stored after it; a replay that keeps its times has no lag."""
    meter = metrics.FeedMeter("slow")
    for _ in range(2):
        meter.taken(NOW - 5_000, NOW, NOW)
        meter.stored(NOW + 20_000)
        meter.stored(NOW + 90_000_000)
    meter.taken(NOW - 3_600_000_000, NOW - 3_600_000_000, NOW)
    meter.stored(NOW)
    assert value("ticker_ingest_lag_seconds_count", feed="slow", stage="appended") == 2
    assert value("ticker_ingest_lag_seconds_sum", feed="slow", stage="appended") == 0.05
    assert value("ticker_ingest_lag_seconds_count", feed="slow", stage="polled") == 2


def test_a_feed_is_in_one_state():
    """All others are 0, and its clock stays where it was once there is none."""
    meter = metrics.FeedMeter("moody")
    meter.health(FeedState.STARTING, None)
    meter.health(FeedState.LIVE, 5_000_000)
    meter.health(FeedState.RETRYING, None)
    states = {state: value("ticker_feed_state", feed="moody", state=state) for state in FeedState}
    assert states == dict.fromkeys(FeedState, 0) | {"retrying": 1}
    assert value("ticker_feed_clock_seconds", feed="moody") == 5


WORKER = """
import os, sys
from ticker import metrics
metrics.CONNECTIONS.inc(int(sys.argv[1]))
metrics.OPENED.inc(int(sys.argv[1]))
metrics.REDIS_UP.set(int(sys.argv[2]))
metrics.met("frame_bytes")
print(os.getpid(), flush=True)
for line in sys.stdin:
    sys.stdout.write(metrics.exposition().decode() + "END\\n")
    sys.stdout.flush()
"""


class Worker:
    """A process that keeps its metrics in a shared folder, and is asked for a scrape."""

    def __init__(self, folder, connections, up):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(connections), str(up)],
            env=os.environ | {metrics.SHARED_FOLDER: str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = int(self.process.stdout.readline())

    def scrape(self):
        self.process.stdin.write("scrape\n")
        self.process.stdin.flush()
        return samples("".join(iter(self.process.stdout.readline, "END\n")))

    def end(self):
        self.process.kill()
        self.process.communicate()


def test_a_scrape_of_one_worker_has_those_of_all(tmp_path):
    """Sums, whoever answers; of one that died counts stay and connections do not, and the process's own by `pid`."""
    first, second = Worker(tmp_path, 2, 1), Worker(tmp_path, 3, 0)
    try:
        scrapes = [worker.scrape() for worker in (first, second)]
        for found in scrapes:
            assert found["ticker_websocket_connections", ()] == 5
            assert found["ticker_websocket_opened_total", ()] == 5
            assert found["ticker_redis_up", ()] == 0
            assert found["ticker_limit_hits_total", (("limit", "frame_bytes"),)] == 2
            assert len([name for name, _ in found if name == "ticker_build_info"]) == 1
            if sys.platform == "linux":
                memory = {labels for name, labels in found if name == "process_resident_memory_bytes"}
                assert memory == {(("pid", str(worker.pid)),) for worker in (first, second)}
        second.end()
        found = first.scrape()
        assert found["ticker_websocket_connections", ()] == 2
        assert found["ticker_websocket_opened_total", ()] == 5
        assert found["ticker_redis_up", ()] == 1
    finally:
        first.end()
        second.end()


def test_every_limit_has_a_sample():
    """From the first scrape on."""
    found = samples(metrics.exposition().decode())
    assert {("ticker_limit_hits_total", (("limit", name),)) for name in LIMITS} <= found.keys()
