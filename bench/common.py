"""What the measurements share: a port, and `ticker run` on a folder and ports of its own."""

import random
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import redis
import yaml

START_S = 20.0
PORTS = range(20_000, 30_000)
"""Below those that outgoing connections take by themselves: ten thousand clients leave little of these."""


def free_port() -> int:
    """A port that nobody uses."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Service:
    """`ticker run` with the simulated feed."""

    def __init__(self, folder: Path, symbols: int, ticks_per_s: float) -> None:
        self.port, self.redis_port = free_port(), free_port()
        tree = {
            "feeds": [{"type": "simulated", "symbols": symbols, "ticks_per_s": ticks_per_s}],
            "redis": {"port": self.redis_port, "data_dir": str(folder / "data")},
            "server": {"port": self.port},
        }
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(tree))
        command = [sys.executable, "-m", "ticker", "run", "--config", str(config)]
        self.process = subprocess.Popen(command, stdout=sys.stderr)
        self.store = redis.Redis(port=self.redis_port)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        """Until it is ready."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.url} is not ready after {START_S:g} s")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in order."""
        self.process.terminate()
        self.process.wait(20)

    def symbols(self) -> list[str]:
        """All of them."""
        rows = httpx.get(f"{self.url}/v1/symbols?limit=10000").json()["symbols"]
        return [str(row["symbol"]) for row in rows]

    def sample(self) -> dict[str, float]:
        """Counters at this moment."""
        found: dict[str, float] = {"moment": time.monotonic(), "ticks": 0.0, "refused": 0.0}
        for line in httpx.get(f"{self.url}/metrics").text.splitlines():
            name, _, value = line.rpartition(" ")
            if name.startswith("ticker_ticks_appended_total"):
                found["ticks"] += float(value)
            elif name.startswith("ticker_appends_total"):
                found["appends"] = float(value)
            elif name == "process_cpu_seconds_total":
                found["service_cpu"] = float(value)
        info: Any = self.store.info("cpu")
        found["store_cpu"] = info["used_cpu_user"] + info["used_cpu_sys"]
        return found

    def lag_ms(self) -> float:
        """How old the newest trade of the first symbol is, as REST shows it."""
        symbol = httpx.get(f"{self.url}/v1/symbols?limit=1").json()["symbols"][0]["symbol"]
        newest = httpx.get(f"{self.url}/v1/trades/{symbol}?limit=1").json()["trades"][-1]["time"]
        return time.time() * 1000 - float(newest) / 1000
