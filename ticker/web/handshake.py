"""Reads the handshake of a WebSocket, and makes the answers that an ASGI application may give to it."""

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

log = logging.getLogger(__name__)

VERSION = "13"
"""Of the protocol (section 4.4)."""

Event = dict[str, Any]
RawHeaders = Iterable[tuple[bytes, bytes]]


class Refused(Exception):
    """What was sent is no handshake; `answer` says so."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.answer = answer


class Handshake:
    """One that the application has not answered yet. Raises `Refused` where it is not as RFC 6455 wants it."""

    __slots__ = ("_denial", "_request", "_response", "accepted")

    def __init__(self, head: bytes) -> None:
        protocol = ServerProtocol(logger=log)
        protocol.receive_data(head)
        request = next(iter(protocol.events_received()), None)
        if not isinstance(request, Request):
            raise Refused(b"".join(protocol.data_to_send()))
        response = protocol.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            raise Refused(_with_version(request, response).serialize())
        # The server adds its own.
        del response.headers["Date"]
        self.accepted = False
        self._request = request
        self._response = response
        self._denial: tuple[int, Headers, list[bytes]] | None = None

    def scope(self, root_path: str) -> Event:
        """What an ASGI scope has from it."""
        raw_path, _, query_string = self._request.path.partition("?")
        offered = self._request.headers.get_all("Sec-WebSocket-Protocol")
        return {
            "path": root_path + unquote(raw_path),
            "raw_path": _raw(root_path + raw_path),
            "query_string": _raw(query_string),
            "headers": [(_raw(name), value.encode("latin-1")) for name, value in self._request.headers.raw_items()],
            "subprotocols": [token.strip() for header in offered for token in header.split(",")],
        }

    def answer(self, event: Event, common: RawHeaders) -> bytes | None:
        """What is to be sent for a message of the application; None: the rest of a denial is to come.

        `common`: headers that every answer has.
        """
        kind = event["type"]
        if self._denial is not None and kind == "websocket.http.response.body":
            status, headers, parts = self._denial
            parts.append(event.get("body", b""))
            return None if event.get("more_body", False) else reject(status, common, headers, b"".join(parts))
        if self._denial is None and kind == "websocket.accept":
            return self._accept(event, common)
        if self._denial is None and kind == "websocket.close":
            return reject(HTTPStatus.FORBIDDEN, common)
        if self._denial is None and kind == "websocket.http.response.start":
            self._denial = event["status"], Headers(_text(event.get("headers", ()))), []
            return None
        raise RuntimeError(f"unexpected ASGI message {kind!r} in the handshake")

    def _accept(self, event: Event, common: RawHeaders) -> bytes:
        self.accepted = True
        headers = self._response.headers
        for name, value in _text((*common, *event.get("headers", ()))):
            headers[name] = value
        if event.get("subprotocol"):
            headers["Sec-WebSocket-Protocol"] = event["subprotocol"]
        return self._response.serialize()


def reject(status: int, common: RawHeaders, headers: Headers | None = None, body: bytes = b"") -> bytes:
    """An answer that is no upgrade; the connection ends behind it."""
    given = Headers(headers or {})
    for name, value in (*_text(common), ("Connection", "close"), ("Content-Length", str(len(body)))):
        given.setdefault(name, value)
    return Response(status, _phrase(status), given, body).serialize()


def _with_version(request: Request, response: Response) -> Response:
    """The answer to a handshake of another version says which one is spoken here (section 4.4)."""
    if request.headers.get_all("Sec-WebSocket-Version") in ([], [VERSION]):
        return response
    status = HTTPStatus.UPGRADE_REQUIRED
    response.headers["Sec-WebSocket-Version"] = VERSION
    response.headers["Upgrade"] = "websocket"
    return Response(status, status.phrase, response.headers, response.body)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _text(headers: RawHeaders) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _raw(text: str) -> bytes:
    """The very bytes that the client sent, where websockets takes them for ASCII."""
    return text.encode("ascii", "surrogateescape")
