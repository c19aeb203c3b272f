"""The commands that read: `ticker tap` and `ticker candles` show a running service, `ticker check` compares what is stored."""

import json
import re
import signal
from collections.abc import Callable
from typing import Any

import httpx
from command_line import (
    Folder,
    one_line,
)
from redis import Redis

from ticker.candles.packed import pack, unpack


def test_tap_and_candles_show_a_running_service(folder: Folder, block_until: Callable[..., None]) -> None:
    """Ticks from the streams, one a line, and history in three forms."""
    command, url = folder.serve("run")
    block_until(lambda: len(closed_candles(url)) >= 2)
    tap = folder.start("tap", "AAPL", "--json", "--from", "0")
    assert tap.process.stdout is not None
    lines = [json.loads(next(iter(tap.process.stdout.readline, ""))) for _ in range(10)]
    assert [line["seq"] for line in lines] == list(range(1, 11))
    assert {(line["type"], line["symbol"]) for line in lines} == {("trade", "AAPL")}
    assert tap.end(signal.SIGINT) == 0
    assert "Traceback" not in tap.errors()
    quotes = folder.start("tap", "IBM", "MSFT", "--quotes")
    assert re.match(r"\d+-\d+  (IBM|MSFT)  bid ", quotes.line("1"))
    assert quotes.end() == 0

    code, output, _ = folder.run("candles", "AAPL", "--interval", "1s", "--format", "json", "--url", url)
    rows = json.loads(output)["candles"]
    assert code == 0
    assert [row["final"] for row in rows[:2]] == [True, True]
    code, output, _ = folder.run("candles", "AAPL", "--interval", "1s", "--format", "csv", "--limit", "3", "--url", url)
    assert (code, len(output.splitlines())) == (0, 4)
    assert output.splitlines()[0] == "time,open,high,low,close,volume,trades,vwap,final"
    code, output, _ = folder.run("candles", "AAPL", "--url", url)
    assert (code, output.split()[:2]) == (0, ["time", "open"])
    assert "ZZZZ" in one_line(*folder.run("candles", "ZZZZ", "--url", url))
    assert "2m" in one_line(*folder.run("candles", "AAPL", "--interval", "2m", "--url", url))
    assert "ZZZZ" in one_line(*folder.run("tap", "ZZZZ"))
    assert "ZZZZ" in one_line(*folder.run("check", "ZZZZ"))
    assert command.end() == 0


def test_check_compares_candles_with_their_ticks(
    folder: Folder, valkey_url: str, store: Redis, block_until: Callable[..., None]
) -> None:
    """Equal is 0, one changed bit in a stored chunk 1, and a symbol without candles 3."""
    folder.config["redis"]["url"] = valkey_url
    ingest = folder.start("ingest")
    block_until(lambda: store.hlen("ticker:candles:{AAPL}:1s") and store.xlen("trades:{IBM}"))
    assert ingest.end() == 0
    code, output, errors = folder.run("check")
    assert code == 0, (output, errors)
    assert re.search(r"AAPL 1s: \d+ equal, none differ", output)
    assert {line.split()[0] for line in output.splitlines()} == {"AAPL", "IBM", "MSFT"}
    store.hset("symbols", "EMPTY", json.dumps({"symbol": "EMPTY", "feed": "none"}))
    assert folder.run("check", "EMPTY")[0] == 3
    tamper(store, "ticker:candles:{AAPL}:1s")
    code, output, _ = folder.run("check", "AAPL")
    assert code == 1
    assert re.search(r"AAPL 1s: \d+ equal, [1-9]\d* differ", output)


def closed_candles(url: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = httpx.get(f"{url}/v1/candles/AAPL?interval=1s").json()["candles"]
    return rows


def tamper(client: Redis, key: str) -> None:
    """Add a millionth to the volume of the oldest candle."""
    field, packed = min(client.hgetall(key).items())
    candles = unpack(packed)
    candles.column("volume")[0] += 1
    client.hset(key, field, pack(candles))
