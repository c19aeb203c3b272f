"""How much one address may ask of REST: a bucket of requests and one of rows, which fill up evenly.

The answers tell how it stands in the fields of draft-ietf-httpapi-ratelimit-headers. Rows are counted once they are known, so
that a bucket may be overdrawn by one answer; the next is let in when it has something again.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from time import monotonic

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ticker import metrics
from ticker.web.problems import problem

WINDOW_S = 60
ROWS = "ticker.rows"
"""Where in a request's scope a handler notes how many rows it answers with."""
PREFIX, NOT_COUNTED = "/v1/", "/v1/stream"

Quotas = tuple[int | None, int | None]
"""Requests and rows a minute; None where there is no limit."""


@dataclass(slots=True)
class Bucket:
    """What one address has left, as of a moment."""

    requests: float
    rows: float
    at: float


class RateLimiter:
    """The buckets of all addresses that were heard of lately."""

    def __init__(self, quotas_of: Callable[[str], Quotas], addresses_max: int, clock: Callable[[], float] = monotonic):
        self._quotas_of = quotas_of
        self._addresses_max = addresses_max
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def applies(self, address: str) -> bool:
        """Whether anything is limited for this address."""
        return self._quotas_of(address) != (None, None)

    def take(self, address: str) -> float:
        """Let one request in: 0, or the seconds after which it may come again."""
        requests, rows = self._quotas_of(address)
        bucket = self._bucket(address, requests, rows)
        waits = [0.0]
        if requests is not None and bucket.requests < 1:
            metrics.met("requests_per_minute")
            waits.append((1 - bucket.requests) * WINDOW_S / requests)
        if rows is not None and bucket.rows < 1:
            metrics.met("rows_per_minute")
            waits.append((1 - bucket.rows) * WINDOW_S / rows)
        if not (wait_s := max(waits)):
            bucket.requests -= 1
        return wait_s

    def charge(self, address: str, rows: int) -> None:
        """Count what an answer holds."""
        self._bucket(address, *self._quotas_of(address)).rows -= rows

    def headers(self, address: str) -> list[tuple[bytes, bytes]]:
        """`RateLimit-Policy` and `RateLimit`: what is allowed, what is left, and when all of it is back."""
        quotas = dict(zip(("requests", "rows"), self._quotas_of(address), strict=True))
        bucket = self._bucket(address, *quotas.values())
        policy, state = [], []
        for name, quota in quotas.items():
            if quota is not None:
                left: float = getattr(bucket, name)
                back_s = ceil((quota - left) * WINDOW_S / quota)
                policy.append(f'"{name}";q={quota};w={WINDOW_S}')
                state.append(f'"{name}";r={max(int(left), 0)};t={back_s}')
        found = ((b"ratelimit-policy", policy), (b"ratelimit", state))
        return [(name, ", ".join(parts).encode()) for name, parts in found]

    def _bucket(self, address: str, requests: int | None, rows: int | None) -> Bucket:
        """The bucket of an address, filled up to this moment."""
        now = self._clock()
        bucket = self._buckets.get(address)
        if bucket is None:
            if len(self._buckets) >= self._addresses_max:
                metrics.met("rate_addresses")
                self._buckets.popitem(last=False)
            bucket = self._buckets[address] = Bucket(requests or 0, rows or 0, now)
        else:
            self._buckets.move_to_end(address)
        passed = (now - bucket.at) / WINDOW_S
        bucket.at = now
        bucket.requests = min(bucket.requests + passed * (requests or 0), requests or 0)
        bucket.rows = min(bucket.rows + passed * (rows or 0), rows or 0)
        return bucket


class RateLimited:
    """Refuses what is too much with 429, and tells on every answer of `/v1` how it stands."""

    def __init__(self, app: ASGIApp, limiter: RateLimiter) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        address = scope["client"][0] if scope.get("client") else ""
        counted = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        if not counted or not self._limiter.applies(address):
            await self._app(scope, receive, send)
            return

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                if rows := scope.get(ROWS, 0):
                    self._limiter.charge(address, rows)
                message["headers"] = [*message["headers"], *self._limiter.headers(address)]
            await send(message)

        wait_s = self._limiter.take(address)
        if not wait_s:
            await self._app(scope, receive, telling)
            return
        answer = problem(429, "rate_limited", _told(self._limiter.headers(address)))
        answer.headers["Retry-After"] = str(ceil(wait_s))
        await answer(scope, receive, telling)


def _told(headers: Sequence[tuple[bytes, bytes]]) -> str:
    return f"too much from this address; allowed are {headers[0][1].decode()} (q in w seconds); /v1/limits has more"
