"""The metrics of a process, in Prometheus' terms; the only user of prometheus_client.

Each is declared once, with its unit and what it tells; `DOCUMENTED` lists them all for the docs. No label's values come
from outside: neither symbols nor paths nor addresses, so that nobody can make a scrape grow.
"""

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from ticker import __version__
from ticker.feed_state import FeedState
from ticker.limits import LIMITS

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Where it is set (by `ticker serve --workers N`, for its workers), metrics lie in files of a folder: each scrape adds up
those of all processes, whichever of them answers. prometheus_client reads it when it is imported."""

Across = Literal["livesum", "livemax", "livemin"]
"""How a gauge of several worker processes becomes one number; only processes that live count."""

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TICKS_A_TIME = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
LIVE_US = 60_000_000
"""A feed whose clock is this near the wall clock is live; of others, how old a tick is says nothing."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric, as the docs show it."""

    name: str
    """As a scrape has it; of a histogram without `_bucket`, `_sum` and `_count`."""
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    unit: str
    description: str


disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
_ROWS: list[MetricRow] = []


def _counter(name: str, unit: str, told: str, *labels: str) -> Counter:
    _ROWS.append(MetricRow(f"{name}_total", "counter", labels, unit, told))
    return Counter(name, told, labels, registry=REGISTRY)


def _gauge(name: str, unit: str, told: str, *labels: str, across: Across = "livesum") -> Gauge:
    _ROWS.append(MetricRow(name, "gauge", labels, unit, told))
    return Gauge(name, told, labels, registry=REGISTRY, multiprocess_mode=across)


def _histogram(name: str, unit: str, told: str, *labels: str, buckets: Sequence[float] = SECONDS) -> Histogram:
    _ROWS.append(MetricRow(name, "histogram", labels, unit, told))
    return Histogram(name, told, labels, registry=REGISTRY, buckets=buckets)


BUILD = _gauge("ticker_build_info", "1", "The version that runs.", "version", "python", across="livemax")
BUILD.labels(__version__, platform.python_version()).set(1)

# Ingest: feeds and what becomes of their ticks.
TICKS = _counter("ticker_ticks_appended", "ticks", "Ticks stored and published.", "feed", "kind")
REFUSED_TICKS = _counter("ticker_ticks_refused", "ticks", "Ticks not stored: bad, late, duplicate.", "feed", "reason")
DROPPED = _counter(
    "ticker_ticks_dropped",
    "ticks",
    "Ticks that waited for the store when another ingester took their feed over.",
    "feed",
)
REAPPENDED = _counter(
    "ticker_ticks_reappended",
    "ticks",
    "Ticks appended again because the store had lost them, under the same numbers or under new ones.",
    "feed",
    "numbers",
)
APPENDS = _counter("ticker_appends", "appends", "Atomic appends: one a symbol and poll.", "feed")
APPEND_TICKS = _histogram(
    "ticker_append_ticks", "ticks", "Ticks of one append; 0 where only candles closed.", "feed", buckets=TICKS_A_TIME
)
BATCH_TICKS = _histogram("ticker_batch_ticks", "ticks", "Ticks of one poll that had any.", "feed", buckets=TICKS_A_TIME)
BUFFERED = _gauge("ticker_ticks_buffered", "ticks", "Ticks that wait for the store.", "feed")
INGEST_LAG = _histogram(
    "ticker_ingest_lag_seconds",
    "seconds",
    "Age of the newest tick of a batch once it was polled, and once it was appended and published; of live feeds only.",
    "feed",
    "stage",
)
POLL_SECONDS = _histogram("ticker_feed_poll_seconds", "seconds", "Time that a feed took for one poll.", "feed")
FEED_ERRORS = _counter("ticker_feed_errors", "errors", "Times a feed raised and was started again.", "feed")
FEED_STATE = _gauge("ticker_feed_state", "1", "1 for the state that a feed is in, 0 for the others.", "feed", "state")
FEED_CLOCK = _gauge(
    "ticker_feed_clock_seconds",
    "seconds since 1970",
    "Time up to which everything of a feed is stored; that of a feed that has ended stays.",
    "feed",
    across="livemax",
)

# The archive.
ARCHIVED_ROWS = _counter("ticker_archive_rows", "rows", "Ticks and candles written to the archive.", "kind")
ARCHIVE_FAILURES = _counter("ticker_archive_failures", "runs", "Runs of the archive job that could not finish.")
ARCHIVE_LOST = _counter(
    "ticker_archive_lost_rows", "ticks", "Ticks that were trimmed before they were archived.", "kind"
)
ARCHIVE_SECONDS = _histogram(
    "ticker_archive_read_seconds", "seconds", "Reads of the archive for history, with their wait."
)

