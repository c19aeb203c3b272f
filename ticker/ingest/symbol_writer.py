"""Turns one symbol's ticks into appends: numbers them, folds their candles, and writes down what changed."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from feeds.tick import Quote, Tick, Trade
from ticker import codec
from ticker.candles.builder import CandleBuilder
from ticker.candles.candle import Candle, Candles
from ticker.candles.interval import STORED, Interval, bounds
from ticker.candles.packed import pack_open
from ticker.errors import BadTick, DuplicateTick
from ticker.ingest.backfill import Backfill
from ticker.store.append import Append, ChunkWrite, Run, StreamEnd
from ticker.store.candle_store import candles_event
from ticker.store.chunks import ChunkLog
from ticker.store.claim import Claimed, Left
from ticker.store.tick_stream import Kind

IDS_KEPT = 4_096
"""Ids of the newest trades and quotes that a repeated one is known by."""
CORRECTABLE = 3
"""So many of the newest backfilled candles can be reached by a trade that comes late."""
EPOCH_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class WriterRules:
    """What is the same for all symbols: the market's time zone, times in microseconds, the length of streams, and
    the ticks that are kept of one feed.
    """

    zone: ZoneInfo
    grace_us: int
    lateness_us: int
    max_len: int
    kept_ticks: int


class _Lane:
    """One of a symbol's two streams: where it ends, and the run of ticks that is being put together."""

    __slots__ = ("_quotes", "_run", "ms", "runs", "seq", "time")

    def __init__(self, end: StreamEnd, *, quotes: bool) -> None:
        self.seq, self.ms, self.time = end.seq, end.ms, end.time
        self.runs: list[Run] = []
        self._run: Run | None = None
        self._quotes = quotes

    def add(self, time: int, entry: codec.Entry) -> None:
        """The next tick; ids only rise, so one that comes late gets the milliseconds of the tick before it."""
        message, names, values = entry
        run = self._run
        if run is None or run.names != names:
            run = self._run = Run(self._quotes, StreamEnd(self.seq, self.ms, self.time), names)
            self.runs.append(run)
        ms = time // 1000
        if ms > self.ms:
            self.ms = ms
        self.seq += 1
        self.time = time
        run.count += 1
        args = run.args
        args.append(f"{self.ms}-{self.seq}")
        args += values
        args.append(message)

    @property
    def began(self) -> str:
        """The id at which the stream ends before what is being put together."""
        return self.runs[0].after.id if self.runs else f"{self.ms}-{self.seq}"

    def take_runs(self) -> list[Run]:
        """What was put together; the next tick begins a new run."""
        taken, self.runs, self._run = self.runs, [], None
        return taken


