"""What replays of ticks and of candles have in common: a position, the track that has its numbers, and what came before."""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from ticker.hub.resume import Position
from ticker.hub.track import Track
from ticker.store.tick_stream import Kind

Ended = Callable[[Kind, Sequence[str]], Awaitable[list[dict[str, int]]]]
"""Of symbols: the epochs that have ended, and the number up to which those of each are still true."""


class Resuming:
    """One symbol of a request: the position that its client came with, and the track that has its numbers."""

    __slots__ = ("asked", "generation", "track")

    def __init__(self, asked: Position, track: Track) -> None:
        self.asked = asked
        self.track = track
        self.generation = track.generation
        """That of the track when it was decided where to go on."""

    @property
    def is_ahead(self) -> bool:
        """Whether its client has numbers of this epoch that have not gone out here."""
        return self.asked.epoch == self.track.epoch and self.asked.seq > self.track.seq

    @property
    def current(self) -> bool:
        """Whether what was decided is still so."""
        return self.generation == self.track.generation


async def epochs_before(items: Iterable[Resuming], ended: Ended) -> dict[Resuming, dict[str, int]]:
    """What is known of the epochs that ended, of those items whose position is not of the one that lasts."""
    others = [item for item in items if item.asked.epoch not in (None, item.track.epoch)]
    if not others:
        return {}
    return dict(zip(others, await ended(others[0].track.kind, [item.track.symbol for item in others]), strict=True))