# The scheduler.
TASK_SECONDS = _histogram("ticker_task_seconds", "seconds", "Time that one run of a scheduled task took.", "task")
TASK_LATE = _histogram("ticker_task_late_seconds", "seconds", "How late runs of a scheduled task started.", "task")
JOB_EVENTS = _counter("ticker_job_events", "runs", "Scheduled runs that failed, were missed or still ran.", "event")

# Redis.
REDIS_SECONDS = _histogram(
    "ticker_redis_call_seconds", "seconds", "Calls of the store that were answered, one a round trip.", "part"
)
REDIS_ERRORS = _counter(
    "ticker_redis_errors", "calls", "Calls of the store that got no answer, or a refusal.", "part", "reason"
)
REDIS_UP = _gauge("ticker_redis_up", "1", "1 where the store answered the last call, 0 where not.", across="livemin")
STORE_CONNECTS = _counter("ticker_subscription_connects", "connections", "Connections made for live messages.")

# Live delivery.
READS = _histogram(
    "ticker_live_read_messages", "messages", "Messages of one read from the store.", buckets=TICKS_A_TIME
)
GATEWAY_LAG = _histogram(
    "ticker_gateway_lag_seconds",
    "seconds",
    "Age of a tick once it was received from the store, and once it was handed to a client's socket; a sample.",
    "stage",
)
GAPS = _counter("ticker_live_gaps", "gaps", "Holes seen in live delivery and announced.", "kind")
RESUMES = _counter(
    "ticker_resumes",
    "symbols",
    "Symbols resumed: whole, gap (some trimmed), reset (some withdrawn).",
    "channel",
    "outcome",
)
REPLAYED = _counter("ticker_replay_messages", "messages", "Messages sent to resuming clients before live ones.")
REPLAYING = _gauge("ticker_replays", "replays", "Resume requests whose replay is under way.")
REPLAY_BLOCKS = _counter("ticker_replay_blocks_read", "blocks", "Blocks of ticks read from the store for replays.")
REPLAY_SHARED = _counter("ticker_replay_blocks_shared", "blocks", "Times a block was there, or being read, already.")
STALE = _gauge(
    "ticker_service_stale",
    "1",
    "1 while clients are told that the service is stale, by reason.",
    "reason",
    across="livemax",
)
CONNECTIONS = _gauge("ticker_websocket_connections", "connections", "Open WebSockets.")
STATES = _gauge(
    "ticker_websocket_connection_states",
    "connections",
    "Open WebSockets: new (nothing subscribed), current (nothing waits), behind (messages wait).",
    "state",
)
SUBSCRIPTIONS = _gauge("ticker_websocket_subscriptions", "subscriptions", "Symbols or * subscribed.", "channel")
QUEUED_BYTES = _gauge("ticker_websocket_queued_bytes", "bytes", "Bytes that wait for WebSocket clients.")
OPENED = _counter("ticker_websocket_opened", "connections", "WebSockets let in.")
DENIED = _counter("ticker_websocket_denied", "connections", "WebSockets refused before the upgrade.", "status")
CLOSED = _counter(
    "ticker_websocket_closed", "connections", "WebSockets ended by the server, by code, or by the client.", "by", "code"
)
REQUESTS = _counter(
    "ticker_websocket_requests", "requests", "Requests of WebSocket clients; bad: not understood.", "op"
)
MESSAGES = _counter("ticker_websocket_messages", "messages", "Messages handed to WebSocket clients.")
BYTES = _counter("ticker_websocket_bytes", "bytes", "Bytes of the messages handed to WebSocket clients.")
SKIPPED = _counter("ticker_websocket_skipped", "messages", "Messages that gave way to a newer one (`latest`).")
COHORTS = _gauge("ticker_websocket_cohorts", "cohorts", "Groups of WebSocket clients with the same subscriptions.")
LIMIT_HITS = _counter("ticker_limit_hits", "times", "Times a limit was met.", "limit")

# HTTP.
HTTP_REQUESTS = _counter("ticker_http_requests", "requests", "HTTP requests answered.", "route", "method", "status")
HTTP_SECONDS = _histogram(
    "ticker_http_request_seconds", "seconds", "Time from a request to the end of its answer.", "route"
)

