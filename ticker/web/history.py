"""The questions of history that REST answers: candles of one symbol and of many, trades, quotes; in every format."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from ticker import metrics
from ticker.errors import BadRequest
from ticker.history.candle_query import CandlePage, CandleQuery
from ticker.history.choices import FILLS
from ticker.history.formats import Writer
from ticker.history.rows import CandleRows, Rows, TickRows
from ticker.history.ticks import TickQuery
from ticker.store.tick_stream import Kind
from ticker.web.answering import Answering, Asked
from ticker.web.answers import RestsOn
from ticker.web.gateway import Gateway
from ticker.web.paging import page_headers, page_headers_of_many, page_limit, position
from ticker.web.params import Params, check_symbol

SYMBOLS_AT_ONCE = 8
"""Of one request: few enough that it leaves connections to others."""
MANY_AT_ONCE = 2
"""Requests for several symbols that are worked on; more wait for their turn, and not for connections, which others need."""

Handler = Callable[[Request], Awaitable[Response]]


class History:
    """The handlers, which share what a gateway remembers."""

    def __init__(self, gateway: Gateway, writer: Writer) -> None:
        self._gateway = gateway
        self._writer = writer
        self._answering = Answering(gateway)
        self._turns = asyncio.Semaphore(MANY_AT_ONCE)
        self._zone: ZoneInfo = gateway.config.market.zone

    async def candles(self, request: Request) -> Response:
        """GET /v1/candles/{symbol}"""
        asked = self._answering.asked(request, "candles")
        symbol = self._symbol(request)
        query = self._candle_query(asked.params, symbol, asked.params.text("cursor"))
        if remembered := await self._answering.remembered(asked, [symbol], query.end):
            return self._answering.send(asked, remembered, "remembered")
        with self._gateway.answers.making(asked.key):
            page = await self._gateway.history.candles.page(query, self._gateway.feed_of(symbol))
            pieces = await self._writer.one(
                asked.shape.format,
                _candle_rows(query, page),
                {"symbol": symbol, "interval": query.interval.name},
                {"next": page.next, "position": position(page.position)},
            )
            return await self._answering.made(
                asked, pieces, len(page.rows), page_headers(asked.request, page), _rests_on(query, page)
            )

    async def many_candles(self, request: Request) -> Response:
        """GET /v1/candles?symbols=A,B"""
        asked = self._answering.asked(request, "many_candles")
        known, unknown = asked.params.symbols(self._gateway.symbols)
        places = asked.params.cursors(known)
        # Read once, and also where no symbol is known: what is wrong with a request does not depend on that.
        every = self._candle_query(asked.params, "", None)
        queries = [replace(every, symbol=symbol, cursor=places.get(symbol)) for symbol in known]
        self._check_size(queries)
        if remembered := await self._answering.remembered(asked, known, queries[0].end if queries else None):
            return self._answering.send(asked, remembered, "remembered")
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
        headers = page_headers_of_many(asked.request, [query.symbol for query in queries], pages)
        return await self._answering.made(asked, pieces, rows, headers, places)

    def ticks(self, kind: Kind) -> Handler:
        """GET /v1/trades/{symbol} or /v1/quotes/{symbol}"""

        async def handler(request: Request) -> Response:
            asked = self._answering.asked(request, kind)
            params, symbol = asked.params, self._symbol(request)
            start, end = params.range(self._zone)
            descending = params.choice("order") == "desc"
            query = TickQuery(kind, symbol, start, end, self._limit(params), descending, params.text("cursor"))
            if remembered := await self._answering.remembered(asked, [symbol], end):
                return self._answering.send(asked, remembered, "remembered")
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
        return await self._answering.made(asked, pieces, len(page.entries), page_headers(asked.request, page), rests)

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


def _candle_rows(query: CandleQuery, page: CandlePage) -> CandleRows:
    return CandleRows(query.interval, page.rows, page.final, query.descending, symbol=query.symbol)


def _rests_on(query: CandleQuery, page: CandlePage) -> list[RestsOn] | None:
    if page.rests_on is None:
        return None
    return [RestsOn(query.symbol, query.interval.base, *page.rests_on)]
