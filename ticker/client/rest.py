"""Asks a gateway's REST interface: one request, or pages until there are no more."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from ticker import codec
from ticker.client.backoff import Backoff
from ticker.client.errors import NotTicker, Unavailable, Unreachable, from_problem
from ticker.redact import without_secrets

log = logging.getLogger(__name__)

ATTEMPTS = 4
"""How often a request is made that is answered by `unavailable`, or that comes after others which were answered."""


class Rest:
    """The client of one gateway."""

    def __init__(self, url: str, headers: Mapping[str, str], backoff: Backoff, timeout_s: float) -> None:
        self._shown = without_secrets(url)
        self._client = httpx.AsyncClient(base_url=url, headers=dict(headers), timeout=timeout_s)
        self._backoff = backoff
        self._reached = False

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The answer's body. Asks again where the gateway is busy, or has been there a moment ago."""
        for attempt in range(ATTEMPTS):
            try:
                return await self._once(path, params or {})
            except (Unavailable, Unreachable) as error:
                if attempt + 1 == ATTEMPTS or (isinstance(error, Unreachable) and not self._reached):
                    raise
                delay_s = self._backoff.delay_s(attempt)
                if isinstance(error, Unavailable):
                    delay_s = max(delay_s, error.retry_after_s or 0.0)
                log.info("%s; trying again in %.1f s", error, delay_s)
            await asyncio.sleep(delay_s)
        raise AssertionError("unreachable")

    async def pages(self, path: str, params: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """The pages of an answer, until the last or until nobody wants more."""
        query = dict(params)
        while True:
            page = await self.get(path, query)
            yield page
            if page.get("next") is None:
                return
            query["cursor"] = page["next"]

    async def _once(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        asked = f"GET {self._shown}{path}"
        try:
            answer = await self._client.get(path, params=params)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise Unreachable(f"{self._shown} does not answer: {why}; is a gateway running there?") from None
        try:
            body = codec.from_json(answer.content)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise NotTicker(f"{asked}: answered {answer.status_code}, but not as ticker does")
        if answer.status_code != httpx.codes.OK:
            raise from_problem(asked, answer.status_code, body, answer.headers.get("Retry-After"))
        self._reached = True
        return body
