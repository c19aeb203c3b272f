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

    @classmethod
    def of(cls, reply: Sequence[Any]) -> "Claimed":
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
        )


class Claims:
    """Claims symbols for one ingester process. A fence is `<number>-<id of the ingester>`; the number only rises."""

    def __init__(self, client: Redis, lease: Lease) -> None:
        self._client = client
        self._lease = lease
        self._claim = ScriptCalls(client, "claim.lua", "claim")
        self._give_up = ScriptCalls(client, "give_up.lua", "claim")
        self._holders: dict[str, str] = {}
        """Who held symbols when they were last wanted here, and lived."""
        self._patient_until_s = 0.0

    async def claim(self, symbols: Sequence[str]) -> list[Claimed]:
        """Become the writer of all these symbols, or of none.

        Raises `HeldError` where another ingester that lives writes one of them, or may be about to go on with it, and
        `StoreUnavailable`.
        """
        try:
            await self._check_known_holder(symbols)
            # Whoever reads our fence must find us alive.
            await self._lease.renew()
            fences = await self._fences(symbols)
            await self._check_holders(fences)
            claimed = await self._take_all(fences)
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

    async def _fences(self, symbols: Sequence[str]) -> dict[str, str]:
        with answers("claim"):
            async with self._client.pipeline(transaction=False) as pipe:
                for symbol in symbols:
                    pipe.hget(keys.state(symbol), "fence")
                found: list[bytes | None] = await pipe.execute()
        return {symbol: (fence or b"").decode() for symbol, fence in zip(symbols, found, strict=True)}

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

    async def _take_all(self, fences: Mapping[str, str]) -> dict[str, Claimed]:
        """Claim where the fences are still these; what was claimed is given back where another was faster."""
        symbols, taken = list(fences), dict[str, Claimed]()
        # The first alone: of two that want the same symbols, one gets all of them.
        for part in (symbols[:1], symbols[1:]):
            calls = iter([["4", *symbol_keys(symbol), self._lease.id, fences[symbol]] for symbol in part])
            replies = dict(zip(part, await self._claim.run_all(calls), strict=True))
            taken |= {symbol: Claimed.of(reply) for symbol, reply in replies.items() if isinstance(reply, list)}
            for error in (reply for reply in replies.values() if isinstance(reply, Exception)):
                await self._give_back(taken)
                raise HeldError(str(error)) if isinstance(error, FencedError) else error
        return taken

    async def _give_back(self, claimed: Mapping[str, Claimed]) -> None:
        await self._give_up.run_all(iter([["1", keys.state(symbol), one.fence] for symbol, one in claimed.items()]))


def holder_of(fence: str) -> str:
    """The id of the ingester that a fence names; '' where it names none."""
    return fence.partition("-")[2]
