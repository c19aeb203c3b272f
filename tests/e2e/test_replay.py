"""A recording, replayed through the whole pipeline, against an independent computation; also with the process killed."""

import csv
import gzip
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import redis
import yaml

DATA = Path(__file__).parents[1] / "data"
SYMBOLS = ("BAC", "IBM")
PANDAS = {"1s": "1s", "5s": "5s", "1m": "1min", "5m": "5min", "1h": "1h", "1d": "1D"}
START = {"start": "2013-10-01"}


class Ticker:
    """`ticker run` on a replay of the excerpts, in a folder of its own."""

    def __init__(self, folder: Path, free_port: Callable[[], int], speed: object) -> None:
        self.redis_port, self.port = free_port(), free_port()
        self.config = folder / "config.yaml"
        tree = {
            "feeds": [{"type": "replay", "path": str(DATA / "*.csv.gz"), "speed": speed, "times": "keep"}],
            "redis": {"port": self.redis_port, "data_dir": str(folder / "data")},
            "server": {"port": self.port},
        }
        self.config.write_text(yaml.safe_dump(tree))
        self.store = redis.Redis(port=self.redis_port)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "ticker", "run", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def end(self, number: int) -> None:
        assert self.process is not None
        assert self.process.poll() is None, self.process.stderr.read().decode() if self.process.stderr else ""
        os.kill(self.process.pid, number)
        self.process.communicate(timeout=15)
        self.process = None

    def stored(self) -> int:
        """Ticks in the store."""
        return sum(self.stored_of(symbol) for symbol in SYMBOLS)

    def stored_of(self, symbol: str) -> int:
        """Ticks of one symbol in the store, 0 where it does not answer yet."""
        try:
            return sum(self.store.xlen(f"{kind}:{{{symbol}}}") for kind in ("trades", "quotes"))
        except redis.RedisError:
            return 0

    def get(self, path: str, **params: Any) -> Any:
        answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def candles(self, symbol: str, interval: str) -> list[dict[str, Any]]:
        """All of them, page by page."""
        rows: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get(f"/v1/candles/{symbol}", interval=interval, limit=700, **START, **cursor)
            rows += page["candles"]
            if not page["next"]:
                return rows
            cursor = {"cursor": page["next"]}

    def ended(self) -> bool:
        """The replay is over: the candles of its last day are closed."""
        try:
            days = [self.get(f"/v1/candles/{symbol}", interval="1d", forming="true")["candles"] for symbol in SYMBOLS]
        except (httpx.HTTPError, AssertionError):
            return False
        return all(rows and rows[-1]["final"] for rows in days)


@contextmanager
def replaying(folder: Path, free_port: Callable[[], int], speed: object) -> Iterator[Ticker]:
    """A running service, ended at the end."""
    ticker = Ticker(folder, free_port, speed)
    ticker.start()
    try:
        yield ticker
    finally:
        if ticker.process:
            ticker.process.terminate()
            ticker.process.communicate(timeout=15)
        ticker.store.close()


def rows_of(symbol: str, kind: str) -> list[dict[str, str]]:
    """The recording itself."""
    with gzip.open(DATA / f"{symbol.lower()}_{kind}.csv.gz", "rt") as file:
        return list(csv.DictReader(file))


def check_streams(ticker: Ticker) -> None:
    """Every row is in its stream once, in order, numbered 1, 2, 3 ..."""
    for symbol in SYMBOLS:
        for kind in ("trades", "quotes"):
            entries = ticker.store.xrange(f"{kind}:{{{symbol}}}")
            rows = rows_of(symbol, kind)
            assert [int(fields[b"seq"]) for _, fields in entries] == list(range(1, len(rows) + 1))
            names = [name for name in rows[0] if name != "symbol"]
            found = [[fields.get(name.encode(), b"").decode() for name in names] for _, fields in entries]
            assert [[_plain(v) for v in row] for row in found] == [
                [_plain(row[name]) for name in names] for row in rows
            ]


def _plain(value: str) -> object:
    """Numbers as numbers: 13.90 and 13.9 are the same price."""
    try:
        return Fraction(value)
    except ValueError:
        return {"null": ""}.get(value, value)


