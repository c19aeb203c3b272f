"""The newest live messages of one topic, kept while somebody is being brought up to them."""

from collections import deque
from itertools import islice


class Recording:
    """Takes what is published like a cohort; the oldest frames fall out where there are more than `most`.

    Of a topic whose last number is n, the frames are those of the numbers up to n, without a hole: what breaks the
    numbering comes as a control message, and with it the recording begins anew.
    """

    __slots__ = ("holders", "idle", "most", "pending")

    def __init__(self, most: int) -> None:
        self.most = most
        self.pending: deque[bytes] = deque(maxlen=most)
        self.holders = 0
        self.idle = False
        """Whether there was no holder when it was last looked at."""

    @property
    def full(self) -> bool:
        """Whether older frames may have fallen out."""
        return len(self.pending) == self.most

    def control(self, frame: bytes) -> bool:
        """The numbering breaks here; nothing is to be written."""
        self.pending.clear()
        return False

    def flush_collected(self) -> None:
        """Nothing is written from here: whoever needs the frames takes them."""

    def newest(self, count: int, most: int) -> list[bytes]:
        """The oldest `most` of the newest `count` frames; empty where so many are not kept."""
        first = len(self.pending) - count
        return list(islice(self.pending, first, first + most)) if first >= 0 else []
