"""A small ASGI application that notes what the server under test tells it."""

import asyncio


class App:
    """An echo application that notes what it is told; a subclass or a function may take its place."""

    def __init__(self, answer=None):
        self.scope = None
        self.events = []
        self.ended = asyncio.Event()
        self._answer = answer

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
            return
        self.scope = scope

        async def noting():
            event = await receive()
            self.events.append(event)
            return event

        try:
            assert (await noting())["type"] == "websocket.connect"
            await (self._answer or echo)(scope, noting, send)
        finally:
            self.ended.set()

    @property
    def door(self):
        return self.scope["extensions"]["ticker"]

    @property
    def messages(self):
        return [e.get("text", e.get("bytes")) for e in self.events if e["type"] == "websocket.receive"]

    async def last(self):
        """The last event, once the application has ended."""
        async with asyncio.timeout(5):
            await self.ended.wait()
        return self.events[-1]


async def echo(scope, receive, send):
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send(event | {"type": "websocket.send"})


async def accept_only(scope, receive, send):
    """An application that listens and says nothing."""
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass
