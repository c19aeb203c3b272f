"""What becomes of a track: its messages go out in order, what is missing is announced, what is not true is withdrawn."""

from collections.abc import Callable

from ticker import metrics
from ticker.hub.events import gap_message, reset_message
from ticker.hub.hub import Hub
from ticker.hub.track import Track


class Outlet:
    """Hands what a track has next to the hub, and tells those who fold trades."""

    def __init__(
        self, hub: Hub, on_trade: Callable[[str, bytes, int], None], on_break: Callable[[str, int | None], None]
    ) -> None:
        """`on_trade(symbol, message, seq)` hears of every trade that goes out; `on_break(symbol, seq)` of missing ones, with
        the number above which trades are withdrawn, if any.
        """
        self._hub = hub
        self._on_trade = on_trade
        self._on_break = on_break

    def publish(self, track: Track, message: bytes, seq: int) -> None:
        """The next message of a track."""
        if track.unnamed:
            self._name_epoch(track)
        track.seq, track.message = seq, message
        self._hub.publish(track.topic, message)
        if track.kind == "trades":
            self._on_trade(track.symbol, message, seq)

    def announce_hole(self, track: Track, seq: int, reason: str) -> None:
        """Where `seq` is not the next number, say what is missing before it."""
        if seq <= track.seq + 1:
            return
        if track.unnamed:
            self._name_epoch(track)
        metrics.GAPS.labels(track.kind).inc()
        self._hub.control(track.topic, gap_message(track.topic, track.seq + 1, seq - 1, reason))
        track.seq, track.message = seq - 1, None
        if track.kind == "trades":
            self._on_break(track.symbol, None)

    def reset(self, track: Track, epoch: str, seq: int) -> None:
        """Go on in this epoch behind `seq`: what went out above it is withdrawn."""
        track.epoch, track.seq, track.message, track.unnamed = epoch, seq, None, False
        track.floors.append(seq)
        self._hub.control(track.topic, reset_message(track.topic, epoch, seq))
        if track.kind == "trades":
            self._on_break(track.symbol, seq)

    def _name_epoch(self, track: Track) -> None:
        """Before the first number: those who could not know its epoch must be able to resume behind it."""
        if track.epoch is not None:
            self.reset(track, track.epoch, 0)
