"""Pages of an answer: how many rows one may have, where the next one begins, and up to where its rows go."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request

from ticker import metrics
from ticker.history.candle_query import CandlePage, Position
from ticker.history.ticks import TickPage
from ticker.web import messages
from ticker.web.answers import Header
from ticker.web.gateway import Gateway
from ticker.web.params import Params, asks_for_more


def page_limit(gateway: Gateway, params: Params) -> int:
    """The `limit` of a request."""
    limits = gateway.config.limits
    if asks_for_more(params.text("limit"), limits.page_rows):
        metrics.met("page_rows")
    return params.limit(min(limits.page_rows_default, limits.page_rows), limits.page_rows)


def note_cut(params: Params, *, has_more: bool) -> None:
    """Count a page that ends where it does because nobody said otherwise."""
    if has_more and params.text("limit") is None:
        metrics.met("page_rows_default")


def position(found: Position | None) -> dict[str, Any] | None:
    """As the answers have it."""
    return None if found is None else messages.position(found.epoch, found.seq)


def page_headers(request: Request, page: CandlePage | TickPage) -> list[Header]:
    """`Link` and `Ticker-Position`, where there is one."""
    found: list[Header] = []
    if page.next is not None:
        found.append(_link(request, {"cursor": page.next}))
    if page.position is not None:
        found.append((b"ticker-position", _place(page.position).encode()))
    return found


def page_headers_of_many(request: Request, symbols: Sequence[str], pages: Sequence[CandlePage]) -> list[Header]:
    """The same of several symbols: the next page is of those that have one; each position with its symbol."""
    found: list[Header] = []
    nexts = {symbol: page.next for symbol, page in zip(symbols, pages, strict=True) if page.next is not None}
    if nexts:
        cursor = ",".join(f"{symbol}:{place}" for symbol, place in nexts.items())
        found.append(_link(request, {"symbols": ",".join(nexts), "cursor": cursor}))
    places = [f"{s}={_place(page.position)}" for s, page in zip(symbols, pages, strict=True) if page.position]
    if places:
        found.append((b"ticker-position", ",".join(places).encode()))
    return found


def _link(request: Request, changes: dict[str, str]) -> Header:
    """`Link` to the next page: the same question with these parameters changed."""
    query = dict(request.query_params) | changes
    path = quote(request.scope["root_path"] + request.scope["path"], safe="/.-")
    return b"link", f'<{path}?{urlencode(query, safe=",:")}>; rel="next"'.encode()


def _place(found: Position) -> str:
    return f"{found.epoch or ''}:{found.seq}"
