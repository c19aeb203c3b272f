"""A gateway as a program sees it: history and state by asking, events by subscribing."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self, overload
from urllib.parse import urlsplit
from weakref import WeakSet

from ticker.client import answers, history, records
from ticker.client.answers import Limit, Outage, Snapshot, Symbol
from ticker.client.backoff import Backoff
from ticker.client.checks import (
    Resume,
    check_channel,
    check_delivery,
    check_interval,
    check_symbol,
    checked_symbols,
    positions_of,
)
from ticker.client.errors import Misuse, UnknownSymbol
from ticker.client.history import PAGE_ROWS, Moment, OnProgress, Range, range_of
from ticker.client.records import Candle, Notice, Position, Quote, Trade
from ticker.client.rest import Rest
from ticker.client.shapes import Columns, Rows, Shape, check_shape, shaped
from ticker.client.subscription import Address, Subscription
from ticker.client.tracker import ALL, Tracker, Wanted

TIMEOUT_S = 30.0
DEFAULT_BACKOFF = Backoff()


def connect(
    url: str,
    key: str | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
    first_wait_s: float = 0.0,
    backoff: Backoff = DEFAULT_BACKOFF,
) -> "Market":
    """A gateway by its address, such as `http://127.0.0.1:8000`; use it with `async with`.

    `key` is sent as a bearer token. `timeout_s` bounds each step of a REST request. Once a subscription has begun, a lost
    connection is made again for as long as it takes, with the waits of `backoff`; the very first attempt raises
    `Unreachable` where nobody answers, unless `first_wait_s` says for how long to go on trying. All in seconds.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise Misuse(f"url is {url!r}; expected an address such as http://127.0.0.1:8000, or https")
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    base = url.rstrip("/")
    address = Address(f"{base.replace('http', 'ws', 1)}/v1/stream", headers, backoff, first_wait_s)
    return Market(Rest(base, headers, backoff, timeout_s), address)


