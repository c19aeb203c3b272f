"""WebSocket frames that a server sends, as bytes (RFC 6455, section 5.2): never masked, never in fragments."""

FIN_TEXT, FIN_BINARY, FIN_CLOSE, FIN_PING, FIN_PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
SHORT_MAX, MEDIUM_MAX = 125, 0xFFFF
REASON_BYTES_MAX = SHORT_MAX - 2
"""Of a close frame, behind its code."""

PING = bytes((FIN_PING, 0))
_TEXT_HEADS = tuple(bytes((FIN_TEXT, length)) for length in range(SHORT_MAX + 1))


def text_frame(payload: bytes) -> bytes:
    """A text message, which must be UTF-8."""
    length = len(payload)
    if length <= SHORT_MAX:
        return _TEXT_HEADS[length] + payload
    return frame(FIN_TEXT, payload)


def frame(first: int, payload: bytes) -> bytes:
    """A frame that opens with the byte `first`."""
    length = len(payload)
    if length <= SHORT_MAX:
        return bytes((first, length)) + payload
    if length <= MEDIUM_MAX:
        return bytes((first, 126)) + length.to_bytes(2) + payload
    return bytes((first, 127)) + length.to_bytes(8) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A close frame; a reason that is too long is cut between two characters. None: without a code."""
    if code is None:
        return frame(FIN_CLOSE, b"")
    text = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
    return frame(FIN_CLOSE, code.to_bytes(2) + text)
