"""The servers that history is measured on, with their store and what is in it, and the one way in which they are asked."""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import common
import httpx
import numpy as np
import rig
from fanout.store import Store, names
from http_load import Load, Measured, measure

from ticker.candles.candle import FIELDS, TRILLION, Candles
from ticker.codec import candle_row, to_json
from ticker.store import keys
from ticker.store.chunks import chunks_of

SYMBOLS, CANDLES = 50, 20_000
MINUTE = 60_000_000
FIRST = 1_760_000_040_000_000 // MINUTE * MINUTE
END = FIRST + CANDLES * MINUTE
FEED = "bench"
GENERATOR_SHARE = 0.8
SMALL_CACHE = 1_048_576


def candles(seed: int) -> Candles:
    """Minutes of a made-up market: prices on a grid of a cent, some hundred trades each."""
    rng = np.random.default_rng(seed)
    data = np.zeros((len(FIELDS), CANDLES), np.int64)
    close = (15_000 + rng.integers(-8, 9, CANDLES).cumsum()).clip(100) * 10_000
    opened = np.concatenate(([close[0]], close[:-1]))
    volume = rng.integers(100, 90_000, CANDLES) * 1_000_000
    column = {name: data[number] for number, name in enumerate(FIELDS)}
    column["time"][:] = FIRST + MINUTE * np.arange(CANDLES)
    column["open"][:], column["close"][:] = opened, close
    column["high"][:] = np.maximum(opened, close) + rng.integers(0, 9, CANDLES) * 10_000
    column["low"][:] = np.minimum(opened, close) - rng.integers(0, 9, CANDLES) * 10_000
    column["volume"][:] = volume
    column["units"][:] = (opened + close) // 2 * (volume // 1_000_000) // 1_000_000
    column["rest"][:] = rng.integers(0, TRILLION, CANDLES)
    column["trades"][:] = rng.integers(20, 400, CANDLES)
    column["seq"][:] = column["trades"].cumsum()
    column["first_seq"][:] = column["seq"] - column["trades"] + 1
    column["open_time"][:] = column["time"] + rng.integers(0, MINUTE // 4, CANDLES)
    column["close_time"][:] = column["time"] + rng.integers(MINUTE * 3 // 4, MINUTE, CANDLES)
    return Candles(data)


def fill(store: Store) -> dict[str, float]:
    """The same candles in both forms; what one takes in each."""
    client, took = store.client, {"ticker": 0.0, "sorted set of JSON": 0.0}
    rows = {name: json.dumps({"symbol": name, "name": name, "feed": FEED}) for name in names(SYMBOLS)}
    client.hset(keys.SYMBOLS, mapping=rows)  # type: ignore[arg-type]
    client.hset(keys.CLOCKS, FEED, END + 600_000_000)
    for number, symbol in enumerate(names(SYMBOLS)):
        made = candles(number)
        chunks, index, plain = keys.chunks(symbol, "1m"), keys.chunk_index(symbol, "1m"), f"plain:{symbol}"
        with client.pipeline(transaction=False) as pipe:
            for chunk in chunks_of(made):
                pipe.hset(chunks, str(chunk.opens), chunk.packed)
                pipe.zadd(index, {str(chunk.opens): chunk.opens})
            for row in made.rows():
                pipe.zadd(plain, {to_json(candle_row(row, final=True)): row.time})
            pipe.execute()
        took["ticker"] += sum(client.memory_usage(key, samples=0) or 0 for key in (chunks, index))
        took["sorted set of JSON"] += client.memory_usage(plain, samples=0) or 0
    return {name: total / SYMBOLS / CANDLES for name, total in took.items()}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers, on the core that is the server's."""

    port: int
    program: rig.Program


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one server, and what each answer has cost it."""

    measured: Measured
    cpu_us: float


Questions = Mapping[str, tuple[Running, Sequence[bytes]]]
"""By the name under which they are shown: who is asked, and what."""
Samples = dict[str, list[Sample]]


class Stage:
    """All servers, and what asks them."""

    def __init__(self, stack: ExitStack, store: Store, cores: rig.Cores, folder: Path, load: Load, runs: int) -> None:
        self.store = store
        self.raw: list[dict[str, object]] = []
        self.remarks: list[str] = []
        self.aims: list[tuple[str, str, str, str]] = []
        self.cores = cores
        self._stack, self._folder, self._load, self._runs = stack, folder, load, runs
        self.warm = self._ticker(folder)
        cold = folder / "cold"
        cold.mkdir()
        (cold / "config.yaml").write_text(json.dumps({"limits": {"history_cache_bytes": SMALL_CACHE}}))
        self.cold = self._ticker(cold)

    def _ticker(self, folder: Path) -> Running:
        """As users start it."""
        url = f"redis://127.0.0.1:{self.store.port}"
        serve = [sys.executable, "-m", "ticker", "serve", "--redis-url", url, "--port"]
        running = self._start(lambda port: [*serve, str(port)], folder)
        deadline = time.monotonic() + common.START_S
        while httpx.get(f"http://127.0.0.1:{running.port}/readyz").status_code != 200:
            if time.monotonic() > deadline:
                raise RuntimeError(f"it is not ready: {running.program.last_words()}")
            time.sleep(0.05)
        return running

    def _start(self, command: Callable[[int], Sequence[str]], folder: Path) -> Running:
        port = common.free_port()
        program = self._stack.enter_context(rig.Program(command(port), self.cores.server, folder))
        rig.wait_port(port, program)
        return Running(port, program)

    def peer(self, kind: str, number: int) -> Running:
        """A peer that serves from now on."""
        program = str(Path(__file__).with_name("history_peers.py"))
        return self._start(lambda port: [sys.executable, program, kind, str(port), str(number)], self._folder)

    def aim(self, what: str, value: float, bound: float, *, at_most: bool = False) -> None:
        """Something that was aimed at, and what came of it."""
        reached = value <= bound if at_most else value >= bound
        sign = "at most" if at_most else "at least"
        self.aims.append((what, f"{sign} {bound:g}", f"{value:.2f}", "yes" if reached else "**no**"))

    def answer(self, target: str, **headers: str) -> httpx.Headers:
        """The headers of an answer of ticker's, as it is sent."""
        given = {"Accept-Encoding": "identity"} | headers
        with httpx.stream("GET", f"http://127.0.0.1:{self.warm.port}{target}", headers=given) as answer:
            return answer.headers

    def length(self, target: str, **headers: str) -> int:
        """The bytes of its body."""
        return int(self.answer(target, **headers)["content-length"])

    def run(self, what: str, questions: Questions, rate: float = 0.0, clients: int = 0) -> Samples:
        """Ask each of these servers so many times, in turn."""
        found: Samples = {name: [] for name in questions}
        load = Load(clients or self._load.clients, self._load.warm_s, self._load.seconds, rate)
        for _ in range(self._runs):
            for name, (server, requests) in questions.items():
                cpu_s = server.program.cpu_s()
                measured = measure(server.port, requests, load, self.cores.generator)
                sample = Sample(measured, 1e6 * (server.program.cpu_s() - cpu_s) / measured.all)
                found[name].append(sample)
                self.raw.append(
                    {"what": what, "server": name, "rate": rate, "cpu_us": sample.cpu_us} | asdict(measured)
                )
                if measured.cpu >= GENERATOR_SHARE:
                    share = f"{measured.cpu:.0%} of its core"
                    self.remarks.append(f"**The generator may be the limit**: {name}, {what} ({share}).")
        told = {name: f"{per_s(samples):,.0f}/s {cpu_us(samples):.0f} us" for name, samples in found.items()}
        print(f"  {what}: {told}", file=sys.stderr, flush=True)
        return found


def per_s(samples: Sequence[Sample]) -> float:
    """Answers a second: the median."""
    return statistics.median(one.measured.per_s for one in samples)


def cpu_us(samples: Sequence[Sample]) -> float:
    """The server's processor time for an answer: the median."""
    return statistics.median(one.cpu_us for one in samples)
