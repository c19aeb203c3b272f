"""A fresh store with as many symbols as asked for, on the cores that the server under test does not have."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import common
import redis
import rig

from ticker.store import keys
from ticker.store.embedded import EmbeddedServer


class Store:
    """The Valkey of the wheel on an empty folder."""

    def __init__(self, folder: Path, symbols: int, cores: frozenset[int]) -> None:
        self.port = common.free_port()
        self._server = EmbeddedServer(folder / "store", self.port)
        self._symbols = symbols
        self._cores = cores
        self.client = redis.Redis(port=self.port)

    def __enter__(self) -> Self:
        with rig.pinned(self._cores):
            self._server.start()
        rows: Any = {name: json.dumps({"symbol": name, "name": name}) for name in names(self._symbols)}
        if rows:
            self.client.set(keys.SCHEMA, keys.SCHEMA_VERSION)
            self.client.hset(keys.SYMBOLS, mapping=rows)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self._server.stop()

    @property
    def version(self) -> str:
        """What it is."""
        info: Any = self.client.info("server")
        return f"Valkey {info.get('valkey_version', info['redis_version'])}"

    def cpu_s(self) -> float:
        """Processor time so far."""
        pid = self._server.pid
        return rig.cpu_s_of(pid) if pid else 0.0


def names(count: int) -> list[str]:
    """The symbols of a measurement; the generator counts on this form."""
    return [f"SYM{number}" for number in range(count)]
