"""Puts imported rows into the archive: all of a day of a symbol or nothing, and never what is there already."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ticker.archive import tables
from ticker.archive.archive import Archive, candle_file
from ticker.archive.layout import CANDLES, END, IMPORT, File, Place, cut, period_of
from ticker.candles.builder import SUM_MAX, CandleBuilder
from ticker.candles.candle import NO_TRADE, TRILLION, Candle, Candles, Origin
from ticker.candles.interval import INTERVALS, Interval, bounds
from ticker.candles.rollup import roll_up
from ticker.errors import ConfigError
from ticker.importing.rows import BadRow, CandleRow, Row, Source, TickRow
from ticker.store.candle_store import merge

S1, M1, D1 = INTERVALS["1s"], INTERVALS["1m"], INTERVALS["1d"]
BAD_SHOWN = 20
"""Bad rows that are kept to be shown; all are counted."""


@dataclass(slots=True)
class Count:
    """What became of the rows of one kind and symbol."""

    added: int = 0
    there: int = 0
    """In the archive already, from an earlier run."""
    overlap: int = 0
    """Of days that something else has rows of."""


@dataclass(slots=True)
class Result:
    """What an import has done."""

    counts: dict[tuple[str, str], Count] = field(default_factory=dict)
    made: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Candles that were folded from ticks, or rolled up from smaller candles."""
    bad: int = 0
    bad_rows: list[BadRow] = field(default_factory=list)

    @property
    def symbols(self) -> list[str]:
        """Those of which something was added."""
        return sorted({symbol for (_, symbol), count in self.counts.items() if count.added})


@dataclass(slots=True)
class _Day:
    """Rows of one kind and symbol that belong together: of a day, or of `1d` of a year."""

    period: str
    opened: int
    """The day's, or that of the first row's day."""
    rows: list[Row] = field(default_factory=list)


class Importer:
    """Takes rows file by file. `limits` says for each symbol before which moment its days may be added."""

    def __init__(
        self, archive: Archive, interval: Interval, limits: Mapping[str, int], now: int, *, dry_run: bool, strict: bool
    ) -> None:
        """`now`: the moment of the import; a day that is not over is not taken."""
        self.result = Result()
        self._archive = archive
        self._interval = interval
        self._limits = limits
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
            self._add_days(symbol, _candles_of(day.rows), count)
        elif self._is_too_late(symbol, day.opened):
            count.overlap += len(day.rows)
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
        made = self._folded(rows) if kind == "trades" else {}
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
                self._archive.write_table(file, tables.tick_columns(kind, _tick_columns(kind, rows), IMPORT))  # type: ignore[arg-type]
        if made:
            self._note_span(symbol, day.opened)

    def _folded(self, rows: Sequence[TickRow]) -> dict[Interval, Candles]:
        """The candles of a day's trades."""
        volume, turnover = _sums(rows)
        if volume >= SUM_MAX or abs(turnover) >= SUM_MAX * TRILLION:
            raise ConfigError(f"{rows[0].symbol} has a day with a volume of 2^60 millionths or more; expected less")
        builders = [CandleBuilder(interval, self._archive.zone, 0, 0) for interval in (S1, M1)]
        for seq, row in enumerate(rows, 1):
            price, size = row.values
            assert price is not None
            assert size is not None
            for builder in builders:
                builder.add(row.time, price, size, seq)
        return {builder.interval: _as_imported(builder.unclosed()) for builder in builders}

    def _differs(self, symbol: str, day: _Day, made: Mapping[Interval, Candles]) -> bool:
        """Whether the archive has other candles of a day than those of its trades."""
        for interval, candles in made.items():
            known = self._files(f"candles_{interval.name}", symbol, day.period)
            if known and known != [_candle_file(symbol, interval, day.period, candles)]:
                return True
        return False

    # Candles

    def _add_candles(self, kind: str, symbol: str, day: _Day, count: Count) -> None:
        interval, candles = CANDLES[kind], _candles_of(day.rows)
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
        early = np.array([not self._is_too_late(symbol, time) for time in candles.time.tolist()], bool)
        known, _ = self._known_days(symbol, candles)
        there = np.isin(candles.time, known.time)
        same = np.isin(_keys(candles), _keys(known))
        count.there += int((early & same).sum())
        count.overlap += int((~early | (there & ~same)).sum())
        count.added += self._write_days(symbol, Candles(candles.data[:, early & ~there]))

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


def live_since(archive: Archive, symbol: str) -> int | None:
    """The time of the oldest row that was not imported, in microseconds; None where there is none.

    What was imported lies before all else, so the first file that has something else is found by halving.
    """
    found = [
        stretch.low.at * 1000
        for kind in ("trades", "quotes")
        for stretch in archive.index.again(kind, symbol).stretches
        if stretch.file.generation
    ]
    for kind in CANDLES:
        parts = archive.index.again(kind, symbol).stretches
        low, high = 0, len(parts)
        while low < high:
            middle = (low + high) // 2
            if _live_times(archive, parts[middle].file):
                high = middle
            else:
                low = middle + 1
        if low < len(parts):
            found.append(min(_live_times(archive, parts[low].file)))
    return min(found, default=None)


def _live_times(archive: Archive, file: File) -> list[int]:
    candles = tables.candles_of(archive.files.table(file))
    times: list[int] = candles.time[candles.column("origin") != Origin.IMPORT].tolist()
    return times


def _candle_file(symbol: str, interval: Interval, period: str, candles: Candles) -> File:
    return candle_file(f"candles_{interval.name}", symbol, period, candles)


def _candles_of(rows: Iterable[Row]) -> Candles:
    """The candles of rows in order of time; of two of one time, the first."""
    by_time: dict[int, Candle] = {}
    for row in rows:
        assert isinstance(row, CandleRow)
        by_time.setdefault(row.time, row.candle)
    return Candles.of(by_time.values())


def _sums(rows: Sequence[TickRow]) -> tuple[int, int]:
    """Of sizes and of price x size."""
    pairs = [(row.values[0] or 0, row.values[1] or 0) for row in rows]
    return sum(size for _, size in pairs), sum(abs(price) * size for price, size in pairs)


def _as_imported(candles: Sequence[Candle]) -> Candles:
    return Candles.of(c._replace(first_seq=NO_TRADE, seq=0, origin=Origin.IMPORT) for c in candles)


def _tick_columns(kind: str, rows: Sequence[TickRow]) -> dict[str, Any]:
    times = np.array([row.time for row in rows], np.int64)
    columns: dict[str, Any] = {"time": times, "id_ms": times // 1000, "seq": np.arange(1, len(rows) + 1)}
    for number, name in enumerate(tables.VALUES[kind]):
        found = [row.values[number] for row in rows]
        mask = [value is None for value in found]
        plain = np.array([value or 0 for value in found], np.int64)
        columns[name] = np.ma.array(plain, mask=mask) if any(mask) else plain
    for number, name in enumerate(("id", "exchange", "conditions")):
        columns[name] = [row.texts[number] for row in rows]
    return columns


def _keys(candles: Candles) -> Any:
    """What makes a candle the same as another: all its fields."""
    return np.array([hash(row) for row in candles.rows()], np.int64)
