"""Every code that a caller may meet, with what it means and what to do: in REST, over the WebSocket, from a command.

A test compares the tables with the code in both directions, and the docs are made of them.
"""

from typing import NamedTuple


class Code(NamedTuple):
    """What a code tells, and what its reader does about it."""

    meaning: str
    remedy: str


PROBLEMS = {
    "bad_request": Code("a parameter that is not known, not possible, or given twice", "correct `parameter`"),
    "unknown_interval": Code("an `interval` that there is not", "take one of those that `detail` lists"),
    "unknown_symbol": Code("a symbol that nobody has heard of", "take one of `/v1/symbols`"),
    "unknown_path": Code("a path that there is not", "correct the path"),
    "method_not_allowed": Code("a method other than GET and HEAD", "use GET"),
    "not_acceptable": Code("a format that is not offered", "take one of those that `detail` lists"),
    "rate_limited": Code(
        "more than `limits.requests_per_minute` or `limits.rows_per_minute` from one address",
        "ask again after `Retry-After`; `RateLimit` tells what is left",
    ),
    "forbidden_origin": Code("a page from elsewhere opens the WebSocket", "list its origin in `server.origins`"),
    "unavailable": Code("the store does not answer, or all connections are taken", "ask again after `Retry-After`"),
    "internal_error": Code("the server made a mistake", "report it with `request_id`, which stands in its log"),
    "http_error": Code("any other refusal of HTTP itself", "see `detail`"),
}
"""REST: the `code` of an answer in application/problem+json."""

WEBSOCKET_ERRORS = {
    "bad_json": Code("a message that is not JSON", "correct it"),
    "bad_request": Code("a field that is missing, not known, or not possible", "see `message`"),
    "unknown_op": Code("an `op` that there is not", "take one of those that `message` lists"),
    "unknown_channel": Code("a `channel` that there is not", "take one of those that `message` lists"),
    "unknown_interval": Code("an `interval` that there is not", "take one of those that `message` lists"),
    "unknown_symbol": Code("in `errors`: a symbol that nobody has heard of", "take one of `/v1/symbols`"),
    "already_subscribed": Code("in `errors`: `resume` of a symbol that is subscribed", "unsubscribe it first"),
    "too_many_symbols": Code("more symbols than `limits.subscriptions`", "unsubscribe some, or take `*`"),
    "unavailable": Code("the store does not answer; the only one with `retry: true`", "send the request again later"),
}
"""WebSocket: the `code` of an `error` message, or of a symbol in `errors`."""

CLOSES = {
    1002: Code("a frame against RFC 6455", "correct the client"),
    1003: Code("a binary message", "send text"),
    1007: Code("a text that is not UTF-8", "send UTF-8"),
    1009: Code("a message longer than `limits.frame_bytes`", "send shorter ones"),
    1011: Code("the server made a mistake, or pings went unanswered for 20 s", "come back"),
    1012: Code("the server stops or starts again", "come back"),
    4400: Code("more refused messages than `limits.bad_messages_per_minute`", "correct the client"),
    4408: Code("nothing subscribed within `limits.first_subscribe_s`", "subscribe at once, or in the address"),
    4429: Code(
        "more messages than `limits.messages_per_minute`, or more connections of one address than"
        " `limits.connections_per_address`",
        "send fewer, or share a connection",
    ),
    4508: Code("messages waited longer or grew larger than `websocket.outbox_*`", "read faster, or subscribe to less"),
}
"""WebSocket: close codes. The reason text of the frame says more."""

BY_LIBRARY = frozenset({1002, 1007, 1009, 1012})
"""Sent by what carries our WebSockets, not by code of ours."""

GAPS = {
    "trimmed": Code("the stream has dropped these messages", "they are gone; candles still count them"),
    "too_far": Code("more is missing than `limits.heal_messages`", "read them over REST"),
    "store_lost": Code("the store has never had these messages, or has lost them", "they are gone"),
}
"""WebSocket: the `reason` of a `gap`."""

STALE = {
    "store": Code("the gateway has no connection to Redis", "wait: what was missed is sent before newer messages"),
    "ingest": Code("the ingester is silent", "wait; see its log"),
    "feed": Code("a feed has failed; `symbols` lists whose ticks are missing", "wait; see the ingester's log"),
}
"""WebSocket: the `reason` of a `service` message."""

EXITS = {
    0: Code("all is well; also after SIGTERM and Ctrl-C", ""),
    1: Code(
        "something failed; of `check` and `archive verify`: a difference or a wrong file; of `import`: bad rows",
        "see standard error",
    ),
    2: Code("a mistake in configuration, flags or start-up", "one line on standard error names it"),
    3: Code("of `check` and `archive verify`: there was nothing to check", ""),
}
"""The commands: exit codes."""
