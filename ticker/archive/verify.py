"""Checks an archive: checksums, names against rows, numbers without a hole, and candles against the ticks they were made of."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ticker.archive import tables
from ticker.archive.archive import Archive
from ticker.archive.layout import CANDLES, FIRST, IMPORT, KINDS, File, Place, Stretch
from ticker.candles.builder import CandleBuilder
from ticker.candles.candle import NO_TRADE, Candle, Origin
from ticker.candles.interval import INTERVALS, STORED, Interval
from ticker.errors import ArchiveError
from ticker.store.candle_store import TIME_MAX

DAY = INTERVALS["1d"].width
"""No tick comes later than this."""


@dataclass(slots=True)
class Report:
    """What came out for one kind of one symbol."""

    symbol: str
    kind: str
    files: int = 0
    rows: int = 0
    equal: int = 0
    """Candles that are what their ticks make."""
    wrong: list[str] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)
    """Why candles could not be compared, and how many."""


def verify(archive: Archive, symbol: str) -> list[Report]:
    """A report for each kind of which there is something. Reads all of it: meant for the command line."""
    reports = {kind: _look_at(archive, kind, symbol) for kind in KINDS}
    if not any(report.wrong for report in reports.values()):
        _compare(archive, symbol, reports)
    return [report for report in reports.values() if report.files]


def _look_at(archive: Archive, kind: str, symbol: str) -> Report:
    """Each file by itself, then whether one follows the other."""
    listing = archive.index.again(kind, symbol)
    report = Report(symbol, kind, len(listing.files))
    for file in listing.files:
        try:
            table = archive.files.verified(file)
        except ArchiveError as error:
            report.wrong.append(str(error))
            continue
        report.rows += table.num_rows
        report.wrong += [f"{file.path}: {what}" for what in _mistakes(file, table)]
    before: Stretch | None = None
    for stretch in listing.stretches if kind not in CANDLES else ():
        if before and _is_hole(before, stretch):
            report.wrong.append(f"{kind} {before.high.seq} to {stretch.low.seq - 1} are missing")
        before = stretch
    return report


def _is_hole(before: Stretch, after: Stretch) -> bool:
    same = before.file.generation == after.file.generation
    return same and before.file.epoch != IMPORT and before.high.seq != after.low.seq


def _mistakes(file: File, table: object) -> Iterator[str]:
    """What is wrong with the rows of one file."""
    rows: int = table.num_rows  # type: ignore[attr-defined]
    if not rows:
        yield "no rows"
        return
    if not tables.is_ours(file.kind, table):
        yield "columns of another type than ours"
        return
    if file.rows != rows:
        yield f"{rows} rows, its name says {file.rows}"
    ends = tables.row_place(file.kind, table, 0), tables.row_place(file.kind, table, rows - 1)
    if ends != (file.first, file.last):
        yield f"its rows go from {ends[0]} to {ends[1]}, its name says {file.first} to {file.last}"
    if file.kind in CANDLES:
        if (np.diff(tables.candles_of(table).time) <= 0).any():
            yield "times that do not rise"
        return
    ms, seqs = tables.places_of(table)
    if (np.diff(ms) < 0).any() or (np.diff(seqs) != 1).any():
        yield "ids that do not rise by one"


class _Segment:
    """Trades whose numbers follow each other, folded into candles."""

    def __init__(self, archive: Archive, first: Stretch) -> None:
        self.is_import = first.file.epoch == IMPORT
        self.generation = first.file.generation
        self.first, self.end = first.low.seq, first.low.seq
        self.builders = [CandleBuilder(interval, archive.zone, 0, DAY) for interval in STORED]
        self.compared_to = [0 for _ in STORED]

    def continues(self, stretch: Stretch) -> bool:
        """Whether a stretch belongs to it."""
        if stretch.file.generation != self.generation:
            return False
        return self.is_import or stretch.low.seq == self.end

    def fold(self, archive: Archive, stretch: Stretch) -> int:
        """Take in the trades of a stretch; the time of the last."""
        time = 0
        table = tables.rows_from("trades", archive.files.table(stretch.file), stretch.low)
        ms, seqs = tables.places_of(table)
        kept = table.filter((ms < stretch.high.at) | ((ms == stretch.high.at) & (seqs < stretch.high.seq)))
        for time, price, size, seq in tables.trades_of(kept):
            for builder in self.builders:
                builder.add(time, price, size, seq)
        self.end = stretch.high.seq
        return time


def _compare(archive: Archive, symbol: str, reports: dict[str, Report]) -> None:
    """Candles against the trades that are archived, a day behind the last so that nothing more can change them."""
    segment: _Segment | None = None
    for stretch in archive.index.of("trades", symbol).stretches:
        if segment is not None and not segment.continues(stretch):
            _settle(archive, symbol, segment, reports, None)
            segment = None
        segment = segment or _Segment(archive, stretch)
        time = segment.fold(archive, stretch)
        _settle(archive, symbol, segment, reports, time - DAY)
    if segment is not None:
        _settle(archive, symbol, segment, reports, None)
    for interval in STORED:
        report = reports[f"candles_{interval.name}"]
        seen = report.equal + sum(report.unchecked.values()) + len(report.wrong)
        if report.rows > seen:
            report.unchecked["no trades of its time are archived"] += report.rows - seen


def _settle(archive: Archive, symbol: str, segment: _Segment, reports: dict[str, Report], clock: int | None) -> None:
    """Compare what can change no more at this time; all where there is none."""
    for number, (interval, builder) in enumerate(zip(STORED, segment.builders, strict=True)):
        made = builder.close(TIME_MAX if clock is None else clock)
        if not made:
            continue
        report = reports[f"candles_{interval.name}"]
        start, end = max(segment.compared_to[number], made[0].time), made[-1].time + 1
        segment.compared_to[number] = end
        _against(archive, symbol, interval, segment, made, (start, end), report)


def _against(
    archive: Archive,
    symbol: str,
    interval: Interval,
    segment: _Segment,
    made: list[Candle],
    between: tuple[int, int],
    report: Report,
) -> None:
    folded = {candle.time: _as_stored(candle, segment) for candle in made}
    kept, _ = archive.candles(symbol, interval, *between, 1 << 60, newest=False)
    for candle in kept.rows():
        wanted = folded.pop(candle.time, None)
        if candle.origin == Origin.HISTORY or (candle.origin == Origin.IMPORT) != segment.is_import:
            report.unchecked[f"made of {Origin(candle.origin).name.lower()}, not of these ticks"] += 1
        elif not segment.is_import and not segment.first <= candle.first_seq <= candle.seq < segment.end:
            report.unchecked["its trades are not all archived"] += 1
        elif candle == wanted:
            report.equal += 1
        else:
            report.wrong.append(f"{interval.name} at {candle.time}: archived {candle}, from its trades {wanted}")
    last = archive.index.of(f"candles_{interval.name}", symbol).last
    for time, candle in folded.items():
        if FIRST < Place(time) <= last and not segment.is_import:
            report.wrong.append(f"{interval.name} at {time}: not archived, from its trades {candle}")


def _as_stored(candle: Candle, segment: _Segment) -> Candle:
    """A folded candle as it is kept: what was imported has no numbers."""
    if not segment.is_import:
        return candle
    return candle._replace(first_seq=NO_TRADE, seq=0, origin=Origin.IMPORT)
