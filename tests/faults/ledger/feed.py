"""The ledger feed: makes the seeded sequence, writes down what it makes, and goes on from its cursor after a restart."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from pydantic import BaseModel, ConfigDict, Field

from feeds.feed import CLOCK_END, Batch, FeedError, Stored
from feeds.market import Market
from feeds.registry import FeedKind
from feeds.tick import Listing
from ledger.produced import line_of
from ledger.sequence import Plan, made

TICKS_PER_POLL = 5_000


class LedgerOptions(BaseModel):
    """What a feed of type `ledger` is told in config.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(description="where it writes, and finds the files that say to stop or to fail")
    seed: int
    symbols: list[str]
    ticks_per_s: int = Field(gt=0)
    origin_us: int
    origin_s: float = Field(description="the monotonic clock at the first tick")
    lateness_s: int = 60
    hostile: bool = False

    def plan(self) -> Plan:
        """What the sequence depends on."""
        return Plan(
            self.seed, tuple(self.symbols), self.ticks_per_s, self.origin_us, self.lateness_s, hostile=self.hostile
        )


class LedgerFeed:
    """Paced by the monotonic clock, which goes on while this process is away: what was missed is made up.

    Its clock is the time of the newest tick, as of a replay that keeps its times. So what is late depends on the sequence
    alone, and not on when it was polled, killed, or told another time of day.
    """

    def __init__(self, options: LedgerOptions) -> None:
        self._options = options
        self._plan = options.plan()
        self._folder = Path(options.folder)
        self._ledger = os.open(self._folder / "produced.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._next = 0
        self._stored_until: dict[str, int] = {}
        self._all_stored_until = 0
        self._ended = False

    def symbols(self) -> Sequence[Listing]:
        """The symbols of the plan."""
        return [Listing(symbol, symbol, "", "USD", "", 0.000001) for symbol in self._plan.symbols]

    async def start(self, now_us: int, stored: Mapping[str, Stored]) -> None:
        """Go on behind what each symbol has; all else was not stored, and is made again."""
        until = {symbol: int(held.cursor or 0) for symbol, held in stored.items()}
        self._stored_until = {symbol: until.get(symbol, 0) for symbol in self._plan.symbols}
        self._next = min(self._stored_until.values())
        self._all_stored_until = max(self._stored_until.values())
        self._ended = False

    def poll(self, now_us: int) -> Batch:
        """What is due, written down before it is handed over."""
        if (self._folder / "fail").exists():
            raise ConnectionError("told to fail")
        if self._ended:
            return Batch((), CLOCK_END, str(self._next))
        stopping = (self._folder / "stop").exists()
        if (self._folder / "pause").exists() and not stopping:
            return Batch((), self._clock(), str(self._next))
        due = int((monotonic() - self._options.origin_s) * self._plan.ticks_per_s) + 1
        # What some symbol has stored already is made up at once: a cursor amid of it could take the place of a later one.
        end = min(due, max(self._next + TICKS_PER_POLL, self._all_stored_until))
        rows = [made(self._plan, number) for number in range(self._next, end)]
        if self._next < self._all_stored_until:
            until, symbols = self._stored_until, self._plan.symbols
            rows = [row for row in rows if row.number >= until[symbols[row.number % len(symbols)]]]
        self._next = max(end, self._next)
        if rows:
            lines = [f"@ {monotonic():.3f}\n", *(line_of(row) for row in rows)]
            self._write("".join(lines))
        more = self._next < due
        if stopping and not more:
            self._write(f"end {self._next}\n")
            self._ended = True
        clock = CLOCK_END if self._ended else self._clock()
        return Batch([row.tick for row in rows], clock, str(self._next), more=more)

    async def close(self) -> None:
        """Nothing waits to be written; the file is left open for another start."""

    def _clock(self) -> int:
        return self._plan.time(max(self._next - 1, 0))

    def _write(self, text: str) -> None:
        # One call: a process that is killed leaves the whole of it or nothing, a full disk is noticed.
        data = text.encode()
        if os.write(self._ledger, data) != len(data):
            raise FeedError(f"{self._folder}: the ledger cannot be written")


def _make(options: LedgerOptions, market: Market) -> LedgerFeed:
    return LedgerFeed(options)


KIND = FeedKind(LedgerOptions, _make)
