"""Runs one feed: starts it after what is stored, polls it, hands on its batches, and starts it again where it fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic, perf_counter

from feeds.feed import CLOCK_END, Batch, Feed, FeedError, HistoryFeed
from feeds.tick import Listing
from feeds.trading_hours import ALWAYS
from ticker import metrics
from ticker.errors import FencedError, HeldError, StoreUnavailable
from ticker.feed_state import FeedState
from ticker.ingest.backfill import SYMBOLS_AT_ONCE, Backfiller
from ticker.ingest.batch_writer import BatchWriter
from ticker.ingest.feed_health import FeedHealth
from ticker.ingest.opening import Opening
from ticker.ingest.vigil import Vigil, Watchdog
from ticker.redact import without_secrets

log = logging.getLogger(__name__)

TURN_S = 0.5
"""A feed that always has more gives the scheduler a turn after this long."""
BACKFILL_WAIT_S = 1.0
STANDBY_S = 0.25
"""How often a feed in standby tries to take its symbols over."""
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.5, 30.0


class FeedRunner:
    """One feed. `poll` and, where it keeps sessions, `keep_hours` are scheduled jobs; everything else follows from them."""

    def __init__(
        self,
        name: str,
        feed: Feed,
        writer: BatchWriter,
        buffered_ticks: int,
        wall_us: Callable[[], int],
        opening: Opening | None = None,
        vigil: Vigil | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        """Without `opening` the feed never closes."""
        self.name = name
        self._fields = {"feed": name}
        self._feed = feed
        self._writer = writer
        self._buffered_ticks = buffered_ticks
        self._wall_us = wall_us
        self._opening = opening or Opening("", ALWAYS, wall_us(), 0)
        self._vigil = vigil or Vigil()
        self._watchdog = watchdog or Watchdog()
        self._turn = asyncio.Lock()
        self._began_us = 0
        """The feed clock of the first batch: history is what was before."""
        self._history_failed = False
        self._retry_at_s = 0.0
        self._backoff_s = BACKOFF_FIRST_S
        self._health = FeedHealth()
        self._meter = metrics.FeedMeter(name)

    @property
    def state(self) -> FeedState:
        """What the heartbeat says of it."""
        return self._status()[0]

    @property
    def reason(self) -> str:
        """Why it is in this state, where that is not plain."""
        return self._status()[1]

    @property
    def clock(self) -> int:
        """The feed clock up to which everything is stored, in microseconds; 0 before the first batch."""
        return self._writer.clock

    def status(self) -> dict[str, object]:
        """State, reason and clock, as the heartbeat carries them."""
        state, reason = self._status()
        return {"state": state, "reason": reason, "clock": self.clock}

    def note_health(self) -> None:
        """Tell the metrics how the feed is."""
        self._meter.health(self.state, self.clock if self.clock < CLOCK_END else None)

    def listings(self) -> list[Listing]:
        """The symbols of this feed."""
        return list(self._feed.symbols())

    async def poll(self) -> None:
        """Take a turn, after the one that is under way."""
        async with self._turn:
            await self._take_turn()

    async def verify(self) -> None:
        """Make sure that the store has all that was appended, once it was away or has lost something."""
        self._writer.doubt()
        async with self._turn:
            if self._health.started:
                await self._guard(self._store)

    async def keep_hours(self) -> None:
        """Open or close where the hours say so, and take a turn at once: the job of every open and close."""
        if self._health.failure is None:
            self._look_at_hours(self._wall_us())
            await self.poll()

    @property
    def is_writing(self) -> bool:
        """Whether this ingester speaks for the feed: none does while it stands by."""
        return self._health.standby is None

    @property
    def has_claimed(self) -> bool:
        """Whether its symbols are claimed by this ingester."""
        return self._writer.has_claimed

    def history(self) -> HistoryFeed | None:
        """The feed, where it knows what was before its first tick."""
        return self._feed if isinstance(self._feed, HistoryFeed) else None

    async def backfill(self, backfiller: Backfiller) -> None:
        """Have candles of before the first tick stored for symbols that lack them; raises `StoreUnavailable`."""
        if not self._began_us or self._history_failed:
            return
        begun, symbols = monotonic(), self._writer.not_backfilled()
        for first in range(0, len(symbols), SYMBOLS_AT_ONCE):
            try:
                made = await backfiller.make(symbols[first : first + SYMBOLS_AT_ONCE], self._began_us)
            except FeedError as error:
                log.error("feed %s: goes on without its history: %s", self.name, error, extra=self._fields)
                self._history_failed = True
                return
            if not await self._writer.backfill(made, BACKFILL_WAIT_S):
                # The store takes nothing for now: no more is made than can be put there.
                return
        if symbols:
            log.info(
                "feed %s: history of %d symbols in %.1f s",
                self.name,
                len(symbols),
                monotonic() - begun,
                extra=self._fields,
            )

    async def close(self) -> None:
        """Store what is left, where the store takes it, and give the feed's files and connections back."""
        try:
            await self._writer.end()
        except (StoreUnavailable, FencedError, HeldError) as error:
            lost = self._writer.buffered
            log.error("feed %s: not ended in order, %d ticks are lost: %s", self.name, lost, error, extra=self._fields)
        finally:
            await self._feed.close()

    async def _take_turn(self) -> None:
        """Store what waits, start the feed where it is not, poll it, store what it gave."""
        if self._health.failure is None and monotonic() >= self._retry_at_s and await self._guard(self._poll_and_store):
            self._backoff_s = BACKOFF_FIRST_S

    async def _poll_and_store(self) -> None:
        if not self._health.started:
            # What is buffered from before must be stored first: the feed goes on behind it.
            await self._store()
            await self._start()
        turn_ends_s = monotonic() + TURN_S
        while self._poll_feed() and monotonic() < turn_ends_s:
            await self._store()
        await self._store()

    async def _guard(self, step: Callable[[], Awaitable[None]]) -> bool:
        """Do something with feed and store, and become what its failure makes of the feed; whether it succeeded."""
        try:
            await step()
        except StoreUnavailable as error:
            self._note_store_away(error)
        except (FencedError, HeldError) as error:
            await self._stand_by(error)
        except FeedError as error:
            self._fail(str(error))
        except Exception as error:
            # A feed is anybody's code: what it raises must not end the others.
            self._back_off(error)
        else:
            self._note_store_back()
            return True
        return False

    def _status(self) -> tuple[FeedState, str]:
        """State and reason."""
        # A turn that is under way may wait for the store, which has a word for that.
        trouble = None if self._turn.locked() else self._vigil.trouble()
        return self._health.status(self._opening, trouble)

    async def _start(self) -> None:
        listings = self.listings()
        stored = await self._writer.claim(listings)
        await self._feed.start(self._wall_us(), stored)
        self._health.started, self._health.error, self._health.standby = True, None, None
        self._vigil.started()
        self._note_store_back()
        log.info(
            "feed %s: started with %d symbols, %d of them in the store",
            self.name,
            len(listings),
            len(stored),
            extra=self._fields,
        )

    def _poll_feed(self) -> bool:
        """Take what is due, and say whether more is; where too much waits, the feed keeps it, or makes up less later.

        While the feed is closed it is not asked, but its clock goes on.
        """
        now_us = self._wall_us()
        self._look_at_hours(now_us)
        until_us = self._opening.poll_time(now_us)
        if until_us is None:
            if not self._writer.buffered:
                self._hand_on(Batch((), now_us))
            self._vigil.polled(gave=False, is_open=False)
            return False
        if self._writer.buffered >= self._buffered_ticks:
            metrics.met("buffered_ticks")
            self._vigil.polled(gave=True, is_open=True)
            return False
        began_s = perf_counter()
        with self._watchdog.over(self.name):
            batch = self._feed.poll(until_us)
        took_s = perf_counter() - began_s
        self._vigil.polled(gave=bool(batch.ticks) or batch.clock >= CLOCK_END, is_open=True)
        self._hand_on(batch)
        self._meter.polled(len(batch.ticks), took_s)
        if batch.ticks and (newest_us := getattr(batch.ticks[-1], "time", 0)).__class__ is int:
            self._meter.taken(newest_us, batch.clock, now_us)
        if not batch.more:
            self._opening.polled(until_us)
        return batch.more

    async def _store(self) -> None:
        await self._writer.drain()
        self._meter.stored(self._wall_us())

    def _hand_on(self, batch: Batch) -> None:
        self._writer.put(batch)
        self._began_us = self._began_us or batch.clock

    def _look_at_hours(self, now_us: int) -> None:
        if news := self._opening.look(now_us):
            log.info("feed %s: %s", self.name, news, extra=self._fields)
            if self._opening.ends_soon(now_us):
                log.warning(
                    "feed %s: its calendar ends within 30 days; update the package exchange_calendars",
                    self.name,
                    extra=self._fields,
                )

    def _note_store_away(self, error: StoreUnavailable) -> None:
        if self._health.started:
            # Ticks of a live source do not come again: they are taken now and wait.
            self._take_meanwhile()
        if self._health.store_away is None:
            log.error("feed %s: %s; up to %d ticks wait", self.name, error, self._buffered_ticks, extra=self._fields)
        self._health.store_away = str(error)

    def _take_meanwhile(self) -> None:
        try:
            self._poll_feed()
        except FeedError as error:
            self._fail(str(error))
        except Exception as error:
            self._back_off(error)

    def _note_store_back(self) -> None:
        if self._health.store_away is not None:
            log.info("feed %s: the store is back, and what waited is stored", self.name, extra=self._fields)
            self._health.store_away = None

    async def _stand_by(self, error: FencedError | HeldError) -> None:
        """Another ingester writes the symbols: wait until it is gone. What was not stored before is no longer ours to store."""
        was_writing, dropped = self._writer.has_claimed, self._writer.drop()
        self._health.started, self._health.error = False, None
        self._retry_at_s = monotonic() + STANDBY_S
        if was_writing or self._health.standby is None:
            log.warning("feed %s: stands by: %s", self.name, error, extra=self._fields)
        self._health.standby = str(error)
        if was_writing:
            log.error("feed %s: replaced; %d ticks were not stored", self.name, dropped, extra=self._fields)
            metrics.DROPPED.labels(self.name).inc(dropped)
            self._began_us = 0
            # Whoever writes now may need what it holds, such as the one connection that its source allows.
            await self._feed.close()

    def _fail(self, reason: str) -> None:
        self._health.failure = without_secrets(reason)
        log.error("feed %s: stopped: %s", self.name, self._health.failure, extra=self._fields)

    def _back_off(self, error: Exception) -> None:
        """The feed raised: start it again, later each time."""
        self._health.error = without_secrets(f"{type(error).__name__}: {error}")
        self._health.started = False
        self._retry_at_s = monotonic() + self._backoff_s
        log.error(
            "feed %s: %s; trying again in %.1f s", self.name, self._health.error, self._backoff_s, extra=self._fields
        )
        self._backoff_s = min(2 * self._backoff_s, BACKOFF_MOST_S)
        metrics.FEED_ERRORS.labels(self.name).inc()
