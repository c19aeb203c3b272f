"""How long questions into the archive take: any day of `1m`, any month of `1d`, a page of ticks, and beside how much is there.

usage: archive.py [--symbols N] [--days N] [--minutes N] [--folder PATH] [--questions N]

Writes so many trading days of candles (`1m` and `1d`) and one day of trades for each symbol, unless the folder has them, then
asks as REST does, through history with an empty Valkey before the archive: each symbol's first question (the folder is
listed, no footer is known), and any later one. Prints one line of JSON. The kernel has the files in its cache.
"""

import argparse
import asyncio
import json
import platform
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from common import free_port

from ticker import codec
from ticker.archive.archive import Archive
from ticker.archive.layout import File, Place
from ticker.archive.spanning import ArchiveThreads, SpanningCandles, SpanningTicks
from ticker.archive.storage import LocalStorage
from ticker.archive.tables import tick_columns
from ticker.candles.candle import FIELDS, Candles, Origin
from ticker.candles.interval import INTERVALS
from ticker.candles.rollup import roll_up
from ticker.history.candle_query import CandleQuery
from ticker.history.candles import CandleHistory
from ticker.history.ticks import TickHistory, TickQuery
from ticker.store.candle_store import CandleReader
from ticker.store.connection import connect
from ticker.store.embedded import EmbeddedServer
from ticker.store.tick_stream import TickReader

ZONE = ZoneInfo("America/New_York")
FIRST_DAY = 1_735_828_200_000_000
"""2025-01-02 09:30 in New York."""
MINUTE, DAY = INTERVALS["1m"], INTERVALS["1d"]
TRADES = 100_000


