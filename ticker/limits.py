"""Every limit in one table: its name in config.yaml, default, unit and the code that meeting it gives.

`Config.limits`, the metric `ticker_limit_hits_total`, the `welcome` message and the docs all read this table.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo


def _limit(default: int, unit: str, code: str, why: str) -> Any:
    return Field(default, ge=1, description=why, json_schema_extra={"unit": unit, "code": code})


class Limits(BaseModel):
    """What one client, and all of them together, may ask of the service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connections: int = _limit(20_000, "WebSockets", "503", "open WebSockets of one gateway process")
    connections_per_address: int = _limit(100, "WebSockets", "4429", "open WebSockets of one client address")
    subscriptions: int = _limit(
        10_000, "symbols", "too_many_symbols", "subscribed symbols of one connection, all channels"
    )
    frame_bytes: int = _limit(65_536, "bytes", "1009", "one inbound WebSocket message")
    messages_per_minute: int = _limit(1_200, "messages", "4429", "inbound messages of one connection")
    bad_messages_per_minute: int = _limit(20, "messages", "4400", "refused messages of one connection")
    first_subscribe_s: int = _limit(60, "seconds", "4408", "time in which a connection must subscribe to something")
    page_rows: int = _limit(10_000, "rows", "bad_request", "rows of one REST answer: the largest `limit`")
    page_rows_default: int = _limit(500, "rows", "", "rows of one REST answer where the request names no `limit`")
    buffered_ticks: int = _limit(200_000, "ticks", "", "ticks of one feed that wait while the store is away")
    tick_ahead_s: int = _limit(60, "seconds", "", "how far a tick's time may lie ahead of its feed's clock")


class LimitRow:
    """One row of the table, as the docs and answers show it."""

    def __init__(self, name: str, field: FieldInfo) -> None:
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        self.name = name
        self.default = int(field.default)
        self.unit = str(extra["unit"])
        self.code = str(extra["code"])
        self.why = field.description or ""


LIMITS = {name: LimitRow(name, field) for name, field in Limits.model_fields.items()}
