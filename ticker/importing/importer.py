"""Puts imported rows into the archive: all of a day of a symbol or nothing, and never what is there already."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ticker.archive import tables
from ticker.archive.archive import Archive, candle_file
from ticker.archive.layout import CANDLES, END, IMPORT, File, Place, cut, period_of
from ticker.candles.candle import Candles, Origin, merge
from ticker.candles.interval import INTERVALS, Interval, bounds
from ticker.candles.rollup import roll_up
from ticker.errors import ConfigError
from ticker.importing.counting import BAD_SHOWN, Count, Result
from ticker.importing.folding import candles_of, folded, keys_of, tick_columns
from ticker.importing.missed import MissedRows
from ticker.importing.rows import BadRow, Row, Source, TickRow

S1, M1, D1 = INTERVALS["1s"], INTERVALS["1m"], INTERVALS["1d"]


@dataclass(slots=True)
class _Day:
    """Rows of one kind and symbol that belong together: of a day, or of `1d` of a year."""

    period: str
    opened: int
    """The day's, or that of the first row's day."""
    rows: list[Row] = field(default_factory=list)


class Importer:
    """Takes rows file by file. `limits` says for each symbol before which moment its days may be added.

    `outages`: for each symbol the times, in order, in which its live record may miss something. What files have of these is
    put together in `missed`; it is for the store.
    """

    def __init__(
        self,
        archive: Archive,
        interval: Interval,
        limits: Mapping[str, int],
        now: int,
        *,
        dry_run: bool,
        strict: bool,
        outages: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    ) -> None:
        """`now`: the moment of the import; a day that is not over is not taken."""
        self.result = Result()
        self._archive = archive
        self._interval = interval
        self._limits = limits
        self.missed = MissedRows(outages or {}, archive.zone)
        self._today = bounds(D1, now, archive.zone)[0]
        self._dry_run, self._strict = dry_run, strict
        self._days: dict[tuple[str, str], _Day] = {}
        self._done: set[tuple[str, str, str]] = set()
        self._spans: dict[str, tuple[int, int]] = {}

    def take(self, source: Source, progress: Callable[[int], None]) -> None:
        """All rows of a file; raises `ConfigError` at the first bad row where that is asked for."""
        for line, row in source.rows(progress):
            if isinstance(row, BadRow):
                self._refuse(row)
            elif reason := self._put(self._kind(source), row):
                self._refuse(BadRow(source.path, line, reason))

    def finish(self) -> Result:
        """Add what is left, and the days of all that was added."""
        for key in list(self._days):
            self._add(*key)
        for symbol, (start, end) in self._spans.items():
            self._roll_up_days(symbol, start, end)
        return self.result

    def _kind(self, source: Source) -> str:
        return f"candles_{self._interval.name}" if source.kind == "candles" else source.kind

    def _refuse(self, row: BadRow) -> None:
        if self._strict:
            raise ConfigError(f"{row}; stopped at the first bad row, as --strict says")
        self.result.bad += 1
        if len(self.result.bad_rows) < BAD_SHOWN:
            self.result.bad_rows.append(row)

    def _put(self, kind: str, row: Row) -> str | None:
        """Keep a row until its day is complete; why not, where it cannot be."""
        key = kind, row.symbol
        day = self._days.get(key)
        opened = bounds(D1, row.time, self._archive.zone)[0]
        period = period_of(kind, opened, self._archive.zone)
        if day is not None and day.period == period:
            day.rows.append(row)
            return None
        if (*key, period) in self._done:
            return f"time {row.time}: {period} was complete before; expected rows in order of time"
        if day is not None:
            self._add(*key)
        self._days[key] = _Day(period, opened, [row])
        return None

    def _add(self, kind: str, symbol: str) -> None:
        """A day is complete."""
        day = self._days.pop((kind, symbol))
        self._done.add((kind, symbol, day.period))
        day.rows.sort(key=lambda row: row.time)
        count = self.result.counts.setdefault((kind, symbol), Count())
        if kind == "candles_1d":
            late = [row for row in day.rows if self._is_too_late(symbol, row.time)]
            self.missed.take(kind, symbol, late, count)
            self._add_days(symbol, candles_of(row for row in day.rows if row not in late), count)
        elif self._is_too_late(symbol, day.opened):
            self.missed.take(kind, symbol, day.rows, count)
        elif kind in CANDLES:
            self._add_candles(kind, symbol, day, count)
        else:
            self._add_ticks(kind, symbol, day, count)

    def _is_too_late(self, symbol: str, opened: int) -> bool:
        """Whether a day is one of the live record, or not over."""
        return opened >= min(self._limits.get(symbol, self._today), self._today)

    # Ticks

    def _add_ticks(self, kind: str, symbol: str, day: _Day, count: Count) -> None:
        rows = [row for row in day.rows if isinstance(row, TickRow)]
        ends = Place(rows[0].time // 1000, 1), Place(rows[-1].time // 1000, len(rows))
        file = File(kind, symbol, day.period, *ends, 0, IMPORT)
        made = folded(rows, self._archive.zone) if kind == "trades" else {}
        known = self._files(kind, symbol, day.period)
        if any(other.generation or other != file for other in known) or self._differs(symbol, day, made):
            count.overlap += len(rows)
            return
        if known:
            count.there += len(rows)
        else:
            count.added += len(rows)
            # The ticks come last: where they are, all that is made of them is too.
            for interval, candles in made.items():
                self._write(symbol, interval, candles)
            if not self._dry_run:
                self._archive.write_table(file, tables.tick_columns(kind, tick_columns(kind, rows), IMPORT))  # type: ignore[arg-type]
        if made:
            self._note_span(symbol, day.opened)

    def _differs(self, symbol: str, day: _Day, made: Mapping[Interval, Candles]) -> bool:
        """Whether the archive has other candles of a day than those of its trades."""
        for interval, candles in made.items():
            known = self._files(f"candles_{interval.name}", symbol, day.period)
            if known and known != [_candle_file(symbol, interval, day.period, candles)]:
                return True
        return False

    # Candles

    def _add_candles(self, kind: str, symbol: str, day: _Day, count: Count) -> None:
        interval, candles = CANDLES[kind], candles_of(day.rows)
        count.overlap += len(day.rows) - len(candles)
        known = self._files(kind, symbol, day.period)
        file = _candle_file(symbol, interval, day.period, candles)
        if known and (known != [file] or not self._has(symbol, interval, candles)):
            count.overlap += len(candles)
            return
        if known:
            count.there += len(candles)
        else:
            count.added += len(candles)
            self._write(symbol, interval, candles, of_file=True)
        if interval is S1:
            self._roll_up_minutes(symbol, day, candles)
        self._note_span(symbol, day.opened)

    def _roll_up_minutes(self, symbol: str, day: _Day, seconds: Candles) -> None:
        if not self._files("candles_1m", symbol, day.period):
            self._write(symbol, M1, roll_up(seconds, M1, self._archive.zone))

    def _add_days(self, symbol: str, candles: Candles, count: Count) -> None:
        """Candles of `1d`: each by itself, as a year has days of both."""
        known, _ = self._known_days(symbol, candles)
        there = np.isin(candles.time, known.time)
        same = np.isin(keys_of(candles), keys_of(known))
        count.there += int(same.sum())
        count.overlap += int((there & ~same).sum())
        count.added += self._write_days(symbol, Candles(candles.data[:, ~there]))

    def _roll_up_days(self, symbol: str, start: int, end: int) -> None:
        """The days of minutes that were added, now or by a run that was stopped before it came to this."""
        if self._dry_run:
            return
        minutes, _ = self._archive.candles(symbol, M1, start, end, 1 << 60, newest=False)
        days = roll_up(Candles(minutes.data[:, minutes.column("origin") == Origin.IMPORT]), D1, self._archive.zone)
        known, _ = self._known_days(symbol, days)
        missing = Candles(days.data[:, ~np.isin(days.time, known.time)])
        self.result.made["candles_1d", symbol] += self._write_days(symbol, missing)

    def _known_days(self, symbol: str, candles: Candles) -> tuple[Candles, bool]:
        if not len(candles):
            return candles, True
        start, end = int(candles.time[0]), int(candles.time[-1]) + 1
        return self._archive.candles(symbol, D1, start, end, 1 << 60, newest=False)

    def _write_days(self, symbol: str, candles: Candles) -> int:
        """Write days, with those that are there, as one file must not lie around another; how many are new."""
        if len(candles) and not self._dry_run:
            for year, first, end in cut("candles_1d", candles.time, self._archive.zone):
                files = self._files("candles_1d", symbol, year)
                ends = [(file.first.at, file.last.at + 1) for file in files] or [(END.at, 0)]
                start, until = min(first for first, _ in ends), max(last for _, last in ends)
                there, _ = self._archive.candles(symbol, D1, start, until, 1 << 60, newest=False)
                (written,) = self._archive.write_candles(symbol, D1, merge(there, candles.part(first, end)))
                self._archive.remove("candles_1d", symbol, [file for file in files if file != written])
        return len(candles)

    # What there is, and writing

    def _files(self, kind: str, symbol: str, period: str) -> list[File]:
        return [file for file in self._archive.index.of(kind, symbol).files if file.period == period]

    def _has(self, symbol: str, interval: Interval, candles: Candles) -> bool:
        known, _ = self._archive.candles(
            symbol, interval, int(candles.time[0]), int(candles.time[-1]) + 1, 1 << 60, newest=False
        )
        return bool(np.array_equal(known.data, candles.data))

    def _write(self, symbol: str, interval: Interval, candles: Candles, *, of_file: bool = False) -> None:
        if not self._dry_run:
            self._archive.write_candles(symbol, interval, candles)
        if not of_file:
            self.result.made[f"candles_{interval.name}", symbol] += len(candles)

    def _note_span(self, symbol: str, opened: int) -> None:
        end = bounds(D1, opened, self._archive.zone)[1]
        start, until = self._spans.get(symbol, (opened, end))
        self._spans[symbol] = min(start, opened), max(until, end)


def _candle_file(symbol: str, interval: Interval, period: str, candles: Candles) -> File:
    return candle_file(f"candles_{interval.name}", symbol, period, candles)
