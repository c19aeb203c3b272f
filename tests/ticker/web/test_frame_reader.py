import sys
from time import perf_counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from ticker.web.frame_reader import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, FrameReader, Message, Violation

LIMIT = 65_536
MASK = b"\x37\xfa\x21\x3d"


def masked(opcode, payload=b"", *, fin=True):
    """A frame as websockets' own client makes it."""
    return Frame(Opcode(opcode), payload, fin=fin).serialize(mask=True)


def head(first, second, rest=b""):
    """The head of a frame, byte by byte."""
    return bytes((first, second)) + rest


def read_all(*pieces, limit=LIMIT):
    """The messages of these pieces, and the reader."""
    reader, found = FrameReader(limit), []
    for piece in pieces:
        reader.feed(piece)
        while (message := reader.read()) is not None:
            found.append(message)
    return found, reader


def messages(*pieces, limit=LIMIT):
    """What is whole of these pieces."""
    found, _ = read_all(*pieces, limit=limit)
    return [message for message in found if message.opcode != CONTINUATION]


def violation(*pieces, limit=LIMIT):
    """The code with which these pieces are refused; only the last may be at fault."""
    *good, last = pieces
    _, reader = read_all(*good, limit=limit)
    reader.feed(last)
    with pytest.raises(Violation) as refused:
        list(iter(reader.read, None))
    assert refused.value.reason
    return refused.value.code


def is_empty(reader):
    return reader._buffer == b"" and reader._at == 0 and reader._frame is None and reader._open is None


# What is right


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_messages_of_any_size_are_read(size):
    """At the edges of the three forms of a length, text and binary."""
    assert messages(masked(BINARY, b"\xff" * size)) == [Message(BINARY, b"\xff" * size)]
    assert messages(masked(TEXT, b"x" * size)) == [Message(TEXT, text="x" * size)]


def test_control_frames_are_read():
    """Of any size they may have."""
    assert messages(masked(PING), masked(PONG, b"x" * 125)) == [Message(PING), Message(PONG, b"x" * 125)]
    assert messages(masked(CLOSE)) == [Message(CLOSE)]
    assert messages(masked(CLOSE, b"\x03\xe8")) == [Message(CLOSE, code=1000)]
    assert messages(masked(CLOSE, b"\x0f\xa0" + "Schluß".encode())) == [Message(CLOSE, text="Schluß", code=4000)]


def test_control_frames_may_stand_between_fragments():
    """They are handed on at once, the message once it is whole."""
    found, reader = read_all(
        masked(TEXT, b"a", fin=False)
        + masked(PING, b"1")
        + masked(CONTINUATION, b"b", fin=False)
        + masked(PONG)
        + masked(CONTINUATION, b"c")
    )
    open_ = Message(CONTINUATION)
    assert found == [open_, Message(PING, b"1"), open_, Message(PONG), Message(TEXT, text="abc")]
    assert is_empty(reader)


def test_a_fragment_that_brings_nothing_is_seen_by_the_caller():
    """So that it can count them: they cost, and there may be any number of them."""
    found, _ = read_all(masked(BINARY, fin=False), *[masked(CONTINUATION, fin=False)] * 100, masked(CONTINUATION))
    assert [message.opcode for message in found] == [CONTINUATION] * 101 + [BINARY]


def test_a_text_may_be_cut_within_a_character():
    """Between fragments, and between the pieces in which one frame arrives."""
    text = "κόσμε 🌍 한"
    data = text.encode()
    for cut in range(len(data) + 1):
        fragments = masked(TEXT, data[:cut], fin=False) + masked(CONTINUATION, data[cut:])
        assert messages(fragments) == [Message(TEXT, text=text)]
    assert messages(*(bytes((byte,)) for byte in masked(TEXT, data))) == [Message(TEXT, text=text)]


