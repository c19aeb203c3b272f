"""What answers and messages are made of, as JSON Schema (2020-12): the words of both documents, each written once.

Names of fields come from the code that writes them. A schema leaves room for more fields, as readers must; the tests close it.
Every value has an example, and the example of an answer is put together from them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ticker import codec
from ticker.candles.interval import INTERVALS
from ticker.codes import PROBLEMS, Code
from ticker.limits import LIMITS
from ticker.web.params import SYMBOL, SYMBOL_RULE

Schema = dict[str, Any]

COMPONENTS = "#/components/schemas/"
SHOWN = 1_795_569_646_000_000
"""The moment of all examples."""


def ref(name: str) -> Schema:
    """One of `SCHEMAS`."""
    return {"$ref": COMPONENTS + name}


def value(kind: str, description: str, *examples: Any, **more: Any) -> Schema:
    """A value that is no object and no list."""
    return {"type": kind, "description": description, **more, "examples": list(examples)}


def record(description: str, properties: Mapping[str, Schema], optional: Sequence[str] = ()) -> Schema:
    """An object; what is not optional is always there."""
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
    }


def rows(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def by_name(values: Schema, name: str = "AAPL") -> Schema:
    """An object whose names are symbols or the like; `name` is the one in examples."""
    return {"type": "object", "additionalProperties": values, "x-example-name": name}


def or_null(schema: Schema) -> Schema:
    """What may be missing."""
    return {"anyOf": [schema, {"type": "null"}]}


def whole(description: str, *examples: int, **more: Any) -> Schema:
    """A whole number from 0 on."""
    return value("integer", description, *examples, **({"minimum": 0} | more))


def decimal(description: str, *examples: float) -> Schema:
    """A number with up to six decimals."""
    return value("number", description, *examples)


def told(description: str, table: Mapping[str, Code], example: str) -> Schema:
    """One of the codes of a table, each with what it means."""
    shown = [{"const": code, "description": f"{row.meaning}: {row.remedy}"} for code, row in table.items()]
    return {"type": "string", "description": description, "oneOf": shown, "examples": [example]}


def anchored(pattern: str) -> str:
    """A pattern that means the whole text."""
    return f"^(?:{pattern})$"


PRICE, SIZE = decimal("in the symbol's currency", 235.13), decimal("units traded", 100)
SEQ = whole("counts 1, 2, 3 ... for each symbol and kind", 13)
COUNT = whole("how many", 2)
OPTIONAL: dict[str, Schema] = {
    "id": value("string", "of the exchange; only where the feed has it", "71"),
    "exchange": value("string", "where it was made; only where the feed has it", "Q"),
    "conditions": value("string", "of the sale; only where the feed has them", "@ T"),
}
FIELDS: dict[str, Schema] = {
    "time": ref("Time"),
    "price": PRICE,
    "size": SIZE,
    "seq": SEQ,
    "bid": or_null(decimal("best price that buyers offer; null where nobody does", 235.12)),
    "bid_size": SIZE,
    "ask": or_null(decimal("best price that sellers ask; null where nobody does", 235.13)),
    "ask_size": SIZE,
    "open": PRICE,
    "high": PRICE,
    "low": PRICE,
    "close": PRICE,
    "volume": decimal("sum of the sizes", 352),
    "trades": COUNT,
    "vwap": or_null(decimal("sum of price x size, divided by the volume; null at volume 0", 235.132756)),
    "final": value("boolean", "whether the candle is closed", True),
} | OPTIONAL
"""What each field of a row may be, by its name."""


def tick_row(description: str, fields: Sequence[str]) -> Schema:
    """A tick as REST lists it: time first, seq last."""
    names = ["time", *(name for name in fields if name not in ("time", "seq")), *OPTIONAL, "seq"]
    return record(description, {name: FIELDS[name] for name in names}, tuple(OPTIONAL))


def columns_of(row: Schema) -> Schema:
    """The same rows as a list a field; where some ticks have an optional field, others have null."""
    optional = [name for name in row["properties"] if name not in row["required"]]
    lists = {name: rows(or_null(one) if name in optional else one) for name, one in row["properties"].items()}
    return record(row["description"] + ", a list a field", lists, optional)


CANDLE = record("a candle", {name: FIELDS[name] for name in codec.CANDLE_COLUMNS})
TRADE, QUOTE = tick_row("a trade", codec.TRADE_FIELDS), tick_row("a quote", codec.QUOTE_FIELDS)
LISTING = record(
    "what is known of a symbol",
    {
        "symbol": ref("Symbol"),
        "name": value("string", "of the company or instrument", "Apple Inc."),
        "exchange": value("string", "where it is listed", "XNAS"),
        "currency": value("string", "of its prices", "USD"),
        "sector": value("string", "of the economy", "Technology"),
        "tick_size": decimal("the price step", 0.01),
        "simulated": value("boolean", "true where the prices are made up: whoever shows them must say so", True),
        "feed": value("string", "where its ticks come from", "simulated"),
    },
    ("simulated",),
)
KEPT_FROM = record("since when there is something to read", {"from": or_null(ref("Time"))})
PROBLEM = record(
    "what went wrong (RFC 9457)",
    {
        "type": value("string", "always this", "about:blank"),
        "title": value("string", "of the status", "Bad Request"),
        "status": value("integer", "as in the status line", 400),
        "detail": value("string", "what was found, what is allowed", "limit '0' is not allowed"),
        "code": told("which kind of mistake", PROBLEMS, "bad_request"),
        "request_id": value("string", "stands in the server's log where the server is at fault", "3f0c9a7be21d"),
        "parameter": value("string", "the one that is wrong", "limit"),
    },
    ("parameter",),
)
LIMIT = record(
    "a limit",
    {
        "value": or_null(value("integer", "null where it does not hold for you", 1200)),
        "unit": value("string", "what is counted", "requests"),
        "per": value("string", "for whom it is counted", "address"),
        "code": or_null(value("string", "what whoever meets it is told", "429")),
        "setting": value("string", "its place in config.yaml", "limits.requests_per_minute"),
        "description": value("string", "what it bounds", "REST requests of one client address"),
    },
)

SCHEMAS: dict[str, Schema] = {
    "Time": value("integer", "microseconds since 1970-01-01, UTC", SHOWN, format="int64"),
    "Symbol": value("string", SYMBOL_RULE, "AAPL", pattern=anchored(SYMBOL.pattern)),
    "Interval": value("string", "the length of a candle", "1m", enum=list(INTERVALS)),
    "Position": record(
        "everything up to `seq` and nothing after; subscriptions resume from it",
        {"epoch": or_null(value("string", "the numbers' epoch; null before the first tick", "7kzeay")), "seq": SEQ},
    ),
    "Next": or_null(value("string", "the `cursor` of the next page; null on the last", "WyI2ZjRhZTAyZGJkYTYiLDFd")),
    "Candle": CANDLE,
    "CandleColumns": columns_of(CANDLE),
    "Trade": TRADE,
    "TradeColumns": columns_of(TRADE),
    "Quote": QUOTE,
    "QuoteColumns": columns_of(QUOTE),
    "Listing": LISTING,
    "KeptFrom": KEPT_FROM,
    "SymbolError": record(
        "a symbol that could not be had",
        {"symbol": value("string", "as it was asked for", "ZZZZ"), "code": value("string", "why", "unknown_symbol")},
    ),
    "Outage": record(
        "a time in which a symbol's feed was away",
        {
            "from": ref("Time"),
            "to": or_null(ref("Time")),
            "kind": value("string", "who was away", "feed", enum=["feed", "store", "ingest"]),
            "reason": value("string", "what was the matter", "retrying: OSError: the line is dead"),
        },
    ),
    "Limit": LIMIT,
    "Limits": record("every limit by its name", dict.fromkeys(LIMITS, ref("Limit"))),
    "Problem": PROBLEM,
}
"""By name."""


def example_of(schema: Schema, schemas: Mapping[str, Schema] = SCHEMAS) -> Any:
    """A value as a schema wants it, put together from the examples in it; optional fields are left out."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].removeprefix(COMPONENTS)], schemas)
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], schemas)
    if "const" in schema:
        return schema["const"]
    if "examples" in schema:
        return schema["examples"][0]
    if schema["type"] == "array":
        return [example_of(schema["items"], schemas)]
    if "additionalProperties" in schema and "x-example-name" in schema:
        return {schema["x-example-name"]: example_of(schema["additionalProperties"], schemas)}
    found = schema.get("properties", {})
    return {name: example_of(found[name], schemas) for name in schema.get("required", ())}
