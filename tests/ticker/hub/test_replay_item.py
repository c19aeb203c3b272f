"""What a replay knows of one symbol before anything is sent."""

import asyncio

import pytest

from ticker.hub.blocks import Blocks
from ticker.hub.recording import Recording
from ticker.hub.replay_item import Item, Piece
from ticker.hub.resume import Position
from ticker.hub.track import Track


@pytest.fixture
def track():
    track = Track("trades", "AAPL")
    track.epoch, track.seq = "abcdef", 10
    return track


def item_at(track, seq, most=8):
    recording = Recording(most)
    item = Item(Position(track.epoch, seq), track, recording)
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


@pytest.mark.limit("replay_recorded")
async def test_what_the_recording_has_let_go_is_read_from_the_stream(writer, tape):
    """A client that is further behind than is recorded misses nothing."""
    await writer.write(*tape.trades(20))
    track = Track("trades", "AAPL")
    (tip,) = await writer.streams.tips("trades", ["AAPL"])
    track.epoch, track.seq = tip.epoch, 20
    item, recording = item_at(track, 5, most=4)
    for seq in range(17, 21):
        recording.pending.append(b"%d" % seq)
    blocks, piece = Blocks(writer.streams, 1 << 20, 1), Piece()
    assert not item.take(piece, blocks)
    reading = asyncio.create_task(blocks.run())
    try:
        await blocks.fetch(track, item.seq + 1, track.seq)
        while item.seq < track.seq:
            assert item.take(piece, blocks)
    finally:
        reading.cancel()
    assert piece.count == 15
    assert b'"seq":6}' in piece.parts[0]
