"""The OpenAPI 3.1 document of REST, made of the table that checks requests (`operations`) and of the schemas of answers."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from ticker import __version__
from ticker.codes import PROBLEMS
from ticker.history.choices import CONTENT_TYPES, MEDIA_TYPES
from ticker.limits import Limits
from ticker.web.answer_schemas import BODIES, OPS, by_column, csv_of
from ticker.web.operations import OPERATIONS, Operation
from ticker.web.parameter_schemas import MOMENTS, parameters
from ticker.web.schemas import SCHEMAS, Schema, example_of, ref

JSON, PROBLEM = "application/json", "application/problem+json"
FORMATS: dict[str, str] = {name: media_type for media_type, name in MEDIA_TYPES.items()}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ABOUT = """Every path takes GET and HEAD; any other method is answered by 405 (`method_not_allowed`) with `Allow`, and a path
that there is not by 404 (`unknown_path`). What is live comes over the WebSocket `/v1/stream`, which `/asyncapi.json`
describes."""


def document(limits: Limits) -> dict[str, Any]:
    """The whole document, with the limits in force."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ticker",
            "version": __version__,
            "summary": "Self-hosted market data: history over REST, live ticks over a WebSocket.",
            "description": " ".join(ABOUT.split()),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "jsonSchemaDialect": DIALECT,
        "servers": [{"url": "/", "description": "the server that this document comes from"}],
        "security": [],
        "tags": [
            {"name": "history", "description": "candles and ticks that have been"},
            {"name": "present", "description": "how things stand"},
            {"name": "operations", "description": "for those who run the service, or write programs for it"},
        ],
        "paths": {one.path: {"get": _operation(one, limits)} for one in OPERATIONS.values()}
        | {path: {"get": _ops(path, schema)} for path, schema in OPS.items()},
        "components": {"schemas": SCHEMAS | {"Moment": MOMENTS}, "headers": HEADERS},
    }


def _operation(one: Operation, limits: Limits) -> dict[str, Any]:
    return {
        "operationId": one.name,
        "tags": ["history" if one.has_tag else "present"],
        "summary": one.summary,
        "parameters": parameters(one, limits),
        "responses": _responses(one),
    }


HEADERS: dict[str, Any] = {
    name: {"description": description, "schema": {"type": "string"}, "example": example}
    for name, description, example in (
        ("Cache-Control", "ask before using what you have (`no-cache`), or do not keep it (`no-store`)", "no-cache"),
        ("ETag", "strong, one for each encoding", '"5f2c1b7a9d3e4f60"'),
        ("Vary", "the request's headers that another answer may depend on", "Accept, Accept-Encoding"),
        ("Link", "the next page, where there is one", '</v1/trades/AAPL?cursor=WyJ4IiwxXQ>; rel="next"'),
        ("Ticker-Position", "the `position`, where there is one; of several symbols, `SYMBOL=` before it", "7kzeay:13"),
        ("RateLimit", "what is left, where a limit applies", '"requests";r=1199;t=1'),
        ("RateLimit-Policy", "what is allowed, where a limit applies", '"requests";q=1200;w=60'),
        ("Retry-After", "seconds", "1"),
    )
}
RATES = ("Vary", "RateLimit", "RateLimit-Policy")
"""On all answers of `/v1`."""


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


FAILURES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "400": ("the request is wrong", ("bad_request", "unknown_interval"), ()),
    "404": ("there is no such symbol", ("unknown_symbol",), ()),
    "406": ("there is no such format", ("not_acceptable",), ()),
    "429": ("too much from this address", ("rate_limited",), ("Retry-After",)),
    "500": ("the server is at fault", ("internal_error",), ()),
    "503": ("the store is away", ("unavailable",), ("Retry-After",)),
}
"""What a status says, the codes that come with it, and the headers that come with it."""


def _responses(one: Operation) -> dict[str, Any]:
    tagged = ("ETag", "Link", "Ticker-Position") if one.has_tag else ()
    headers = _headers(("Cache-Control", *tagged, *RATES))
    made: dict[str, Any] = {"200": {"description": one.summary, "headers": headers, "content": _content(one)}}
    if one.name == "symbols":
        made["200"]["links"] = _links()
    if one.has_tag:
        made["304"] = {"description": "what you have is what you would get", "headers": headers}
    for status, (description, codes, more) in FAILURES.items():
        own = tuple(code for code in codes if code != "unknown_interval" or "interval" in one.parameters)
        if status != "404" or one.of_symbol:
            made[status] = _failure(int(status), description, own, more)
    return made