# History.
HISTORY_CACHE_BYTES = _gauge(
    "ticker_history_cache_bytes", "bytes", "Answers, rows and chunks of history that are remembered."
)
HISTORY_ANSWERS = _counter(
    "ticker_history_answers",
    "answers",
    "Answers of candles and ticks: made, or remembered, for which the store is not asked.",
    "source",
)

PROCESS = tuple(
    MetricRow(name, "counter" if name.endswith("_total") else "gauge", (), unit, told)
    for name, unit, told in (
        ("process_virtual_memory_bytes", "bytes", "Virtual memory."),
        ("process_resident_memory_bytes", "bytes", "Resident memory."),
        ("process_start_time_seconds", "seconds since 1970", "When the process began."),
        ("process_cpu_seconds_total", "seconds", "CPU time, user and system."),
        ("process_open_fds", "files", "Open files and sockets."),
        ("process_max_fds", "files", "The most open files and sockets that are allowed."),
    )
)
"""What prometheus_client tells of the process itself, on Linux; of workers each, with the label `pid`."""

DOCUMENTED: tuple[MetricRow, ...] = (*_ROWS, *PROCESS)

_MET = {name: LIMIT_HITS.labels(name) for name in LIMITS}
"""All of them are there from the beginning, at 0: an alert needs no first time."""


def met(limit: str) -> None:
    """Count that a limit of the table was met."""
    _MET[limit].inc()


class FeedMeter:
    """The metrics of one feed; looked up once, because appends are many."""

    def __init__(self, feed: str) -> None:
        self._feed = feed
        self._append_ticks = APPEND_TICKS.labels(feed)
        self._appends = APPENDS.labels(feed)
        self._ticks = TICKS.labels(feed, "trades"), TICKS.labels(feed, "quotes")
        self._batch_ticks = BATCH_TICKS.labels(feed)
        self._poll_seconds = POLL_SECONDS.labels(feed)
        self._newest_us = 0
        self._lag = {stage: INGEST_LAG.labels(feed, stage) for stage in ("polled", "appended")}

    def appended(self, trades: int, quotes: int) -> None:
        """One append."""
        self._appends.inc()
        self._append_ticks.observe(trades + quotes)
        for count, counter in zip((trades, quotes), self._ticks, strict=True):
            if count:
                counter.inc(count)

    def polled(self, ticks: int, took_s: float) -> None:
        """One poll."""
        self._poll_seconds.observe(took_s)
        if ticks:
            self._batch_ticks.observe(ticks)

    def taken(self, newest_us: int, clock_us: int, now_us: int) -> None:
        """A batch was taken from the feed, whose clock is this: its newest tick, which may wait now."""
        if abs(now_us - clock_us) < LIVE_US:
            self._newest_us = newest_us
            self._lag["polled"].observe(max(now_us - newest_us, 0) / 1_000_000)

    def stored(self, now_us: int) -> None:
        """All that was taken is stored and published."""
        if self._newest_us:
            self._lag["appended"].observe(max(now_us - self._newest_us, 0) / 1_000_000)
            self._newest_us = 0

    def health(self, state: FeedState, clock_us: int | None) -> None:
        """The state that it is in; its clock, where it has one."""
        for one in FeedState:
            FEED_STATE.labels(self._feed, one.value).set(one == state)
        if clock_us:
            FEED_CLOCK.labels(self._feed).set(clock_us / 1_000_000)


def exposition() -> bytes:
    """All of it, as a scrape gets it."""
    folder = os.environ.get(SHARED_FOLDER)
    if folder is None:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    pids = _living(Path(folder))
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    registry.register(_Processes(pids))
    return generate_latest(registry)


def _living(folder: Path) -> list[int]:
    """The processes whose metrics lie in the folder; the gauges of one that has died are forgotten, its counts are not."""
    living: list[int] = []
    for pid in sorted({int(file.stem.rpartition("_")[2]) for file in folder.glob("*.db")}):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):
                # Another process may be at it too.
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        else:
            living.append(pid)
    return living


class _Processes(Collector):
    """What prometheus_client tells of one process, for several."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        """Every metric once, with a sample a process."""
        found: dict[str, Metric] = {}
        for pid in self._pids:
            for one in ProcessCollector(pid=_always(pid), registry=None).collect():
                joined = found.setdefault(one.name, Metric(one.name, one.documentation, one.type))
                for sample in one.samples:
                    joined.add_sample(sample.name, sample.labels | {"pid": str(pid)}, sample.value)
        return found.values()


def _always(pid: int) -> Callable[[], int]:
    return lambda: pid
