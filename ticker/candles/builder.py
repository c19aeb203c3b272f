"""Folds trades into candles of one interval, closes them by the feed clock, and corrects closed ones."""

from bisect import insort
from collections.abc import Iterable
from operator import attrgetter
from zoneinfo import ZoneInfo

from ticker.candles.candle import NO_TRADE, TRILLION, Candle
from ticker.candles.interval import Interval, bounds

SUM_MAX = 1 << 60
"""Of a volume in millionths, and of a sum of price x size in whole units."""
CORRECTED = 0
"""The feed clock at which `close` is due where a trade has changed a closed candle: any."""
BY_TIME = attrgetter("time")


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
        # The same in order of time, and those of them that are not closed: one or two, however many can be corrected.
        self._held: list[_Folding] = []
        self._forming: list[_Folding] = []
        self._newest: _Folding | None = None
        self.next_close: int | None = None
        """The feed clock at which `close` has something to do; None where it has not. Asking on every poll costs nothing."""

    def load(self, candles: Iterable[Candle], *, closed: bool) -> None:
        """Take over candles as they are stored."""
        for candle in candles:
            end = bounds(self.interval, candle.time, self._zone)[1]
            self._candles[candle.time] = _Folding(candle, end, closed=closed)
        self._held = sorted(self._candles.values(), key=BY_TIME)
        self._newest = self._held[-1] if self._held else None
        self._forming = [folding for folding in self._held if not folding.closed]
        self._plan()
        if any(folding.changed and folding.closed for folding in self._held):
            self.next_close = CORRECTED

    def precede(self, part: Candle) -> None:
        """Put what was before the first trade into the candle that it belongs to, which may have none so far."""
        found = self._candles.get(part.time)
        if found is None:
            self.load([part], closed=False)
            return
        found.precede(part)
        if found.closed:
            self.next_close = CORRECTED

    @property
    def oldest(self) -> int | None:
        """The open time of the oldest candle that is held."""
        return self._held[0].time if self._held else None

    def holds(self, opened: int) -> bool:
        """Whether the candle of this open time is held, and can still change."""
        return opened in self._candles

    def add(self, time: int, price: int, size: int, seq: int) -> None:
        """Fold one trade: `time` in microseconds, `price` and `size` in millionths."""
        newest = self._newest
        if newest is not None and newest.time <= time < newest.end:
            newest.add(time, price, size, seq)
            if newest.closed:
                self.next_close = CORRECTED
            return
        opened, end = bounds(self.interval, time, self._zone)
        if found := self._candles.get(opened):
            found.add(time, price, size, seq)
            if found.closed:
                self.next_close = CORRECTED
            return
        units, rest = divmod(price * size, TRILLION)
        first = Candle(opened, price, price, price, price, size, units, rest, 1, seq, seq, time, time)
        made = self._candles[opened] = _Folding(first, end, closed=False)
        made.changed = True
        insort(self._held, made, key=BY_TIME)
        insort(self._forming, made, key=BY_TIME)
        if newest is None or opened > newest.time:
            self._newest = made
        due = end + self._grace_us
        if self.next_close is None or due < self.next_close:
            self.next_close = due

    def has_room(self, time: int, price: int, size: int) -> bool:
        """Whether one more trade fits: sums of a candle, and of seven of them, must fit 64 bits."""
        candle = self._newest
        if candle is None or not candle.time <= time < candle.end:
            candle = self._candles.get(bounds(self.interval, time, self._zone)[0])
        volume, notional = (candle.volume, candle.notional) if candle else (0, 0)
        return volume + size < SUM_MAX and abs(notional + price * size) < SUM_MAX * TRILLION

    def close(self, clock: int) -> list[Candle]:
        """Those that close at this feed clock, and at any clock closed ones that trades have changed; in order of time."""
        if self.next_close is None or clock < self.next_close:
            return []
        done: list[Candle] = []
        # Of those that are closed, only one that a trade has corrected is anything new.
        for folding in self._held if self.next_close == CORRECTED else self._forming:
            if not folding.closed and folding.end + self._grace_us > clock:
                continue
            if folding.changed or not folding.closed:
                folding.closed, folding.changed = True, False
                done.append(folding.candle())
        self._forming = [folding for folding in self._forming if not folding.closed]
        self._forget(clock - self._grace_us - self._keep_us)
        self._plan()
        return done

    def _plan(self) -> None:
        """Note when `close` has something to do next."""
        self.next_close = self._forming[0].end + self._grace_us if self._forming else None

    def _forget(self, before: int) -> None:
        """Let go of those that have ended before: no trade can reach them any more. The newest stays."""
        gone = 0
        while self._held[gone].end < before and self._held[gone] is not self._newest:
            del self._candles[self._held[gone].time]
            gone += 1
        del self._held[:gone]

    def unclosed(self) -> list[Candle]:
        """Those still forming, in order of time."""
        return [folding.candle() for folding in self._forming]

    def closed(self) -> list[Candle]:
        """Those that are closed and can still change, in order of time."""
        return [folding.candle() for folding in self._held if folding.closed]

    def held(self) -> list[tuple[Candle, bool]]:
        """All that can still change, in order of time, each with whether it is closed."""
        return [(folding.candle(), folding.closed) for folding in self._held]

    def newest(self) -> tuple[Candle, bool] | None:
        """The newest candle and whether it is closed."""
        return (self._newest.candle(), self._newest.closed) if self._newest else None

    def changed(self, before: int = NO_TRADE) -> list[Candle]:
        """The forming ones that trades have changed since they were last asked for, none of them from number `before` on."""
        found = [folding for folding in self._forming if folding.changed and folding.seq < before]
        for folding in found:
            folding.changed = False
        return [folding.candle() for folding in found]