def _failure(status: int, description: str, codes: tuple[str, ...], headers: tuple[str, ...]) -> dict[str, Any]:
    told = "; ".join(f"`{code}`: {PROBLEMS[code].meaning} ({PROBLEMS[code].remedy})" for code in codes)
    shown = {code: {"summary": PROBLEMS[code].meaning, "value": _problem(status, code)} for code in codes}
    return {
        "description": f"{description}. {told}",
        "headers": _headers((*RATES, *headers)),
        "content": {PROBLEM: {"schema": ref("Problem"), "examples": shown}},
    }


def _problem(status: int, code: str) -> dict[str, Any]:
    """An answer with this code."""
    detail, parameter = EXAMPLES[code]
    title = HTTPStatus(status).phrase
    about = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    return about | {"request_id": "3f0c9a7be21d"} | ({"parameter": parameter} if parameter else {})


EXAMPLES = {
    "bad_request": ("limit '0' is not allowed; expected a whole number from 1 to 10000", "limit"),
    "unknown_interval": ("interval '2m' is not known; allowed: 1s, 5s, 15s, 30s, 1m", "interval"),
    "unknown_symbol": ("unknown symbol 'ZZZZ'", "symbol"),
    "not_acceptable": ("format 'xml' is not offered; allowed: json", "format"),
    "rate_limited": ('too much from this address; allowed are "requests";q=1200;w=60', None),
    "internal_error": ("the server made a mistake; its log has more under the request_id", None),
    "unavailable": ("the store does not answer", None),
}
"""The detail and the parameter of a failure, by its code."""


def _content(one: Operation) -> dict[str, Any]:
    """The answer in each of its formats."""
    body = BODIES[one.name]
    made: dict[str, Any] = {}
    for name in one.formats:
        if name == "json":
            made[FORMATS[name]] = _shown(body)
        elif name == "columns":
            lists = by_column(body)
            made[FORMATS[name]] = _shown(lists)
            # Where it was asked for by `format`, it is called what it is to any reader of JSON.
            made[CONTENT_TYPES["columns"]] = {"schema": {"anyOf": [body, lists]}, "example": example_of(body)}
        elif name == "csv":
            made[FORMATS[name]] = {"schema": {"type": "string"}, "example": csv_of(body)}
        else:
            made[FORMATS[name]] = {}
    return made


def _shown(schema: Schema) -> dict[str, Any]:
    return {"schema": schema, "example": example_of(schema)}


def _links() -> dict[str, Any]:
    """Where a list of symbols leads."""
    place = "$response.body#/symbols/0/symbol"
    return {
        other.name: {"operationId": other.name, "description": other.summary, "parameters": {"symbol": place}}
        for other in OPERATIONS.values()
        if other.of_symbol
    }


ABOUT_OPS = {
    "/healthz": "200 while the process answers",
    "/readyz": "200 while the store answers and live messages flow and, in the process that runs feeds, none of them is in "
    "trouble",
    "/metrics": "metrics for Prometheus",
    "/openapi.json": "this document",
    "/asyncapi.json": "what the WebSocket `/v1/stream` takes and sends, as AsyncAPI",
}


def _ops(path: str, schema: Schema) -> dict[str, Any]:
    content = {"text/plain" if path == "/metrics" else JSON: _shown(schema)}
    documents = path.endswith(".json")
    kept = ("Vary", *(("Cache-Control", "ETag") if documents else () if path == "/metrics" else ("Cache-Control",)))
    good = {"description": ABOUT_OPS[path], "headers": _headers(kept), "content": content}
    responses: dict[str, Any] = {"200": good}
    if documents:
        responses["304"] = {"description": "what you have is what you would get", "headers": _headers(kept)}
    if path == "/readyz":
        responses["503"] = good | {"description": "not ready; `checks` and `feeds` say why"}
    name = path[1:].removesuffix(".json")
    return {"operationId": name, "tags": ["operations"], "summary": ABOUT_OPS[path], "responses": responses}
