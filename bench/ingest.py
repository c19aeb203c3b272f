"""How many ticks a second one machine ingests: feed, scheduler, append, candles, store, gateway, all running.

usage: ingest.py [--symbols N] [--ticks-per-s N] [--seconds N]

Starts `ticker run` with the simulated feed on a folder and ports of its own, waits until it runs evenly, and counts over
the given time. Then the same server program takes the same entries as plain pipelined XADDs, without numbering, messages,
candles or atomicity, as fast as one connection can: the limit to compare with. Prints one line of JSON. Nothing else
should run meanwhile.
"""

import argparse
import json
import platform
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import hiredis
from common import Service, free_port

from feeds.tick import Quote
from ticker import codec
from ticker.store.embedded import EmbeddedServer

SETTLE_S = 10
LIMIT_S = 5.0
PIPELINE = 500


def measure(symbols: int, ticks_per_s: float, seconds: float) -> dict[str, Any]:
    """The rate that the whole service keeps up."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder), symbols, ticks_per_s)
        try:
            time.sleep(SETTLE_S)
            before = service.sample()
            time.sleep(seconds)
            after, lag_ms = service.sample(), service.lag_ms()
            version: Any = service.store.info("server")
        finally:
            service.stop()
    took = after["moment"] - before["moment"]
    ticks = after["ticks"] - before["ticks"]
    return {
        "asked_per_s": round(symbols * ticks_per_s),
        "reached_per_s": round(ticks / took),
        "seconds": round(took, 1),
        "ticks_per_append": round(ticks / (after["appends"] - before["appends"]), 1),
        "service_cpu": round((after["service_cpu"] - before["service_cpu"]) / took, 2),
        "store_cpu": round((after["store_cpu"] - before["store_cpu"]) / took, 2),
        "newest_trade_age_ms": round(lag_ms),
        "store": f"valkey {version.get('valkey_version', version['redis_version'])}",
    }


def plain_limit() -> int:
    """Ticks a second that the same server takes as plain pipelined XADDs of the same entries, ids included."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder), free_port())
        server.start()
        try:
            return _plain_xadds(server.port)
        finally:
            server.stop()


def _plain_xadds(port: int) -> int:
    reader, seq = hiredis.Reader(), 0
    now_us = time.time_ns() // 1000
    pipelines = []
    for _ in range(50):
        commands = []
        for _ in range(PIPELINE):
            seq += 1
            _, names, values = codec.quote_entry(Quote("AAPL", 189.22, 300, 189.24, 200, now_us + seq), seq)
            fields = [text for pair in zip(names, values, strict=True) for text in pair]
            words: Any = ("XADD", "quotes:{AAPL}", "*", *fields)
            commands.append(hiredis.pack_command(words))
        pipelines.append(b"".join(commands))
    with socket.create_connection(("127.0.0.1", port)) as sock:
        begin, done = time.monotonic(), 0
        while time.monotonic() - begin < LIMIT_S:
            sock.sendall(pipelines[done // PIPELINE % len(pipelines)])
            left = PIPELINE
            while left:
                reader.feed(sock.recv(1 << 16))
                while reader.gets() is not False:
                    left -= 1
            done += PIPELINE
        return round(done / (time.monotonic() - begin))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--ticks-per-s", type=float, default=1_000, help="trades and quotes of one symbol")
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    row = measure(args.symbols, args.ticks_per_s, args.seconds)
    limit = plain_limit()
    row |= {"plain_xadd_per_s": limit, "share_of_plain": round(row["reached_per_s"] / limit, 2)}
    row |= {"machine": f"{platform.machine()}, Python {platform.python_version()}", "date": time.strftime("%Y-%m-%d")}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
