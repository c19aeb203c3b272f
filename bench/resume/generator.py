"""A process of clients, told by lines what to do, and told apart from the server by its own processor time."""

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

from resume.client import Client, Tally

CONNECTING = 250
"""Clients that connect for the first time at once."""
LOOK_S = 0.005
"""How often a killed server's port is tried."""
RETRY_S = 0.05
STOP_S = 5.0
ALIVE_S = 5.0
ALIVE_PARTS = 50
"""The clients show that they live in so many parts, one after the other."""
LINE_BYTES = 1 << 24


class Clients:
    """All clients of this process. Those that were cut off come back at once when the port is open again."""

    def __init__(self, port: int, channels: Sequence[str], sets: Sequence[Sequence[str]], *, probing: bool) -> None:
        self.port = port
        self.tally = Tally()
        self.clients = [Client(symbols, channels, self.tally, probing=probing) for symbols in sets]
        self._lost: list[Client] = []
        self._watching: asyncio.Task[None] | None = None
        self._ending = False

    async def start(self) -> None:
        """Connect all of them."""
        for first in range(0, len(self.clients), CONNECTING):
            await asyncio.gather(*map(self._connect, self.clients[first : first + CONNECTING]))
        for client in self.clients:
            client.on_lost = lambda lost=client: self._on_lost(lost)  # type: ignore[misc]

    async def _connect(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(OSError):
                await loop.create_connection(lambda: client, "127.0.0.1", self.port)
                return
            await asyncio.sleep(random.uniform(RETRY_S, 2 * RETRY_S))

    def _on_lost(self, client: Client) -> None:
        self._lost.append(client)
        if self._watching is None and not self._ending:
            self._watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        """One of them tries the port: a thousand that try would be what the server's start is measured beside."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(OSError):
                transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", self.port)
                transport.abort()
                break
            await asyncio.sleep(LOOK_S)
        while self._lost:
            lost, self._lost = self._lost, []
            await asyncio.gather(*map(self._connect, lost))
        self._watching = None

    async def live(self) -> None:
        """Send pongs that nobody asked for: pings are not looked for in what comes, and who is silent is cut off."""
        while True:
            for part in range(ALIVE_PARTS):
                for client in self.clients[part::ALIVE_PARTS]:
                    client.live()
                await asyncio.sleep(ALIVE_S / ALIVE_PARTS)

    def obey(self, command: str, **given: Any) -> dict[str, Any]:
        """`defer`: what comes on new connections is only kept. `tell`: check that too, and tell everything."""
        if command == "defer":
            for client in self.clients:
                client.deferring = True
            return {}
        if command == "behind":
            return {"behind": sum(client.behind(given["positions"]) for client in self.clients)}
        for client in self.clients:
            client.deferring = False
            client.catch_up()
        told = asdict(self.tally) | {
            "whole_s": [client.whole_s for client in self.clients],
            "served": [client.served for client in self.clients],
        }
        self.tally.ages = []
        return told

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Answer each line, until there are no more."""
        while line := await reader.readline():
            sys.stdout.write(json.dumps(self.obey(**json.loads(line))) + "\n")
            sys.stdout.flush()
        self._ending = True


class Generator:
    """Such a process, from outside."""

    def __init__(
        self, port: int, channels: Sequence[str], sets: Sequence[Sequence[str]], *, probing: bool = False
    ) -> None:
        command = [sys.executable, "-m", "resume.generator"]
        self.count = len(sets)
        self.process = subprocess.Popen(
            command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._write({"port": port, "channels": channels, "sets": sets, "probing": probing})

    def ask(self, command: str, **given: Any) -> dict[str, Any]:
        """Have it do something; its answer."""
        self._write({"command": command, **given})
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a load generator has ended: see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """It ends with its input."""
        try:
            self.process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def _write(self, row: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(row) + "\n")
        self.process.stdin.flush()


async def main() -> None:
    """The process itself: the first line of the standard input says who connects where."""
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    clients = Clients(**json.loads(await reader.readline()))
    living = asyncio.ensure_future(clients.live())
    await clients.start()
    await clients.serve(reader)
    living.cancel()


if __name__ == "__main__":
    uvloop.run(main())
