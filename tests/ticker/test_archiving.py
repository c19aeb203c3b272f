import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from ticker.cli import cli
from ticker.store import keys

SECOND = 1_000_000


@pytest.fixture
def config_file(tmp_path, valkey_url):
    """An archive in a folder, the feed called `hand`."""
    file = tmp_path / "config.yaml"
    tree = {"redis": {"url": valkey_url}, "archive": {"url": str(tmp_path / "archive")}}
    file.write_text(yaml.safe_dump(tree | {"feeds": [{"type": "simulated", "name": "hand"}]}))
    return file


@pytest.fixture
def ticker(config_file):
    """Calls a command; what it has printed, and its exit code."""

    def ticker(*words):
        command = [sys.executable, "-m", "ticker", *words, "--config", str(config_file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout, done.stderr, done.returncode

    return ticker


@pytest.fixture
async def filled(writer, tape, valkey):
    """Trades of AAPL over half an hour."""
    await writer.write(*tape.trades(1800, step=SECOND))
    await valkey.hset(keys.CLOCKS, "hand", tape.time)


async def test_what_is_in_redis_is_archived_listed_and_verified(ticker, filled, tmp_path):
    """One command after the other; a second run finds nothing to do."""
    assert ticker("archive", "now") == ("AAPL: 3566 rows\n", "", 0)
    assert ticker("archive", "now", "AAPL") == ("AAPL: 0 rows\n", "", 0)
    out, _, code = ticker("archive", "list")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["symbol", "kind", "files", "rows", "from", "to"]
    assert lines[1][:4] == ["AAPL", "trades", "1", "1800"]
    assert [line[1] for line in lines[1:]] == ["trades", "candles_1s", "candles_1m"]
    assert code == 0
    out, _, code = ticker("archive", "verify")
    assert out.splitlines()[0] == "AAPL trades: 1 files, 1800 rows, none wrong"
    assert "AAPL candles_1m: 1 files, 28 rows, 28 equal to their ticks, none wrong" in out
    assert code == 0
    for path in (tmp_path / "archive").rglob("candles_1m/*/*/*.parquet"):
        path.write_bytes(path.read_bytes()[:-9])
    out, _, code = ticker("archive", "verify", "AAPL")
    assert "AAPL candles_1m: 1 files, 0 rows, 1 wrong" in out
    assert code == 1


async def test_mistakes_are_one_line(ticker, filled, config_file):
    """A symbol that is not there; no archive at all."""
    _, told, code = ticker("archive", "list", "MSFT")
    assert (told, code) == ("ticker: symbol 'MSFT' is not in the archive; it has none\n", 2)
    _, told, code = ticker("archive", "now", "MSFT")
    assert (told, code) == ("ticker: symbol 'MSFT' is not in the store; it has AAPL\n", 2)
    assert ticker("archive", "verify")[2] == 3
    tree = yaml.safe_load(config_file.read_text())
    del tree["archive"]
    config_file.write_text(yaml.safe_dump(tree))
    _, told, code = ticker("archive", "now")
    assert told == "ticker: archive.url is not set; allowed: a folder, or the URL of an object store\n"
    assert code == 2


def test_help_names_the_commands():
    """Of the group."""
    out = CliRunner().invoke(cli, ["archive", "--help"]).output
    assert [name for name in ("now", "list", "verify") if f"  {name} " not in out] == []