class SymbolWriter:
    """The one writer of a symbol: what it last stored, and the append that is being put together."""

    def __init__(self, symbol: str, rules: WriterRules, claimed: Claimed, tails: Sequence[Sequence[Candles]]) -> None:
        """`tails`: the newest chunks of each stored interval."""
        self.symbol = symbol
        self._rules = rules
        self.fence = claimed.fence
        self._batch = 0
        self.epoch = claimed.epoch
        self._new_epoch = None if claimed.epoch and not claimed.doubtful else new_epoch()
        self._server = claimed.server
        """The run of the server, where it is yet to be written down that nothing is missing."""
        self.cursor: str | None = claimed.cursor
        """Where the feed goes on after all that was appended, or is about to be."""
        self._trades, self._quotes = _Lane(claimed.trades, quotes=False), _Lane(claimed.quotes, quotes=True)
        self._ids: dict[str, None] = {}
        self._logs = [ChunkLog(interval, tail) for interval, tail in zip(STORED, tails, strict=True)]
        self.backfilled = claimed.backfilled
        self._told = False
        """Gateways were told that what they remember may be stale."""
        self._backfill: list[ChunkWrite] | None = None
        """What the next append stores of before the first tick."""
        self._builders: list[CandleBuilder] = []
        for interval, tail in zip(STORED, tails, strict=True):
            builder = CandleBuilder(interval, rules.zone, rules.grace_us, rules.lateness_us)
            builder.load(Candles.joined(tail).rows(), closed=True)
            builder.load(claimed.open[interval.name], closed=False)
            self._builders.append(builder)

    @property
    def ends(self) -> tuple[int, int]:
        """The last numbers given to trades and quotes."""
        return self._trades.seq, self._quotes.seq

    @property
    def newest_time(self) -> int:
        """The time of the newest tick, in microseconds; 0 where there is none."""
        return max(self._trades.time, self._quotes.time)

    @property
    def left(self) -> Left:
        """How the store must have the symbol, where nothing is under way."""
        return Left(self.fence, self.epoch, self._trades.began, self._quotes.began, not self.epoch_is_due)

    @property
    def epoch_is_due(self) -> bool:
        """Whether the next tick begins a new epoch."""
        return self._new_epoch is not None

    def due(self, clock: int) -> bool:
        """Whether there is something to append at this feed clock, without any tick."""
        for builder in self._builders:
            if builder.next_close is not None and builder.next_close <= clock:
                return True
        return self._backfill is not None

    def begin_epoch(self) -> None:
        """Number under a new name from here on: numbers that somebody may have seen are not in the store any more."""
        self._new_epoch = new_epoch()

    def precede(self, backfill: Backfill) -> bool:
        """Have the next append store what was before the first tick; False where it is not before all that is held.

        The newest of its candles are taken over like all that are stored: a late trade can still correct them.
        """
        _, minute_log, day_log = self._logs
        _, minute_builder, day_builder = self._builders
        held = [t for t in (minute_log.oldest, minute_builder.oldest) if t is not None]
        days = [t for t in (day_log.oldest, day_builder.oldest) if t is not None]
        is_past = backfill.part is not None and backfill.day in days and not day_builder.holds(backfill.day)
        if is_past or any(t < backfill.until for t in held) or any(t < backfill.day for t in days):
            return False
        self._backfill = minute_log.precede(backfill.minutes) + day_log.precede(backfill.days)
        for builder, chunks in ((minute_builder, backfill.minutes), (day_builder, backfill.days)):
            for chunk in chunks[-1:]:
                builder.load(chunk.candles.rows()[-CORRECTABLE:], closed=True)
        if backfill.part:
            day_builder.precede(backfill.part)
        self.backfilled = True
        return True

    def know(self, ids: Sequence[str]) -> None:
        """Ids that are stored already, oldest first."""
        self._ids |= dict.fromkeys(ids)

    def take(self, tick: Tick) -> None:
        """One more tick of the batch; raises `BadTick` or `DuplicateTick` and is unchanged where it is refused."""
        if tick.__class__ is Trade:
            price, size = codec.check_trade(tick)
            if not self._builders[-1].has_room(tick.time, price, size):
                raise BadTick("size", tick.size, "a size that keeps the day's volume below 2^60 millionths")
            if tick.id is not None:
                self._know_once("trades", tick.id)
            lane, time = self._trades, tick.time
            seq = lane.seq + 1
            lane.add(time, codec.trade_entry(tick, seq))
            for builder in self._builders:
                builder.add(time, price, size, seq)
        else:
            assert tick.__class__ is Quote
            codec.check_quote(tick)
            if tick.id is not None:
                self._know_once("quotes", tick.id)
            self._quotes.add(tick.time, codec.quote_entry(tick, self._quotes.seq + 1))

    def finish(self, clock: int, cursor: str | None, before: int = 0, *, whole: bool = True) -> Append | None:
        """The append of all that was taken and of the candles that close at this feed clock; None where there is nothing.

        `before` is the clock up to which everything is stored already: whoever remembers what was closed at it is told of
        what is not as it was. `whole`: nothing is missing any more once this is stored.
        """
        closed = [builder.close(clock) for builder in self._builders]
        closes = any(closed)
        traded = bool(self._trades.runs)
        trades_end = self._trades.began
        runs = self._trades.take_runs() + self._quotes.take_runs()
        backfill, self._backfill = self._backfill, None
        if not runs and not closes and backfill is None:
            return None
        self._batch += 1
        append = Append(self.symbol, self.fence, self._batch, self._rules.max_len, self.epoch)
        append.runs, append.trades_end = runs, trades_end
        if self._new_epoch and runs:
            append.new_epoch = self._new_epoch
            append.event = self._epoch_event(self._new_epoch, append)
            self.epoch, self._new_epoch = self._new_epoch, None
        if self._server and whole and not self.epoch_is_due:
            append.state["server"], self._server = self._server, ""
        if cursor is not None:
            append.state["cursor"] = self.cursor = cursor
        if backfill is not None:
            append.chunks += backfill
            append.state["backfilled"] = "1"
            # A new epoch says more: whoever hears of it reads everything anew.
            append.event = append.event or codec.to_json({"event": "backfill", "symbol": self.symbol}).decode()
        if traded or closes or backfill is not None:
            unclosed = {builder.interval.name: builder.unclosed() for builder in self._builders}
            append.state["open"] = pack_open(unclosed)
        if closes:
            keep_from = clock - self._rules.lateness_us - self._rules.grace_us
            for log, candles in zip(self._logs, closed, strict=True):
                append.chunks += log.put(candles, keep_from)
            _, minutes, _ = closed
            append.messages = [self._message(candle) for candle in minutes]
        if closes or not self._told:
            append.event = append.event or self._correction(closed, before)
        return append

    def _epoch_event(self, epoch: str, append: Append) -> str:
        """What gateways are told of an epoch that begins with this append."""
        trades, quotes = append.starts(self.ends)
        event = {"event": "epoch", "symbol": self.symbol, "epoch": epoch, "trades": trades, "quotes": quotes}
        return codec.to_json(event).decode()

    def _correction(self, closed: Sequence[Sequence[Candle]], before: int) -> str:
        """What gateways are told of closed candles that were closed at the clock before, and are not as they were."""
        if not self._told:
            # What was told by whoever wrote before us, or was not, nobody knows.
            self._told = True
            return candles_event(self.symbol)
        changed: dict[str, tuple[int, int]] = {}
        for interval, candles in zip(STORED, closed, strict=True):
            late = [c.time for c in candles if self._end(interval, c) + self._rules.grace_us <= before]
            if late:
                changed[interval.name] = late[0], late[-1] + 1
        return candles_event(self.symbol, changed) if changed else ""

    def _end(self, interval: Interval, candle: Candle) -> int:
        return bounds(interval, candle.time, self._rules.zone)[1]

    def _message(self, candle: Candle) -> str:
        return codec.candle_message(self.symbol, "1m", candle, final=True)

    def _know_once(self, kind: Kind, tick_id: str) -> None:
        """Refuse a tick whose id was seen of late; without an id, equal ticks are distinct ticks."""
        name = known_as(kind, tick_id)
        if name in self._ids:
            raise DuplicateTick(tick_id)
        self._ids[name] = None
        if len(self._ids) > IDS_KEPT:
            del self._ids[next(iter(self._ids))]


def known_as(kind: Kind, tick_id: str) -> str:
    """The name under which an id is remembered: trades and quotes may share ids."""
    return f"{kind}:{tick_id}"


def new_epoch() -> str:
    """A name that no earlier epoch is likely to have had: six letters and digits, none easily taken for another."""
    return "".join(secrets.choice(EPOCH_LETTERS) for _ in range(6))
