"""TCP proxies that stand between every two processes, and cut, delay or throttle what passes, as they are told."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ledger.orders import main, obey

CHUNK = 1 << 16


@dataclass(slots=True)
class Weather:
    """How one proxy treats what passes."""

    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    """0 for as many as there are."""
    refused: bool = False
    """Nobody is let through."""


@dataclass(slots=True)
class Proxy:
    """One listening port in front of another."""

    target: int
    weather: Weather = field(default_factory=Weather)
    held_bytes: int = 0
    """What was delayed or throttled so far."""
    cut: int = 0
    """Connections that were cut."""
    passed: int = 0
    """Connections that were let through."""
    open: set[asyncio.Transport] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def let_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways, until either end is gone."""
        if self.weather.refused:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        self.passed += 1
        transports: Any = writer.transport, there_writer.transport
        self.open.update(transports)
        ways = [
            asyncio.ensure_future(self._pass_on(reader, there_writer)),
            asyncio.ensure_future(self._pass_on(there_reader, writer)),
        ]
        self.tasks.update(ways)
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            self.tasks.difference_update(ways)
            self.open.difference_update(transports)
            for transport in transports:
                transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(CHUNK):
                weather = self.weather
                if weather.delay_s or weather.bytes_per_s:
                    self.held_bytes += len(data)
                    await asyncio.sleep(weather.delay_s)
                    if weather.bytes_per_s:
                        await asyncio.sleep(len(data) / weather.bytes_per_s)
                writer.write(data)
                await writer.drain()

    def cut_all(self, dice: random.Random, share: float) -> int:
        """Reset some of the connections, or all: what is under way is gone."""
        open_now = sorted(self.open, key=id)
        for transport in dice.sample(open_now, max(round(share * len(open_now)), 1)) if open_now else ():
            transport.abort()
            self.cut += 1
        return len(open_now)


class Proxies:
    """All of them, each under the name that it was given."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._dice = random.Random(settings["seed"])
        self._proxies = {name: Proxy(target) for name, target in settings["targets"].items()}
        self._servers: list[asyncio.Server] = []

    async def listen(self) -> dict[str, int]:
        """The port of each."""
        ports = {}
        for name, proxy in self._proxies.items():
            server = await asyncio.start_server(proxy.let_through, "127.0.0.1", 0, limit=CHUNK)
            self._servers.append(server)
            ports[name] = server.sockets[0].getsockname()[1]
        return ports

    async def close(self) -> None:
        """Let nobody in any more, and end what is open."""
        for server in self._servers:
            server.close()
            await server.wait_closed()
        tasks = [task for proxy in self._proxies.values() for task in proxy.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def weather(self, name: str, **weather: Any) -> dict[str, Any]:
        """Change how one of them treats what passes; without more it is fair."""
        self._proxies[name].weather = Weather(**weather)
        return self.status(name)

    def cut(self, name: str, share: float = 1.0) -> dict[str, Any]:
        """Reset connections."""
        self._proxies[name].cut_all(self._dice, share)
        return self.status(name)

    def status(self, name: str) -> dict[str, Any]:
        """What it has done so far."""
        proxy = self._proxies[name]
        return {"held_bytes": proxy.held_bytes, "cut": proxy.cut, "passed": proxy.passed}


async def _run(settings: dict[str, Any], orders: AsyncIterator[dict[str, Any]]) -> None:
    proxies = Proxies(settings)
    try:
        await obey(proxies, orders)
    finally:
        await proxies.close()


if __name__ == "__main__":
    main(_run)
