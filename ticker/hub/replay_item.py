"""One symbol of a replay: where its client stands, and what it is sent next."""

from collections.abc import Mapping

from ticker import metrics
from ticker.hub.blocks import Answer, Block, Blocks
from ticker.hub.cohort import Newest
from ticker.hub.events import gap_message, reset_message
from ticker.hub.frame import text_frame
from ticker.hub.recording import Recording
from ticker.hub.resume import Position, start
from ticker.hub.resuming import Resuming
from ticker.hub.subscriber import Subscriber
from ticker.hub.track import Track

FRAMES_AT_ONCE = 256
TRIES = 3
"""So often a number that the stream does not have is looked for again, each time after the channel was made sure of."""


class Piece:
    """Frames that are written together."""

    __slots__ = ("count", "parts", "size")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.count = self.size = 0

    def add(self, data: bytes, count: int = 1) -> None:
        """More frames, behind the others."""
        self.parts.append(data)
        self.count += count
        self.size += len(data)


class Item(Resuming):
    """One symbol of a replay: `seq` is the last number that its client has, or was told is missing."""

    __slots__ = ("_recording", "_reset", "_tries", "block", "seq", "topic")

    def __init__(self, asked: Position, track: Track, recording: Recording) -> None:
        super().__init__(asked, track)
        self.topic = track.topic
        self.seq = 0
        self.block: Block | None = None
        self._recording = recording
        self._reset = False
        self._tries = 0

    def begin(self, ended: Mapping[str, int]) -> None:
        """Decide where to go on."""
        track = self.track
        self.seq, self._reset = start(self.asked, track.epoch, track.seq, ended)
        self.generation, self.block = track.generation, None

    @property
    def complete(self) -> bool:
        """Whether the client has the last message that went out."""
        return self.seq == self.track.seq and self.current and not self._reset

    @property
    def outcome(self) -> str:
        """`whole`, `gap` or `reset`: what becomes of it, as far as is known once its first block is there."""
        if self._reset:
            return "reset"
        if self.seq == self.track.seq or self._recording.newest(self.track.seq - self.seq, 1):
            # What has come since it was prepared needs no block.
            return "whole"
        whole = self.block is not None and self.block.whole and self.block.first <= self.seq + 1
        return "whole" if whole else "gap"

    def see(self, answer: Answer, blocks: Blocks) -> bool:
        """Take the next block from an answer; False where it is not in there."""
        block = answer.blocks.get(blocks.place(self.track, self.seq + 1))
        if block is None or block.high <= self.seq:
            return False
        self.block = block
        return True

    def newest(self, client: Subscriber) -> None:
        """Only the newest message, for a client that takes the latest; it says how many it stands for."""
        self._withdraw(client)
        track = self.track
        if track.seq > self.seq:
            if track.message is None:
                client.send(gap_message(self.topic, self.seq + 1, track.seq, "trimmed"), counted=False)
            else:
                client.send_newest(Newest(track.message, track.seq - self.seq - 1))
            self.seq = track.seq

    def _withdraw(self, client: Subscriber) -> None:
        piece = Piece()
        self.withdraw(piece)
        if piece.parts:
            client.send_framed(b"".join(piece.parts), piece.count)

    def withdraw(self, piece: Piece) -> None:
        """Say what of that which the client has seen does not count any more, if anything."""
        track = self.track
        if self.generation != track.generation or self._reset:
            self.seq = min([self.seq, *track.floors[self.generation :]])
            self.generation, self.block, self._reset = track.generation, None, False
            piece.add(text_frame(reset_message(self.topic, track.epoch, self.seq)))

    def take(self, piece: Piece, blocks: Blocks) -> bool:
        """Add what comes next; False where it must be read first."""
        behind = self.track.seq - self.seq
        frames = self._recording.newest(behind, FRAMES_AT_ONCE)
        if frames:
            piece.add(b"".join(frames), len(frames))
            self.seq += len(frames)
            return True
        if self._recording.full:
            metrics.met("replay_recorded")
        if self._block(blocks) is None:
            return False
        self._take_block(piece)
        return True

    def _block(self, blocks: Blocks) -> Block | None:
        """The block with the next number."""
        block = self.block
        if block is None or not block.low <= self.seq + 1 <= block.high:
            block = self.block = blocks.get(self.track, self.seq + 1)
        return block

    def _take_block(self, piece: Piece) -> None:
        block, last = self.block, self.track.seq
        assert block is not None
        self._tries = 0
        if block.first > self.seq + 1:
            self._miss(piece, min(block.first - 1, last), "trimmed")
            return
        data, count, reached = block.take(self.seq, last)
        if count:
            piece.add(data, count)
            self.seq = reached
        else:
            self._miss(piece, reached, "store_lost")

    def _miss(self, piece: Piece, last: int, reason: str) -> None:
        """The numbers up to `last` will not come."""
        piece.add(text_frame(gap_message(self.topic, self.seq + 1, last, reason)))
        self.seq = last

    def miss(self, piece: Piece) -> None:
        """The next number was not in what was read; after some tries, say that what is not recorded is missing."""
        self._tries += 1
        if self._tries > TRIES and not self.complete and self.current:
            last = self.track.seq - len(self._recording.pending)
            if last > self.seq:
                self._miss(piece, last, "store_lost")
