"""The questions of history that REST answers: candles of one symbol and of many, trades, quotes; in every format."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from ticker import metrics
from ticker.errors import BadRequest
from ticker.history.candles import CandlePage, CandleQuery, Position
from ticker.history.choices import FILLS
from ticker.history.formats import Piece, Writer
from ticker.history.rows import CandleRows, Rows, TickRows
from ticker.history.ticks import TickPage, TickQuery
from ticker.store.tick_stream import Kind
from ticker.web import messages
from ticker.web.answers import Answer, Header, Key, RestsOn, make_answer
from ticker.web.gateway import Gateway
from ticker.web.negotiation import Shape, encodings, matches, shape
from ticker.web.operations import OPERATIONS
from ticker.web.params import Params, asks_for_more, check_symbol
from ticker.web.rate_limit import ROWS

SYMBOLS_AT_ONCE = 8
"""Of one request: few enough that it leaves connections to others."""
MANY_AT_ONCE = 2
"""Requests for several symbols that are worked on; more wait for their turn, and not for connections, which others need."""
APART_FROM_BYTES = 1 << 18
"""Larger answers are joined, compressed and digested in a thread."""
COMPRESSED_APART_FROM_BYTES = 1 << 13
"""The same of those that are compressed, which takes ten times as long."""
FORMAT_GIVEN = b"format="

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as far as all questions of history have it in common."""

    request: Request
    params: Params
    shape: Shape
    key: Key
    mark: int

    def link(self, changes: dict[str, str]) -> Header:
        """`Link` to the next page: the same question with these parameters changed."""
        query = dict(self.request.query_params) | changes
        path = quote(self.request.scope["root_path"] + self.request.scope["path"], safe="/.-")
        return b"link", f'<{path}?{urlencode(query, safe=",:")}>; rel="next"'.encode()