def check_candles(ticker: Ticker) -> None:
    """REST's candles equal those that pandas makes of the recording."""
    for symbol in SYMBOLS:
        trades = pd.read_csv(DATA / f"{symbol.lower()}_trades.csv.gz")
        trades["moment"] = pd.to_datetime(trades.time, unit="us", utc=True).dt.tz_convert("America/New_York")
        trades["notional"] = (trades.price * 1_000_000).round().astype("int64") * trades["size"]
        for interval, rule in PANDAS.items():
            grouped = trades.groupby(pd.Grouper(key="moment", freq=rule))
            expected = grouped.agg(
                open=("price", "first"),
                high=("price", "max"),
                low=("price", "min"),
                close=("price", "last"),
                volume=("size", "sum"),
                trades=("price", "count"),
                notional=("notional", "sum"),
            )
            made = [
                {
                    "time": int(moment.timestamp() * 1_000_000),
                    **{name: row[name] for name in ("open", "high", "low", "close", "volume", "trades")},
                    "vwap": round(Fraction(int(row.notional), int(row.volume))) / 1_000_000,
                    "final": True,
                }
                for moment, row in expected[expected.trades > 0].iterrows()
            ]
            assert ticker.candles(symbol, interval) == made, (symbol, interval)


def check_agrees(ticker: Ticker) -> None:
    """`ticker check` finds all candles equal."""
    command = [sys.executable, "-m", "ticker", "check", "--config", str(ticker.config)]
    address = f"redis://127.0.0.1:{ticker.redis_port}"
    done = subprocess.run([*command, "--redis-url", address], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unchecked" not in done.stdout


def test_a_replay_is_stored_whole_and_its_candles_equal_pandas(
    tmp_path: Path, free_port: Callable[[], int], block_until: Callable[..., None]
) -> None:
    """As fast as possible, times kept: every tick once and in order, candles exact, at most 64 bytes each."""
    with replaying(tmp_path, free_port, "max") as ticker:
        block_until(ticker.ended, 60)
        check_streams(ticker)
        check_candles(ticker)
        check_agrees(ticker)
        keys = [key for pattern in ("ticker:candles:*", "ticker:index:*") for key in ticker.store.scan_iter(pattern)]
        candles = sum(len(ticker.candles(symbol, interval)) for symbol in SYMBOLS for interval in ("1s", "1m", "1d"))
        assert sum(ticker.store.memory_usage(key, samples=0) for key in keys) <= 64 * candles


@pytest.mark.timeout(300)
@pytest.mark.parametrize("speed", [400, "max"])
def test_a_replay_that_is_killed_at_ten_random_instants_loses_and_doubles_nothing(
    tmp_path: Path, free_port: Callable[[], int], block_until: Callable[..., None], speed: object
) -> None:
    """Kill -9 of the process, embedded store and all; started again each time, the record is the same as without."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    total = sum(len(rows_of(symbol, kind)) for symbol in SYMBOLS for kind in ("trades", "quotes"))
    instants = sorted(random.Random(seed).sample(range(1, total - 1), 10))
    with replaying(tmp_path, free_port, speed) as ticker:
        block_until(lambda: all(ticker.stored_of(symbol) for symbol in SYMBOLS), 60)
        began = {symbol: ticker.store.get(f"epoch:{{{symbol}}}") for symbol in SYMBOLS}
        for instant in instants:
            block_until(lambda instant=instant: ticker.stored() >= instant, 60)
            ticker.end(signal.SIGKILL)
            ticker.start()
        block_until(ticker.ended, 60)
        check_streams(ticker)
        check_candles(ticker)
        check_agrees(ticker)
        for symbol in SYMBOLS:
            # Nobody can tell that nothing was lost: each start began an epoch with its first tick, and where the one before
            # ended is kept.
            ended, now = ticker.store.hgetall(f"ticker:epochs:{{{symbol}}}"), ticker.store.get(f"epoch:{{{symbol}}}")
            assert began[symbol] in {*ended, now}
            assert now not in ended
