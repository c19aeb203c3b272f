"""Gateways for the client: a whole one, a line to it that can be cut or go silent, and one that follows a script."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ticker.app import create_app
from ticker.client import Backoff, Market, connect
from ticker.serve import uvicorn_config

DEADLINE_S = 15.0
SOON = Backoff(first_s=0.02, most_s=0.05, busy_most_s=0.05)


class Line:
    """A TCP connection's way to a port, for as many connections as come; it can be cut, go silent, and lead elsewhere."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.silent = asyncio.Event()
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, target: int) -> AsyncIterator["Line"]:
        line = cls(target)
        async with asyncio.TaskGroup() as group:
            line._group = group  # type: ignore[attr-defined]
            server = await asyncio.start_server(line._accept, "127.0.0.1", 0)
            line.port = server.sockets[0].getsockname()[1]
            try:
                yield line
            finally:
                server.close()
                line.cut()

    port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End every connection at once, without a word."""
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        self._writers += [writer, other_writer]
        await asyncio.gather(self._carry(reader, other_writer), self._carry(other_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if self.silent.is_set():
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@pytest.fixture
async def open_line() -> AsyncIterator[Callable[[int], Awaitable[Line]]]:
    """Opens lines to a port; all end with the test."""
    async with AsyncExitStack() as stack:
        yield lambda target: stack.enter_async_context(Line.open(target))


@dataclass
class Gateway:
    """A whole service in this process."""

    port: int
    feed: Any
    gateway: Any
    server: uvicorn.Server
    task: asyncio.Task[None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """In order: clients are told to come back."""
        self.server.should_exit = True
        await asyncio.wait_for(asyncio.shield(self.task), DEADLINE_S)


@pytest.fixture
async def start_gateway(make_config: Any, hand_feed: Any, wait_until: Any) -> AsyncIterator[Callable[..., Any]]:
    """Starts services; `feed=None` makes one without an ingester."""
    started: list[Gateway] = []

    async def start_gateway(store: str, feed: Any = "new", symbols: Sequence[str] = (), **sections: Any) -> Gateway:
        feed = hand_feed(*symbols) if feed == "new" else feed
        config = make_config(store, **sections)
        app = create_app(config, [feed] if feed else None)
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(100)
        server = uvicorn.Server(uvicorn_config(app, config))
        task = asyncio.create_task(server.serve(sockets=[sock]))
        made = Gateway(sock.getsockname()[1], feed, app.routes[0].endpoint._gateway, server, task)
        started.append(made)
        await wait_until(lambda: task.done() or (made.gateway.symbols and (feed is None or feed.polls)))
        return made

    yield start_gateway
    for one in started:
        await one.stop()


@pytest.fixture
async def gateway(start_gateway: Any, valkey_url: str) -> Gateway:
    """A service with the symbols AAPL and MSFT on an empty Valkey, and a feed in the test's hands."""
    made: Gateway = await start_gateway(valkey_url, websocket={"heartbeat_ms": 200})
    return made


@pytest.fixture
async def open_market() -> AsyncIterator[Callable[..., Awaitable[Market]]]:
    """Connects to gateways, with short waits; all end with the test."""
    async with AsyncExitStack() as stack:
        yield lambda url, **more: stack.enter_async_context(connect(url, **({"backoff": SOON} | more)))


@pytest.fixture
async def market(gateway: Gateway, open_market: Any) -> Market:
    """A client of `gateway`."""
    made: Market = await open_market(gateway.url)
    return made


WELCOME = {"type": "welcome", "version": 1, "connection": "c-1", "heartbeat_ms": 10_000, "limits": {}, "time": 50}


class Visit:
    """One connection to a scripted gateway, from its side."""

    def __init__(self, socket_: ServerConnection) -> None:
        self.socket = socket_

    async def say(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            await self.socket.send(json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        """The next request."""
        request: dict[str, Any] = json.loads(await self.socket.recv())
        return request

    async def welcome(self, **more: Any) -> dict[str, Any]:
        """Greet, and take the first request."""
        await self.say(WELCOME | more)
        return await self.hear()

    async def subscribed(self, request: dict[str, Any], **positions: Any) -> None:
        """Answer a request: positions by symbol."""
        head = {"type": "subscribed", "id": request["id"], "channel": request["channel"]}
        await self.say(head | {"positions": positions, "errors": []})

    async def gone(self) -> None:
        """Wait until the client has left."""
        await self.socket.wait_closed()


Script = Callable[[Visit], Awaitable[None]]


@dataclass
class Scripted:
    """A gateway that follows a script: one for each connection, the last for all further ones; and answers by path."""

    port: int = 0
    scripts: list[Script] = field(default_factory=list)
    answers: dict[str, list[tuple[int, Any, dict[str, str]]]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        """Answer a path like this; several in turn, the last for good."""
        self.answers.setdefault(path, []).append((status, body, {k.replace("_", "-"): v for k, v in headers.items()}))

    async def visit(self, socket_: ServerConnection) -> None:
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        try:
            await script(Visit(socket_))
        except ConnectionClosed:
            pass
        except BaseException as error:
            self.failures.append(error)
            raise

    def respond(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        path = request.path.partition("?")[0]
        planned = self.answers.get(path)
        if not planned:
            return None
        status, body, headers = planned.pop(0) if len(planned) > 1 else planned[0]
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Response(status, "", Headers({"Content-Length": str(len(data)), "Connection": "close"} | headers), data)


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    """A gateway to be given a script."""
    made = Scripted()
    async with serve(made.visit, "127.0.0.1", 0, process_request=made.respond, compression=None) as server:
        made.port = next(iter(server.sockets)).getsockname()[1]
        yield made
    assert [failure for failure in made.failures if not isinstance(failure, asyncio.CancelledError)] == []


@pytest.fixture
def soon() -> Backoff:
    """Waits that a test can bear."""
    return SOON


@pytest.fixture
def within() -> Callable[[Awaitable[Any]], Awaitable[Any]]:
    """Awaits something, but not for ever."""

    async def within(awaited: Awaitable[Any], seconds: float = DEADLINE_S) -> Any:
        async with asyncio.timeout(seconds):
            return await awaited

    return within


@pytest.fixture
def take() -> Callable[..., Awaitable[list[Any]]]:
    """The next so many events of a subscription, with a deadline."""

    async def take(subscription: Any, count: int) -> list[Any]:
        found: list[Any] = []
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < count:
                found.append(await anext(subscription))
        return found

    return take