class History:
    """The handlers, which share what a gateway remembers."""

    def __init__(self, gateway: Gateway, writer: Writer) -> None:
        self._gateway = gateway
        self._writer = writer
        self._turns = asyncio.Semaphore(MANY_AT_ONCE)
        self._zone: ZoneInfo = gateway.config.market.zone

    async def candles(self, request: Request) -> Response:
        """GET /v1/candles/{symbol}"""
        asked = self._asked(request, "candles")
        symbol = self._symbol(request)
        query = self._candle_query(asked.params, symbol, asked.params.text("cursor"))
        if remembered := await self._remembered(asked, [symbol], query.end):
            return self._send(asked, remembered, "remembered")
        with self._gateway.answers.making(asked.key):
            page = await self._gateway.history.candles.page(query, self._gateway.feed_of(symbol))
            pieces = await self._writer.one(
                asked.shape.format,
                _candle_rows(query, page),
                {"symbol": symbol, "interval": query.interval.name},
                {"next": page.next, "position": position(page.position)},
            )
            return await self._made(asked, pieces, len(page.rows), _more(asked, page), _rests_on(query, page))

    async def many_candles(self, request: Request) -> Response:
        """GET /v1/candles?symbols=A,B"""
        asked = self._asked(request, "many_candles")
        known, unknown = asked.params.symbols(self._gateway.symbols)
        places = asked.params.cursors(known)
        # Read once, and also where no symbol is known: what is wrong with a request does not depend on that.
        every = self._candle_query(asked.params, "", None)
        queries = [replace(every, symbol=symbol, cursor=places.get(symbol)) for symbol in known]
        self._check_size(queries)
        if remembered := await self._remembered(asked, known, queries[0].end if queries else None):
            return self._send(asked, remembered, "remembered")
        with self._gateway.answers.making(asked.key):
            async with self._turns:
                return await self._many(asked, queries, unknown)

    async def _many(self, asked: Asked, queries: Sequence[CandleQuery], unknown: Sequence[str]) -> Response:
        """A new answer of several symbols, which takes a second and more where it is as large as may be."""
        pages = await self._pages(queries)
        parts: list[tuple[Rows, dict[str, Any]]] = [
            (_candle_rows(query, page), {"next": page.next, "position": position(page.position)})
            for query, page in zip(queries, pages, strict=True)
        ]
        errors = [{"symbol": symbol, "code": "unknown_symbol"} for symbol in unknown]
        interval = asked.params.interval().name
        pieces = await self._writer.many(asked.shape.format, parts, {"interval": interval, "errors": errors})
        rests_on = [_rests_on(query, page) for query, page in zip(queries, pages, strict=True)]
        closed = bool(queries) and all(rests_on) and not unknown
        places = [one for found in rests_on if found for one in found] if closed else None
        rows = sum(len(page.rows) for page in pages)
        more = _more_of_many(asked, [query.symbol for query in queries], pages)
        return await self._made(asked, pieces, rows, more, places)

    def ticks(self, kind: Kind) -> Handler:
        """GET /v1/trades/{symbol} or /v1/quotes/{symbol}"""

        async def handler(request: Request) -> Response:
            asked = self._asked(request, kind)
            params, symbol = asked.params, self._symbol(request)
            start, end = params.range(self._zone)
            descending = params.choice("order") == "desc"
            query = TickQuery(kind, symbol, start, end, self._limit(params), descending, params.text("cursor"))
            if remembered := await self._remembered(asked, [symbol], end):
                return self._send(asked, remembered, "remembered")
            with self._gateway.answers.making(asked.key):
                return await self._ticks(asked, query)

        return handler

    async def _ticks(self, asked: Asked, query: TickQuery) -> Response:
        """A new answer of ticks."""
        kind, symbol, end = query.kind, query.symbol, query.end
        clock = await self._gateway.history.candles.clock(self._gateway.feed_of(symbol))
        page = await self._gateway.history.ticks.page(query)
        pieces = await self._writer.one(
            asked.shape.format,
            TickRows(kind, [entry.fields for entry in page.entries], symbol),
            {"symbol": symbol},
            {"next": page.next, "position": position(page.position)},
        )
        late_us = self._gateway.config.candles.lateness_s * 1_000_000
        # No tick comes later than this, and one that is stored does not change.
        closed = end is not None and end <= clock - late_us
        rests = [RestsOn(symbol, kind, query.start or 0, end)] if closed and end is not None else None
        return await self._made(asked, pieces, len(page.entries), _more(asked, page), rests)

    async def _remembered(self, asked: Asked, symbols: Sequence[str], end: int | None) -> Answer | None:
        """A remembered answer; of a range that is over, also one that somebody else is just about to have made."""
        clock = min([self._gateway.clock_of(symbol) for symbol in symbols], default=0)
        if end is None or end > clock:
            # It will not be kept: whoever waited for it would have waited for nothing.
            return self._gateway.answers.get(asked.key)
        return await self._gateway.answers.soon(asked.key)

    def _asked(self, request: Request, name: str) -> Asked:
        """Read what all have in common; raises `BadRequest`."""
        operation = OPERATIONS[name]
        params = Params(request.query_params.multi_items(), operation)
        accept = ",".join(request.headers.getlist("accept"))
        wanted = params.text("format")
        found = shape(accept, wanted, operation.formats)
        accepted = encodings(",".join(request.headers.getlist("accept-encoding")))
        query = request.scope["query_string"]
        target = request.scope["raw_path"] + (b"?" + query if query else b"")
        key = Key(target, None if FORMAT_GIVEN in target else found, accepted)
        return Asked(request, params, found, key, self._gateway.answers.mark())

    def _candle_query(self, params: Params, symbol: str, cursor: str | None) -> CandleQuery:
        start, end = params.range(self._zone)
        return CandleQuery(
            symbol,
            params.interval(),
            start,
            end,
            self._limit(params),
            descending=params.choice("order") == "desc",
            forming=params.flag("forming"),
            cursor=cursor,
            fill=next(fill for fill in FILLS if fill == params.choice("fill")),
        )

    def _check_size(self, queries: Sequence[CandleQuery]) -> None:
        """Refuse what would be too large an answer."""
        most = self._gateway.config.limits.answer_rows
        if queries and len(queries) * queries[0].limit > most:
            metrics.met("answer_rows")
            text = (
                f"{len(queries)} symbols with a limit of {queries[0].limit} may be more than {most} rows "
                "(limits.answer_rows); ask for fewer symbols, or with a smaller limit"
            )
            raise BadRequest(text, "limit")

    async def _pages(self, queries: Sequence[CandleQuery]) -> list[CandlePage]:
        """A page for each, some at a time."""
        slots = asyncio.Semaphore(SYMBOLS_AT_ONCE)

        async def page(query: CandleQuery) -> CandlePage:
            async with slots:
                return await self._gateway.history.candles.page(query, self._gateway.feed_of(query.symbol))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(page(query)) for query in queries]
        except ExceptionGroup as failed:
            # What is wrong with one is what is wrong with the request.
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    def _symbol(self, request: Request) -> str:
        symbol = check_symbol(request.path_params["symbol"])
        self._gateway.metadata(symbol)
        return symbol

    def _limit(self, params: Params) -> int:
        return page_limit(self._gateway, params)

    async def _made(
        self,
        asked: Asked,
        pieces: Sequence[Piece],
        rows: int,
        more: Sequence[Header],
        rests_on: Sequence[RestsOn] | None,
    ) -> Response:
        """A new answer, which is remembered where nothing that is still open can change it."""
        note_cut(asked.params, has_more=any(name == b"link" for name, _ in more))
        make = partial(
            make_answer,
            pieces,
            asked.shape,
            asked.key.encodings,
            route=asked.request.scope["route"].path,
            rows=rows,
            more=more,
            kept=rests_on is not None,
        )
        apart_from = COMPRESSED_APART_FROM_BYTES if asked.key.encodings else APART_FROM_BYTES
        large = sum(len(piece.text) for piece in pieces) > apart_from
        answer = await asyncio.to_thread(make) if large else make()
        if rests_on is not None:
            self._gateway.answers.keep(asked.key, answer, rests_on, asked.mark)
        return self._send(asked, answer, "made")

    def _send(self, asked: Asked, answer: Answer, source: str) -> Response:
        """As it is, or word that the client has it already."""
        metrics.HISTORY_ANSWERS.labels(source).inc()
        none_match = ", ".join(asked.request.headers.getlist("if-none-match")).encode("latin-1")
        if none_match and matches(none_match, answer.etag):
            response = Response(status_code=304)
            response.raw_headers = list(answer.validators)
            return response
        asked.request.scope[ROWS] = answer.rows
        response = Response()
        response.body, response.raw_headers = answer.body, list(answer.headers)
        return response