def trading_days(days: int, minutes: int, rng: np.random.Generator) -> Candles:
    """Minutes of so many days, five a week."""
    opens = [FIRST_DAY + (day // 5 * 7 + day % 5) * DAY.width for day in range(days)]
    times = np.concatenate([opened + MINUTE.width * np.arange(minutes) for opened in opens]).astype(np.int64)
    count = len(times)
    close = 100_000_000 + 10_000 * rng.integers(-20, 20, count).cumsum() % 50_000_000
    opened = np.concatenate((close[:1], close[:-1]))
    volume = 1_000_000 * rng.integers(100, 50_000, count)
    zero, number = np.zeros(count, np.int64), np.arange(1, count + 1)
    columns = {
        "time": times,
        "open": opened,
        "high": np.maximum(opened, close) + 20_000,
        "low": np.minimum(opened, close) - 20_000,
        "close": close,
        "volume": volume,
        "units": close * (volume // 1_000_000) // 1_000_000,
        "rest": zero,
        "trades": rng.integers(10, 2_000, count),
        "first_seq": number,
        "seq": number,
        "open_time": times,
        "close_time": times + MINUTE.width - 1,
        "origin": zero + int(Origin.TICKS),
    }
    return Candles(np.array([columns[field] for field in FIELDS], np.int64))


def fill(archive: Archive, symbols: list[str], days: int, minutes: int) -> float:
    """Write what is asked for; seconds."""
    began_s, rng = time.monotonic(), np.random.default_rng(7)
    for symbol in symbols:
        candles = trading_days(days, minutes, rng)
        archive.write_candles(symbol, MINUTE, candles)
        archive.write_candles(symbol, DAY, roll_up(candles, DAY, ZONE))
        times = FIRST_DAY + np.sort(rng.integers(0, minutes * MINUTE.width, TRADES))
        columns = {"time": times, "seq": np.arange(1, TRADES + 1), "id_ms": times // 1000}
        columns |= {
            "price": 10_000 * rng.integers(9_000, 11_000, TRADES),
            "size": 1_000_000 * rng.integers(1, 900, TRADES),
        }
        ends = Place(int(times[0]) // 1000, 1), Place(int(times[-1]) // 1000, TRADES)
        file = File("trades", symbol, "2025-01-02", *ends, 1, "abcdef")
        archive.write_table(file, tick_columns("trades", columns, "abcdef"))
    return time.monotonic() - began_s


def quantiles(taken_s: list[float]) -> dict[str, float]:
    """In milliseconds."""
    ordered = np.sort(np.array(taken_s)) * 1000
    return {
        "p50": round(float(np.median(ordered)), 2),
        "p99": round(float(np.quantile(ordered, 0.99)), 2),
        "max": round(float(ordered[-1]), 2),
    }


async def ask(folder: Path, symbols: list[str], days: int, questions: int) -> dict[str, Any]:
    """The times that questions take, by kind: the first of each symbol, and all later ones."""
    rng = random.Random(3)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as data:
        server = EmbeddedServer(Path(data), free_port())
        server.start()
        try:
            async with connect(server.url) as client:

                def fresh() -> tuple[CandleHistory, TickHistory]:
                    archive, threads = Archive(LocalStorage(folder), ZONE), ArchiveThreads(2)
                    candles = SpanningCandles(CandleReader(client), archive, threads)
                    ticks = SpanningTicks(TickReader(client), archive, threads)
                    return CandleHistory(client, candles, ZONE, 500_000, 60_000_000), TickHistory(ticks, 120_000)

                def candles(interval: str, width: int, most: int) -> Callable[[Any, str], Awaitable[Any]]:
                    def one(histories: Any, symbol: str) -> Awaitable[Any]:
                        start = FIRST_DAY + rng.randrange(days // 5) * 7 * DAY.width - 9 * 3_600_000_000
                        query = CandleQuery(symbol, INTERVALS[interval], start, start + width, most)
                        asked: Awaitable[Any] = histories[0].page(query, "hand")
                        return asked

                    return one

                def ticks(histories: Any, symbol: str) -> Awaitable[Any]:
                    start = FIRST_DAY + rng.randrange(300) * MINUTE.width
                    asked: Awaitable[Any] = histories[1].page(TickQuery("trades", symbol, start, None, 500))
                    return asked

                kinds = {
                    "a day of 1m": candles("1m", DAY.width, 10_000),
                    "a month of 1d": candles("1d", 30 * DAY.width, 10_000),
                    "a week of 1h": candles("1h", 7 * DAY.width, 10_000),
                    "a page of 500 trades": ticks,
                }
                for name, question in kinds.items():
                    histories, first, later = fresh(), [], []
                    for symbol in symbols:
                        first.append(await timed(question(histories, symbol)))
                    for _ in range(questions):
                        later.append(await timed(question(histories, rng.choice(symbols))))
                    rows[name] = {"first": quantiles(first), "later": quantiles(later)}
        finally:
            server.stop()
    return rows


async def timed(question: Awaitable[Any]) -> float:
    """Seconds until the rows of an answer are there, as JSON."""
    began_s = time.perf_counter()
    page = await question
    if hasattr(page, "candles"):
        rows = [codec.candle_row(candle, final=final) for candle, final in page.candles]
    else:
        rows = [codec.entry_fields(entry.fields) for entry in page.entries]
    assert codec.to_json(rows) != b"[]"
    return time.perf_counter() - began_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--days", type=int, default=252)
    parser.add_argument("--minutes", type=int, default=390, help="of one day")
    parser.add_argument("--questions", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, help="an archive to use again, or to make")
    args = parser.parse_args()
    symbols = [f"S{number:03d}" for number in range(args.symbols)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        archive = Archive(LocalStorage(folder), ZONE)
        row: dict[str, Any] = {"symbols": args.symbols, "days": args.days, "minutes": args.minutes}
        if not archive.symbols("candles_1m"):
            row["written_s"] = round(fill(archive, symbols, args.days, args.minutes), 1)
        paths = list(folder.rglob("*.parquet"))
        minutes = [path.stat().st_size for path in paths if path.parts[-4] == "candles_1m"]
        row |= {
            "files": len(paths),
            "bytes_a_candle": round(sum(minutes) / (args.symbols * args.days * args.minutes), 1),
        }
        row |= asyncio.run(ask(folder, symbols, args.days, args.questions))
    row |= {"machine": f"{platform.machine()}, Python {platform.python_version()}", "date": time.strftime("%Y-%m-%d")}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
