"""The Python client: asks a gateway, subscribes, and resumes by itself."""

from ticker.client.answers import Limit, Outage, Snapshot, Symbol
from ticker.client.backoff import Backoff
from ticker.client.errors import (
    ClientError,
    MissingExtra,
    Misuse,
    NotTicker,
    Refused,
    Unauthorized,
    Unavailable,
    UnknownSymbol,
    Unreachable,
)
from ticker.client.history import Progress
from ticker.client.market import Market, connect
from ticker.client.records import (
    Candle,
    Disconnected,
    Event,
    Gap,
    Notice,
    Position,
    Quote,
    Reset,
    Resumed,
    Service,
    Trade,
)
from ticker.client.shapes import Columns, Rows
from ticker.client.subscription import Subscription

__all__ = [
    "Backoff",
    "Candle",
    "ClientError",
    "Columns",
    "Disconnected",
    "Event",
    "Gap",
    "Limit",
    "Market",
    "MissingExtra",
    "Misuse",
    "NotTicker",
    "Notice",
    "Outage",
    "Position",
    "Progress",
    "Quote",
    "Refused",
    "Reset",
    "Resumed",
    "Rows",
    "Service",
    "Snapshot",
    "Subscription",
    "Symbol",
    "Trade",
    "Unauthorized",
    "Unavailable",
    "UnknownSymbol",
    "Unreachable",
    "connect",
]
