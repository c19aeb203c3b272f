import pytest
from websockets.frames import Close, Frame, Opcode

from ticker.hub.frame import FIN_BINARY, FIN_PONG, PING, close_frame, frame, text_frame

LENGTHS = [*range(130), 65_534, 65_535, 65_536, 65_537, 70_000]


@pytest.mark.parametrize("length", LENGTHS)
def test_frames_are_those_of_a_library_that_many_trust(length):
    """At every length where the head changes its form."""
    payload = b"x" * length
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert frame(FIN_BINARY, payload) == Frame(Opcode.BINARY, payload).serialize(mask=False)
    if length <= 125:
        assert frame(FIN_PONG, payload) == Frame(Opcode.PONG, payload).serialize(mask=False)


def test_a_ping_is_empty():
    """It only asks for a sign of life."""
    assert Frame(Opcode.PING, b"").serialize(mask=False) == PING


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4508, "slow consumer"), (1012, "ü" * 61)])
def test_a_close_frame_has_a_code_and_a_reason(code, reason):
    """As RFC 6455 has them."""
    assert close_frame(code, reason) == Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False)


def test_a_close_frame_may_be_empty():
    """An answer to one without a code."""
    assert close_frame(None) == b"\x88\x00"


def test_a_reason_that_is_too_long_is_cut_between_characters():
    """Half a character would be no UTF-8."""
    made = close_frame(4508, "x" + "ü" * 100)
    assert made[1] == len(made) - 2 == 125
    assert made[4:].decode() == "x" + "ü" * 61
