"""Folds trades into candles of one interval, closes them by the feed clock, and corrects closed ones."""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from ticker.candles.candle import NO_TRADE, TRILLION, Candle
from ticker.candles.interval import Interval, bounds

SUM_MAX = 1 << 60
"""Of a volume in millionths, and of a sum of price x size in whole units."""


class _Folding:
    """A candle while trades are folded into it."""

    __slots__ = (
        "changed",
        "close",
        "close_time",
        "closed",
        "end",
        "first_seq",
        "high",
        "low",
        "notional",
        "open",
        "open_time",
        "origin",
        "seq",
        "time",
        "trades",
        "volume",
    )

    def __init__(self, candle: Candle, end: int, *, closed: bool) -> None:
        self.time, self.end, self.closed, self.changed = candle.time, end, closed, False
        self.open, self.high, self.low, self.close = candle.open, candle.high, candle.low, candle.close
        self.volume, self.trades = candle.volume, candle.trades
        self.notional = candle.units * TRILLION + candle.rest
        self.first_seq, self.seq = candle.first_seq, candle.seq
        self.open_time, self.close_time, self.origin = candle.open_time, candle.close_time, candle.origin

    def add(self, time: int, price: int, size: int, seq: int) -> None:
        """One more trade; its `seq` is higher than all before, so of two at the same time it is the later."""
        if time >= self.close_time:
            self.close, self.close_time = price, time
        elif time < self.open_time:
            self.open, self.open_time = price, time
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.volume += size
        self.notional += price * size
        self.trades += 1
        self.seq = seq
        if seq < self.first_seq:
            self.first_seq = seq
        self.changed = True

    def precede(self, part: Candle) -> None:
        """Take in an earlier part of the same candle, with times before all of its own."""
        self.open, self.open_time = part.open, part.open_time
        self.high, self.low = max(self.high, part.high), min(self.low, part.low)
        self.volume += part.volume
        self.notional += part.units * TRILLION + part.rest
        self.trades += part.trades
        self.origin = max(self.origin, part.origin)
        self.changed = True

    def candle(self) -> Candle:
        """As it stands."""
        units, rest = divmod(self.notional, TRILLION)
        return Candle(
            self.time,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            units,
            rest,
            self.trades,
            self.first_seq,
            self.seq,
            self.open_time,
            self.close_time,
            self.origin,
        )


class CandleBuilder:
    """The candles of one symbol and interval that can still change: those not closed, and those closed of late.

    A candle closes when the feed clock is `grace_us` past its end; a trade that comes later corrects it, as long as the
    caller lets it in, for `keep_us` more. Whoever calls numbers the trades and decides which are too late.
    """

    def __init__(self, interval: Interval, zone: ZoneInfo, grace_us: int, keep_us: int) -> None:
        self.interval = interval
        self._zone = zone
        self._grace_us = grace_us
        self._keep_us = keep_us
        self._candles: dict[int, _Folding] = {}
        self._newest: _Folding | None = None
        # What `close` has to do is known beforehand, so that asking on every poll costs nothing.
        self._next_close: int | None = None
        self._corrected = False

    def load(self, candles: Iterable[Candle], *, closed: bool) -> None:
        """Take over candles as they are stored."""
        for candle in candles:
            end = bounds(self.interval, candle.time, self._zone)[1]
            self._candles[candle.time] = _Folding(candle, end, closed=closed)
        self._newest = max(self._candles.values(), key=lambda c: c.time, default=None)
        self._plan()

    def precede(self, part: Candle) -> None:
        """Put what was before the first trade into the candle that it belongs to, which may have none so far."""
        found = self._candles.get(part.time)
        if found is None:
            self.load([part], closed=False)
            return
        found.precede(part)
        self._corrected |= found.closed

    @property
    def oldest(self) -> int | None:
        """The open time of the oldest candle that is held."""
        return min(self._candles, default=None)

    def holds(self, opened: int) -> bool:
        """Whether the candle of this open time is held, and can still change."""
        return opened in self._candles

    def add(self, time: int, price: int, size: int, seq: int) -> None:
        """Fold one trade: `time` in microseconds, `price` and `size` in millionths."""
        newest = self._newest
        if newest is not None and newest.time <= time < newest.end:
            newest.add(time, price, size, seq)
            self._corrected |= newest.closed
            return
        opened, end = bounds(self.interval, time, self._zone)
        if found := self._candles.get(opened):
            found.add(time, price, size, seq)
            self._corrected |= found.closed
            return
        units, rest = divmod(price * size, TRILLION)
        first = Candle(opened, price, price, price, price, size, units, rest, 1, seq, seq, time, time)
        made = self._candles[opened] = _Folding(first, end, closed=False)
        made.changed = True
        if newest is None or opened > newest.time:
            self._newest = made
        due = end + self._grace_us
        if self._next_close is None or due < self._next_close:
            self._next_close = due

    def has_room(self, time: int, price: int, size: int) -> bool:
        """Whether one more trade fits: sums of a candle, and of seven of them, must fit 64 bits."""
        candle = self._newest
        if candle is None or not candle.time <= time < candle.end:
            candle = self._candles.get(bounds(self.interval, time, self._zone)[0])
        volume, notional = (candle.volume, candle.notional) if candle else (0, 0)
        return volume + size < SUM_MAX and abs(notional + price * size) < SUM_MAX * TRILLION

    @property
    def next_close(self) -> int | None:
        """The feed clock at which `close` has something to do; None where it has not, 0 where it has already."""
        return 0 if self._corrected else self._next_close

    def close(self, clock: int) -> list[Candle]:
        """Those that close at this feed clock, and at any clock closed ones that trades have changed; in order of time."""
        if not self._corrected and (self._next_close is None or clock < self._next_close):
            return []
        done: list[Candle] = []
        for folding in sorted(self._candles.values(), key=lambda c: c.time):
            if not folding.closed and folding.end + self._grace_us > clock:
                continue
            if folding.changed or not folding.closed:
                folding.closed, folding.changed = True, False
                done.append(folding.candle())
            if folding.end + self._grace_us + self._keep_us < clock and folding is not self._newest:
                del self._candles[folding.time]
        self._plan()
        return done

    def _plan(self) -> None:
        """Note when `close` has something to do next."""
        ends = (folding.end for folding in self._candles.values() if not folding.closed)
        first = min(ends, default=None)
        self._next_close = None if first is None else first + self._grace_us
        self._corrected = False

    def unclosed(self) -> list[Candle]:
        """Those still forming, in order of time."""
        forming = (folding for folding in self._candles.values() if not folding.closed)
        return [folding.candle() for folding in sorted(forming, key=lambda c: c.time)]

    def closed(self) -> list[Candle]:
        """Those that are closed and can still change, in order of time."""
        return [folding.candle() for folding in sorted(self._candles.values(), key=lambda c: c.time) if folding.closed]

    def held(self) -> list[tuple[Candle, bool]]:
        """All that can still change, in order of time, each with whether it is closed."""
        return [(one.candle(), one.closed) for one in sorted(self._candles.values(), key=lambda c: c.time)]

    def newest(self) -> tuple[Candle, bool] | None:
        """The newest candle and whether it is closed."""
        return (self._newest.candle(), self._newest.closed) if self._newest else None

    def changed(self, before: int = NO_TRADE) -> list[Candle]:
        """The forming ones that trades have changed since they were last asked for, none of them from number `before` on."""
        found = [c for c in self._candles.values() if c.changed and not c.closed and c.seq < before]
        for folding in found:
            folding.changed = False
        return [folding.candle() for folding in sorted(found, key=lambda c: c.time)]
