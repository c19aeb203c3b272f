"""Who may read from a browser, and what a browser may do with what it gets."""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1)(:[0-9]+)?"
EXPOSED = ("ETag", "Link", "Ticker-Position", "RateLimit", "RateLimit-Policy", "Retry-After")

HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
]


def address_of(connection: HTTPConnection) -> str:
    """The client's address; empty where it comes through a Unix socket."""
    return connection.client.host if connection.client else ""


@lru_cache(4_096)
def is_loopback(address: str) -> bool:
    """Whether a client is a program of this machine: 127.0.0.0/8, ::1, a Unix socket."""
    if not address:
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


class Origins:
    """Pages that may open the WebSocket and read REST: those listed, or any port of this machine where none is."""

    def __init__(self, listed: Sequence[str]) -> None:
        self._listed = tuple(listed)

    def allows(self, origin: str | None) -> bool:
        """Programs that are no browser send no origin."""
        if origin is None:
            return True
        if self._listed:
            return origin in self._listed or "*" in self._listed
        return re.fullmatch(LOCAL_ORIGIN, origin) is not None

    def cors(self) -> Middleware:
        """The same list for REST."""
        return Middleware(
            CORSMiddleware,
            allow_origins=self._listed,
            allow_origin_regex=None if self._listed else LOCAL_ORIGIN,
            allow_methods=("GET",),
            allow_headers=("*",),
            expose_headers=EXPOSED,
        )


class SecurityHeaders:
    """Puts headers on every answer that keep a page from doing what ours need not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with headers added."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)
