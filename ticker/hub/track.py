"""One channel of one symbol as a relay follows it."""

import logging
from collections.abc import Sequence

from ticker import codec
from ticker.hub.topic import Topic
from ticker.store.tick_stream import MESSAGE_TYPE, STREAM, Kind

log = logging.getLogger(__name__)


class Track:
    """One channel of one symbol: the last number that went out, and the messages that wait while it is made sure of."""

    __slots__ = (
        "channel",
        "epoch",
        "floors",
        "gone",
        "held",
        "kind",
        "message",
        "seq",
        "short_s",
        "symbol",
        "topic",
        "unnamed",
    )

    def __init__(self, kind: Kind, symbol: str) -> None:
        self.kind = kind
        self.symbol = symbol
        self.topic = Topic(kind, symbol)
        self.channel = STREAM[kind](symbol)
        self.epoch: str | None = None
        self.seq = 0
        self.message: bytes | None = None
        """The one with the number `seq`; None where that has not come, but is known to be gone."""
        self.held: list[bytes] | None = []
        self.floors: list[int] = []
        """The number of each reset: what was above it is withdrawn, and may come again with other content."""
        self.short_s: float | None = None
        """Since when the store has been found to end before what was sent, or before a hole in what waits."""
        self.unnamed = False
        """Somebody who has joined before the first number was told of no epoch."""
        self.gone = False
        """Nobody needs it any more: it was let go of, perhaps in the middle of a check."""

    @property
    def generation(self) -> int:
        """How often numbers have been withdrawn."""
        return len(self.floors)

    @property
    def goes_on(self) -> bool:
        """Whether what waits goes on from what was sent, though the stream does not hold it: then it is not the stream's."""
        seqs = [self.number_of(payload) for payload in self.held or ()]
        return bool(seqs) and all(seq is not None and seq > self.seq for seq in seqs)

    def number_of(self, payload: bytes) -> int | None:
        """The number of a message; None, and a line in the log, where somebody has published what is no tick."""
        try:
            return codec.last_seq(payload)
        except (ValueError, KeyError, TypeError):
            fields = {"symbol": self.symbol}
            log.warning("%s: passed over a message that is no tick: %.80r", self.channel, payload, extra=fields)
            return None

    def message_of(self, fields: Sequence[bytes]) -> bytes:
        """An entry of the stream, as it was published."""
        return codec.entry_message(MESSAGE_TYPE[self.kind], self.symbol, fields).encode()
