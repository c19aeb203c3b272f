"""Every limit in one table: where it is set, its default, its unit, and the code that meeting it gives.

The configuration, `ticker_limit_hits_total`, `welcome`, `GET /v1/limits` and the docs all read this table. What makes a
limit: a setting, a metric that counts when it is met (`metrics.met`), and a test that meets it. Bounds of what a value may
be at all (a price's decimals, a symbol's letters) are none, nor is retention: what ages out was kept as long as agreed.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Per = Literal["process", "address", "connection", "request", "feed", "symbol", "store command", "event"]
"""What is counted against a limit."""


def _limit(default: int, unit: str, per: Per, code: str, why: str, *, least: int = 1, most: int | None = None) -> Any:
    extra: dict[str, Any] = {"unit": unit, "per": per, "code": code}
    return Field(default, ge=least, le=most, description=why, json_schema_extra=extra)


class Limits(BaseModel):
    """What one client, and all of them together, may ask of the service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connections: int = _limit(20_000, "WebSockets", "process", "503", "open WebSockets of one gateway process")
    connections_per_address: int = _limit(
        100, "WebSockets", "address", "4429", "open WebSockets of one client address; for loopback only where it is set"
    )
    subscriptions: int = _limit(
        10_000, "symbols", "connection", "too_many_symbols", "subscribed symbols of one connection, all channels"
    )
    frame_bytes: int = _limit(65_536, "bytes", "connection", "1009", "one inbound WebSocket message")
    messages_per_minute: int = _limit(1_200, "messages", "connection", "4429", "inbound messages of one connection")
    bad_messages_per_minute: int = _limit(20, "messages", "connection", "4400", "refused messages of one connection")
    first_subscribe_s: int = _limit(
        60, "seconds", "connection", "4408", "time in which a connection must subscribe to something"
    )
    http_connections: int = _limit(
        1_000,
        "connections",
        "process",
        "503",
        "connections of one gateway process that send requests, without WebSockets",
    )
    head_bytes: int = _limit(
        16_384, "bytes", "request", "431", "the head of one request, and its body, which none needs"
    )
    head_s: int = _limit(
        10, "seconds", "request", "408", "time in which the head of a request must have come, from its first byte"
    )
    answer_s: int = _limit(
        30, "seconds", "request", "", "time in which a client must take some of an answer before it is cut off"
    )
    heal_messages: int = _limit(
        10_000,
        "messages",
        "symbol",
        "gap",
        "messages read back for one hole in live delivery; a larger one is announced",
    )
    replay_reads: int = _limit(
        4, "reads", "process", "", "reads for resuming clients that go on at once; what is wanted beyond waits", most=64
    )
    replay_cache_bytes: int = _limit(
        33_554_432, "bytes", "process", "", "ticks kept for resuming clients; the oldest go", least=65_536
    )
    replay_recorded: int = _limit(
        1_024,
        "messages",
        "symbol",
        "",
        "newest live messages kept while clients are brought up to them and for seconds after; older ones are read back",
        least=16,
    )
    page_rows: int = _limit(10_000, "rows", "request", "bad_request", "rows of one REST answer: the largest `limit`")
    page_rows_default: int = _limit(
        500, "rows", "request", "next", "rows of one REST answer where the request names no `limit`"
    )
    answer_rows: int = _limit(
        250_000,
        "rows",
        "request",
        "bad_request",
        "rows of one REST answer over several symbols: their number times `limit`",
    )
    requests_per_minute: int = _limit(
        1_200, "requests", "address", "429", "REST requests of one client address; for loopback only where it is set"
    )
    rows_per_minute: int = _limit(
        2_000_000,
        "rows",
        "address",
        "429",
        "rows that REST sends to one client address; for loopback only where it is set",
    )
    rate_addresses: int = _limit(
        10_000,
        "addresses",
        "process",
        "",
        "client addresses whose requests are counted; beyond, the one that was quiet the longest begins anew",
    )
    history_cache_bytes: int = _limit(
        64 * 1_048_576,
        "bytes",
        "process",
        "",
        "answers, rows and chunks of history that a gateway remembers; the least used give way",
        least=1_048_576,
    )
    buffered_ticks: int = _limit(
        200_000,
        "ticks",
        "feed",
        "",
        "ticks of one feed that wait while the store is away; the feed keeps what is beyond",
    )
    kept_ticks: int = _limit(
        50_000,
        "ticks",
        "feed",
        "",
        "newest appended ticks of one feed that are kept, to be appended again where the store has lost them;"
        " where it has lost more, a new epoch begins",
    )
    tick_ahead_s: int = _limit(
        60, "seconds", "feed", "", "how far a tick's time may lie ahead of its feed's clock; one beyond is refused"
    )
    store_connections: int = _limit(
        32, "connections", "process", "unavailable", "connections to the store; commands beyond wait for one"
    )
    store_timeout_s: int = _limit(
        5, "seconds", "store command", "unavailable", "time in which the store must answer, or a connection be free"
    )
    archive_reads: int = _limit(
        2, "reads", "process", "", "reads of the archive that a gateway does at once; more wait for their turn", most=64
    )
    archive_footers: int = _limit(
        4_096, "files", "process", "", "footers of archived files that are kept in memory; the one longest unused goes"
    )
    archive_listings: int = _limit(
        2_000,
        "listings",
        "process",
        "",
        "kinds and symbols whose archived files are known by name; the one longest unused is listed anew when it is needed",
    )
    unarchived_ticks: int = _limit(
        4_000_000,
        "entries",
        "symbol",
        "",
        "entries of one stream that may wait for the archive; beyond, the oldest are trimmed and lost",
        least=1_000,
    )
    unarchived_s: int = _limit(
        604_800,
        "seconds",
        "symbol",
        "",
        "how long ticks and candles beyond their retention may wait for the archive before they are trimmed and lost",
    )
    log_lines_per_minute: int = _limit(
        60,
        "lines",
        "event",
        "",
        "lines that the log has of the same event in a minute; then one says how many are left out",
    )


OUTBOX_BYTES = _limit(
    262_144, "bytes", "connection", "4508", "bytes that may wait for one client before it is cut", least=4_096
)
OUTBOX_MS = _limit(
    5_000,
    "milliseconds",
    "connection",
    "4508",
    "time that a message may wait before the client is cut",
    least=100,
    most=600_000,
)
LATENESS_S = _limit(60, "seconds", "feed", "", "how late a tick may come; a later one is refused", least=0, most=86_400)


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One row of the table, as the docs and answers show it."""

    name: str
    setting: str
    """Its place in config.yaml: section and key."""
    default: int
    unit: str
    per: Per
    code: str
    """What somebody who meets it sees: an HTTP status, a close code, an error's `code`, an event or field; or nothing."""
    description: str


def _row(section: str, name: str, field: FieldInfo) -> LimitRow:
    extra: Any = field.json_schema_extra
    return LimitRow(
        name,
        f"{section}.{name}",
        int(field.default),
        extra["unit"],
        extra["per"],
        extra["code"],
        field.description or "",
    )


ELSEWHERE = {
    "outbox_bytes": ("websocket", OUTBOX_BYTES),
    "outbox_ms": ("websocket", OUTBOX_MS),
    "lateness_s": ("candles", LATENESS_S),
}
"""Limits whose setting stands in another section than `limits`, where it belongs by its subject."""

LIMITS = {name: _row("limits", name, field) for name, field in Limits.model_fields.items()} | {
    name: _row(section, name, field) for name, (section, field) in ELSEWHERE.items()
}