@st.composite
def conversations(draw):
    """What is sent, as bytes, and what must be read."""
    sent, wanted = b"", []
    control = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            text = draw(st.text(max_size=300))
            opcode, data, message = TEXT, text.encode(), Message(TEXT, text=text)
        else:
            data = draw(st.binary(max_size=300))
            opcode, message = BINARY, Message(BINARY, data)
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
        parts = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        for number, part in enumerate(parts):
            sent += masked(CONTINUATION if number else opcode, part, fin=number == len(parts) - 1)
            if number < len(parts) - 1 and draw(st.booleans()):
                kind, payload = draw(control)
                sent += masked(kind, payload)
                wanted.append(Message(kind, payload))
        wanted.append(message)
    return sent, wanted


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(conversations(), st.data())
def test_any_split_of_the_bytes_gives_the_same_messages(conversation, data):
    """However the network cuts them."""
    sent, wanted = conversation
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=20)))
    pieces = [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    found, reader = read_all(*pieces)
    assert [message for message in found if message.opcode != CONTINUATION] == wanted
    assert is_empty(reader)


@settings(deadline=None)
@given(st.binary(max_size=200), st.data())
def test_any_bytes_are_read_or_refused(garbage, data):
    """And it is the same code however they are cut."""

    def outcome(*pieces):
        reader, found = FrameReader(100), []
        try:
            for piece in pieces:
                reader.feed(piece)
                while (message := reader.read()) is not None:
                    found.append(message)
        except Violation as refused:
            return found, refused.code
        return found, None

    cut = data.draw(st.integers(0, len(garbage)))
    assert outcome(garbage) == outcome(garbage[:cut], garbage[cut:]) == outcome(*(bytes((b,)) for b in garbage))


# What is wrong


@pytest.mark.parametrize("first", [0xC1, 0xA1, 0x91, 0xF1, 0xD8, 0x83, 0x87, 0x8B, 0x8F, 0x80, 0x00, 0x09, 0x08, 0x0A])
def test_a_wrong_first_byte_is_refused_by_itself(first):
    """Reserved bits and opcodes, a continuation of nothing, a control frame in fragments."""
    assert violation(bytes((first,))) == 1002


@pytest.mark.parametrize("first", [0x81, 0x01, 0x82, 0x02])
def test_a_message_must_not_begin_within_another(first):
    """Known by its first byte."""
    assert violation(masked(TEXT, b"a", fin=False), bytes((first,))) == 1002


@pytest.mark.parametrize("first", [0x81, 0x82, 0x88, 0x89, 0x8A])
def test_frames_must_be_masked(first):
    """Known by the second byte."""
    assert violation(head(first, 0x01)) == 1002


@pytest.mark.parametrize("first", [0x88, 0x89, 0x8A])
@pytest.mark.parametrize("length", [126, 127])
def test_long_control_frames_are_refused_by_their_second_byte(first, length):
    """At most 125 bytes."""
    assert violation(head(first, 0x80 | length)) == 1002


@pytest.mark.parametrize(
    "length", [b"\xfe\x00\x7d", b"\xfe\x00\x00", b"\xff" + bytes(6) + b"\xff\xff", b"\xff\x80" + bytes(7)]
)
def test_a_length_takes_no_more_bytes_than_it_needs(length):
    """Nor has it 64 bits."""
    assert violation(b"\x82" + length) == 1002


@pytest.mark.parametrize("size", [101, 125, 126, 65_536, 1 << 40])
def test_what_is_too_big_is_refused_by_its_head(size):
    """None of its payload is waited for."""
    announced = Frame(Opcode.BINARY, b"").serialize(mask=True)[:1]
    length = (
        bytes((0x80 | size,))
        if size <= 125
        else b"\xfe" + size.to_bytes(2)
        if size <= 65_535
        else b"\xff" + size.to_bytes(8)
    )
    assert violation(announced + length, limit=100) == 1009


def test_fragments_are_added_up():
    """Exactly the limit is read, one byte more is refused by the head that brings it."""
    half = masked(BINARY, bytes(50), fin=False)
    assert messages(half, masked(CONTINUATION, bytes(50)), limit=100) == [Message(BINARY, bytes(100))]
    assert violation(half, masked(CONTINUATION, bytes(51))[:2], limit=100) == 1009
    assert violation(half, masked(CONTINUATION, bytes(40), fin=False), masked(CONTINUATION, bytes(11))[:2], limit=100)


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 65_535])
def test_close_codes_that_nobody_may_send(code):
    """Reserved ones, and those of nobody."""
    assert violation(masked(CLOSE, code.to_bytes(2))) == 1002


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])
def test_close_codes_that_clients_may_send(code):
    """Defined ones, those of libraries and those of applications."""
    assert messages(masked(CLOSE, code.to_bytes(2))) == [Message(CLOSE, code=code)]


