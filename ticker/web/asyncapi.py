"""The AsyncAPI 3 document of the WebSocket, made of the schemas of its messages, of the codes and of the settings in force."""

from typing import Any

from ticker import __version__
from ticker.codes import CLOSES
from ticker.config import Config
from ticker.places import from_here
from ticker.web.message_schemas import EVENTS, EXAMPLES, REQUEST_FIELDS, REQUESTS
from ticker.web.schemas import SCHEMAS, Schema, example_of

CHANNEL = {"$ref": "#/channels/stream"}
REPLIES = {
    "subscribe": "subscribed",
    "unsubscribe": "unsubscribed",
    "list": "subscriptions",
    "stats": "stats",
    "ping": "pong",
}
"""What answers a request that is not refused."""
USED = ("Time", "Symbol", "Interval", "Position", "SymbolError")
"""The schemas that messages refer to."""
ABOUT = """One JSON object a message, both ways, in text frames. The order within a subscription: the reply, then snapshots or
what is replayed, then live; numbers only rise, and each comes once. Clients ignore types and fields that they do not know; of
requests, a field that is not known is refused by name. What stands behind the `?` subscribes at once, as the request with
`id` 0."""


def document(config: Config) -> dict[str, Any]:
    """The whole document; the limits in force are told to each client by `welcome`."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "ticker",
            "version": __version__,
            "description": "Live ticks and candles over a WebSocket. `/openapi.json` describes history over REST.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {"gateway": {"host": from_here(config.server.host, config.server.port), "protocol": "ws"}},
        "channels": {"stream": _channel()},
        "operations": {op: _request(op) for op in REQUESTS} | {"events": _events()},
        "components": {
            "messages": {_client(op): _message(op, schema, EXAMPLES[op]) for op, schema in REQUESTS.items()}
            | {_server(kind): _message(kind, schema, [example_of(schema)]) for kind, schema in EVENTS.items()},
            "schemas": {name: SCHEMAS[name] for name in USED},
        },
    }


def _client(op: str) -> str:
    """The name of a message that clients send."""
    return f"client.{op}"


def _server(kind: str) -> str:
    """The name of a message that the server sends."""
    return f"server.{kind}"


def _message(name: str, schema: Schema, examples: list[dict[str, Any]]) -> dict[str, Any]:
    shown = [{"payload": example} for example in examples]
    return {"name": name, "summary": schema["description"], "payload": schema, "examples": shown}


def _channel() -> dict[str, Any]:
    query = {name: schema for name, schema in REQUEST_FIELDS.items() if name not in ("id", "resume")}
    query |= {"symbols": {"type": "string", "description": "names with commas between them, or `*`"}}
    names = [*map(_client, REQUESTS), *map(_server, EVENTS)]
    return {
        "address": "/v1/stream",
        "title": "the stream",
        "description": " ".join(ABOUT.split()),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {
            "ws": {"method": "GET", "query": {"type": "object", "properties": query}, "bindingVersion": "0.1.0"}
        },
        # AsyncAPI has no place for them.
        "x-close-codes": {str(code): row._asdict() for code, row in CLOSES.items()},
    }


def _of_channel(*names: str) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/stream/messages/{name}"} for name in names]


def _request(op: str) -> dict[str, Any]:
    """What the server receives, and what it replies."""
    return {
        "action": "receive",
        "channel": CHANNEL,
        "summary": REQUESTS[op]["description"],
        "messages": _of_channel(_client(op)),
        "reply": {"channel": CHANNEL, "messages": _of_channel(_server(REPLIES[op]), _server("error"))},
    }


def _events() -> dict[str, Any]:
    """What comes unasked; `subscribed` too, where new symbols join `*`."""
    kinds = [kind for kind in EVENTS if kind == "subscribed" or kind not in (*REPLIES.values(), "error")]
    return {
        "action": "send",
        "channel": CHANNEL,
        "summary": "what comes of the subscriptions and of the service",
        "messages": _of_channel(*map(_server, kinds)),
    }
