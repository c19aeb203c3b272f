"""A process full of clients, told what to do by lines on its input: ends with its input."""

import asyncio
import gc
import pickle
import random
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

from ledger.book import Book, Topic
from ledger.client import Client, Told, Wish
from ledger.orders import main, obey

POLL_S = 0.02


class Swarm:
    """Clients, and what may be asked of all of them."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._dice = random.Random(settings["seed"])
        self._book = Book()
        self.told = Told()
        self._clients: list[Client] = []
        self._churn = settings.get("churn_s", 0.0)
        ports = settings["ports"]
        for number, wishes in enumerate(settings["clients"]):
            made = tuple(
                Wish(w["channel"], tuple(w["symbols"]), w.get("interval", ""), w.get("snapshot", False)) for w in wishes
            )
            port = ports[number % len(ports)]
            self._clients.append(Client(self._book, f"client {number}", port, made, self.told, self._dice))

    def connect(self) -> dict[str, Any]:
        """All clients come."""
        for client in self._clients:
            client.start()
        return {}

    def status(self) -> dict[str, Any]:
        """What they have gone through so far."""
        told = self.told
        return {
            "whole": sum(client.whole for client in self._clients),
            "clients": len(self._clients),
            "opened": told.opened,
            "lost": told.lost,
            "deliveries": told.deliveries,
            "codes": dict(told.codes),
            "service": dict(told.service),
            "events": dict(self._book.events),
            "resumed": dict(told.resumed),
            "errors": dict(told.errors),
            "silence_s": max(told.silence_s, monotonic() - told.newest_s),
            "breaches": [str(breach)[:400] for breach in self._book.breaches[:3]],
        }

    def mark(self) -> dict[str, Any]:
        """Silence counts from now on."""
        self.told.silence_s, self.told.newest_s = 0.0, monotonic()
        return self.status()

    def cut(self, share: float) -> dict[str, Any]:
        """Some lose their connection."""
        cut = self._dice.sample(self._clients, max(round(share * len(self._clients)), 1))
        for client in cut:
            client.cut()
        return {"cut": len(cut)}

    async def finish(self, ends: list[tuple[str, str, int]], file: str, within_s: float) -> dict[str, Any]:
        """Wait until everybody holds everything, or for so long; write the books down."""
        last = {Topic(channel, symbol): seq for channel, symbol, seq in ends}
        deadline = monotonic() + within_s
        while not (there := self._all_there(last)) and monotonic() < deadline:  # noqa: ASYNC110 - they are a hundred
            await asyncio.sleep(POLL_S)
        # What comes twice comes now.
        await asyncio.sleep(0.5)
        status = self.status()
        for client in self._clients:
            await client.stop()
        books = [client.book for client in self._clients]
        gc.collect()
        _write(Path(file), (self._book, books))
        return status | {"late": not there}

    async def churn(self) -> None:
        """One after the other loses its connection."""
        while self._churn:
            await asyncio.sleep(self._dice.expovariate(1 / self._churn))
            self._dice.choice(self._clients).cut()

    def _all_there(self, last: dict[Topic, int]) -> bool:
        return all(
            client.whole and all(view.seq >= last[topic] for topic, view in client.book.views.items())
            for client in self._clients
        )


def _write(file: Path, books: object) -> None:
    file.write_bytes(pickle.dumps(books))


async def _run(settings: dict[str, Any], orders: AsyncIterator[dict[str, Any]]) -> None:
    swarm = Swarm(settings)
    churn = asyncio.get_running_loop().create_task(swarm.churn())
    try:
        await obey(swarm, orders)
    finally:
        churn.cancel()


if __name__ == "__main__":
    main(_run)
