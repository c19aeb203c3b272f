"""Reads the frames that a client sends: masked, perhaps in fragments, and nothing that RFC 6455 forbids."""

from codecs import getincrementaldecoder
from typing import NamedTuple

from websockets.frames import CloseCode

from ticker.hub.frame import MEDIUM_MAX, SHORT_MAX

try:
    from websockets.speedups import apply_mask
except ImportError:
    # Where there is no compiled one.
    from websockets.utils import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
DATA = frozenset({CONTINUATION, TEXT, BINARY})
CONTROL = frozenset({CLOSE, PING, PONG})
CONTROL_MAX = 125
"""Bytes of a control frame's payload (section 5.5)."""
MASK_BYTES = 4
EMPTY_PONG = b"\x8a\x80"
EMPTY_FRAME_BYTES = 2 + MASK_BYTES

FORBIDDEN_CODES = frozenset({1004, 1005, 1006, 1015})
"""Reserved, never sent in a frame (section 7.4.1)."""
DEFINED_MAX, OTHERS_MIN, OTHERS_MAX = 1014, 3000, 4999

NOT_UTF8 = "a text that is not UTF-8"
Utf8Decoder = getincrementaldecoder("utf-8")


class Violation(Exception):
    """What a client sent cannot be; the connection is failed with this close code and reason (section 7.1.7)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Message(NamedTuple):
    """One whole message, one control frame, or a fragment that leaves its message open: `CONTINUATION`, without content."""

    opcode: int
    payload: bytes = b""
    """Of binary messages, pings and pongs."""
    text: str = ""
    """Of text messages; of a close frame, its reason."""
    code: int | None = None
    """Of a close frame that has one."""


class _Frame:
    """A frame whose head was read: how much of its payload is to come, and the mask as it goes on there."""

    __slots__ = ("final", "left", "mask", "opcode")

    def __init__(self, opcode: int, left: int, mask: bytes, *, final: bool) -> None:
        self.opcode = opcode
        self.left = left
        self.mask = mask
        self.final = final


class _Open:
    """A message of which more is to come."""

    __slots__ = ("opcode", "payload", "utf8")

    def __init__(self, opcode: int) -> None:
        self.opcode = opcode
        self.payload = bytearray()
        self.utf8 = Utf8Decoder() if opcode == TEXT else None

    def add(self, piece: bytes, *, last: bool) -> None:
        """Bytes that cannot become a text are refused with the piece that brings them."""
        self.payload += piece
        if self.utf8 is not None:
            try:
                self.utf8.decode(piece, last)
            except UnicodeDecodeError:
                raise Violation(CloseCode.INVALID_DATA, NOT_UTF8) from None
            begun, _ = self.utf8.getstate()
            if begun[:1] == b"\xed" and begun[1:2] >= b"\xa0":
                # Half of a surrogate pair, which Python's decoder sees only with its third byte.
                raise Violation(CloseCode.INVALID_DATA, NOT_UTF8)


class FrameReader:
    """What has arrived of one connection's frames and is not a whole message yet; it holds nothing while that is nothing."""

    __slots__ = ("_at", "_buffer", "_frame", "_max_bytes", "_open")

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes`: of one message, fragments added up."""
        self._max_bytes = max_bytes
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._frame: _Frame | None = None
        self._open: _Open | None = None

    def feed(self, data: bytes) -> None:
        """Bytes that have arrived."""
        if not self._buffer:
            self._buffer = data
        else:
            if isinstance(self._buffer, bytes):
                self._buffer, self._at = bytearray(self._buffer[self._at :]), 0
            self._buffer += data

    def is_pong(self, data: bytes) -> bool:
        """Whether these bytes, which were not fed, are one empty pong and nothing else: what idle clients send all day."""
        return len(data) == EMPTY_FRAME_BYTES and data[:2] == EMPTY_PONG and not self._buffer and self._frame is None

    def read(self) -> Message | None:
        """The next message; None: it takes more bytes. Raises `Violation`, after which there is nothing to read."""
        frame = self._frame = self._frame or self._read_head()
        message = None
        if frame is not None:
            message = self._read_control(frame) if frame.opcode in CONTROL else self._read_data(frame)
        if message is not None:
            self._frame = None
        self._forget_read(waiting=message is None)
        return message

    def _forget_read(self, *, waiting: bool) -> None:
        if self._at == len(self._buffer):
            self._buffer, self._at = b"", 0
        elif waiting and self._at:
            # What is left is the beginning of a head or a control frame; what it arrived with need not be kept for it.
            self._buffer, self._at = bytearray(self._buffer[self._at :]), 0

    def _read_head(self) -> _Frame | None:
        """The head of the frame that begins here, each byte checked as soon as it is there; None where more is to come."""
        buffer, at = self._buffer, self._at
        there = len(buffer) - at
        if there:
            self._check_first(buffer[at])
        if there < 2:
            return None
        opcode, length = buffer[at] & 0x0F, buffer[at + 1] & 0x7F
        self._check_second(opcode, length, masked=buffer[at + 1] > 0x7F)
        begin = at + 2
        if length > SHORT_MAX:
            wide = 2 if length == 126 else 8
            if there < 2 + wide:
                return None
            length = int.from_bytes(buffer[begin : begin + wide])
            begin += wide
            if length >> 63 or length <= (SHORT_MAX if wide == 2 else MEDIUM_MAX):
                raise Violation(CloseCode.PROTOCOL_ERROR, "a length in more bytes than it needs")
        if opcode in DATA and length + (len(self._open.payload) if self._open else 0) > self._max_bytes:
            raise Violation(CloseCode.MESSAGE_TOO_BIG, f"message of more than {self._max_bytes} bytes")
        if len(buffer) < begin + MASK_BYTES:
            return None
        self._at = begin + MASK_BYTES
        return _Frame(opcode, length, bytes(buffer[begin : self._at]), final=buffer[at] > 0x7F)

    def _check_first(self, first: int) -> None:
        opcode, final, amid = first & 0x0F, first > 0x7F, self._open is not None
        if first & 0x70:
            broken = "reserved bits are set"
        elif opcode in CONTROL:
            broken = "" if final else "a control frame is fragmented"
        elif opcode not in DATA:
            broken = f"opcode {opcode} is reserved"
        elif opcode == CONTINUATION:
            broken = "" if amid else "a continuation of nothing"
        else:
            broken = "a message begins within another" if amid else ""
        if broken:
            raise Violation(CloseCode.PROTOCOL_ERROR, broken)

    def _check_second(self, opcode: int, length: int, *, masked: bool) -> None:
        if not masked:
            raise Violation(CloseCode.PROTOCOL_ERROR, "frames of a client must be masked")
        if opcode in CONTROL and length > CONTROL_MAX:
            raise Violation(CloseCode.PROTOCOL_ERROR, f"a control frame of more than {CONTROL_MAX} bytes")

    def _take(self, frame: _Frame) -> bytes:
        """What has arrived of a frame's payload, unmasked."""
        piece = self._buffer[self._at : self._at + frame.left]
        size = len(piece)
        payload = apply_mask(piece, frame.mask)
        self._at += size
        frame.left -= size
        turn = size % MASK_BYTES
        frame.mask = frame.mask[turn:] + frame.mask[:turn]
        return payload

    def _read_data(self, frame: _Frame) -> Message | None:
        payload, message = self._take(frame), self._open
        whole = frame.final and not frame.left
        if message is None:
            if whole:
                return Message(TEXT, text=_utf8(payload)) if frame.opcode == TEXT else Message(BINARY, payload)
            message = self._open = _Open(frame.opcode)
        message.add(payload, last=whole)
        if frame.left:
            return None
        if not frame.final:
            return Message(CONTINUATION)
        self._open = None
        if message.opcode == TEXT:
            return Message(TEXT, text=message.payload.decode())
        return Message(BINARY, bytes(message.payload))

    def _read_control(self, frame: _Frame) -> Message | None:
        if len(self._buffer) - self._at < frame.left:
            return None
        payload = self._take(frame)
        if frame.opcode != CLOSE or not payload:
            return Message(frame.opcode, payload)
        if len(payload) == 1:
            raise Violation(CloseCode.PROTOCOL_ERROR, "a close code of one byte")
        code = int.from_bytes(payload[:2])
        if not (1000 <= code <= DEFINED_MAX or OTHERS_MIN <= code <= OTHERS_MAX) or code in FORBIDDEN_CODES:
            raise Violation(CloseCode.PROTOCOL_ERROR, f"close code {code} is not allowed")
        return Message(CLOSE, text=_utf8(payload[2:]), code=code)


def _utf8(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Violation(CloseCode.INVALID_DATA, NOT_UTF8) from None
