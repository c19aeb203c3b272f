"""The questions that REST answers: candles, trades, quotes, snapshots and symbols."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ticker import codec, metrics
from ticker.candles.candle import Candle
from ticker.history import cursor as cursors
from ticker.history.candles import CandleQuery, Position
from ticker.history.snapshots import Snapshot
from ticker.history.ticks import TickQuery
from ticker.limits import LIMITS
from ticker.store.tick_stream import Kind
from ticker.web import messages
from ticker.web.gateway import Gateway
from ticker.web.params import DIGITS, Params, check_accept, check_symbol
from ticker.web.security import address_of

PAGE = ("start", "end", "limit", "cursor", "order", "format")
ORDER = ("asc", "desc")

Handler = Callable[[Request], Awaitable[Response]]


class Rest:
    """The handlers, which share a gateway's catalog and history."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._zone = gateway.config.market.zone

    async def candles(self, request: Request) -> Response:
        """GET /v1/candles/{symbol}"""
        params = self._params(request, "interval", "forming", *PAGE)
        start, end = params.range(self._zone)
        symbol = self._symbol(request)
        query = CandleQuery(
            symbol,
            params.interval(),
            start,
            end,
            self._limit(params),
            descending=params.choice("order", ORDER, "asc") == "desc",
            forming=params.flag("forming"),
            cursor=params.text("cursor"),
        )
        page = await self._gateway.history.candles.page(query, self._gateway.feed_of(symbol))
        self._note_cut(params, page.next)
        rows = [codec.candle_row(candle, final=final) for candle, final in page.candles]
        body = {"symbol": symbol, "interval": query.interval.name, "candles": rows}
        return _json(body | {"next": page.next, "position": _position(page.position)})

    def ticks(self, kind: Kind) -> Handler:
        """GET /v1/trades/{symbol} or /v1/quotes/{symbol}"""

        async def handler(request: Request) -> Response:
            params = self._params(request, *PAGE)
            start, end = params.range(self._zone)
            symbol = self._symbol(request)
            descending = params.choice("order", ORDER, "asc") == "desc"
            query = TickQuery(kind, symbol, start, end, self._limit(params), descending, params.text("cursor"))
            page = await self._gateway.history.ticks.page(query)
            self._note_cut(params, page.next)
            rows = [_tick_row(entry.fields) for entry in page.entries]
            return _json({"symbol": symbol, kind: rows, "next": page.next, "position": _position(page.position)})

        return handler

    async def snapshot(self, request: Request) -> Response:
        """GET /v1/snapshots/{symbol}"""
        self._params(request, "format")
        symbol = self._symbol(request)
        found = await self._gateway.history.snapshots.read([symbol])
        return _json(_snapshot(symbol, found[symbol]))

    async def snapshots(self, request: Request) -> Response:
        """GET /v1/snapshots?symbols=A,B"""
        params = self._params(request, "symbols", "format")
        known, unknown = params.symbols(self._gateway.symbols)
        found = await self._gateway.history.snapshots.read(known)
        errors = [{"symbol": symbol, "code": "unknown_symbol"} for symbol in unknown]
        return _json({"snapshots": {s: _snapshot(s, snapshot) for s, snapshot in found.items()}, "errors": errors})

    async def symbols(self, request: Request) -> Response:
        """GET /v1/symbols: by name or part of it, in order of the symbols."""
        params = self._params(request, "query", "limit", "cursor", "format")
        wanted = (params.text("query") or "").strip().lower()
        limit, after = self._limit(params), ""
        if (cursor := params.text("cursor")) is not None:
            (after,) = cursors.read(f"symbols {wanted}", cursor, (str,))
        found = [
            row
            for symbol, row in self._gateway.symbols.items()
            if symbol > after and (wanted in symbol.lower() or wanted in str(row.get("name", "")).lower())
        ]
        more = len(found) > limit
        place = cursors.write(f"symbols {wanted}", [found[limit - 1]["symbol"]]) if more else None
        self._note_cut(params, place)
        return _json({"symbols": found[:limit], "next": place})

    async def symbol(self, request: Request) -> Response:
        """GET /v1/symbols/{symbol}"""
        self._params(request, "format")
        return _json(self._gateway.metadata(self._symbol(request)))

    async def limits(self, request: Request) -> Response:
        """GET /v1/limits: the table, with the values in force for whoever asks; null where one does not hold for him."""
        self._params(request, "format")
        values = self._gateway.limits(address_of(request))
        rows = {
            row.name: {
                "value": values[row.name],
                "unit": row.unit,
                "per": row.per,
                "code": row.code or None,
                "setting": row.setting,
                "description": row.description,
            }
            for row in LIMITS.values()
        }
        return _json({"limits": rows})

    def _params(self, request: Request, *known: str) -> Params:
        params = Params(request.query_params.multi_items(), known)
        check_accept(request.headers.get("accept"), params.text("format"))
        return params

    def _symbol(self, request: Request) -> str:
        symbol = check_symbol(request.path_params["symbol"])
        self._gateway.metadata(symbol)
        return symbol

    def _limit(self, params: Params) -> int:
        limits = self._gateway.config.limits
        if asks_for_more(params.text("limit"), limits.page_rows):
            metrics.met("page_rows")
        return params.limit(min(limits.page_rows_default, limits.page_rows), limits.page_rows)

    def _note_cut(self, params: Params, place: str | None) -> None:
        """Count a page that ends where it does because nobody said otherwise."""
        if place is not None and params.text("limit") is None:
            metrics.met("page_rows_default")


def asks_for_more(limit: str | None, most: int) -> bool:
    """Whether a `limit` is a number, and larger than allowed."""
    if limit is None or not DIGITS.fullmatch(limit) or limit.startswith("-"):
        return False
    return len(limit) > 9 or int(limit) > most


def _json(body: dict[str, Any]) -> Response:
    return Response(codec.to_json(body), headers={"Cache-Control": "no-cache"}, media_type="application/json")


def _position(position: Position | None) -> dict[str, Any] | None:
    return None if position is None else messages.position(position.epoch, position.seq)


def _tick_row(fields: list[bytes]) -> dict[str, Any]:
    """A tick as the contract lists it: time first, seq last."""
    row = codec.entry_fields(fields)
    return {"time": row.pop("time")} | row


def _candle(candle: tuple[Candle, bool] | None) -> dict[str, Any] | None:
    return None if candle is None else codec.candle_row(candle[0], final=candle[1])


def _snapshot(symbol: str, snapshot: Snapshot) -> dict[str, Any]:
    trades, quotes = snapshot.trades, snapshot.quotes
    trade = _tick_row(trades.entry) if trades.entry else None
    close = codec.from_millionths(snapshot.previous_close)
    change = percent = None
    if trade and snapshot.previous_close:
        moved = codec.millionths(trade["price"], "price") - snapshot.previous_close
        change = codec.from_millionths(moved)
        percent = round(100 * moved / snapshot.previous_close, 4)
    return {
        "symbol": symbol,
        "trade": trade,
        "quote": _tick_row(quotes.entry) if quotes.entry else None,
        "minute": _candle(snapshot.minute),
        "day": _candle(snapshot.day),
        "previous_close": close,
        "change": change,
        "change_percent": percent,
        "positions": {
            "trades": messages.position(trades.epoch, trades.end.seq),
            "quotes": messages.position(quotes.epoch, quotes.end.seq),
        },
    }
