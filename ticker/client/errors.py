"""What may go wrong between a program and a gateway, each with what was asked and what came back.

ClientError
├── Misuse              asked for in a way that cannot be: raised before anything is sent
├── MissingExtra        a package that only some results need is not installed
├── Unreachable         nobody answers at the address
├── NotTicker           somebody answers, but not as ticker does
└── Refused             the gateway says no
    ├── UnknownSymbol   it has not heard of a symbol
    ├── Unauthorized    the key, or the origin, may not
    └── Unavailable     not now: the store is away, or the gateway has all the work it can take
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from ticker.errors import TickerError


class ClientError(TickerError):
    """The root of what the client raises."""


class Misuse(ClientError, ValueError):
    """A value that can be no symbol, time, position or the like; nothing was sent."""


class MissingExtra(ClientError, ImportError):
    """A package that is not installed; the message names the extra that brings it."""


class Unreachable(ClientError):
    """Nobody answers at the address."""


class NotTicker(ClientError):
    """Somebody answers, but not as ticker does."""


class Refused(ClientError):
    """The gateway says no.

    `asked` is what it was asked for; `status` the HTTP status or the WebSocket's close code (0 where it was refused in a
    message); `code`, `detail`, `parameter` and `request_id` are those of its answer, where it has them.
    """

    def __init__(
        self,
        asked: str,
        status: int,
        code: str,
        detail: str,
        parameter: str | None = None,
        request_id: str | None = None,
    ) -> None:
        number = f"{status} " if status else ""
        known = f" (request {request_id})" if request_id else ""
        super().__init__(f"{asked}: {number}{code}: {detail}{known}")
        self.asked = asked
        self.status = status
        self.code = code  # type: ignore[misc]
        self.detail = detail
        self.parameter = parameter
        self.request_id = request_id


class UnknownSymbol(Refused):
    """The gateway has not heard of a symbol."""


class Unauthorized(Refused):
    """The key is missing, wrong or may not do this."""


class Unavailable(Refused):
    """Not now; `retry_after_s` is when the gateway wants to be asked again, in seconds."""

    retry_after_s: float | None = None


def kind_of(status: int, code: str) -> type[Refused]:
    """Which refusal this is."""
    if code == "unknown_symbol":
        return UnknownSymbol
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or code == "unauthorized":
        return Unauthorized
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) or code in (
        "unavailable",
        "rate_limited",
    ):
        return Unavailable
    return Refused


def from_problem(asked: str, status: int, problem: Mapping[str, Any], retry_after: str | None) -> Refused:
    """The error for an answer in application/problem+json."""
    code, detail = str(problem.get("code", "http_error")), str(problem.get("detail", problem.get("title", "")))
    error = kind_of(status, code)(asked, status, code, detail, problem.get("parameter"), problem.get("request_id"))
    if isinstance(error, Unavailable) and retry_after is not None and retry_after.isdecimal():
        error.retry_after_s = float(retry_after)
    return error
