"""`ticker ingest` and `ticker serve` apart: gateways that tell the same, workers, and an ingester that tells how it is."""

import json
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
from command_line import (
    Folder,
    answers,
    has_trades,
    messages,
    servers_in,
    socket_on,
    stream,
)
from redis import Redis
from websockets.sync.client import ClientConnection


def test_two_gateways_tell_the_same(folder: Folder, valkey_url: str, block_until: Callable[..., None]) -> None:
    """One ingester, one separate store, two gateways: the same bytes on both, the same candles, forming ones too."""
    folder.config["redis"]["url"] = valkey_url
    folder.config["server"]["port"] = 0
    ingest = folder.start("ingest")
    assert valkey_url in ingest.line("ingesting 3 symbols")
    first, first_url = folder.serve("serve")
    second, second_url = folder.serve("serve")
    for url in (first_url, second_url):
        block_until(has_trades(url))
        block_until(lambda url=url: httpx.get(f"{url}/readyz").status_code == 200)
    with ExitStack() as stack:
        sockets = [stack.enter_context(stream(url, "?channel=trades&symbols=AAPL")) for url in (first_url, second_url)]
        starts = [messages(s, lambda m: m["type"] == "subscribed")[-1][1]["positions"]["AAPL"] for s in sockets]
        assert starts[0]["epoch"] == starts[1]["epoch"]
        begin, end = max(p["seq"] for p in starts), max(p["seq"] for p in starts) + 15
        heard = [
            [
                text
                for text, m in messages(s, lambda m: m.get("seq", 0) >= end)
                if m["type"] == "trade" and m["seq"] > begin
            ]
            for s in sockets
        ]
        assert heard[0] == heard[1]
        assert [json.loads(text)["seq"] for text in heard[0]] == list(range(begin + 1, end + 1))
        for socket_ in sockets:
            socket_.send(json.dumps({"op": "subscribe", "channel": "candles", "interval": "1m", "symbols": ["AAPL"]}))
        candles = [candles_by_seq(s, 8) for s in sockets]
    common = candles[0].keys() & candles[1].keys()
    assert common
    assert all(candles[0][key] == candles[1][key] for key in common)
    assert ingest.end() == 0
    pages = [
        [
            httpx.get(f"{url}/v1/candles/AAPL", params={"interval": interval, "forming": "true"}).json()
            for interval in ("1s", "5s", "1m", "1h", "1d")
        ]
        for url in (first_url, second_url)
    ]
    assert pages[0] == pages[1]
    assert first.end() == second.end(signal.SIGINT) == 0


def candles_by_seq(socket: ClientConnection, count: int) -> dict[tuple[int, int, bool], str]:
    """Candle messages of a while, by what tells them apart."""
    found: dict[tuple[int, int, bool], str] = {}
    while len(found) < count:
        text, message = messages(socket, lambda m: m["type"] == "candle")[-1]
        if "snapshot" not in message:
            found[message["time"], message["seq"], message["final"]] = text
    return found


def test_workers_end_with_their_parent(folder: Folder, valkey_url: str, block_until: Callable[..., None]) -> None:
    """Also one that was killed: its workers must not keep the port."""
    folder.config["redis"]["url"] = valkey_url
    command = folder.start("serve", "--workers", "2", TMPDIR=str(folder.path))
    url = command.line("page").split()[1].rstrip("/")
    block_until(lambda: answers(url))
    children = Path(f"/proc/{command.process.pid}/task/{command.process.pid}/children").read_text().split()
    assert len(children) >= 2
    command.process.kill()
    command.process.wait()
    block_until(lambda: not servers_in(folder.path), 5)
    with socket_on(folder.port):
        pass
    assert list(folder.path.glob("ticker-metrics-*")) == []


def test_workers_answer_scrapes_for_each_other(
    folder: Folder, valkey_url: str, block_until: Callable[..., None]
) -> None:
    """However the kernel deals out connections, a scrape has all of them; what the workers shared is cleared away."""
    folder.config["redis"]["url"] = valkey_url
    command = folder.start("serve", "--workers", "2", TMPDIR=str(folder.path))
    url = command.line("page").split()[1].rstrip("/")
    shared = folder.path.glob("ticker-metrics-*")
    block_until(lambda: answers(url))
    block_until(lambda: len({line.split('"')[1] for line in scrape(url) if line.startswith("process_open_fds")}) == 2)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(stream(url))
        scrapes = [
            [line for line in scrape(url) if line.startswith("ticker_websocket_connections ")] for _ in range(12)
        ]
        assert scrapes == [["ticker_websocket_connections 8.0"]] * 12
    assert command.end() == 0
    assert list(shared) == []


def scrape(url: str) -> list[str]:
    return httpx.get(f"{url}/metrics").text.splitlines()


def test_an_ingester_apart_tells_how_it_is(folder: Folder, valkey_url: str, block_until: Callable[..., None]) -> None:
    """On a port of its own, where one is set: for a health check and a scrape."""
    folder.config["redis"]["url"] = valkey_url
    folder.config["ingest"] = {"port": 0}
    command = folder.start("ingest")
    url = command.line("health").split()[1].removesuffix("/readyz")
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    block_until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
    body = httpx.get(f"{url}/readyz").json()
    assert (body["checks"], body["feeds"]["simulated"]["state"]) == ({"store": True}, "live")
    block_until(lambda: any(line.startswith("ticker_ticks_appended_total") for line in scrape(url)))
    assert httpx.get(f"{url}/v1/symbols").status_code == 404
    assert command.end() == 0
    assert "Traceback" not in command.errors()


def test_workers_end_in_order(folder: Folder, valkey_url: str, block_until: Callable[..., None]) -> None:
    """SIGTERM to the parent ends all, exit code 0."""
    folder.config["redis"]["url"] = valkey_url
    command, url = folder.serve("serve", "--workers", "2")
    block_until(lambda: answers(url))
    assert command.end() == 0
    block_until(lambda: not servers_in(folder.path), 5)
    assert "Traceback" not in command.errors()


def test_workers_keep_the_limits(folder: Folder, valkey_url: str, block_until: Callable[..., None]) -> None:
    """Those of HTTP too, which our protocol class keeps in each of them."""
    folder.config["redis"]["url"] = valkey_url
    folder.config["limits"] = {"head_s": 1, "head_bytes": 1_000}
    _, url = folder.serve("serve", "--workers", "2")
    block_until(lambda: answers(url))
    assert httpx.get(url, headers={"X-Large": "x" * 2_000}).status_code == 431
    with socket.create_connection(("127.0.0.1", folder.port), timeout=5) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert slow.recv(1_000).startswith(b"HTTP/1.1 408 ")


def test_serve_waits_for_nobody_and_reads_what_is_there(folder: Folder, valkey_url: str, store: Redis) -> None:
    """Without an ingester history is served, and clients are told that nothing new comes."""
    folder.config["redis"]["url"] = valkey_url
    command, url = folder.serve("serve")
    with stream(url) as client:
        stale = messages(client, lambda m: m["type"] == "service")[-1][1]
    assert (stale["state"], stale["reason"]) == ("stale", "ingest")
    assert httpx.get(f"{url}/v1/symbols").json() == {"symbols": [], "next": None}
    assert store.get("schema") == b"1"
    assert command.end() == 0
