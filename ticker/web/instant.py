"""Answers remembered questions from where the server has read them, without any of the application's layers.

Where a server's HTTP class finds this in the lifespan's state under `KEY`, it asks it first; all else, and every other server,
takes the way through the application, which gives the same answer.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from ticker import metrics
from ticker.errors import NotAcceptable
from ticker.web.answers import Answer, Answers, Key
from ticker.web.negotiation import encodings, matches, shape
from ticker.web.operations import FORMATS
from ticker.web.rate_limit import RateLimiter

KEY = "ticker.instant"
FORMAT_GIVEN = b"format="
PASSED_ON = frozenset(
    {b"origin", b"content-length", b"transfer-encoding", b"expect", b"authorization", b"range", b"upgrade"}
)
"""A request with one of these takes the long way: somebody there has more to say of it."""
OK, NOT_MODIFIED = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 304 Not Modified\r\n"


class Reply(Protocol):
    """What the server's HTTP class asks: the lines of a head, without its end, and a body; None to go the long way."""

    def __call__(
        self, target: bytes, headers: Sequence[tuple[bytes, bytes]], address: str
    ) -> tuple[bytes, bytes] | None:
        """`headers` have lower-case names; the method is GET."""


class Instant:
    """Looks into what the gateway remembers."""

    def __init__(self, answers: Answers, limiter: RateLimiter, clock: Callable[[], float]) -> None:
        self._answers = answers
        self._limiter = limiter
        self._clock = clock
        self._counts: dict[tuple[str, int], _Counts] = {}

    def __call__(
        self, target: bytes, headers: Sequence[tuple[bytes, bytes]], address: str
    ) -> tuple[bytes, bytes] | None:
        """The answer to a remembered question."""
        if not self._answers.heard:
            return None
        began = self._clock()
        accept = accept_encoding = none_match = b""
        for name, value in headers:
            if name == b"accept":
                accept = value if not accept else accept + b"," + value
            elif name == b"accept-encoding":
                accept_encoding = value if not accept_encoding else accept_encoding + b"," + value
            elif name == b"if-none-match":
                none_match = value if not none_match else none_match + b"," + value
            elif name in PASSED_ON:
                return None
        found = self._find(target, accept, accept_encoding)
        if found is None:
            return None
        more = b""
        if self._limiter.applies(address):
            if self._limiter.take(address):
                # The long way says so.
                return None
            self._limiter.charge(address, 0 if none_match and matches(none_match, found.etag) else found.rows)
            more = b"".join([b"%b: %b\r\n" % header for header in self._limiter.headers(address)])
        return self._reply(found, none_match, more, began)

    def _find(self, target: bytes, accept: bytes, accept_encoding: bytes) -> Answer | None:
        try:
            # `format` in the target is part of what was remembered; the key has what the header says.
            wanted = shape(accept.decode("latin-1"), None, FORMATS) if FORMAT_GIVEN not in target else None
        except NotAcceptable:
            return None
        return self._answers.get(Key(target, wanted, encodings(accept_encoding.decode("latin-1"))))

    def _reply(self, found: Answer, none_match: bytes, more: bytes, began: float) -> tuple[bytes, bytes]:
        if none_match and matches(none_match, found.etag):
            reply, status = (NOT_MODIFIED + found.not_modified + more, b""), 304
        else:
            reply, status = (OK + found.head + more, found.body), 200
        counts = self._counts.get((found.route, status))
        if counts is None:
            counts = self._counts[found.route, status] = _Counts(found.route, status)
        counts.answered(self._clock() - began)
        return reply


class _Counts:
    """What is counted of an answer; looked up once, because looking up costs more than answering."""

    def __init__(self, route: str, status: int) -> None:
        self._remembered = metrics.HISTORY_ANSWERS.labels("remembered")
        self._requests = metrics.HTTP_REQUESTS.labels(route, "GET", str(status))
        self._seconds = metrics.HTTP_SECONDS.labels(route)

    def answered(self, took_s: float) -> None:
        """One more."""
        self._remembered.inc()
        self._requests.inc()
        self._seconds.observe(took_s)
