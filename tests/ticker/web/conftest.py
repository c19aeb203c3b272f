"""A whole service over real sockets: uvicorn, a gateway, an ingester with a feed in the test's hands, and clients."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ticker.app import create_app
from ticker.serve import options

DEADLINE_S = 15.0


class Client:
    """One WebSocket, which reads messages with a deadline."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.welcome: dict[str, Any] = {}
        self._id = 0

    async def receive(self, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """The next message but heartbeats."""
        async with asyncio.timeout(timeout_s):
            while True:
                message = json.loads(await self.socket.recv())
                if message["type"] != "heartbeat":
                    return message

    async def until(self, wanted: Callable[[dict[str, Any]], object], timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """The first message that `wanted` accepts; those before are dropped."""
        return (await self.collect(wanted, timeout_s))[-1]

    async def collect(
        self, wanted: Callable[[dict[str, Any]], object], timeout_s: float = DEADLINE_S
    ) -> list[dict[str, Any]]:
        """All messages up to and with the first that `wanted` accepts."""
        found: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    found.append(await self.receive())
                    if wanted(found[-1]):
                        return found
        except TimeoutError:
            pytest.fail(f"not the message that was waited for, in {timeout_s:g} s; the last were {found[-5:]}")

    async def send(self, **request: Any) -> None:
        await self.socket.send(json.dumps(request))

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return its answer; it must be the very next message."""
        await self.send(**request)
        return await self.receive()

    async def subscribe(self, channel: str, *symbols: str, **more: Any) -> dict[str, Any]:
        """Subscribe with an id of its own; whatever comes before the answer is dropped."""
        self._id += 1
        await self.send(op="subscribe", id=self._id, channel=channel, symbols=list(symbols), **more)
        reply = await self.until(lambda m: m.get("id") == self._id)
        assert reply["type"] == "subscribed", reply
        return reply

    async def barrier(self) -> list[dict[str, Any]]:
        """All that was sent before the answer to a ping."""
        self._id += 1
        await self.send(op="ping", id=self._id)
        return (await self.collect(lambda m: m.get("id") == self._id))[:-1]

    async def closing(self, timeout_s: float = DEADLINE_S) -> tuple[int, str]:
        """Read until the server closes; its code and reason."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    await self.socket.recv()
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                pytest.fail("the connection was cut without a close frame")
            return closed.rcvd.code, closed.rcvd.reason


@dataclass
class Service:
    """A running service, and the feed that the test fills."""

    port: int
    feed: Any
    store: Redis | None
    stack: AsyncExitStack
    wait_until: Callable[..., Awaitable[None]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self, query: str = "", **more: Any) -> Client:
        """A client that was welcomed."""
        url = f"ws://127.0.0.1:{self.port}/v1/stream{query}"
        socket = await self.stack.enter_async_context(
            connect(url, proxy=None, compression=None, max_queue=None, close_timeout=1, **more)
        )
        client = Client(socket)
        client.welcome = await client.receive()
        return client

    async def get(self, path: str, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, timeout=15) as client:
            return await client.get(path, **more)

    async def json(self, path: str, **params: Any) -> Any:
        answer = await self.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def serving(app: Any, config: Any) -> AsyncIterator[int]:
    """The application on a free port, until the block ends."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(100)
        server = uvicorn.Server(uvicorn.Config(app, **options(config)))
        task = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not server.started:
                    if task.done():
                        task.result()
                        pytest.fail("the service did not start")
                    await asyncio.sleep(0.002)
            yield sock.getsockname()[1]
        finally:
            server.should_exit = True
            await asyncio.wait_for(task, DEADLINE_S)


StartService = Callable[..., Awaitable[Service]]


@pytest.fixture
async def start_service(make_config: Any, hand_feed: Any, wait_until: Any) -> AsyncIterator[StartService]:
    """Starts services on a store's URL; `feed=None` makes a gateway without an ingester. All end with the test."""
    async with AsyncExitStack() as stack:

        async def start_service(url: str, feed: Any = "new", symbols: Sequence[str] = (), **sections: Any) -> Service:
            feed = hand_feed(*symbols) if feed == "new" else feed
            config = make_config(url, **sections)
            port = await stack.enter_async_context(serving(create_app(config, [feed] if feed else None), config))
            service = Service(port, feed, None, stack, wait_until)
            if feed:
                # The symbols of the feed are known, and its ticks taken, from here on.
                async def ready() -> bool:
                    return feed.polls > 0 and bool((await service.json("/v1/symbols"))["symbols"])

                await wait_until(ready)
            return service

        yield start_service


@pytest.fixture
async def service(start_service: StartService, valkey: Redis, valkey_url: str) -> Service:
    """A service with the symbols AAPL and MSFT on an empty Valkey."""
    made = await start_service(valkey_url)
    made.store = valkey
    return made
