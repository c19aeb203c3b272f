"""Answers for what went wrong, as RFC 9457 has them (application/problem+json)."""

import logging
from http import HTTPStatus
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ticker import codec
from ticker.errors import TickerError
from ticker.redact import without_secrets

log = logging.getLogger(__name__)

CODES = {404: "unknown_path", 405: "method_not_allowed"}


def problem(status: int, code: str, detail: str, parameter: str | None = None) -> Response:
    """One answer; its `request_id` stands in the log too, where the server is at fault."""
    request_id = uuid4().hex[:12]
    if status >= 500:
        detail = without_secrets(detail)
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    if parameter:
        body["parameter"] = parameter
    headers = {"Retry-After": "1"} if status == 503 else {}
    if status >= 500:
        fields = {"status": status, "code": code, "request_id": request_id}
        log.warning("answered %d %s (%s): %s", status, code, request_id, detail, extra=fields)
    return Response(codec.to_json(body), status, headers, "application/problem+json")


async def on_ticker_error(request: Request, error: Exception) -> Response:
    """An error of our own tree."""
    assert isinstance(error, TickerError)
    return problem(error.http_status, error.code, str(error), getattr(error, "parameter", None))


async def on_http_error(request: Request, error: Exception) -> Response:
    """A path or method that does not exist."""
    assert isinstance(error, HTTPException)
    details = {
        404: f"no such path: {request.url.path}; / lists what there is",
        405: f"{request.method} is not allowed on {request.url.path}; allowed: GET, HEAD",
    }
    detail = details.get(error.status_code, error.detail)
    answer = problem(error.status_code, CODES.get(error.status_code, "http_error"), detail)
    answer.headers.update(error.headers or {})
    return answer


async def on_mistake(request: Request, error: Exception) -> Response:
    """A mistake of the server's: the client learns no more than that."""
    return problem(500, "internal_error", "the server made a mistake; its log has more under the request_id")


HANDLERS = {TickerError: on_ticker_error, HTTPException: on_http_error, Exception: on_mistake}