def position(found: Position | None) -> dict[str, Any] | None:
    """As the answers have it."""
    return None if found is None else messages.position(found.epoch, found.seq)


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


def _candle_rows(query: CandleQuery, page: CandlePage) -> CandleRows:
    return CandleRows(query.interval, page.rows, page.final, query.descending, symbol=query.symbol)


def _rests_on(query: CandleQuery, page: CandlePage) -> list[RestsOn] | None:
    if page.rests_on is None:
        return None
    return [RestsOn(query.symbol, query.interval.base, *page.rests_on)]


def _place(found: Position) -> str:
    return f"{found.epoch or ''}:{found.seq}"


def _more(asked: Asked, page: CandlePage | TickPage) -> list[Header]:
    """`Link` and `Ticker-Position`, where there is one."""
    more: list[Header] = []
    if page.next is not None:
        more.append(asked.link({"cursor": page.next}))
    if page.position is not None:
        more.append((b"ticker-position", _place(page.position).encode()))
    return more


def _more_of_many(asked: Asked, symbols: Sequence[str], pages: Sequence[CandlePage]) -> list[Header]:
    """The same of several symbols: the next page is of those that have one; each position with its symbol."""
    more: list[Header] = []
    nexts = {symbol: page.next for symbol, page in zip(symbols, pages, strict=True) if page.next is not None}
    if nexts:
        cursor = ",".join(f"{symbol}:{place}" for symbol, place in nexts.items())
        more.append(asked.link({"symbols": ",".join(nexts), "cursor": cursor}))
    places = [f"{s}={_place(page.position)}" for s, page in zip(symbols, pages, strict=True) if page.position]
    if places:
        more.append((b"ticker-position", ",".join(places).encode()))
    return more
