"""Counts and times HTTP requests by the route that answered them, never by their path, which is the caller's."""

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ticker import metrics

METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
NO_ROUTE = "none"
"""What no route answers: paths that do not exist, and preflights."""


class Measured:
    """Around everything else, so that the time is all that the caller waits for us."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and note what came of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = perf_counter()
        try:
            await self._app(scope, receive, noting_status)
        except Exception:
            # Whoever is around us answers it.
            status = status or 500
            raise
        finally:
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            method = scope["method"] if scope["method"] in METHODS else "other"
            metrics.HTTP_REQUESTS.labels(route, method, str(status) if status else "none").inc()
            metrics.HTTP_SECONDS.labels(route).observe(perf_counter() - began)
