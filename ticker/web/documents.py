"""Serves the documents that describe the interface to programs."""

from collections.abc import Callable
from functools import cached_property
from hashlib import blake2b
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ticker import codec
from ticker.config import Config
from ticker.web import asyncapi, openapi
from ticker.web.negotiation import matches


class Documents:
    """The handlers; a document is made when it is first asked for."""

    def __init__(self, config: Config) -> None:
        self._openapi = _Document(lambda: openapi.document(config.limits))
        self._asyncapi = _Document(lambda: asyncapi.document(config))

    async def openapi(self, request: Request) -> Response:
        """GET /openapi.json"""
        return self._openapi.answer(request)

    async def asyncapi(self, request: Request) -> Response:
        """GET /asyncapi.json"""
        return self._asyncapi.answer(request)


class _Document:
    """One that stays the same for as long as the process lives."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make

    @cached_property
    def _body(self) -> bytes:
        return codec.to_json(self._make())

    @cached_property
    def _tag(self) -> str:
        return f'"{blake2b(self._body, digest_size=8).hexdigest()}"'

    def answer(self, request: Request) -> Response:
        headers = {"Cache-Control": "no-cache", "ETag": self._tag}
        if matches(request.headers.get("if-none-match", "").encode("latin-1"), self._tag.encode()):
            return Response(status_code=304, headers=headers)
        return Response(self._body, headers=headers, media_type="application/json")
