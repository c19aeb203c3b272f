"""The archive's page: its layout is the one that is written, and its examples run on it."""

import runpy
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from feeds.tick import Quote, Trade
from ticker import codec
from ticker.archive.archive import Archive
from ticker.archive.layout import CANDLES, KINDS, parse
from ticker.archive.storage import LocalStorage
from ticker.archive.tables import schema_of
from ticker.candles.builder import CandleBuilder
from ticker.candles.candle import Candles
from ticker.store.tick_stream import Entry

ZONE = ZoneInfo("America/New_York")
NOON = 1_763_985_600_000_000
MINUTE = 60_000_000
PAGE = Path(__file__).parents[2] / "docs" / "archive.md"


def entry(made: codec.Entry, time: int, seq: int) -> Entry:
    _, names, values = made
    return Entry(time // 1000, seq, time, [text.encode() for pair in zip(names, values, strict=True) for text in pair])


@pytest.fixture
def archive_of_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two days of two symbols, where the page's examples look for them."""
    archive = Archive(LocalStorage(tmp_path / "data" / "archive"), ZONE)
    for symbol in ("AAPL", "MSFT"):
        times = [NOON + number * MINUTE for number in range(2000)]
        trades = [Trade(symbol, 100 + number % 7 / 4, 3, time) for number, time in enumerate(times)]
        quotes = [Quote(symbol, 99.5, 1, 101.5, 2, time) for time in times]
        archive.write_ticks(
            "trades", symbol, 1, "abcdef", [entry(codec.trade_entry(t, n), t.time, n) for n, t in enumerate(trades, 1)]
        )
        archive.write_ticks(
            "quotes", symbol, 1, "abcdef", [entry(codec.quote_entry(q, n), q.time, n) for n, q in enumerate(quotes, 1)]
        )
        for interval in CANDLES.values():
            builder = CandleBuilder(interval, ZONE, 0, 0)
            for seq, trade in enumerate(trades, 1):
                builder.add(trade.time, *codec.check_trade(trade), seq)
            archive.write_candles(symbol, interval, Candles.of(builder.unclosed()))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data" / "archive"


@pytest.mark.blocks("archive program")
def test_programs_read_the_archive(block: Any, archive_of_docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And print rows of it."""
    program = archive_of_docs.parents[1] / "program.py"
    program.write_text(block.text)
    runpy.run_path(str(program))
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.blocks("archive query")
def test_queries_read_the_archive(block: Any, archive_of_docs: Path) -> None:
    """And find rows of it."""
    assert len(duckdb.sql(block.text).fetchall()) in (4, 5)


@pytest.mark.blocks("layout")
def test_the_layout_is_the_one_that_is_written(block: Any, archive_of_docs: Path) -> None:
    """Each path is one of a file of ours, and each kind is there."""
    *paths, about = block.text.splitlines()
    assert [parse(path).path for path in paths] == paths  # type: ignore[union-attr]
    assert [parse(path).kind for path in paths] == list(KINDS)  # type: ignore[union-attr]
    assert (archive_of_docs / about).exists()


def test_every_column_is_documented() -> None:
    """With its type."""
    text = PAGE.read_text("utf-8")
    names = {name for kind in KINDS for name in schema_of(kind).names}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_values_are_exact_for_others(archive_of_docs: Path) -> None:
    """DuckDB computes with decimals, not with floating-point numbers."""
    query = "SELECT typeof(price), price FROM 'data/archive/trades/symbol=AAPL/*/*.parquet' ORDER BY seq LIMIT 2"
    assert [(kind, str(price)) for kind, price in duckdb.sql(query).fetchall()] == [
        ("DECIMAL(16,6)", "100.000000"),
        ("DECIMAL(16,6)", "100.250000"),
    ]
