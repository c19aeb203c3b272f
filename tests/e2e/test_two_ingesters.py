"""Two ingesters on one store, in processes of their own: who writes, who stands by, and how soon the other takes over."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from redis import Redis

SYMBOLS = [f"S{number:03}" for number in range(100)]
TAKEN_OVER_S = 3.0


class Ingest:
    """`ticker ingest` on a simulated feed."""

    def __init__(self, folder: Path, name: str, url: str, symbols: list[str]) -> None:
        config = folder / f"{name}.yaml"
        feed = {"type": "simulated", "symbols": symbols, "ticks_per_s": 20, "history_days": 0, "history_years": 0}
        tree = {"feeds": [feed], "redis": {"url": url}, "ingest": {"port": 0}}
        config.write_text(yaml.safe_dump(tree))
        self.errors = folder / f"{name}.log"
        with self.errors.open("wb") as errors:
            command = [sys.executable, "-m", "ticker", "ingest", "--config", str(config)]
            environment = os.environ | {"PYTHONUNBUFFERED": "1"}
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[1].removesuffix("/readyz")

    def state(self) -> str:
        answer = httpx.get(f"{self.url}/readyz").json()
        return str(answer["feeds"]["simulated"]["state"])

    def is_ready(self) -> bool:
        return httpx.get(f"{self.url}/readyz").status_code == httpx.codes.OK

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=10)


@pytest.fixture
def start(tmp_path: Path, valkey_url: str) -> Iterator[Callable[..., Ingest]]:
    started: list[Ingest] = []

    def start(name: str, symbols: list[str] = SYMBOLS) -> Ingest:
        started.append(Ingest(tmp_path, name, valkey_url, symbols))
        return started[-1]

    try:
        yield start
    finally:
        for one in started:
            if one.process.poll() is None:
                one.process.kill()
            one.process.communicate()


@pytest.fixture
def store(valkey_url: str) -> Iterator[Redis]:
    with Redis.from_url(valkey_url, decode_responses=True) as client:
        yield client


def stored(store: Redis, symbol: str) -> int:
    count: Any = store.xlen(f"trades:{{{symbol}}}")
    return int(count)


def check_numbers(store: Redis) -> None:
    """Every stream counts 1, 2, 3, and its ids rise."""
    for symbol in SYMBOLS:
        entries: Any = store.xrange(f"trades:{{{symbol}}}")
        assert [int(fields["seq"]) for _, fields in entries] == list(range(1, len(entries) + 1))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_second_takes_over_when_the_first_is_gone(
    start: Callable[..., Ingest], store: Redis, block_until: Callable[..., None], number: signal.Signals
) -> None:
    """In less than 3 s after kill -9, at once after a clean stop: numbers and epochs go on."""
    first = start("first")
    block_until(lambda: stored(store, SYMBOLS[-1]) > 3)
    second = start("second")
    block_until(lambda: second.state() == "standby")
    assert second.is_ready()
    epochs = [store.get(f"epoch:{{{symbol}}}") for symbol in SYMBOLS]
    first.end(number)
    begun_s, before = time.monotonic(), [stored(store, symbol) for symbol in SYMBOLS]
    block_until(lambda: any(stored(store, s) > count for s, count in zip(SYMBOLS, before, strict=True)))
    took_s = time.monotonic() - begun_s
    assert took_s < (TAKEN_OVER_S if number == signal.SIGKILL else 1.5), f"{took_s:.2f} s"
    block_until(lambda: all(stored(store, s) > count for s, count in zip(SYMBOLS, before, strict=True)))
    assert [store.get(f"epoch:{{{symbol}}}") for symbol in SYMBOLS] == epochs
    assert second.state() == "live"
    check_numbers(store)


def test_an_ingester_that_was_stopped_for_a_while_finds_itself_replaced(
    start: Callable[..., Ingest], store: Redis, block_until: Callable[..., None]
) -> None:
    """It stands by, nothing is written twice, and it takes over again when the other ends."""
    first = start("first")
    block_until(lambda: stored(store, SYMBOLS[-1]) > 3)
    second = start("second")
    block_until(lambda: second.state() == "standby")
    first.process.send_signal(signal.SIGSTOP)
    block_until(lambda: second.state() == "live")
    first.process.send_signal(signal.SIGCONT)
    block_until(lambda: first.state() == "standby")
    assert "replaced" in first.errors.read_text()
    check_numbers(store)
    second.end(signal.SIGKILL)
    block_until(lambda: first.state() == "live")
    before = [stored(store, symbol) for symbol in SYMBOLS]
    block_until(lambda: all(stored(store, s) > count for s, count in zip(SYMBOLS, before, strict=True)))
    check_numbers(store)


def test_ingesters_with_different_symbols_write_beside_each_other(
    start: Callable[..., Ingest], store: Redis, block_until: Callable[..., None]
) -> None:
    """Though their feeds have the same name."""
    first, second = start("first", SYMBOLS[:10]), start("second", SYMBOLS[10:20])
    block_until(lambda: all(stored(store, symbol) > 3 for symbol in SYMBOLS[:20]))
    assert (first.state(), second.state()) == ("live", "live")
    owners: Any = store.hgetall("ticker:owners")
    assert len({owners[symbol] for symbol in SYMBOLS[:10]}) == 1
    assert len(set(owners.values())) == 2
