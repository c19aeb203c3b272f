"""Makes an ingester the one writer of symbols, where no other that lives writes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from redis.asyncio import Redis

from ticker.candles.candle import Candle
from ticker.candles.packed import unpack_open
from ticker.errors import FencedError, HeldError, StoreUnavailable
from ticker.store import keys
from ticker.store.append import StreamEnd, symbol_keys
from ticker.store.connection import answers
from ticker.store.lease import LEASE_S, Lease
from ticker.store.script_calls import ScriptCalls


@dataclass(frozen=True, slots=True)
class Claimed:
    """A symbol this writer may append to, and what the store holds of it."""

    fence: str
    epoch: str | None
    trades: StreamEnd
    quotes: StreamEnd
    open: dict[str, list[Candle]]
    cursor: str | None
    backfilled: bool = False
    """What was before its first tick is stored."""
    server: str = ""
    """The run of the server, to be written down by the append after which nothing is missing; '' where that is done."""
    doubtful: bool = False
    """Numbers that somebody has seen may be missing, so that the next tick begins a new epoch."""

    @classmethod
    def of(cls, reply: Sequence[Any], server: str = "", *, doubtful: bool = False) -> "Claimed":
        """From what the claim script answers."""
        fence, epoch, kept, cursor, trade_id, trade, quote_id, quote, backfilled = reply
        return cls(
            fence.decode(),
            epoch.decode() if epoch else None,
            StreamEnd.of(trade_id, trade),
            StreamEnd.of(quote_id, quote),
            unpack_open(kept),
            cursor.decode() if cursor else None,
            bool(backfilled),
            server,
            doubtful,
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of a symbol before it is claimed."""

    fence: str
    server: str
    """The run of the server under which its numbers were last known to be whole."""
    clean: str
    """The fence of whoever stopped in order."""

    def is_doubtful(self, server: str) -> bool:
        """Whether numbers may be lost: the server was started anew, and no writer was there to see what it still had."""
        return bool(self.fence) and self.server != server and self.clean != self.fence


@dataclass(frozen=True, slots=True)
class Left:
    """How a writer has left a symbol: the ids are those of the last trade and quote."""

    fence: str
    epoch: str | None
    trade_id: str
    quote_id: str
    whole: bool
    """Whether all numbers that somebody has seen are there: not where a new epoch is yet to begin."""


