"""What a replay knows of one symbol before anything is sent."""

import pytest

from ticker.hub.recording import Recording
from ticker.hub.relay import Track
from ticker.hub.replay import Item
from ticker.hub.resume import Position


@pytest.fixture
def track():
    track = Track("trades", "AAPL")
    track.epoch, track.seq = "abcdef", 10
    return track


def item_at(track, seq, most=8):
    recording = Recording(most)
    item = Item(Position("abcdef", seq), track, recording)
    item.begin({})
    return item, recording


def test_what_comes_between_preparing_and_the_reply_is_not_missing(track):
    """Nothing was read, as nothing was missing; the messages since then are recorded."""
    item, recording = item_at(track, 10)
    assert item.outcome == "whole"
    for track.seq in (11, 12):
        recording.pending.append(b"%d" % track.seq)
    assert item.outcome == "whole"


def test_more_than_is_recorded_is_missing_until_it_is_read(track):
    item, recording = item_at(track, 10, most=2)
    for track.seq in (11, 12, 13):
        recording.pending.append(b"%d" % track.seq)
    assert item.outcome == "gap"
