"""Every error, with what it becomes at the rim: an HTTP status, a wire code, an exit code.

TickerError
├── ConfigError          a mistake in configuration or start-up; one line, exit code 2
├── BadRequest           a request that cannot be answered as it is (400)
│   └── NotAcceptable    a format that is not offered (406)
├── NotFound             no such symbol (404)
├── StoreError           the store is there but something is wrong with it
│   ├── StoreUnavailable no answer, or no writing, for now (503)
│   ├── FencedError      another ingester has taken over
│   ├── HeldError        another ingester, which lives, writes a symbol that is wanted
│   ├── AppendConflict   the store does not hold what the writer last saw
│   └── ArchiveError     the archive cannot be read or written
└── RefusedTick          a tick that is not stored
    ├── BadTick          its values cannot be kept exactly
    ├── LateTick         it comes later than `candles.lateness_s`
    └── DuplicateTick    its id was stored before
"""

from typing import ClassVar


class TickerError(Exception):
    """The root; the message says what was found and what was expected."""

    http_status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"


class ConfigError(TickerError):
    """A mistake in the configuration or at start-up: a setting, a file, a port, a server that does not fit."""


class BadRequest(TickerError):
    """A request that cannot be answered as it is; `parameter` names the offending part where there is one."""

    http_status = 400
    code = "bad_request"

    def __init__(self, message: str, parameter: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter
        if code:
            self.code = code  # type: ignore[misc]


class NotAcceptable(BadRequest):
    """A format that is not offered."""

    http_status = 406
    code = "not_acceptable"


class NotFound(TickerError):
    """A symbol that nobody has heard of."""

    http_status = 404
    code = "unknown_symbol"

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class StoreError(TickerError):
    """Something is wrong with the store."""

    http_status = 503
    code = "unavailable"


class StoreUnavailable(StoreError):
    """The store does not answer, or does not take writes, for now."""


class FencedError(StoreError):
    """Another ingester has claimed the symbol since."""


class HeldError(StoreError):
    """Another ingester, which lives, writes a symbol that is wanted."""


class AppendConflict(StoreError):
    """The store does not hold what the writer last saw of a symbol."""


class ArchiveError(StoreError):
    """The archive cannot be read or written."""


class RefusedTick(TickerError):
    """A tick that is not stored."""


class BadTick(RefusedTick):
    """A value of a tick that cannot be kept exactly."""

    def __init__(self, field: str, found: object, expected: str) -> None:
        super().__init__(f"{field} is {found!r}, expected {expected}")


class LateTick(RefusedTick):
    """A tick that is older than lateness allows; times in microseconds."""

    def __init__(self, time: int, clock: int, lateness_us: int) -> None:
        super().__init__(f"time {time} is {clock - time} us behind the feed's clock, allowed are {lateness_us}")


class DuplicateTick(RefusedTick):
    """A tick whose id was stored before."""

    def __init__(self, tick_id: str) -> None:
        super().__init__(f"id {tick_id!r} was stored before")