def test_a_close_frame_with_half_a_code_is_refused():
    """And so is a reason that is no text."""
    assert violation(masked(CLOSE, b"\x03")) == 1002
    assert violation(masked(CLOSE, b"\x03\xe8\xff")) == 1007
    assert violation(masked(CLOSE, b"\x03\xe8\xe2\x82")) == 1007


NOT_TEXT = [b"\xff", b"\xc0\xaf", b"\xed\xa0", b"\xed\xa0\x80", b"\xf4\x90", b"\xf5", b"\xe0\x80", b"ok\x80"]


@pytest.mark.parametrize("wrong", NOT_TEXT)
def test_bytes_that_are_no_text_are_refused_with_the_fragment_that_brings_them(wrong):
    """Although more might come; in a whole message as well."""
    assert violation(masked(TEXT, wrong)) == 1007
    assert violation(masked(TEXT, b"good ", fin=False), masked(CONTINUATION, wrong, fin=False)) == 1007


@pytest.mark.parametrize("wrong", NOT_TEXT)
def test_bytes_that_are_no_text_are_refused_before_their_frame_is_whole(wrong):
    """As soon as they are there."""
    whole = masked(TEXT, wrong + b"x" * 100)
    assert violation(whole[: 2 + 4 + len(wrong)]) == 1007


def test_a_text_must_not_end_within_a_character():
    """In one frame or in several."""
    assert violation(masked(TEXT, b"\xe2\x82")) == 1007
    assert violation(masked(TEXT, b"\xe2\x82", fin=False), masked(CONTINUATION)) == 1007


def test_binary_messages_need_be_no_text():
    """Only texts are checked."""
    assert messages(masked(BINARY, b"\xff", fin=False), masked(CONTINUATION, b"\xfe")) == [Message(BINARY, b"\xff\xfe")]


# What it costs


def test_nothing_is_held_between_messages():
    """Neither what was read nor the chunk it came in, which may be large."""
    _, reader = read_all(masked(TEXT, b"x" * 60_000) + masked(PING))
    assert is_empty(reader)
    _, reader = read_all(masked(BINARY, b"x" * 60_000) + masked(PING)[:3])
    assert sys.getsizeof(reader._buffer) < 100


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_large_frame_byte_by_byte_takes_no_longer_than_it_must(opcode):
    """Twice the bytes take about twice the time, not four times."""

    def seconds(size):
        pieces = [bytes((byte,)) for byte in masked(opcode, b"x" * size)]
        begun = perf_counter()
        assert len(messages(*pieces)) == 1
        return perf_counter() - begun

    least = min(seconds(8_192) for _ in range(3))
    assert min(seconds(65_536) for _ in range(3)) < 8 * least * 3


def test_many_tiny_fragments_cost_little_more_than_their_bytes():
    """They are joined as they come."""
    piece = masked(CONTINUATION, b"ab", fin=False)
    _, reader = read_all(masked(BINARY, fin=False), piece * 30_000)
    assert sys.getsizeof(reader._open.payload) < 100_000


def test_a_lone_pong_is_known_at_sight():
    """Empty, masked, whole, and not within what has begun."""
    pong = b"\x8a\x80abcd"
    reader = FrameReader(1_000)
    assert reader.is_pong(pong)
    for other in (b"", pong[:-1], pong + b"x", b"\x89\x80abcd", b"\x8a\x81abcd", b"\x0a\x80abcd", b"\x8a\x00abcd"):
        assert not reader.is_pong(other)
    reader.feed(b"\x81")
    assert reader.read() is None
    assert not reader.is_pong(pong)
