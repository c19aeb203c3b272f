"""The questions of the present that REST answers: snapshots, symbols and limits."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ticker import codec
from ticker.candles.candle import Candle
from ticker.history import cursor as cursors
from ticker.history.snapshots import Snapshot
from ticker.limits import LIMITS
from ticker.web import messages
from ticker.web.gateway import Gateway
from ticker.web.negotiation import shape
from ticker.web.operations import OPERATIONS
from ticker.web.paging import note_cut, page_limit
from ticker.web.params import Params, check_symbol
from ticker.web.security import address_of


class Rest:
    """The handlers, which share a gateway's catalog and history."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def snapshot(self, request: Request) -> Response:
        """GET /v1/snapshots/{symbol}"""
        self._params(request, "snapshot")
        symbol = self._symbol(request)
        found = await self._gateway.history.snapshots.read([symbol])
        return _json(_snapshot(symbol, found[symbol]))

    async def snapshots(self, request: Request) -> Response:
        """GET /v1/snapshots?symbols=A,B"""
        params = self._params(request, "snapshots")
        known, unknown = params.symbols(self._gateway.symbols)
        found = await self._gateway.history.snapshots.read(known)
        errors = [{"symbol": symbol, "code": "unknown_symbol"} for symbol in unknown]
        return _json({"snapshots": {s: _snapshot(s, snapshot) for s, snapshot in found.items()}, "errors": errors})

    async def symbols(self, request: Request) -> Response:
        """GET /v1/symbols: by name or part of it, in order of the symbols."""
        params = self._params(request, "symbols")
        wanted = (params.text("query") or "").strip().lower()
        limit, after = page_limit(self._gateway, params), ""
        if (cursor := params.text("cursor")) is not None:
            (after,) = cursors.read(f"symbols {wanted}", cursor, (str,))
        found = [
            row
            for symbol, row in self._gateway.symbols.items()
            if symbol > after and (wanted in symbol.lower() or wanted in str(row.get("name", "")).lower())
        ]
        more = len(found) > limit
        place = cursors.write(f"symbols {wanted}", [found[limit - 1]["symbol"]]) if more else None
        note_cut(params, has_more=more)
        return _json({"symbols": found[:limit], "next": place})

    async def symbol(self, request: Request) -> Response:
        """GET /v1/symbols/{symbol}"""
        self._params(request, "symbol")
        symbol = self._symbol(request)
        kept = await self._gateway.history.kept(symbol)
        return _json(self._gateway.metadata(symbol) | {"kept": kept})

    async def outages(self, request: Request) -> Response:
        """GET /v1/outages/{symbol}: those that touch [start, end)"""
        params = self._params(request, "outages")
        symbol = self._symbol(request)
        start, end = params.range(self._gateway.config.market.zone)
        rows = [
            {"from": outage.begin, "to": outage.end, "kind": outage.kind, "reason": outage.reason}
            for outage in await self._gateway.outages(symbol)
            if (end is None or outage.begin < end) and (start is None or outage.end is None or outage.end > start)
        ]
        return _json({"symbol": symbol, "outages": rows})

    async def limits(self, request: Request) -> Response:
        """GET /v1/limits: the table, with the values in force for whoever asks; null where one does not hold for him."""
        self._params(request, "limits")
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

    def _params(self, request: Request, name: str) -> Params:
        operation = OPERATIONS[name]
        params = Params(request.query_params.multi_items(), operation)
        shape(",".join(request.headers.getlist("accept")), params.text("format"), operation.formats)
        return params

    def _symbol(self, request: Request) -> str:
        symbol = check_symbol(request.path_params["symbol"])
        self._gateway.metadata(symbol)
        return symbol


def _json(body: dict[str, Any]) -> Response:
    return Response(codec.to_json(body), headers={"Cache-Control": "no-cache"}, media_type="application/json")


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
