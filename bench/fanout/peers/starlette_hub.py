"""The hub of the tutorials: starlette and uvicorn, one `await websocket.send_text` for each subscriber and message.

usage: starlette_hub.py REDIS_PORT PORT CHANNEL
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio as redis
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

subscribers: dict[str, set[WebSocket]] = {}


async def relay(pubsub: redis.client.PubSub) -> None:
    """Hand on what is published, for ever."""
    async for message in pubsub.listen():
        if message["type"] != "pmessage":
            continue
        text = message["data"].decode()
        symbol = message["channel"].decode().partition("{")[2][:-1]
        for websocket in list(subscribers.get(symbol, ())):
            try:
                await websocket.send_text(text)
            except (WebSocketDisconnect, RuntimeError):
                subscribers[symbol].discard(websocket)


async def endpoint(websocket: WebSocket) -> None:
    """One client: its subscription, then whatever comes until it leaves."""
    await websocket.accept()
    for symbol in json.loads(await websocket.receive_text())["symbols"]:
        subscribers.setdefault(symbol, set()).add(websocket)
    await websocket.send_text('{"type":"subscribed"}')
    async for _ in websocket.iter_text():
        pass
    for members in subscribers.values():
        members.discard(websocket)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """The relay lives as long as the application."""
    pubsub = redis.Redis(port=int(sys.argv[1])).pubsub()
    await pubsub.psubscribe(f"{sys.argv[3]}:*")
    task = asyncio.create_task(relay(pubsub))
    yield
    task.cancel()


app = Starlette(routes=[WebSocketRoute("/", endpoint)], lifespan=lifespan)
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", ws_per_message_deflate=False)