class Claims:
    """Claims symbols for one ingester process. A fence is `<number>-<id of the ingester>`; the number only rises."""

    def __init__(self, client: Redis, lease: Lease, *, restored: bool = False) -> None:
        """`restored`: the store was put back to an earlier copy, which may itself have been left in order."""
        self._restored = restored
        self._client = client
        self._lease = lease
        self._claim = ScriptCalls(client, "claim.lua", "claim")
        self._verify = ScriptCalls(client, "verify.lua", "claim")
        self._give_up = ScriptCalls(client, "give_up.lua", "claim")
        self._holders: dict[str, str] = {}
        """Who held symbols when they were last wanted here, and lived."""
        self._patient_until_s = 0.0
        self._doubtful: set[str] = set()
        """What was doubtful when this process claimed it first."""

    async def claim(self, symbols: Sequence[str]) -> list[Claimed]:
        """Become the writer of all these symbols, or of none.

        Raises `HeldError` where another ingester that lives writes one of them, or may be about to go on with it, and
        `StoreUnavailable`.
        """
        try:
            await self._check_known_holder(symbols)
            # Whoever reads our fence must find us alive.
            await self._lease.renew()
            server, found = await self._look(symbols)
            await self._check_holders({symbol: one.fence for symbol, one in found.items()})
            claimed = await self._take_all(server, found)
        except StoreUnavailable:
            # Who holds the symbols has lost the store too, and his sign of life may be the later one when it is back.
            if not self._holders.keys().isdisjoint(symbols):
                self._patient_until_s = monotonic() + LEASE_S
            raise
        for symbol in symbols:
            self._holders.pop(symbol, None)
        return [claimed[symbol] for symbol in symbols]

    async def _check_known_holder(self, symbols: Sequence[str]) -> None:
        """Ask of one holder only, as long as he lives: that is cheap however many symbols there are."""
        if symbol := next((symbol for symbol in symbols if symbol in self._holders), None):
            self._refuse_held({symbol: self._holders[symbol]}, await self._lease.living({self._holders[symbol]}))

    async def changed(self, left: Mapping[str, Left]) -> list[str]:
        """Those symbols that are not as their writer has left them. Raises `StoreUnavailable`."""
        server, _ = await self._look([])
        calls = [
            [
                "4",
                *symbol_keys(symbol),
                one.fence,
                one.epoch or "",
                one.trade_id,
                one.quote_id,
                server if one.whole else "",
            ]
            for symbol, one in left.items()
        ]
        replies = await self._verify.run_all(iter(calls))
        return [symbol for symbol, reply in zip(left, replies, strict=True) if reply != 1]

    async def mark_clean(self, fences: Mapping[str, str]) -> None:
        """Write down, last of all, that the holder of these fences has stopped in order. Raises `StoreUnavailable`.

        Another claim, of whomever, has another fence: it makes the mark void without having to know of it.
        """
        if fences:
            with answers("claim"):
                await self._client.hset(keys.CLEAN, mapping=fences)  # type: ignore[arg-type]

    async def _look(self, symbols: Sequence[str]) -> tuple[str, dict[str, _Found]]:
        """The run of the server, and what it knows of the symbols."""
        with answers("claim"):
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.info("server")
                for symbol in symbols:
                    pipe.hget(keys.CLEAN, symbol)
                    pipe.hmget(keys.state(symbol), "fence", "server")
                info, *told = await pipe.execute()
        found = {
            symbol: _Found(*((text or b"").decode() for text in (*state, mark)))
            for symbol, mark, state in zip(symbols, told[::2], told[1::2], strict=True)
        }
        return str(info.get("run_id", "")), found

    async def _check_holders(self, fences: Mapping[str, str]) -> None:
        holders = {symbol: holder_of(fence) for symbol, fence in fences.items()}
        self._refuse_held(holders, await self._lease.living(set(holders.values())))
        known = {symbol: self._holders[symbol] for symbol in fences if symbol in self._holders}
        if any(holders[symbol] != holder for symbol, holder in known.items()):
            # The store has lost what its holder wrote there, and he may be about to put it back.
            self._holders |= {symbol: holders[symbol] for symbol in known}
            self._patient_until_s = monotonic() + LEASE_S
        if known and monotonic() < self._patient_until_s:
            raise HeldError("the store was away or has lost something; whoever wrote these symbols before goes first")

    def _refuse_held(self, holders: Mapping[str, str], living: Mapping[str, str]) -> None:
        held = {symbol: holder for symbol, holder in holders.items() if holder in living}
        self._holders |= held
        for symbol, holder in held.items():
            raise HeldError(f"{symbol} is written by ingester {holder} ({living[holder]})")

    async def _take_all(self, server: str, found: Mapping[str, _Found]) -> dict[str, Claimed]:
        """Claim where the fences are still these; what was claimed is given back where another was faster."""
        symbols, taken, refused = list(found), dict[str, Claimed](), list[Exception]()
        doubtful = {symbol for symbol, one in found.items() if self._is_doubtful(symbol, one, server)}
        self._doubtful |= doubtful
        # What is our own may have lost something, too: whoever claims it again has yet to compare.
        unsure = doubtful | {symbol for symbol, one in found.items() if holder_of(one.fence) in ("", self._lease.id)}
        runs = {symbol: "" if symbol in unsure else server for symbol in symbols}
        # The first alone: of two that want the same symbols, one gets all of them.
        for part in (symbols[:1], symbols[1:]):
            calls = ([*self._call(symbol, found[symbol].fence), runs[symbol]] for symbol in part)
            for symbol, reply in zip(part, await self._claim.run_all(iter(calls)), strict=True):
                if isinstance(reply, list):
                    due = "" if runs[symbol] else server
                    taken[symbol] = Claimed.of(reply, due, doubtful=symbol in doubtful)
                else:
                    refused.append(reply)
            if refused:
                await self._give_back(taken)
                raise HeldError(str(refused[0])) if isinstance(refused[0], FencedError) else refused[0]
        return taken

    def _is_doubtful(self, symbol: str, found: _Found, server: str) -> bool:
        if holder_of(found.fence) == self._lease.id:
            # It compares what the store has with what it has seen, but what was doubtful before its time stays so.
            return symbol in self._doubtful and found.server != server
        return self._restored or found.is_doubtful(server)

    def _call(self, symbol: str, fence: str) -> list[str]:
        return ["4", *symbol_keys(symbol), self._lease.id, fence]

    async def _give_back(self, claimed: Mapping[str, Claimed]) -> None:
        await self._give_up.run_all(iter([["1", keys.state(symbol), one.fence] for symbol, one in claimed.items()]))


def holder_of(fence: str) -> str:
    """The id of the ingester that a fence names; '' where it names none."""
    return fence.partition("-")[2]
