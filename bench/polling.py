"""What the same freshness costs by polling REST and by a WebSocket subscription: bytes, CPU, staleness.

usage: polling.py [--symbols N] [--ticks-per-s N] [--clients N] [--seconds N]

Starts `ticker run` on a folder and ports of its own. Then several clients, each with one connection that stays open, want to
know the last trade of all symbols: first by asking `/v1/snapshots` in one request every so often, at several periods, then by
subscribing to `trades`. Every trade of the time is read back at the end. Its staleness for one client is the time from the
trade's own `time` to when that client first knew of it or of a newer one of its symbol; `seen` is the share of the trades that
clients were told of at all. Bytes are those that cross the clients' sockets, both ways, without the headers of TCP and IP. The
server's CPU is that of the service and its store above what both use without clients. Prints a Markdown table and a line of
JSON. Nothing else should run meanwhile.
"""

import argparse
import http.client
import json
import platform
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from common import Service
from websockets.sync.client import connect

PERIODS_S = (0.1, 0.25, 1.0, 5.0)
SETTLE_S = 4.0


class CountingSocket(socket.socket):
    """Counts what crosses it."""

    crossed = 0

    def sendall(self, data: Any, flags: int = 0) -> None:
        super().sendall(data, flags)
        self.crossed += len(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        self.crossed += len(data)
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        count = super().recv_into(buffer, size, flags)
        self.crossed += count
        return count


@dataclass(slots=True)
class Client:
    """One client: what it was told, when, and what its socket has carried since the measurement began."""

    sock: CountingSocket
    told: list[tuple[str, int, float]] = field(default_factory=list)
    """Symbol, number of its last trade, moment in microseconds."""
    crossed_before: int = 0

    def tell(self, symbol: str, seq: int) -> None:
        self.told.append((symbol, seq, time.time_ns() / 1000))


def opened(port: int) -> CountingSocket:
    """A connection."""
    sock = CountingSocket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect(("127.0.0.1", port))
    return sock


def poll(client: Client, symbols: list[str], period_s: float, phase: float, stop: threading.Event) -> None:
    """Ask, on a schedule that does not drift, for the last trade of all symbols."""
    connection = http.client.HTTPConnection("127.0.0.1")
    connection.sock = client.sock
    due = time.monotonic() + phase * period_s
    while not stop.wait(max(0.0, due - time.monotonic())):
        connection.request("GET", f"/v1/snapshots?symbols={','.join(symbols)}")
        answer = json.loads(connection.getresponse().read())
        for symbol, row in answer["snapshots"].items():
            if row["trade"]:
                client.tell(symbol, row["trade"]["seq"])
        due += period_s


def subscribe(client: Client, symbols: list[str], port: int, stop: threading.Event) -> None:
    """Subscribe once, then be told."""
    with connect(f"ws://127.0.0.1:{port}/v1/stream", sock=client.sock, compression=None, close_timeout=1) as live:
        live.send(json.dumps({"op": "subscribe", "channel": "trades", "symbols": symbols}))
        while not stop.is_set():
            try:
                message = json.loads(live.recv(timeout=0.2))
            except TimeoutError:
                continue
            if message["type"] == "trade":
                client.tell(message["symbol"], message["seq"])


Work = Callable[[Client, int, threading.Event], None]


def measure(service: Service, clients: int, seconds: float, margin_s: float, work: Work | None) -> dict[str, Any]:
    """One way for some seconds; `margin_s` at the end is time to hear of what has happened before."""
    stop = threading.Event()
    ours = [Client(opened(service.port)) for _ in range(clients if work else 0)]
    threads = [threading.Thread(target=work, args=(one, i, stop)) for i, one in enumerate(ours) if work]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    for one in ours:
        one.crossed_before = one.sock.crossed
    before, cpu, begin = service.sample(), time.process_time(), time.time_ns() // 1000
    time.sleep(seconds)
    after, used = service.sample(), time.process_time() - cpu
    crossed = sum(one.sock.crossed - one.crossed_before for one in ours)
    end = time.time_ns() // 1000
    time.sleep(margin_s)
    stop.set()
    for thread in threads:
        thread.join()
    for one in ours:
        one.sock.close()
    took = after["moment"] - before["moment"]
    server = sum(after[name] - before[name] for name in ("service_cpu", "store_cpu")) / took
    per_client = max(len(ours), 1) * took
    row = {"server_cpu": server, "client_ms": 1000 * used / per_client, "bytes": crossed / per_client}
    return row | ({"staleness": staleness(service, ours, begin, end)} if ours else {})


def staleness(service: Service, clients: list[Client], begin: int, end: int) -> tuple[float, float, float]:
    """Milliseconds in the middle and at the 99th percentile, and the share of trades that clients were told of."""
    late_ms: list[float] = []
    seen = 0
    for symbol in service.symbols():
        trades = [(row["seq"], row["time"]) for row in trades_of(service, symbol, begin, end)]
        for client in clients:
            told = [(seq, at) for name, seq, at in client.told if name == symbol]
            seen += len({seq for seq, _ in told} & {seq for seq, _ in trades})
            place = 0
            for seq, at in trades:
                while place < len(told) and told[place][0] < seq:
                    place += 1
                if place == len(told):
                    raise RuntimeError(f"nobody was told of trade {seq} of {symbol}; the margin is too short")
                late_ms.append((told[place][1] - at) / 1000)
    late_ms.sort()
    return late_ms[len(late_ms) // 2], late_ms[int(len(late_ms) * 0.99)], seen / len(late_ms)


def trades_of(service: Service, symbol: str, begin: int, end: int) -> list[dict[str, Any]]:
    """All trades of a symbol in a time."""
    rows: list[dict[str, Any]] = []
    query = {"start": str(begin), "end": str(end), "limit": "10000"}
    while True:
        page = httpx.get(f"{service.url}/v1/trades/{symbol}", params=query).raise_for_status().json()
        rows += page["trades"]
        if not page["next"]:
            return rows
        query["cursor"] = page["next"]


def ways(service: Service, symbols: list[str], clients: int) -> dict[str, tuple[float, Work]]:
    """Each way by its name, with the margin that it needs."""

    def polling(period_s: float) -> Work:
        return lambda client, i, stop: poll(client, symbols, period_s, i / clients, stop)

    found: dict[str, tuple[float, Work]] = {
        f"polling every {period:g} s": (2 * period + 1, polling(period)) for period in PERIODS_S
    }
    return found | {"subscription": (1.0, lambda client, i, stop: subscribe(client, symbols, service.port, stop))}


def rows(symbols: int, ticks_per_s: float, clients: int, seconds: float) -> list[dict[str, Any]]:
    """Every way, with the server's CPU above what it uses without clients."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder), symbols, ticks_per_s)
        try:
            service.wait()
            time.sleep(SETTLE_S)
            idle = measure(service, 0, seconds, 0, None)["server_cpu"]
            found = []
            for name, (margin_s, work) in ways(service, service.symbols(), clients).items():
                row = measure(service, clients, seconds, margin_s, work)
                row["server_ms"] = 1000 * max(row.pop("server_cpu") - idle, 0) / clients
                found.append({"way": name} | row)
            return found
        finally:
            service.stop()


def table(found: list[dict[str, Any]]) -> str:
    """As Markdown; `x` compares with the subscription."""
    best = found[-1]
    lines = [
        "| way | bytes a second | x | server CPU | client CPU | staleness p50 | p99 | trades seen |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        middle, late, seen = row["staleness"]
        lines.append(
            f"| {row['way']} | {row['bytes']:,.0f} | {row['bytes'] / best['bytes']:.1f} | {row['server_ms']:.1f} ms/s "
            f"| {row['client_ms']:.1f} ms/s | {middle:,.0f} ms | {late:,.0f} ms | {100 * seen:.0f} % |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--ticks-per-s", type=float, default=5, help="trades and quotes of one symbol")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10, help="of each way")
    args = parser.parse_args()
    found = rows(args.symbols, args.ticks_per_s, args.clients, args.seconds)
    print(
        f"each of {args.clients} clients, {args.symbols} symbols, {args.ticks_per_s:g} ticks/s each (1 trade to 3 quotes):\n"
    )
    print(table(found))
    machine = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d"),
    }
    print(json.dumps({"rows": found} | machine))


if __name__ == "__main__":
    main()
