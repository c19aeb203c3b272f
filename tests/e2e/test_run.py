"""`ticker run` in a process of its own: what it prints, how it ends, and where the next one goes on."""

import re
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from command_line import (
    Folder,
    close_code,
    has_trades,
    messages,
    one_line,
    servers_in,
    socket_on,
    stream,
)


def test_run_prints_where_everything_is_and_serves(folder: Folder, block_until: Callable[..., None]) -> None:
    """The page, how to listen, how to ask, how to tap and how to stop: five lines that can be copied."""
    command, url = folder.serve("run")
    assert url == f"http://127.0.0.1:{folder.port}"
    live = command.line("live")
    assert f"ws://127.0.0.1:{folder.port}/v1/stream?channel=trades&symbols=AAPL" in live
    history = re.search(r"'(http[^']+)'", command.line("history"))
    assert history is not None
    streams = command.line("streams")
    assert "ticker tap AAPL" in streams
    assert f"redis://127.0.0.1:{folder.redis_port}" in streams
    assert command.line("stop").endswith("Ctrl-C")
    block_until(has_trades(url))
    assert httpx.get(history[1]).status_code == 200
    assert httpx.get(f"{url}/readyz").json()["status"] == "ready"
    assert "<html" in httpx.get(url).text
    with stream(url, "?channel=trades&symbols=AAPL") as socket:
        found = [message for _, message in messages(socket, lambda m: m["type"] == "trade" and "snapshot" not in m)]
    assert found[0]["type"] == "subscribed"
    assert found[-1]["seq"] == found[0]["positions"]["AAPL"]["seq"] + 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_in_order(folder: Folder, block_until: Callable[..., None], number: signal.Signals) -> None:
    """Within 5 s, exit code 0, clients told to come back, the port free, nothing left behind, no traceback."""
    command, url = folder.serve("run")
    block_until(has_trades(url))
    with stream(url, "?channel=trades&symbols=AAPL") as socket, socket_that_never_reads(folder.port):
        assert command.end(number) == 0
        assert close_code(socket) in (1001, 1012)
    assert servers_in(folder.path) == []
    assert "Traceback" not in command.errors()
    with socket_on(folder.port), socket_on(folder.redis_port):
        pass


@contextmanager
def socket_that_never_reads(port: int) -> Iterator[None]:
    with socket.create_connection(("127.0.0.1", port)) as mute:
        mute.sendall(
            b"GET /v1/stream?channel=quotes&symbols=* HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        yield


def test_run_goes_on_where_it_ended(folder: Folder, block_until: Callable[..., None]) -> None:
    """A second run has what the first one stored and counts on: in the same epoch, or after kill -9 in a new one."""
    positions = []
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        positions.append(run_for_a_while(folder, block_until, number))
    epochs = [position["epoch"] for position in positions]
    # Nothing is lost by it, but nobody was there to know.
    assert epochs[0] == epochs[1] == epochs[2] != epochs[3]
    assert [position["seq"] for position in positions] == sorted({position["seq"] for position in positions})
    command, url = folder.serve("run")
    numbers = [row["seq"] for row in all_trades(url)]
    assert numbers == list(range(1, len(numbers) + 1))
    command.end()


def run_for_a_while(
    folder: Folder, block_until: Callable[..., None], number: signal.Signals, *flags: str
) -> dict[str, Any]:
    """Run until some ticks have come, and end; a position of this run."""
    command, url = folder.serve("run", *flags)
    block_until(has_trades(url))
    with stream(url, "?channel=trades&symbols=AAPL") as client:
        messages(client, lambda m: m["type"] == "trade" and "snapshot" not in m)
        position: dict[str, Any] = httpx.get(f"{url}/v1/snapshots/AAPL").json()["positions"]["trades"]
    command.end(number)
    block_until(lambda: not servers_in(folder.path))
    return position


def test_a_data_folder_that_was_put_back_begins_a_new_epoch(folder: Folder, block_until: Callable[..., None]) -> None:
    """Though the copy was made, and the server stopped, in order: clients have seen later numbers."""
    data = folder.path / "data"
    first = run_for_a_while(folder, block_until, signal.SIGTERM)
    shutil.copytree(data, folder.path / "backup")
    second = run_for_a_while(folder, block_until, signal.SIGTERM)
    shutil.rmtree(data)
    shutil.copytree(folder.path / "backup", data)
    third = run_for_a_while(folder, block_until, signal.SIGTERM)
    fourth = run_for_a_while(folder, block_until, signal.SIGTERM)
    assert first["epoch"] == second["epoch"] != third["epoch"] == fourth["epoch"]
    fifth = run_for_a_while(folder, block_until, signal.SIGTERM, "--restored")
    assert fifth["epoch"] != fourth["epoch"]


def all_trades(url: str, symbol: str = "AAPL") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    query = {"start": "2020-01-01", "limit": "500"}
    while True:
        page = httpx.get(f"{url}/v1/trades/{symbol}", params=query).json()
        rows += page["trades"]
        if not page["next"]:
            return rows
        query["cursor"] = page["next"]


def test_a_second_run_on_the_same_folder_is_refused(folder: Folder, free_port: Callable[[], int]) -> None:
    """One data folder, one server; the first goes on."""
    command, url = folder.serve("run")
    folder.config["redis"]["port"], folder.config["server"]["port"] = free_port(), free_port()
    assert "redis.data_dir" in one_line(*folder.run("run"))
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert command.end() == 0
