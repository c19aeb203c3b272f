"""A WebSocket client that sends what no library would, byte by byte."""

import asyncio
import socket
from contextlib import suppress
from time import monotonic

from websockets.frames import Frame, Opcode

HANDSHAKE = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAECAwQFBgcICQoLDA0ODw==",
}
CLOSE = 8


class Raw:
    """A client that sends what no library would, and reads frames byte by byte."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port, *, receive_bytes=None):
        """Connected; `receive_bytes` bounds what the kernel takes for a client that does not read."""
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=sock, limit=2**16 if not receive_bytes else 2**10))

    def head(self, path="/", method="GET", **headers):
        """The head of a handshake; None leaves a header out."""
        given = HANDSHAKE | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}\r\n" for name, value in given.items() if value is not None]
        return f"{method} {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1")

    async def ask(self, path="/", **headers):
        """Send one; the answer's status, headers and body."""
        self.send(self.head(path, **headers))
        return await self.answer()

    async def answer(self):
        async with asyncio.timeout(10):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
        found = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await self.reader.readexactly(int(found.get("content-length", 0)))
        return int(first.split()[1]), found, body

    def send(self, *frames):
        self.writer.write(b"".join(frames))

    async def frame(self):
        """The next frame of the server: its opcode and payload."""
        async with asyncio.timeout(10):
            first, second = await self.reader.readexactly(2)
            assert first & 0xF0 == 0x80, "fragments or reserved bits"
            assert second < 0x80, "a server masks nothing"
            length = second
            if length > 125:
                length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8))
            return first & 0x0F, await self.reader.readexactly(length)

    async def close_frame(self):
        """Read to the close frame; its code and reason."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2]) if payload else None, payload[2:].decode()

    async def ended(self, within_s=3.0):
        """Whether nothing comes any more and the connection ends in this time; how long it took."""
        begun = monotonic()
        async with asyncio.timeout(within_s):
            with suppress(ConnectionError):
                assert await self.reader.read(1) == b""
        return monotonic() - begun

    async def rest(self, within_s=5.0):
        """What still comes before the connection ends, which it must in this time."""
        parts = []
        async with asyncio.timeout(within_s):
            with suppress(ConnectionError):
                while part := await self.reader.read(1 << 16):
                    parts.append(part)
        return b"".join(parts)


def masked(opcode, payload=b"", *, fin=True):
    return Frame(Opcode(opcode), payload, fin=fin).serialize(mask=True)
