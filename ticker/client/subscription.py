"""A subscription as an iterator of events: connects, comes back where the connection is lost, and goes on where it was."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from ticker.client.backoff import Backoff
from ticker.client.errors import UnknownSymbol, Unreachable, kind_of
from ticker.client.link import Link, Lost
from ticker.client.records import Disconnected, Event, Notice, Position
from ticker.client.tracker import Again, Tracker
from ticker.redact import without_secrets

log = logging.getLogger(__name__)

STABLE_S = 5.0
"""A connection that has lasted this long was a good one: after it, the waits begin small again."""
UNKNOWN_S = 30.0
"""A symbol that was there before may be unknown for this long, while a store is filled anew."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, and how."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    backoff: Backoff
    first_wait_s: float

    @property
    def shown(self) -> str:
        """The URL, fit to be seen."""
        return without_secrets(self.url)


class Subscription:
    """Events of one subscription, in order, each at most once; `async for` them, in one task at a time.

    It has a connection of its own, which is opened with the first event, or by `async with`. Nothing is read ahead beyond a
    bound: a loop that is too slow gets what the gateway does with slow clients, and resumes. It ends with `aclose`, with
    its block, or with the market that it is of.
    """

    def __init__(self, address: Address, tracker: Tracker, on_notice: Callable[[Notice], None] | None) -> None:
        self._address = address
        self._tracker = tracker
        self._on_notice = on_notice
        self._link: Link | None = None
        self._closing = asyncio.Event()
        self._attempt = 0
        self._begun_s: float | None = None
        self._unknown_since_s: float | None = None
        self._not_before_s = 0.0

    def position(self, symbol: str) -> Position | None:
        """Up to where the symbol's events have been handed out; None where nothing is known of it yet."""
        return self._tracker.position(symbol)

    @property
    def positions(self) -> dict[str, Position]:
        """The same of every symbol, as `resume` takes it."""
        found = {symbol: self._tracker.position(symbol) for symbol in self._tracker.symbols}
        return {symbol: position for symbol, position in found.items() if position}

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event. May be cancelled: what comes later comes with the next call."""
        tracker = self._tracker
        while not tracker.events:
            self._tell()
            await self._step()
        return tracker.hand_out()

    async def __aenter__(self) -> Self:
        """Connect, and wait until the gateway has said from where on events come."""
        while not self._tracker.answered:
            await self._step()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Unsubscribe; whoever waits for an event finds that there is none any more."""
        self._closing.set()
        link, self._link = self._link, None
        if link:
            await link.close()

    def __del__(self) -> None:
        # Left by `break`, nobody closes it: without this the gateway would go on sending to nobody.
        if self._link:
            self._link.abort()

    def _tell(self) -> None:
        """Notices of what has been handed out by now."""
        notices = self._tracker.notices
        while notices:
            notice = notices.popleft()
            if self._on_notice:
                self._on_notice(notice)

    async def _step(self) -> None:
        """Read one message, on a new connection where there is none."""
        if self._closing.is_set():
            raise StopAsyncIteration
        try:
            if self._link is None:
                await self._open()
            link = self._link
            if link is None:
                return
            message = await link.receive()
            await self._take(link, message)
        except Lost as lost:
            self._lost(lost)
        except Again:
            self._drop()

    async def _open(self) -> None:
        """Connect and ask for what comes after the last event."""
        wait_s = self._not_before_s - _now_s()
        if wait_s > 0:
            try:
                await asyncio.wait_for(self._closing.wait(), wait_s)
            except TimeoutError:
                pass
            else:
                return
        if self._begun_s is None:
            self._begun_s = _now_s()
        address, tracker = self._address, self._tracker
        asked = f"{tracker.wanted.described} at {address.shown}"
        link = await Link.open(address.url, address.headers, asked)
        if self._closing.is_set():
            link.abort()
            return
        self._link = link
        tracker.take(link.welcome)
        try:
            for request in tracker.requests():
                await link.send(request)
        except asyncio.CancelledError:
            # Half a subscription is none.
            self._drop()
            raise

    async def _take(self, link: Link, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "error":
            raise self._refusal(message)
        self._tracker.take(message)
        if kind == "subscribed" and self._tracker.refused:
            raise self._unknown()
        if kind == "subscribed":
            self._unknown_since_s = None
        elif kind == "heartbeat" and (request := self._tracker.ask_for_names()):
            await link.send(request)

    def _refusal(self, message: Mapping[str, Any]) -> Lost:
        """A request was refused: the same one may succeed later, or never."""
        code, text = str(message.get("code")), str(message.get("message"))
        error = kind_of(0, code)(self._tracker.wanted.described, 0, code, text)
        return Lost(text, error=error, fatal=not message.get("retry"))

    def _unknown(self) -> Lost:
        """Some symbols are unknown: a mistake where they always were, else perhaps for a moment."""
        names = ", ".join(one["symbol"] for one in self._tracker.refused[:10])
        detail = f"not known: {names}; /v1/symbols lists those that are"
        error = UnknownSymbol(self._tracker.wanted.described, 0, "unknown_symbol", detail)
        now_s = _now_s()
        self._unknown_since_s = self._unknown_since_s or now_s
        late = now_s - self._unknown_since_s > UNKNOWN_S
        return Lost(f"not known there now: {names}", error=error, fatal=late or not self._tracker.answered)

    def _lost(self, lost: Lost) -> None:
        """Plan the next attempt, or raise where there is no point in one."""
        link, now_s = self._link, _now_s()
        self._drop()
        if self._closing.is_set():
            return
        if lost.fatal and lost.error:
            self._closing.set()
            raise lost.error from None
        if not self._tracker.answered and not self._may_wait(lost, now_s):
            self._closing.set()
            raise (lost.error or self._unreachable(lost)) from None
        if link and now_s - link.since_s > STABLE_S:
            self._attempt = 0
        delay_s = max(lost.retry_after_s, self._address.backoff.delay_s(self._attempt, busy=lost.busy))
        self._attempt += 1
        self._not_before_s = now_s + delay_s
        if self._on_notice:
            self._on_notice(Disconnected(lost.reason, lost.code, delay_s))
        else:
            log.info("%s: %s; trying again in %.1f s", self._address.shown, lost.reason, delay_s)

    def _may_wait(self, lost: Lost, now_s: float) -> bool:
        """Whether a first attempt is repeated: where the gateway says so, or the caller has."""
        if lost.busy and not lost.error:
            return True
        return now_s - (self._begun_s or now_s) < self._address.first_wait_s

    def _unreachable(self, lost: Lost) -> Unreachable:
        return Unreachable(f"{self._address.shown} does not answer: {lost.reason}; is a gateway running there?")

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link:
            link.abort()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
