"""picows, a WebSocket library in Cython, on uvloop.

usage: picows_hub.py REDIS_PORT PORT CHANNEL
"""

import asyncio
import json
import sys

import redis.asyncio as redis
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

subscribers: dict[str, set[WSTransport]] = {}


class Client(WSListener):  # type: ignore[misc]
    """One client: its subscription, until it leaves."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """What it sends."""
        if frame.msg_type == WSMsgType.TEXT:
            for symbol in json.loads(frame.get_payload_as_bytes())["symbols"]:
                subscribers.setdefault(symbol, set()).add(transport)
            transport.send(WSMsgType.TEXT, b'{"type":"subscribed"}')
        elif frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """It has left."""
        for members in subscribers.values():
            members.discard(transport)


def client(request: WSUpgradeRequest) -> Client:
    """Everyone is welcome."""
    return Client()


async def relay(pubsub: redis.client.PubSub) -> None:
    """Hand on what is published, for ever."""
    async for message in pubsub.listen():
        if message["type"] == "pmessage":
            symbol = message["channel"].decode().partition("{")[2][:-1]
            for transport in subscribers.get(symbol, ()):
                transport.send(WSMsgType.TEXT, message["data"])


async def main() -> None:
    """Relay and server, until one of them fails."""
    pubsub = redis.Redis(port=int(sys.argv[1])).pubsub()
    await pubsub.psubscribe(f"{sys.argv[3]}:*")
    server = await ws_create_server(client, "127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(relay(pubsub), server.serve_forever())


uvloop.run(main())
