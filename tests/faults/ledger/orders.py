"""Lines of JSON in, lines of JSON out: how a helper process takes its settings, then its orders."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvloop

LINE_BYTES = 1 << 22


async def obey(subject: object, orders: AsyncIterator[dict[str, Any]]) -> None:
    """Call the method that each order names, until there are no more; print what it returns."""
    async for order in orders:
        answer = getattr(subject, order.pop("do"))(**order)
        print(json.dumps(await answer if asyncio.iscoroutine(answer) else answer), flush=True)


def main(run: Callable[[dict[str, Any], AsyncIterator[dict[str, Any]]], Awaitable[None]]) -> None:
    """Run until the input ends; its first line is the settings."""

    async def serve() -> None:
        reader = asyncio.StreamReader(limit=LINE_BYTES)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        if first := await reader.readline():
            await run(json.loads(first), _orders(reader))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


async def _orders(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    while line := await reader.readline():
        yield json.loads(line)
