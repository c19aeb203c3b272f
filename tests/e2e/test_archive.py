"""Real ticks, half of them imported and half replayed, archived, trimmed and restarted, against independent computations."""

import csv
import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pandas as pd
import pytest
import redis
import yaml

DATA = Path(__file__).parents[1] / "data"
SYMBOLS = ("BAC", "IBM")
KINDS = ("trades", "quotes")
DAYS_US = 3 * 86_400_000_000
"""The imported copy lies this much earlier: on the Friday before."""
WITHIN_A_DAY = {"1s": "1s", "5s": "5s", "15s": "15s", "30s": "30s", "1m": "1min", "5m": "5min", "15m": "15min"}
WITHIN_A_DAY |= {"30m": "30min", "1h": "1h", "4h": "4h"}
START = {"start": "2013-09-01"}


class Ticker:
    """`ticker run` on a replay of the excerpts, with an archive, in a folder of its own."""

    def __init__(self, folder: Path, free_port: Callable[[], int]) -> None:
        self.redis_port, self.port = free_port(), free_port()
        self.folder, self.archive = folder, folder / "archive"
        self.config = folder / "config.yaml"
        tree = {
            "feeds": [{"type": "replay", "path": str(DATA / "*.csv.gz"), "speed": "max", "times": "keep"}],
            "redis": {"port": self.redis_port, "data_dir": str(folder / "data")},
            "server": {"port": self.port},
            "archive": {"url": str(self.archive), "every": "1w"},
        }
        self.config.write_text(yaml.safe_dump(tree))
        self.store = redis.Redis(port=self.redis_port)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "ticker", "run", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)
        self.process.wait(20)
        self.process = None

    def call(self, *words: object, code: int = 0) -> str:
        """A command beside the service."""
        command = [sys.executable, "-m", "ticker", *map(str, words), "--config", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def pages(self, path: str, name: str, **params: Any) -> list[dict[str, Any]]:
        """All rows of an answer, page by page."""
        rows: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", params={**START, **params, **cursor}, timeout=30)
            assert answer.status_code == 200, answer.text
            rows += answer.json()[name]
            if not answer.json()["next"]:
                return rows
            cursor = {"cursor": answer.json()["next"]}

    def ended(self) -> bool:
        """The replay is over: its day is closed."""
        try:
            days = [self.pages(f"/v1/candles/{symbol}", "candles", interval="1d", forming="true") for symbol in SYMBOLS]
        except (httpx.HTTPError, AssertionError):
            return False
        return all(rows and rows[-1]["final"] and rows[-1]["time"] > 1_381_100_000_000_000 for rows in days)

    def age(self, left: int) -> None:
        """Let Redis forget all but the newest, as time would."""
        for symbol in SYMBOLS:
            for kind in KINDS:
                self.store.xtrim(f"{kind}:{{{symbol}}}", maxlen=left, approximate=False)
            for interval in ("1s", "1m", "1d"):
                index = f"ticker:index:{{{symbol}}}:{interval}"
                for field in self.store.zrange(index, 0, -2):
                    self.store.hdel(f"ticker:candles:{{{symbol}}}:{interval}", field)
                    self.store.zrem(index, field)


@contextmanager
def running(folder: Path, free_port: Callable[[], int]) -> Iterator[Ticker]:
    """A service, ended at the end."""
    ticker = Ticker(folder, free_port)
    ticker.start()
    try:
        yield ticker
    finally:
        if ticker.process:
            ticker.end()
        ticker.store.close()


def recorded(symbol: str, kind: str) -> pd.DataFrame:
    """The excerpt, with an earlier copy before it."""
    live = pd.read_csv(DATA / f"{symbol.lower()}_{kind}.csv.gz", dtype=str)
    live["time"] = live["time"].astype("int64")
    earlier = live.assign(time=live["time"] - DAYS_US)
    earlier["seq"], live["seq"] = 0, range(1, len(live) + 1)
    return pd.concat([earlier, live], ignore_index=True)


def write_earlier(folder: Path) -> list[Path]:
    """The earlier copies, as files to import."""
    paths = []
    for symbol in SYMBOLS:
        for kind in KINDS:
            rows = recorded(symbol, kind)
            path = folder / f"{symbol}_{kind}.csv.gz"
            with gzip.open(path, "wt", newline="") as file:
                rows[rows.seq == 0].drop(columns="seq").to_csv(file, index=False, quoting=csv.QUOTE_MINIMAL)
            paths.append(path)
    return paths


def expected_candles(symbol: str, interval: str) -> list[dict[str, Any]]:
    """What pandas makes of both days."""
    trades = recorded(symbol, "trades")
    trades["price"], trades["size"] = trades["price"].astype(float), trades["size"].astype(int)
    trades["moment"] = pd.to_datetime(trades["time"], unit="us", utc=True)
    trades["notional"] = (trades["price"] * 1_000_000).round().astype("int64") * trades["size"]
    if interval in WITHIN_A_DAY:
        grouper = pd.Grouper(key="moment", freq=WITHIN_A_DAY[interval], origin="epoch")
    else:
        trades["moment"] = trades["moment"].dt.tz_convert("America/New_York").dt.normalize()
        if interval == "1w":
            trades["moment"] -= pd.to_timedelta(trades["moment"].dt.weekday, unit="D")
        grouper = pd.Grouper(key="moment", freq="1D")
    sums = {"volume": ("size", "sum"), "trades": ("price", "count"), "notional": ("notional", "sum")}
    prices = {"open": ("price", "first"), "high": ("price", "max"), "low": ("price", "min"), "close": ("price", "last")}
    made = trades.groupby(grouper).agg(**prices, **sums)
    return [
        {
            "time": int(moment.timestamp() * 1_000_000),
            **{name: row[name] for name in ("open", "high", "low", "close", "volume", "trades")},
            "vwap": round(Fraction(int(row.notional), int(row.volume))) / 1_000_000,
            "final": True,
        }
        for moment, row in made[made.trades > 0].iterrows()
    ]


def check_history(ticker: Ticker) -> None:
    """Every interval to the last digit, every tick once and in order, over the seam."""
    for symbol in SYMBOLS:
        for interval in (*WITHIN_A_DAY, "1d", "1w"):
            found = ticker.pages(f"/v1/candles/{symbol}", "candles", interval=interval, limit=700)
            assert found == expected_candles(symbol, interval), (symbol, interval)
        for kind in KINDS:
            found = ticker.pages(f"/v1/{kind}/{symbol}", kind, limit=5000)
            wanted = recorded(symbol, kind)
            assert [row["seq"] for row in found] == wanted["seq"].tolist()
            assert [row["time"] for row in found] == wanted["time"].tolist()
            price = "price" if kind == "trades" else "bid"
            assert [row[price] for row in found] == wanted[price].astype(float).tolist()


def check_files(ticker: Ticker) -> None:
    """DuckDB reads the very rows from the files."""
    for symbol in SYMBOLS:
        query = (
            "SELECT epoch_us(time), price, size, exchange, epoch = 'import' FROM read_parquet(?) ORDER BY id_ms, seq"
        )
        found = duckdb.execute(query, [f"{ticker.archive}/trades/symbol={symbol}/*/*.parquet"]).fetchall()
        wanted = recorded(symbol, "trades").fillna({"exchange": ""})
        assert [
            (time, Fraction(price), Fraction(size), exchange or "", live) for time, price, size, exchange, live in found
        ] == [
            (row.time, Fraction(row.price), Fraction(row.size), row.exchange, row.seq == 0)
            for row in wanted.itertuples()
        ]


@pytest.mark.timeout(300)
def test_history_over_the_seam_equals_pandas_to_the_last_digit(
    tmp_path: Path, free_port: Callable[[], int], block_until: Callable[..., None]
) -> None:
    """Imported, replayed, archived, aged, killed and started again: nothing is lost, doubled or rounded."""
    paths = write_earlier(tmp_path)
    with running(tmp_path, free_port) as ticker:
        block_until(ticker.ended, 60)
        told = ticker.call("import", *paths)
        counts = {symbol: len(recorded(symbol, "trades")) // 2 for symbol in SYMBOLS}
        for symbol, count in counts.items():
            assert f"{symbol} trades: {count} added\n" in told
        assert f"IBM trades: 0 added, {counts['IBM']} there already" in ticker.call("import", *paths)
        ticker.call("archive", "now")
        assert "1 wrong" not in ticker.call("archive", "verify")
        check_history(ticker)
        ticker.age(left=300)
        check_history(ticker)
        check_files(ticker)
        ticker.end(signal.SIGKILL)
        ticker.start()
        block_until(ticker.ended, 60)
        check_history(ticker)
        ticker.age(left=0)
        check_history(ticker)


@pytest.mark.timeout(120)
def test_an_import_that_is_killed_goes_on(
    tmp_path: Path, free_port: Callable[[], int], block_until: Callable[..., None]
) -> None:
    """At the moment its first file is there; the second run adds the rest, the third nothing."""
    paths = write_earlier(tmp_path)
    with running(tmp_path, free_port) as ticker:
        block_until(ticker.ended, 60)
        command = [sys.executable, "-m", "ticker", "import", *map(str, paths), "--config", str(ticker.config)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        block_until(lambda: any(ticker.archive.rglob("date=2013-10-04/*.parquet")), 60)
        process.kill()
        process.wait()
        told = ticker.call("import", *paths)
        assert "left out" not in told
        assert "added" not in ticker.call("import", *paths).replace(" 0 added", "")
        ticker.call("archive", "now")
        ticker.call("archive", "verify")
        ticker.end()
        ticker.start()
        block_until(ticker.ended, 60)
        check_history(ticker)


def test_bad_rows_are_listed_and_the_exit_code_tells(
    tmp_path: Path, free_port: Callable[[], int], block_until: Callable[..., None]
) -> None:
    """The others are in, under a symbol that nobody knew; a dry run and a mistake change nothing."""
    path = tmp_path / "days.csv"
    rows = ["2013-01-02,1,3,1,2,10", "2013-01-03,1,3,1,x,10", "2013-01-04,1,3,1,2,10"]
    path.write_text("Date,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    options = ["--symbol", "NEW", "--interval", "1d", "--column", "time=Date"]
    with running(tmp_path, free_port) as ticker:
        block_until(ticker.ended, 60)
        told = ticker.call("import", path, *options, "--dry-run", code=1)
        assert told.splitlines()[0] == "NEW candles_1d: 2 would be added"
        assert not list(ticker.archive.rglob("symbol=NEW"))
        told = ticker.call("import", path, *options, code=1)
        line = f"{path}: line 3: close 'x': expected a number"
        assert told.splitlines() == ["NEW candles_1d: 2 added", line, "1 bad rows were left out"]
        ticker.call("import", path, *options, "--strict", code=2)
        ticker.call("import", path, "--column", "when=Date", code=2)
        ticker.call("import", path, "--time-zone", "Mars/Base", code=2)
        ticker.call("import", tmp_path / "none.csv", code=2)
        ticker.end()
        ticker.start()
        block_until(ticker.ended, 60)
        found = ticker.pages("/v1/candles/NEW", "candles", interval="1d", start="2013-01-01")
        assert [(row["close"], row["final"]) for row in found] == [(2, True), (2, True)]