class Market:
    """One gateway. Made by `connect`; everything it has opened ends with its `async with` block.

    Times that are given may be whole microseconds since 1970, datetimes with a time zone, dates (their midnight in the
    market's time zone) or texts that REST takes.
    """

    def __init__(self, rest: Rest, address: Address) -> None:
        self._rest = rest
        self._address = address
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._trackers: dict[tuple[str, str | None, str], Tracker] = {}
        self._limits: dict[str, Limit] | None = None

    async def __aenter__(self) -> Self:
        await self._rest.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(subscription.aclose() for subscription in list(self._subscriptions)))
        await self._rest.__aexit__(kind, error, trace)

    # History

    @overload
    async def candles(
        self,
        symbol: str,
        interval: str = "1m",
        start: Moment = None,
        end: Moment = None,
        limit: int | None = None,
        forming: bool = False,
        as_: Literal["rows"] = "rows",
        *,
        progress: OnProgress | None = None,
    ) -> Rows[Candle]: ...
    @overload
    async def candles(
        self,
        symbol: str,
        interval: str = "1m",
        start: Moment = None,
        end: Moment = None,
        limit: int | None = None,
        forming: bool = False,
        *,
        as_: Literal["columns"],
        progress: OnProgress | None = None,
    ) -> Columns: ...
    @overload
    async def candles(
        self,
        symbol: str,
        interval: str = "1m",
        start: Moment = None,
        end: Moment = None,
        limit: int | None = None,
        forming: bool = False,
        *,
        as_: Shape,
        progress: OnProgress | None = None,
    ) -> Any: ...
    async def candles(
        self,
        symbol: str,
        interval: str = "1m",
        start: Moment = None,
        end: Moment = None,
        limit: int | None = None,
        forming: bool = False,
        as_: Shape = "rows",
        *,
        progress: OnProgress | None = None,
    ) -> Any:
        """Candles that open in [start, end), oldest first; turns pages by itself.

        With `start` the first `limit` from there on, or all; without it the newest `limit`, or 500. `forming`: with the
        candle that is not closed yet. `as_`: `rows`, `columns`, or a frame of `pandas` or `polars`. `progress` is called
        after each page. The result has a `position`, from which `subscribe` goes on, where it reaches the present.
        """
        check_interval(interval)
        more = {"interval": interval} | ({"forming": "true"} if forming else {})
        asked = range_of("candles", symbol, start, end, limit, more)
        return await self._read(asked, as_, progress, lambda row: records.candle(row, symbol, interval))

    @overload
    async def trades(
        self,
        symbol: str,
        start: Moment = None,
        end: Moment = None,
        limit: int | None = None,
        as_: Literal["rows"] = "rows",
        *,
        progress: OnProgress | None = None,
    ) -> Rows[Trade]: ...
    @overload
    async def trades(
        self,
        symbol: str,
        start: Moment = None,
        end: Moment = None,
        limit: int | None = None,
        *,
        as_: Literal["columns"],
        progress: OnProgress | None = None,
    ) -> Columns: ...
    @overload
    async def trades(
        self,
        symbol: str,
        start: Moment = None,
        end: Moment = None,
        limit: int | None = None,
        *,
        as_: Shape,
        progress: OnProgress | None = None,
    ) -> Any: ...
    async def trades(
        self,
        symbol: str,
        start: Moment = None,
        end: Moment = None,
        limit: int | None = None,
        as_: Shape = "rows",
        *,
        progress: OnProgress | None = None,
    ) -> Any:
        """Trades with start <= time < end that are still kept, in order of `seq`; the rest as with `candles`."""
        asked = range_of("trades", symbol, start, end, limit)
        return await self._read(asked, as_, progress, lambda row: records.trade(row, symbol))

    @overload
    async def quotes(
        self,
        symbol: str,
        start: Moment = None,
        end: Moment = None,
        limit: int | None = None,
        as_: Literal["rows"] = "rows",
        *,
        progress: OnProgress | None = None,
    ) -> Rows[Quote]: ...
    @overload
    async def quotes(
        self,
        symbol: str,
        start: Moment = None,
        end: Moment = None,
        limit: int | None = None,
        *,
        as_: Literal["columns"],
        progress: OnProgress | None = None,
    ) -> Columns: ...
    @overload
    async def quotes(
        self,
        symbol: str,
        start: Moment = None,
        end: Moment = None,
        limit: int | None = None,
        *,
        as_: Shape,
        progress: OnProgress | None = None,
    ) -> Any: ...
    async def quotes(
        self,
        symbol: str,
        start: Moment = None,
        end: Moment = None,
        limit: int | None = None,
        as_: Shape = "rows",
        *,
        progress: OnProgress | None = None,
    ) -> Any:
        """Quotes, as `trades` gives trades."""
        asked = range_of("quotes", symbol, start, end, limit)
        return await self._read(asked, as_, progress, lambda row: records.quote(row, symbol))

    async def _read(
        self, asked: Range, shape: Shape, progress: OnProgress | None, record: Callable[[Mapping[str, Any]], Any]
    ) -> Any:
        check_shape(shape)
        rows, position = await history.read(self._rest, asked, await self._page_rows(asked.limit), progress)
        return shaped(asked.kind, rows, position, shape, record)

    async def _page_rows(self, wanted: int | None) -> int:
        """The most rows that this gateway gives at once; it is not asked where that cannot matter."""
        if wanted is not None and wanted <= 1:
            return wanted
        if self._limits is None:
            self._limits = await self.limits()
        limit = self._limits.get("page_rows")
        return limit.value if limit and limit.value else PAGE_ROWS

    # State

    async def snapshot(self, symbol: str) -> Snapshot:
        """Last trade and quote, minute, day, and the change since the previous close."""
        return answers.snapshot(await self._rest.get(f"/v1/snapshots/{check_symbol(symbol)}"))

    async def snapshots(self, symbols: Iterable[str] = (ALL,)) -> dict[str, Snapshot]:
        """The same for several symbols, or for all."""
        names = checked_symbols(symbols)
        query = {"symbols": ALL if ALL in names else ",".join(names)}
        body = await self._rest.get("/v1/snapshots", query)
        if unknown := [one["symbol"] for one in body["errors"]]:
            raise UnknownSymbol("snapshots", 0, "unknown_symbol", f"not known: {', '.join(unknown[:10])}")
        return {symbol: answers.snapshot(one) for symbol, one in body["snapshots"].items()}

    async def symbols(self, query: str = "") -> list[Symbol]:
        """The symbols there are, all or those with `query` in symbol or name, in order."""
        params = {"limit": str(await self._page_rows(None))} | ({"query": query} if query else {})
        return [
            answers.symbol(row) async for page in self._rest.pages("/v1/symbols", params) for row in page["symbols"]
        ]

    async def outages(self, symbol: str, start: Moment = None, end: Moment = None) -> list[Outage]:
        """Times in [start, end) in which the symbol's feed or the store was away, and why; oldest first."""
        given = {"start": history.moment(start, "start"), "end": history.moment(end, "end")}
        params = {name: value for name, value in given.items() if value is not None}
        body = await self._rest.get(f"/v1/outages/{check_symbol(symbol)}", params)
        return [answers.outage(one) for one in body["outages"]]

    async def limits(self) -> dict[str, Limit]:
        """Every limit in force for us, by name."""
        body = await self._rest.get("/v1/limits")
        return {name: answers.limit(name, row) for name, row in body["limits"].items()}

    # Events

    def subscribe(
        self,
        channel: str,
        symbols: str | Iterable[str],
        interval: str | None = None,
        *,
        deliver: Literal["all", "latest"] = "all",
        every_ms: int | None = None,
        snapshot: bool = True,
        resume: Resume = None,
        on_notice: Callable[[Notice], None] | None = None,
    ) -> Subscription:
        """Events of a channel: `trades`, `quotes`, or `candles` of an interval; `symbols` are names, or `*` for all.

        `deliver="latest"`: of each symbol the newest only, at most one in `every_ms` milliseconds. `snapshot`: the last
        message of each symbol first. `resume`: what comes after a position, or after one for each symbol, instead.
        `on_notice` is called with `Disconnected` and `Resumed`, from where the events are awaited.
        """
        names = checked_symbols(symbols)
        check_channel(channel, interval)
        check_delivery(deliver, every_ms)
        wanted = Wanted(channel, names, interval, deliver, every_ms, snapshot)
        tracker = Tracker(wanted, positions_of(resume, names))
        tracker.on_known = lambda symbol: self._trackers.__setitem__((channel, interval, symbol), tracker)
        for symbol in tracker.symbols:
            tracker.on_known(symbol)
        made = Subscription(self._address, tracker, on_notice)
        self._subscriptions.add(made)
        return made

    def position(self, channel: str, symbol: str, interval: str | None = None) -> Position | None:
        """Up to where events have been handed out, by the newest subscription of it, also one that has ended.

        None where there was none, or no word of the symbol yet.
        """
        check_channel(channel, interval)
        tracker = self._trackers.get((channel, interval, symbol))
        return tracker.position(symbol) if tracker else None
