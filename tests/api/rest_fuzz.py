"""Asks a real server what its OpenAPI document allows, and what it does not, by schemathesis; fails where an answer breaks it.

usage: rest_fuzz.py [--requests N] [--seed N]
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml
from ledger.processes import free_port

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
START_S = 60.0
RUN_S = 1_200.0
CONFIG = {
    "feeds": [{"type": "simulated", "options": {"symbols": 3, "seed": 7}}],
    "logging": {"level": "error"},
}


@dataclass
class Tally:
    """What was asked, over all runs."""

    answers: Counter[str] = field(default_factory=Counter)
    """How many, by method, path and status."""
    failures: list[str] = field(default_factory=list)
    """What schemathesis says of each run that was not all right."""
    took_s: float = 0.0

    @property
    def requests(self) -> int:
        return self.answers.total()

    @property
    def server_errors(self) -> list[str]:
        return [answer for answer in self.answers if answer.rpartition(" ")[2].startswith("5")]

    def reached(self) -> set[str]:
        """Paths that gave what they promise at least once."""
        return {one.split(" ")[1] for one in self.answers if one.startswith("GET ") and one.endswith(" 200")}


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The URL of a service of its own, with a store of its own, until the block ends."""
    port = free_port()
    config = CONFIG | {"server": {"port": port}, "redis": {"port": free_port(), "data_dir": str(folder / "data")}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TICKER_")}
    with (folder / "ticker.log").open("wb") as log:
        process = subprocess.Popen([BIN / "ticker", "run"], cwd=folder, env=environ, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process, folder / "ticker.log")
        yield url
    finally:
        process.terminate()
        process.wait(START_S)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ready, and with a trade of each symbol."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            found = httpx.get(f"{url}/v1/snapshots", params={"symbols": "*"}).json().get("snapshots", {})
        except httpx.TransportError:
            found = {}
        if len(found) == CONFIG["feeds"][0]["options"]["symbols"] and all(one["trade"] for one in found.values()):  # type: ignore[index]
            return
        time.sleep(0.1)
    raise SystemExit(f"the service did not start:\n{log.read_text('utf-8')}")


def fuzz(url: str, folder: Path, requests: int, seed: int, examples: int) -> Tally:
    """Runs with seed, seed + 1 ... until there were so many requests, or one was not all right."""
    tally = Tally()
    began = time.monotonic()
    while tally.requests < requests and not tally.failures:
        before = tally.requests
        _run(url, folder, seed, examples, tally)
        if tally.requests == before:
            tally.failures.append("not one request was made")
        seed += 1
    tally.took_s = time.monotonic() - began
    return tally


def _run(url: str, folder: Path, seed: int, examples: int, tally: Tally) -> None:
    place = folder / f"tally-{seed}.json"
    environ = os.environ | {
        "SCHEMATHESIS_HOOKS": "rest_hooks",
        "PYTHONPATH": str(HERE),
        "TICKER_FUZZ_TALLY": str(place),
        "NO_COLOR": "1",
    }
    command = [
        *(str(BIN / "schemathesis"), "run", f"{url}/openapi.json", "--seed", str(seed)),
        *("--checks", "all", "--max-examples", str(examples), "--phases", "examples,coverage,fuzzing,stateful"),
        *("--generation-database", "none", "--no-color", "--request-timeout", "30"),
    ]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=RUN_S, check=False)
    if place.is_file():
        tally.answers.update(json.loads(place.read_text("utf-8")))
    if done.returncode:
        tally.failures.append(f"seed {seed}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def paths_of(url: str) -> set[str]:
    """All but the one that schemathesis reads the document from: it is reached before all others, and no case is made of it."""
    return {"/openapi.json"} ^ set(httpx.get(f"{url}/openapi.json").raise_for_status().json()["paths"])


def main() -> None:
    """One line a path, and a sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000, help="at least so many [default: 10000]")
    parser.add_argument("--examples", type=int, default=200, help="of each operation in one run [default: 200]")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 31), help="[default: another each time]")
    given = parser.parse_args()
    print("seed", given.seed, flush=True)
    with tempfile.TemporaryDirectory(prefix="ticker-fuzz-") as name, running(Path(name)) as url:
        tally = fuzz(url, Path(name), given.requests, given.seed, given.examples)
        missed = paths_of(url) - tally.reached()
    for answer, count in sorted(tally.answers.items()):
        print(f"{count:7,}  {answer}")
    for failure in tally.failures:
        print(failure)
    print(
        f"{tally.requests:,} requests in {tally.took_s:.0f} s, {len(tally.failures)} runs with failures, "
        f"{len(tally.server_errors)} kinds of 5xx, paths not reached: {', '.join(sorted(missed)) or 'none'}"
    )
    sys.exit(1 if tally.failures or tally.server_errors or missed else 0)


if __name__ == "__main__":
    main()
