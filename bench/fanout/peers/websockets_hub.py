"""`websockets` with its own `broadcast()`, on uvloop.

usage: websockets_hub.py REDIS_PORT PORT CHANNEL
"""

import json
import sys

import redis.asyncio as redis
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

subscribers: dict[str, set[ServerConnection]] = {}


async def handler(websocket: ServerConnection) -> None:
    """One client: its subscription, until it leaves."""
    for symbol in json.loads(await websocket.recv())["symbols"]:
        subscribers.setdefault(symbol, set()).add(websocket)
    await websocket.send('{"type":"subscribed"}')
    await websocket.wait_closed()
    for members in subscribers.values():
        members.discard(websocket)


async def main() -> None:
    """Hand on what is published, for ever."""
    pubsub = redis.Redis(port=int(sys.argv[1])).pubsub()
    await pubsub.psubscribe(f"{sys.argv[3]}:*")
    async with serve(handler, "127.0.0.1", int(sys.argv[2]), compression=None):
        async for message in pubsub.listen():
            if message["type"] == "pmessage":
                symbol = message["channel"].decode().partition("{")[2][:-1]
                broadcast(subscribers.get(symbol, ()), message["data"].decode())


uvloop.run(main())
