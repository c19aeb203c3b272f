"""The replay feed: plays recorded ticks again, at their own times or as if they happened now."""

import asyncio
import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from feeds.feed import CLOCK_END, Batch, Feed, FeedError, Stored
from feeds.listings import replayed_listing
from feeds.market import Market
from feeds.merge import Block
from feeds.pace import Pace
from feeds.recorded_files import find_files
from feeds.recording import Recorded, look_at
from feeds.replay_cursor import ReplayCursors
from feeds.tape import NOTHING, Tape
from feeds.tick import Listing, Quote, Tick, Trade
from feeds.trading_hours import ALWAYS

ROWS_PER_POLL = 5_000
"""A poll reads no more: some 10 ms of work."""

BEHIND_AT_MOST_US = 10_000_000
"""With `times: now`, a replay that is further behind (the machine slept, say) goes on from now."""

LAP_PAUSE_US = 1_000_000
"""From the last row of a lap to the first of the next, in recorded time: else a lap of one instant had no end."""


def _check_path(value: object) -> object:
    paths = [value] if isinstance(value, str) else value
    if not (isinstance(paths, list) and paths and all(isinstance(path, str) and path for path in paths)):
        raise ValueError(f"found {value!r}; allowed: a file, a pattern such as data/*.csv.gz, or a list of them")
    return value


def _check_speed(value: object) -> object:
    if value != "max" and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf):
        raise ValueError(f"found {value!r}; allowed: a number above 0, or max")
    return value


