"""What each parameter of REST may be, as JSON Schema: made of the table and the patterns that check requests."""

from typing import Any

from ticker.limits import Limits
from ticker.web.operations import Operation, Parameter
from ticker.web.params import DATE, MOMENT, SYMBOL, TIME_MAX, TIME_MIN
from ticker.web.schemas import Schema, anchored, ref

YEAR = "(?!0000)"
"""A date of the calendar begins with the year 1."""
MOMENTS: Schema = {
    "description": "a moment, in any of these forms",
    "anyOf": [
        {
            "type": "integer",
            "description": "microseconds since 1970-01-01, UTC",
            "minimum": TIME_MIN,
            "maximum": TIME_MAX - 1,
        },
        {
            "type": "string",
            "description": "RFC 3339 with an offset",
            "format": "date-time",
            "pattern": anchored(YEAR + MOMENT.pattern.removesuffix("?")),
        },
        {
            "type": "string",
            "description": "its midnight in the market's time zone",
            "format": "date",
            "pattern": anchored(YEAR + DATE.pattern),
        },
    ],
}
KINDS: dict[str, Schema] = {
    "time": ref("Moment"),
    "text": {"type": "string"},
    "symbols": {"type": "string", "pattern": anchored(rf"\*|{SYMBOL.pattern}(,{SYMBOL.pattern})*")},
    "cursor": {"type": "string", "minLength": 1},
}
"""Of each type of a parameter that has no table of words."""
EXAMPLES = {"symbols": "AAPL,MSFT", "start": "2026-11-20T14:30:00Z", "end": "2026-11-24", "query": "app"}
"""Of a parameter, where that is more telling than its default. A cursor has none: it is good for one query only."""
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "the `ETag` of what you have: 304 where nothing has changed",
    "schema": {"type": "string"},
    "example": '"5f2c1b7a9d3e4f60"',
}
OF_PATH = {
    "name": "symbol",
    "in": "path",
    "description": "one symbol; `/v1/symbols` lists them",
    "required": True,
    "schema": ref("Symbol"),
    "example": "AAPL",
}


def parameters(one: Operation, limits: Limits) -> list[dict[str, Any]]:
    """All that may be given with a request: in its path, behind the `?`, in a header."""
    found = [OF_PATH] if one.of_symbol else []
    found += [_parameter(parameter, limits) for parameter in one.parameters.values()]
    return [*found, IF_NONE_MATCH] if one.has_tag else found


def _parameter(parameter: Parameter, limits: Limits) -> dict[str, Any]:
    """One parameter behind the `?`."""
    schema = schema_of(parameter, limits)
    made = {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "required": parameter.required,
        "schema": schema,
    }
    example = EXAMPLES.get(parameter.name, schema.get("default"))
    return made if example is None else made | {"example": example}


def schema_of(parameter: Parameter, limits: Limits) -> Schema:
    """What a parameter may be."""
    if parameter.type == "count":
        default = min(limits.page_rows_default, limits.page_rows)
        return {"type": "integer", "minimum": 1, "maximum": limits.page_rows, "default": default}
    made = {"type": "string", "enum": list(parameter.allowed)} if parameter.type == "choice" else KINDS[parameter.type]
    return made if parameter.default is None else made | {"default": parameter.default}
