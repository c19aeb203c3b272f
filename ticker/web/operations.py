"""Every question that REST answers, as one table: path, parameters with what they may be, and what comes back.

The checks of a request read it, and so do the routes and the docs, so that none of them can tell another story.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ticker.candles.interval import INTERVALS
from ticker.history.choices import FILLS, MEDIA_TYPES

Type = Literal["choice", "time", "count", "text", "symbol", "symbols", "cursor"]

FORMATS = tuple(MEDIA_TYPES.values())
JSON = ("json",)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: what it may be, and what it is where it is not given."""

    name: str
    type: Type
    description: str
    allowed: tuple[str, ...] = ()
    """The words of a `choice`."""
    default: str | None = None
    code: str | None = None
    """The `code` of an answer that refuses it, where that is a special one."""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One path, which takes GET and HEAD."""

    name: str
    path: str
    summary: str
    parameters: Mapping[str, Parameter]
    formats: tuple[str, ...] = JSON

    @property
    def of_symbol(self) -> bool:
        """Whether the path names a symbol."""
        return "{symbol}" in self.path

    @property
    def has_tag(self) -> bool:
        """Whether its answers carry an `ETag`, as all of history do."""
        return self.formats == FORMATS

    def parameter(self, name: str) -> Parameter:
        """One of the parameters behind the `?`."""
        return self.parameters[name]


INTERVAL = Parameter(
    "interval", "choice", "the length of a candle", tuple(INTERVALS), default="1m", code="unknown_interval"
)
START = Parameter("start", "time", "the first moment of the range [start, end) on `time`; without it, the newest rows")
END = Parameter("end", "time", "the moment before which the range ends; without it, the present")
OUTAGE_START = Parameter("start", "time", "only outages that ended after it")
OUTAGE_END = Parameter("end", "time", "only outages that began before it")
LIMIT = Parameter("limit", "count", "rows of a page, of each symbol: 1 to `limits.page_rows`", default="500")
CURSOR = Parameter("cursor", "cursor", "the `next` of the page before, with the same other parameters")
CURSORS = Parameter(
    "cursor",
    "cursor",
    "`SYMBOL:NEXT` with commas between them, with the same other parameters; a symbol without one is at its first page",
)
ORDER = Parameter("order", "choice", "the order within the page", ("asc", "desc"), default="asc")
FORMING = Parameter(
    "forming", "choice", "`true`: also the candle that is not closed yet", ("true", "false"), default="false"
)
FILL = Parameter(
    "fill",
    "choice",
    "`previous`: a closed interval without a trade, from the first trade on, repeats the close before, with volume 0",
    FILLS,
    default="none",
)
FORMAT = Parameter("format", "choice", "the format of the answer, whatever `Accept` says", FORMATS, default="json")
ONLY_JSON = Parameter("format", "choice", "the format of the answer", JSON, default="json")
SYMBOLS = Parameter("symbols", "symbols", "names with commas between them, or `*` for all", required=True)
QUERY = Parameter("query", "text", "part of a symbol or name, in any case")

_PAGE = (START, END, LIMIT, CURSOR, ORDER, FORMAT)


def _operation(
    name: str, path: str, summary: str, *parameters: Parameter, formats: tuple[str, ...] = JSON
) -> Operation:
    return Operation(name, path, summary, {parameter.name: parameter for parameter in parameters}, formats)


OPERATIONS = {
    operation.name: operation
    for operation in (
        _operation(
            "candles",
            "/v1/candles/{symbol}",
            "candles",
            *(INTERVAL, START, END, LIMIT, CURSOR, ORDER, FORMING, FILL, FORMAT),
            formats=FORMATS,
        ),
        _operation(
            "many_candles",
            "/v1/candles",
            "candles of several symbols; `limit` and `next` count for each by itself",
            *(SYMBOLS, INTERVAL, START, END, LIMIT, CURSORS, ORDER, FORMING, FILL, FORMAT),
            formats=FORMATS,
        ),
        _operation("trades", "/v1/trades/{symbol}", "trades", *_PAGE, formats=FORMATS),
        _operation("quotes", "/v1/quotes/{symbol}", "quotes", *_PAGE, formats=FORMATS),
        _operation(
            "snapshot",
            "/v1/snapshots/{symbol}",
            "last trade and quote, minute, day, change since the previous close",
            ONLY_JSON,
        ),
        _operation("snapshots", "/v1/snapshots", "the same for several symbols", SYMBOLS, ONLY_JSON),
        _operation(
            "symbols",
            "/v1/symbols",
            "the symbols there are, all or those with `query` in symbol or name",
            *(QUERY, LIMIT, CURSOR, ONLY_JSON),
        ),
        _operation("symbol", "/v1/symbols/{symbol}", "what is known of one, and since when it is `kept`", ONLY_JSON),
        _operation(
            "outages",
            "/v1/outages/{symbol}",
            "the times in which its feed, its ingester or the store was away, from the oldest on",
            *(OUTAGE_START, OUTAGE_END, ONLY_JSON),
        ),
        _operation(
            "limits",
            "/v1/limits",
            "by name, every [limit](configuration.md#limits) in force for you: `value` (null where it does not hold for "
            "you), `unit`, `per`, `code`, `setting`, `description`",
            ONLY_JSON,
        ),
    )
}
"""By name."""
