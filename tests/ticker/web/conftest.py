"""A whole service over real sockets: uvicorn, a gateway, an ingester with a feed in the test's hands, and clients."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import uvloop
from closed_schemas import Validator
from raw_http import Http
from raw_websocket import Raw
from redis.asyncio import Redis
from remembered_answers import clock_is
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ticker.app import create_app
from ticker.config import Config
from ticker.serve import uvicorn_config
from ticker.store.embedded import EmbeddedServer
from ticker.web import asyncapi, message_schemas
from ticker.web.gateway import Gateway

DEADLINE_S = 15.0
SECOND = 1_000_000
EVENTS = {kind: Validator(asyncapi.document(Config()), schema) for kind, schema in message_schemas.EVENTS.items()}
"""What any client of any test gets must be what the document of the WebSocket says."""


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of production; what speaks to transports itself must do so with asyncio's own as well."""
    if item.path.name.startswith(("test_uvicorn_", "test_websocket_", "test_handshake")):
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.SelectorEventLoop}
    return {"uvloop": uvloop.new_event_loop}


class Client:
    """One WebSocket, which reads messages with a deadline."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.welcome: dict[str, Any] = {}
        self.heartbeats = 0
        """How many have come, which `receive` keeps to itself."""
        self._id = 0

    async def receive(self, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """The next message but heartbeats."""
        async with asyncio.timeout(timeout_s):
            while True:
                message = json.loads(await self.socket.recv())
                # Ticks come by the hundred thousand, and the test of the document itself looks at them.
                if message["type"] not in ("trade", "quote"):
                    assert EVENTS[message["type"]].complaints(message) == [], message
                if message["type"] != "heartbeat":
                    return message
                self.heartbeats += 1

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
    gateway: Gateway
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


@pytest.fixture
async def open_raw():
    """Opens raw clients, which are closed with the test."""
    writers = []

    async def open_raw(port, **more):
        raw = await Raw.open(port, **more)
        writers.append(raw.writer)
        return raw

    yield open_raw
    for writer in writers:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def open_http():
    """Opens clients, which are closed with the test; `receive_bytes` bounds what the kernel takes for one."""
    writers = []

    async def open_http(port, receive_bytes=None):
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1 << (12 if receive_bytes else 16))
        writers.append(writer)
        return Http(reader, writer)

    yield open_http
    for writer in writers:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


End = Callable[[], Awaitable[None]]


@asynccontextmanager
async def serving_until(app: Any, config: Any, **more: Any) -> AsyncIterator[tuple[int, End]]:
    """The application on a free port, until the block ends or the function given is called; `more` is for uvicorn."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(100)
        server = uvicorn.Server(uvicorn_config(app, config, **more))
        task = asyncio.create_task(server.serve(sockets=[sock]))

        async def end() -> None:
            server.should_exit = True
            await asyncio.wait_for(asyncio.shield(task), DEADLINE_S)

        try:
            async with asyncio.timeout(DEADLINE_S):
                while not server.started:
                    if task.done():
                        task.result()
                        pytest.fail("the service did not start")
                    await asyncio.sleep(0.002)
            yield sock.getsockname()[1], end
        finally:
            await end()


@asynccontextmanager
async def serving(app: Any, config: Any, **more: Any) -> AsyncIterator[int]:
    """The application on a free port, until the block ends."""
    async with serving_until(app, config, **more) as (port, _):
        yield port


@pytest.fixture
def serve_until(make_config: Any) -> Callable[[Any], AbstractAsyncContextManager[tuple[int, End]]]:
    """Serves a small ASGI application that the test ends, to see how it does."""
    return lambda app: serving_until(app, make_config("redis://nowhere"), lifespan="off")


@pytest.fixture
async def serve(make_config: Any) -> AsyncIterator[Callable[..., Awaitable[int]]]:
    """Serves small ASGI applications, each on a port of its own, in the way in which ours is; all end with the test."""
    async with AsyncExitStack() as stack:

        async def serve(app: Any, **sections: Any) -> int:
            config = make_config("redis://nowhere", **sections)
            return await stack.enter_async_context(serving(app, config, lifespan="off"))

        yield serve


@pytest.fixture
def opened(serve, open_raw):
    """Opens raw clients of an application on a server of its own, past the handshake."""

    async def opened(app, *, receive_bytes=None, **sections):
        raw = await open_raw(await serve(app, **sections), receive_bytes=receive_bytes)
        assert (await raw.ask())[0] == 101
        return raw

    return opened


@pytest.fixture
async def filled(service: Service, tape: Any, new_tape: Any, noon: int) -> Service:
    """Three minutes of AAPL, with quotes, one of them without a side, and every optional field, and two trades of MSFT."""
    other = new_tape("MSFT")
    service.feed.give(*other.trades(2))
    service.feed.give(*tape.trades(170, step=SECOND), tape.quote(), tape.quote(None), clock=tape.time)
    service.feed.give(tape.trade(189.23, 0.5, id="t", exchange="Q", conditions="@ T"))
    client = await service.connect()
    await client.subscribe("trades", "AAPL")
    if not any(m.get("seq") == 171 for m in await client.barrier()):
        await client.until(lambda m: m.get("seq") == 171)
    return service


@pytest.fixture
async def filled_hour(service: Service, tape: Any, new_tape: Any, noon: int) -> Service:
    """An hour of AAPL and MSFT, a trade every two seconds, closed up to an hour and two minutes."""
    both = [made.trades(1_800, step=2 * SECOND) for made in (tape, new_tape("MSFT"))]
    service.feed.give(*[trade for pair in zip(*both, strict=True) for trade in pair], clock=noon + 3_600 * SECOND)
    service.feed.give(tape.quote(), tape.quote(None), clock=noon + 3_720 * SECOND)
    await clock_is(service, noon + 3_720 * SECOND)
    return service


@pytest.fixture
def own_server(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[EmbeddedServer]:
    """A store that the test may stop."""
    server = EmbeddedServer(tmp_path / "data", free_port())
    server.start()
    try:
        yield server
    finally:
        if server.is_running():
            os.kill(server.pid, signal.SIGCONT)
        server.stop()


StartService = Callable[..., Awaitable[Service]]


@pytest.fixture
async def start_service(make_config: Any, hand_feed: Any, wait_until: Any) -> AsyncIterator[StartService]:
    """Starts services on a store's URL; `feed=None` makes a gateway without an ingester. All end with the test."""
    async with AsyncExitStack() as stack:

        async def start_service(url: str, feed: Any = "new", symbols: Sequence[str] = (), **sections: Any) -> Service:
            feed = hand_feed(*symbols) if feed == "new" else feed
            config = make_config(url, **sections)
            app = create_app(config, [feed] if feed else None)
            port = await stack.enter_async_context(serving(app, config))
            service = Service(port, app.routes[0].endpoint._gateway, feed, None, stack, wait_until)
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
