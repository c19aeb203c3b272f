"""The one way in which anything is written of a symbol's ticks: claim the symbol, then append batch by batch, atomically."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ticker.candles.candle import Candle
from ticker.candles.interval import STORED
from ticker.candles.packed import unpack_open
from ticker.errors import AppendConflict, FencedError, StoreUnavailable
from ticker.store import keys
from ticker.store.connection import Part, answers

APPEND = files("ticker.store").joinpath("append.lua").read_bytes()
CLAIM = files("ticker.store").joinpath("claim.lua").read_bytes()

EPOCHS_KEPT = 64
"""Of so many epochs that have ended it is known where: a client that comes with an older one begins anew."""
BYTES_PER_WRITE = 1 << 16
"""What is packed before it is sent: the server works on it while the next is packed."""
BYTES_PER_TRIP = 1 << 20
"""What is sent before answers are read: bounds what the server must hold, and what is in doubt after a loss."""


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
        args: list[str | bytes] = [*_symbol_keys(self.symbol), keys.epochs(self.symbol)]
        for interval in STORED:
            args += keys.chunks(self.symbol, interval.name), keys.chunk_index(self.symbol, interval.name)
        args.insert(0, str(len(args)))
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
    """One connection that claims and appends; scripts are loaded anew wherever the server has lost them."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._writer = secrets.token_hex(4)
        self._shas: dict[bytes, str] = {}

    async def claim(self, symbols: Iterable[str]) -> list[Claimed]:
        """Become the one writer of each symbol: whoever was before is refused from now on."""
        calls = iter([["4", *_symbol_keys(symbol), self._writer] for symbol in symbols])
        replies: list[Any] = []
        while trip := await self._run(CLAIM, calls):
            replies += trip
        claimed: list[Claimed] = []
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
            fence, epoch, kept, cursor, trade_id, trade, quote_id, quote, backfilled = reply
            claimed.append(
                Claimed(
                    fence.decode(),
                    epoch.decode() if epoch else None,
                    StreamEnd.of(trade_id, trade),
                    StreamEnd.of(quote_id, quote),
                    unpack_open(kept),
                    cursor.decode() if cursor else None,
                    bool(backfilled),
                )
            )
        return claimed

    async def append(self, appends: Iterator[Append]) -> list[Exception | None]:
        """Append each; None where it is stored now (or was already), else why it was refused.

        One round trip of at most about `BYTES_PER_TRIP`: what is left in `appends` then was not asked for. Each is sent
        as soon as it is made. Raises `StoreUnavailable` where no answer came: then each that was asked for may or may not
        be stored, and sending the same again is safe.
        """
        replies = await self._run(APPEND, (append.arguments() for append in appends))
        return [self._refusal(reply) if isinstance(reply, Exception) else None for reply in replies]

    def _refusal(self, error: Exception) -> Exception:
        """Why an append was refused; a claim of our own whose answer got lost is no other writer."""
        if isinstance(error, FencedError) and str(error).endswith(self._writer):
            return AppendConflict(str(error))
        return error

    async def _run(self, script: bytes, calls: Iterator[list[Any]]) -> list[Any]:
        """Send script calls as they come and collect the answers."""
        part: Part = "append" if script is APPEND else "claim"
        with answers(part):
            if script not in self._shas:
                self._shas[script] = await self._client.script_load(script.decode())
            replies = await self._trip(self._shas[script], calls)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            # A server that was started anew has forgotten it; none of the calls has run.
            self._shas.pop(script, None)
            raise StoreUnavailable("the store was started anew")
        return replies

    async def _trip(self, sha: str, calls: Iterator[list[Any]]) -> list[Any]:
        pool: Any = self._client.connection_pool
        connection = await pool.get_connection()
        try:
            count = sent = 0
            waiting: list[bytes] = []
            waiting_bytes = 0
            for call in calls:
                # hiredis packs in C what redis-py's asyncio side packs in Python (redis-py issue 4176).
                waiting.append(hiredis.pack_command(("EVALSHA", sha, *call)))
                waiting_bytes += len(waiting[-1])
                count += 1
                if waiting_bytes > BYTES_PER_WRITE:
                    await connection.send_packed_command(waiting)
                    sent += waiting_bytes
                    waiting, waiting_bytes = [], 0
                    if sent > BYTES_PER_TRIP:
                        break
            if waiting:
                await connection.send_packed_command(waiting)
            return [await _reply(connection) for _ in range(count)]
        except BaseException:
            # Answers may still be under way: this connection must not be used again.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)


async def _reply(connection: Any) -> Any:
    """The next answer; what the server refused is returned, not raised, so that the answers behind it are read too."""
    try:
        return await connection.read_response(disable_decoding=True)
    except NoScriptError as error:
        return error
    except (RedisConnectionError, RedisTimeoutError):
        raise
    except RedisError as error:
        text = str(error)
        if text.startswith("FENCED"):
            return FencedError(text.removeprefix("FENCED "))
        if text.startswith("CONFLICT"):
            return AppendConflict(text.removeprefix("CONFLICT "))
        if isinstance(error, ResponseError):
            return StoreUnavailable(f"the store refuses to write: {text}")
        raise


def _symbol_keys(symbol: str) -> tuple[str, str, str, str]:
    return keys.state(symbol), keys.trades(symbol), keys.quotes(symbol), keys.epoch(symbol)
