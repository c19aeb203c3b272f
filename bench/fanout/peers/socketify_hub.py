"""socketify: the topics of uWebSockets (C++), driven from Python.

usage: socketify_hub.py REDIS_PORT PORT CHANNEL
"""

import json
import sys
from typing import Any

import redis.asyncio as redis
from socketify import App, OpCode

app = App()


async def relay(pubsub: redis.client.PubSub) -> None:
    """Hand on what is published, for ever."""
    await pubsub.psubscribe(f"{sys.argv[3]}:*")
    async for message in pubsub.listen():
        if message["type"] == "pmessage":
            symbol = message["channel"].decode().partition("{")[2][:-1]
            app.publish(symbol, message["data"].decode(), OpCode.TEXT)


def on_message(websocket: Any, text: str, opcode: OpCode) -> None:
    """One client's subscription."""
    for symbol in json.loads(text)["symbols"]:
        websocket.subscribe(symbol)
    websocket.send('{"type":"subscribed"}', OpCode.TEXT)


options = {"compression": 0, "max_payload_length": 65_536, "idle_timeout": 120, "max_backpressure": 16 << 20}
app.ws("/", options | {"open": lambda websocket: None, "message": on_message})
pubsub = redis.Redis(port=int(sys.argv[1])).pubsub()
app.listen(int(sys.argv[2]), lambda config: app.run_async(relay(pubsub)))
app.run()
