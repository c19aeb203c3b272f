"""uvicorn's configuration, with what its own has no place for: the limits that our classes keep, and what they count."""

import asyncio
from typing import Any

import uvicorn

from ticker.limits import Limits


class LimitedConfig(uvicorn.Config):
    """It also reaches worker processes, as a copy, like all of uvicorn's configuration."""

    def __init__(self, app: Any, limits: Limits, **options: Any) -> None:
        super().__init__(app, **options)
        self.limits = limits
        self.fresh: dict[asyncio.Protocol, None] = {}
        """Connections of this process whose first request has not come yet, the oldest first."""
        self.requesting: dict[asyncio.Protocol, None] = {}
        """Connections of this process that have sent a request, and are no WebSockets."""


def limits_of(config: uvicorn.Config) -> Limits:
    """The limits that a configuration carries; a plain one of uvicorn's has the defaults."""
    return config.limits if isinstance(config, LimitedConfig) else Limits()