class ReplayOptions(BaseModel):
    """What a feed of type `replay` may be told in config.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str | list[str], BeforeValidator(_check_path)] = Field(
        description="a .csv, .csv.gz or .parquet file, a list, or a pattern; from the working directory"
    )
    speed: Annotated[float | Literal["max"], BeforeValidator(_check_speed)] = Field(
        1.0, description="times as fast as recorded; max: as fast as the rows can be stored"
    )
    times: Literal["keep", "now"] = Field(
        "keep", description="keep the recorded times, or give each tick the time at which it is played"
    )
    loop: bool = Field(False, description="begin again after the last row")

    @model_validator(mode="after")
    def _loop_needs_now(self) -> "ReplayOptions":
        if self.loop and self.times == "keep":
            raise ValueError("found loop: true with times: keep; allowed: loop with times: now, as no time comes twice")
        return self


def make_replay(options: ReplayOptions, market: Market) -> Feed:
    """A replay from its options; reads each file once. Raises `FeedError` for what cannot be replayed."""
    if market.hours is not ALWAYS and (options.times == "keep" or options.speed == "max"):
        found = "times: keep" if options.times == "keep" else "speed: max"
        raise FeedError(
            f"replay: found trading_hours: sessions with {found}; allowed: sessions with times: now and a number as speed, "
            "as only such a replay follows the time of day"
        )
    return ReplayFeed(_recordings(find_files(options.path)), options)


def _recordings(files: list[str]) -> list[Recorded]:
    """A first look at each file, by the format that its name tells."""
    if not any(map(_is_parquet, files)):
        return [look_at(file) for file in files]
    # It brings pyarrow with it, which takes its time.
    from feeds.recorded_parquet import look_at_parquet, without_parts

    return [look_at_parquet(file) if _is_parquet(file) else look_at(file) for file in without_parts(files)]


def _is_parquet(file: str) -> bool:
    return file.endswith(".parquet")


class ReplayFeed:
    """Gives the rows that are due, and with each batch a cursor to go on from."""

    def __init__(self, recordings: Sequence[Recorded], options: ReplayOptions) -> None:
        first_times: dict[str, int] = {}
        for recording in recordings:
            for symbol, time in recording.first_times.items():
                first_times[symbol] = min(time, first_times.get(symbol, time))
        self._listings = [replayed_listing(symbol) for symbol in sorted(first_times)]
        self._first_times = first_times
        self._keeps_times = options.times == "keep"
        self._loops = options.loop
        self._tape = Tape(recordings)
        self._pace = Pace(None if options.speed == "max" else options.speed)
        digest = hashlib.sha256(b"".join(recording.digest for recording in recordings)).hexdigest()
        self._cursors = ReplayCursors(digest, options.times, self._tape.lap_rows)
        self._stored_until: dict[str, int] = {}
        """The number of the first row of each symbol that is not stored yet, of all rows."""
        self._all_stored_until = 0
        """From this row on, none is stored."""
        self._played_us = 0
        """With `times: now`, the time that the last row was given."""

    def symbols(self) -> Sequence[Listing]:
        """The symbols in the files."""
        return self._listings

    async def start(self, now_us: int, stored: Mapping[str, Stored]) -> None:
        """Go on after what each symbol has; raises `FeedError` where other ticks are in the way."""
        positions = {symbol: self._cursors.position(held.cursor) for symbol, held in stored.items()}
        if self._keeps_times:
            self._check_older({symbol: stored[symbol] for symbol in positions if positions[symbol] is None})
        self._stored_until = {symbol: positions.get(symbol) or 0 for symbol in self._first_times}
        self._all_stored_until = max(self._stored_until.values())
        # To find a row, all before it must be read.
        await asyncio.to_thread(self._seek)
        self._played_us = 0
        self._pace.begin(now_us)

    def poll(self, now_us: int) -> Batch:
        """The rows that are due; those that are stored already are passed over."""
        ticks: list[Tick] = []
        room = ROWS_PER_POLL
        while room and self._has_next():
            first = self._tape.position
            block = self._take(room, now_us)
            if not block.ticks:
                break
            room -= len(block.ticks)
            rows = block.ticks if self._keeps_times else self._shifted(block, now_us)
            if first < self._all_stored_until:
                rows = [tick for row, tick in enumerate(rows, first) if row >= self._stored_until[tick.symbol]]
            ticks += rows
        return Batch(ticks, self._clock(now_us), self._cursors.cursor(self._tape.position), more=not room)

    async def close(self) -> None:
        """Close the files."""
        self._tape.close()

    def _check_older(self, others: Mapping[str, Stored]) -> None:
        """Ticks of another recording, or of no recording, must all be older: a symbol's times never go back."""
        for symbol, held in others.items():
            first_time = self._first_times[symbol]
            if held.time > first_time:
                raise FeedError(
                    f"{symbol}: found stored ticks of another feed or recording up to {_iso(held.time)}, while this "
                    f"recording begins at {_iso(first_time)}; use another data folder, or times: now"
                )

    def _seek(self) -> None:
        """Go to the first row that is not stored."""
        stored_until = self._stored_until
        self._tape.seek(min(stored_until.values()), laps=self._loops)
        while self._tape.position < self._all_stored_until and self._has_next():
            ahead = self._tape.ahead()
            for row, tick in enumerate(ahead, self._tape.position):
                if row >= stored_until[tick.symbol]:
                    self._tape.take(row - self._tape.position)
                    return
            self._tape.take(len(ahead))

    def _has_next(self) -> bool:
        """Whether there is another row, of the next lap where there is one."""
        if self._tape.fill():
            return True
        if not self._loops:
            return False
        self._tape.next_lap()
        self._pace.begin(self._played_us + self._pace.lasts(LAP_PAUSE_US))
        return self._tape.fill()

    def _take(self, room: int, now_us: int) -> Block:
        """The next rows that are due."""
        to_make_up = self._all_stored_until - self._tape.position
        if to_make_up > 0:
            # Some symbol has these rows, so they were due before the start. Given all at once, they leave no time in
            # which a cursor of theirs could replace the later one of that symbol.
            self._pace.begin(now_us)
            return self._tape.take(min(room, to_make_up))
        next_time = self._tape.next_time()
        if not self._keeps_times:
            if now_us < self._played_us:
                return NOTHING
            self._pace.allow_delay(next_time, now_us, BEHIND_AT_MOST_US)
        return self._tape.take(room, self._pace.due_until(next_time, now_us))

    def _shifted(self, block: Block, now_us: int) -> list[Tick]:
        """The rows as if they happened when they are due."""
        rows: list[Tick] = []
        for time, tick in zip(*block, strict=True):
            due_us = self._played_us = self._pace.due_at(time, now_us)
            if isinstance(tick, Trade):
                rows.append(Trade(*tick[:3], due_us, *tick[4:]))
            else:
                rows.append(Quote(*tick[:5], due_us, *tick[6:]))
        return rows

    def _clock(self, now_us: int) -> int:
        if not self._keeps_times:
            return now_us
        return self._tape.time if self._tape.fill() else CLOCK_END


def _iso(time_us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat()
