"""The one way in which anything of a symbol's ticks is written: batch by batch, each as one atomic step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from redis.asyncio import Redis

from ticker.candles.interval import STORED
from ticker.errors import AppendConflict, FencedError
from ticker.store import keys
from ticker.store.script_calls import ScriptCalls

EPOCHS_KEPT = 64
"""Of so many epochs that have ended it is known where: a client that comes with an older one begins anew."""
SYMBOLS_REMEMBERED = 16_384
"""Symbols whose keys are not put together again for each append; about 1 kB each."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """Where a symbol's stream of one kind stands: the sequence number and the milliseconds of its last id."""

    seq: int = 0
    ms: int = 0
    time: int = 0
    """The time of the last tick, in microseconds; 0 where none is kept."""

    @classmethod
    def of(cls, last_id: bytes, entry: Sequence[bytes] | None) -> "StreamEnd":
        """From what the claim script answers."""
        ms, seq = last_id.split(b"-")
        fields = dict(zip(entry[::2], entry[1::2], strict=True)) if entry else {}
        # An entry that somebody else has added may have no time, or one that is none; the id says when it came.
        text = fields.get(b"time", b"")
        return cls(int(seq), int(ms), int(text) if text.isdigit() else 1000 * int(ms) if entry else 0)

    @property
    def id(self) -> str:
        """The stream id."""
        return f"{self.ms}-{self.seq}"


@dataclass(slots=True)
class Run:
    """Ticks of one kind and one shape, one behind the other: `args` holds id, values, message of each, flat."""

    quotes: bool
    after: StreamEnd
    names: tuple[str, ...]
    count: int = 0
    args: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ChunkWrite:
    """One chunk of closed candles of a stored interval; `drop` names a field that it takes the place of."""

    interval: int
    field: str
    packed: bytes
    drop: str = ""


@dataclass(slots=True)
class Append:
    """Everything that one poll changes of one symbol."""

    symbol: str
    fence: str
    batch: int
    max_len: int
    epoch: str | None
    new_epoch: str | None = None
    event: str = ""
    """What gateways are told: a new epoch, or candles of before the first tick."""
    state: dict[str, str | bytes] = field(default_factory=dict)
    trades_end: str = ""
    """Where trades must stand before this append, which candles are folded from; needed also where it has no trade."""
    chunks: list[ChunkWrite] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def starts(self, ends: tuple[int, int]) -> tuple[int, int]:
        """The last numbers of trades and quotes before this append; those in `ends` where it has none of a kind."""
        firsts = {run.quotes: run.after.seq for run in reversed(self.runs)}
        return firsts.get(False, ends[0]), firsts.get(True, ends[1])

    def arguments(self) -> list[str | bytes]:
        """Keys and arguments of the append script."""
        args: list[str | bytes] = list(_counted_keys(self.symbol))
        args += self.fence, str(self.batch), self.epoch or "", self.new_epoch or "", self.event, keys.EVENTS
        args += str(self.max_len), keys.candles(self.symbol), self.trades_end, str(EPOCHS_KEPT)
        args.append(str(len(self.state)))
        for name, value in self.state.items():
            args += name, value
        args.append(str(len(self.chunks)))
        for chunk in self.chunks:
            args += str(chunk.interval + 1), chunk.drop, chunk.field, chunk.packed
        args.append(str(len(self.messages)))
        args += self.messages
        args.append(str(len(self.runs)))
        for run in self.runs:
            args += "3" if run.quotes else "2", run.after.id, str(len(run.names)), str(run.count)
            args += run.names
            args += run.args
        return args


class Appender:
    """Appends for one ingester process."""

    def __init__(self, client: Redis, ingester: str) -> None:
        """`ingester`: the id that its fences have."""
        self._calls = ScriptCalls(client, "append.lua", "append")
        self._ingester = ingester

    async def append(self, appends: Iterator[Append]) -> list[Exception | None]:
        """Append each; None where it is stored now (or was already), else why it was refused.

        One round trip of at most about `BYTES_PER_TRIP`: what is left in `appends` then was not asked for. Each is sent
        as soon as it is made. Raises `StoreUnavailable` where no answer came: then each that was asked for may or may not
        be stored, and sending the same again is safe.
        """
        replies = await self._calls.run(append.arguments() for append in appends)
        return [self._refusal(reply) if isinstance(reply, Exception) else None for reply in replies]

    def _refusal(self, error: Exception) -> Exception:
        """Why an append was refused; a claim of our own whose answer got lost is no other writer."""
        if isinstance(error, FencedError) and str(error).endswith(f"-{self._ingester}"):
            return AppendConflict(str(error))
        return error


@lru_cache(SYMBOLS_REMEMBERED)
def _counted_keys(symbol: str) -> tuple[str, ...]:
    """How many keys the append script gets, and the keys."""
    named = [*symbol_keys(symbol), keys.epochs(symbol)]
    for interval in STORED:
        named += keys.chunks(symbol, interval.name), keys.chunk_index(symbol, interval.name)
    return str(len(named)), *named


def symbol_keys(symbol: str) -> tuple[str, str, str, str]:
    """The keys of a symbol that every script about it begins with."""
    return keys.state(symbol), keys.trades(symbol), keys.quotes(symbol), keys.epoch(symbol)
