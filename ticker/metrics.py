"""The metrics of a process, in Prometheus' terms; the only user of prometheus_client."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ticker.limits import LIMITS

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

CONTENT_TYPE = CONTENT_TYPE_LATEST

TICKS = Counter("ticker_ticks_appended", "Ticks stored and published.", ["feed", "kind"], registry=REGISTRY)
APPENDS = Counter("ticker_appends", "Atomic appends: one a symbol and poll.", ["feed"], registry=REGISTRY)
REFUSED_TICKS = Counter(
    "ticker_ticks_refused", "Ticks not stored: bad, late, duplicate.", ["feed", "reason"], registry=REGISTRY
)
FEED_ERRORS = Counter("ticker_feed_errors", "Times a feed raised and was started again.", ["feed"], registry=REGISTRY)
BUFFERED = Gauge("ticker_ticks_buffered", "Ticks that wait for the store.", ["feed"], registry=REGISTRY)
JOB_EVENTS = Counter(
    "ticker_job_events", "Scheduled jobs that failed, were missed or still ran.", ["event"], registry=REGISTRY
)
CONNECTIONS = Gauge("ticker_websocket_connections", "Open WebSockets.", registry=REGISTRY)
MESSAGES = Counter("ticker_websocket_messages", "Messages handed to WebSocket clients.", registry=REGISTRY)
CLOSED = Counter("ticker_websocket_closed", "WebSockets closed by the server.", ["code"], registry=REGISTRY)
LIMIT_HITS = Counter("ticker_limit_hits", "Times a limit was met.", ["limit"], registry=REGISTRY)
GAPS = Counter("ticker_live_gaps", "Holes seen in live delivery and announced.", ["kind"], registry=REGISTRY)
STORE_CONNECTS = Counter("ticker_subscription_connects", "Connections made for live messages.", registry=REGISTRY)

_MET = {name: LIMIT_HITS.labels(name) for name in LIMITS}
"""All of them are there from the beginning, at 0: an alert needs no first time."""


def met(limit: str) -> None:
    """Count that a limit of the table was met."""
    _MET[limit].inc()


def exposition() -> bytes:
    """All of it, as a scrape gets it."""
    return generate_latest(REGISTRY)
