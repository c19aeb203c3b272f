"""An HTTP client that sends whatever bytes a test likes, and the application that answers it."""

import asyncio
from contextlib import suppress

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
LARGE = 3_000_000


class Http:
    """A client that sends whatever bytes the test likes."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, *pieces):
        self.writer.write(b"".join(pieces))

    async def answer(self):
        """The next answer: its status, headers and body."""
        async with asyncio.timeout(10):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            return int(first.split()[1]), headers, await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def ended(self, within_s=5):
        """What still came before the connection ended, which it must."""
        async with asyncio.timeout(within_s):
            with suppress(ConnectionError):
                return await self.reader.read()


async def app(scope, receive, send):
    """Answers `ok`, or very much on `/large`; a WebSocket is accepted and echoed; on `/slow` it takes a while."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send(event | {"type": "websocket.send"})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.2)
    body = b"x" * LARGE if scope["path"] == "/large" else b"ok"
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def head_of(size, first=b"GET / HTTP/1.1\r\nHost: x\r\n"):
    """A whole head that counts as so many bytes: path, names, values and four for each line."""
    given = len(b"/") + sum(len(line.replace(b": ", b"")) + 4 for line in first.split(b"\r\n")[1:-1])
    return first + b"X: " + b"x" * (size - given - 5) + b"\r\n\r\n"


async def stop(task):
    """Have a task end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
