"""What each path answers, as JSON Schema, and how an answer of rows looks as columns and as CSV."""

from ticker.feed_state import FeedState
from ticker.web.schemas import SCHEMAS, SHOWN, Schema, by_name, example_of, or_null, record, ref, rows, value, whole

TAIL = {"next": ref("Next"), "position": or_null(ref("Position"))}


def _page(name: str, row: str) -> dict[str, Schema]:
    return {"symbol": ref("Symbol"), name: rows(ref(row)), **TAIL}


SNAPSHOT = record(
    "how a symbol stands",
    {
        "symbol": ref("Symbol"),
        "trade": or_null(ref("Trade")),
        "quote": or_null(ref("Quote")),
        "minute": or_null(ref("Candle")),
        "day": or_null(ref("Candle")),
        "previous_close": or_null(value("number", "of the day before", 231.5)),
        "change": or_null(value("number", "of the last trade since then", 3.63)),
        "change_percent": or_null(value("number", "the same in percent", 1.568)),
        "positions": record("of the trade and the quote", {"trades": ref("Position"), "quotes": ref("Position")}),
    },
)
KEPT = record(
    "since when there is something to read; null where there is nothing",
    {
        "trades": ref("KeptFrom"),
        "quotes": ref("KeptFrom"),
        "candles": record("by interval", dict.fromkeys(SCHEMAS["Interval"]["enum"], ref("KeptFrom"))),
    },
)
ERRORS = rows(ref("SymbolError"))
BODIES: dict[str, Schema] = {
    "candles": record(
        "candles",
        {"symbol": ref("Symbol"), "interval": ref("Interval"), "candles": rows(ref("Candle")), **TAIL},
    ),
    "many_candles": record(
        "candles of several symbols",
        {
            "interval": ref("Interval"),
            "symbols": by_name(record("a page", {"candles": rows(ref("Candle")), **TAIL})),
            "errors": ERRORS,
        },
    ),
    "trades": record("trades", _page("trades", "Trade")),
    "quotes": record("quotes", _page("quotes", "Quote")),
    "snapshot": SNAPSHOT,
    "snapshots": record("snapshots", {"snapshots": by_name(SNAPSHOT), "errors": ERRORS}),
    "symbols": record("symbols", {"symbols": rows(ref("Listing")), "next": ref("Next")}),
    "symbol": record("a symbol", SCHEMAS["Listing"]["properties"] | {"kept": KEPT}, ("simulated",)),
    "outages": record("outages", {"symbol": ref("Symbol"), "outages": rows(ref("Outage"))}),
    "limits": record("limits", {"limits": ref("Limits")}),
}
"""What each operation answers, as JSON."""
COLUMNS = {"Candle": "CandleColumns", "Trade": "TradeColumns", "Quote": "QuoteColumns"}

FEED = record(
    "a feed",
    {
        "state": value("string", "how it is", "live", enum=[state.value for state in FeedState]),
        "reason": value("string", "why, where something is wrong", ""),
        "clock": whole("the newest time that it has told", SHOWN),
    },
)
OPS: dict[str, Schema] = {
    "/healthz": record("alive", {"status": value("string", "always this", "ok")}),
    "/readyz": record(
        "ready or not",
        {
            "status": value("string", "all in one", "ready", enum=["ready", "not ready"]),
            "checks": record(
                "what was looked at", {n: value("boolean", "whether it is well", True) for n in ("store", "live")}
            ),
            "feeds": or_null(by_name(FEED, "simulated")),
        },
    ),
    "/metrics": value("string", "text format 0.0.4", "# HELP ticker_connections Open WebSockets.\n"),
    "/openapi.json": value("object", "this document", {"openapi": "3.1.0"}),
    "/asyncapi.json": value("object", "the document of the WebSocket", {"asyncapi": "3.0.0"}),
}
"""What those ask who run the service, or write programs for it."""


def by_column(body: Schema) -> Schema:
    """The same answer with a list a field."""
    if "additionalProperties" in body:
        return body | {"additionalProperties": by_column(body["additionalProperties"])}
    made: dict[str, Schema] = {}
    for name, one in body["properties"].items():
        row = one.get("items", {}).get("$ref", "").rpartition("/")[2]
        made[name] = ref(COLUMNS[row]) if row in COLUMNS else by_column(one) if "additionalProperties" in one else one
    return body | {"properties": made}


def csv_of(body: Schema) -> str:
    """The first lines of the example as CSV."""
    symbol, found = "", example_of(body)
    if "symbols" in found:
        [(symbol, found)] = found["symbols"].items()
    [row] = next(one for name, one in found.items() if isinstance(one, list))
    cells = {"symbol": symbol, **row} if symbol else row
    texts = [str(cell).lower() if isinstance(cell, bool) else str(cell) for cell in cells.values()]
    return ",".join(cells) + "\r\n" + ",".join(texts) + "\r\n"
