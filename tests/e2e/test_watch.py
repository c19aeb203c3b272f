"""`ticker watch` and a gateway that is killed: what a person reads, and what a program counts."""

import json
import os
import re
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

DEADLINE_S = 20.0


class Program:
    """`ticker` with arguments in a folder; its output as it comes."""

    def __init__(self, folder: Path, *args: str) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TICKER_")}
        self.output, self.errors = folder / f"out-{time.monotonic_ns()}", folder / f"err-{time.monotonic_ns()}"
        with self.output.open("wb") as out, self.errors.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ticker", *args],
                cwd=folder,
                env=environ | {"PYTHONUNBUFFERED": "1"},
                stdout=out,
                stderr=err,
            )

    def lines(self) -> list[str]:
        """Complete lines so far."""
        return self.output.read_text().rpartition("\n")[0].splitlines()

    def wait_for(self, pattern: str, behind: int = 0) -> tuple[int, re.Match[str]]:
        """The first line from `behind` on in which the pattern is found: its number, and the match."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            for number, line in enumerate(self.lines()[behind:], behind):
                if found := re.search(pattern, line):
                    return number, found
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"no line with {pattern!r}: {self.lines()[-5:]} {self.errors.read_text()}")
            time.sleep(0.01)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


class Market:
    """A store, an ingester, and gateways on one port that come and go."""

    def __init__(self, folder: Path, store: str, port: int) -> None:
        self.folder, self.port = folder, port
        self.url = f"http://127.0.0.1:{port}"
        self._programs: list[Program] = []
        tree: dict[str, Any] = {
            "redis": {"url": store},
            "server": {"port": port},
            "limits": {"page_rows": 1_000},
            "feeds": [
                {
                    "type": "simulated",
                    "symbols": ["AAPL", "MSFT"],
                    "ticks_per_s": 40,
                    "trading_hours": "always",
                    "poll_ms": 20,
                }
            ],
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(tree))

    def start(self, *args: str) -> Program:
        self._programs.append(Program(self.folder, *args))
        return self._programs[-1]

    def serve(self) -> Program:
        gateway = self.start("serve")
        gateway.wait_for("^page")
        return gateway

    def newest(self) -> int:
        rows = httpx.get(f"{self.url}/v1/trades/AAPL?limit=1").json()["trades"]
        return int(rows[-1]["seq"]) if rows else 0

    def close(self) -> None:
        for program in self._programs:
            if program.process.poll() is None:
                program.process.kill()
                program.process.wait()


@pytest.fixture
def market(tmp_path: Path, valkey_url: str, free_port: Callable[[], int]) -> Iterator[Market]:
    """With an ingester that writes."""
    made = Market(tmp_path, valkey_url, free_port())
    made.start("ingest").wait_for("^ingesting")
    try:
        yield made
    finally:
        made.close()


def stored(store: str) -> int:
    from redis import Redis

    with Redis.from_url(store) as client:
        return int(client.xlen("trades:{AAPL}"))


def test_a_killed_gateway(market: Market, valkey_url: str, block_until: Callable[..., None]) -> None:
    """Ticks go on without it; when it is back each of them is shown, in order, once, and the line says so."""
    gateway = market.serve()
    watch = market.start("watch", "AAPL", "--url", market.url)
    watch.wait_for(r"  AAPL  \S+ x \S+  seq \d+")
    replayed = 0
    behind = 0
    for _ in range(2):
        gateway.end(signal.SIGKILL)
        behind, _ = watch.wait_for(r"^disconnected: the connection was cut \(1006\); trying again in \d\.\d s$", behind)
        before = stored(valkey_url)
        block_until(lambda before=before: stored(valkey_url) >= before + 60)
        gateway = market.serve()
        behind, found = watch.wait_for(r"^resumed AAPL after (\d+): (\d+) replayed, (\d+) missed$", behind)
        assert int(found[2]) >= 60
        assert found[3] == "0"
        replayed += int(found[2])
        behind, _ = watch.wait_for(r"  AAPL  .* seq", behind)
    assert watch.end(signal.SIGINT) == 0
    lines = watch.lines()
    seqs = [int(line.rpartition(" ")[2]) for line in lines if "  AAPL  " in line]
    assert seqs == list(range(seqs[0], seqs[-1] + 1))
    assert lines[-1] == f"received {len(seqs)}, resumes 2, replayed {replayed}, missed 0"
    assert watch.errors.read_text() == ""


def test_a_gateway_that_ends_in_order(market: Market) -> None:
    """It says so, and nobody misses anything either; as JSON for programs, of candles."""
    gateway = market.serve()
    candles = market.start("watch", "AAPL", "MSFT", "--candles", "1s", "--json", "--url", market.url)
    quotes = market.start("watch", "*", "--quotes", "--json", "--url", market.url)
    for one, kind in ((candles, "candle"), (quotes, "quote")):
        one.wait_for(f'"type":"{kind}"')
    assert gateway.end() == 0
    gateway = market.serve()
    for one in (candles, quotes):
        for symbol in ("AAPL", "MSFT"):
            resumed, _ = one.wait_for(f'"type":"resumed".*"symbol":"{symbol}".*"missed":0')
            if one is candles:
                # Whatever closed until then has come.
                one.wait_for(f'"type":"candle".*"symbol":"{symbol}".*"final":true', resumed)
        assert one.end(signal.SIGINT) == 0
        messages = [json.loads(line) for line in one.lines()]
        lost = next(message for message in messages if message["type"] == "disconnected")
        assert lost["code"] in (1012, 1001)
        assert messages[-1]["type"] == "summary"
        assert messages[-1]["resumes"] == 2
    for symbol in ("AAPL", "MSFT"):
        ticks = [m for m in messages if m["type"] == "quote" and m["symbol"] == symbol]
        assert [m["seq"] for m in ticks] == list(range(ticks[0]["seq"], ticks[-1]["seq"] + 1))
    shown = [json.loads(line) for line in candles.lines()]
    for symbol in ("AAPL", "MSFT"):
        rows = [m for m in shown if m["type"] == "candle" and m["symbol"] == symbol]
        states = [(m["time"], m["seq"], m["final"]) for m in rows]
        assert len(states) == len(set(states))
        closed = sorted({m["time"] for m in rows if m["final"]})
        # Every one that there is; a second may pass without a trade, and the first candle may have been closed before.
        params = {"interval": "1s", "start": closed[0], "end": closed[-1] + 1}
        stored = httpx.get(f"{market.url}/v1/candles/{symbol}", params=params).json()["candles"]
        assert closed == [row["time"] for row in stored]


def test_a_mistake_is_one_line(market: Market, free_port: Callable[[], int]) -> None:
    """Exit code 2: an unknown symbol, no gateway, what cannot be."""
    market.serve()
    port = free_port()
    for args, told in (
        (("ZZZZ", "--url", market.url), "ZZZZ"),
        (("aapl", "--url", market.url), "'aapl' is no symbol"),
        (("AAPL", "--url", f"http://127.0.0.1:{port}"), f"127.0.0.1:{port}"),
        (("AAPL", "--url", "8000"), "such as http://127.0.0.1:8000"),
        (("AAPL", "--candles", "2m", "--url", market.url), "'2m'; allowed: 1s"),
        (("AAPL", "--candles", "1m", "--quotes", "--url", market.url), "exclude each other"),
    ):
        watch = market.start("watch", *args)
        assert watch.process.wait(DEADLINE_S) == 2
        (line,) = watch.errors.read_text().splitlines()
        assert told in line
        assert watch.output.read_text() == ""


def test_history_in_the_shell(market: Market, block_until: Callable[..., None]) -> None:
    """A chart as wide as the terminal, without colours where it goes into a file; more than a page of candles."""
    market.serve()
    block_until(lambda: market.newest() > 50)
    chart = market.start("candles", "AAPL", "--limit", "300", "--format", "chart", "--url", market.url)
    assert chart.process.wait(DEADLINE_S) == 0
    lines = chart.output.read_text().splitlines()
    assert len(lines) == 20
    assert "\x1b" not in chart.output.read_text()
    assert "volume" in lines[16]
    assert max(map(len, lines)) <= 120
    table = market.start("candles", "AAPL", "--start", "2026-01-01", "--format", "csv", "--url", market.url)
    assert table.process.wait(DEADLINE_S) == 0
    times = [int(line.partition(",")[0]) for line in table.output.read_text().splitlines()[1:]]
    assert len(times) > 5_000
    assert times == sorted(set(times))
