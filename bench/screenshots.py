"""Takes pictures of the trading page in its states: light, dark and phone-sized, of a service that it starts or is told of.

Needs the test requirements and Chromium: `.venv/bin/python bench/screenshots.py [--url URL] [--out FOLDER] [NAME...]`.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import yaml
from playwright.sync_api import Browser, Page, expect, sync_playwright

ARGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SETTLE_MS = 3_000
HISTORY_S = 120


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture."""

    name: str
    scheme: Literal["light", "dark"]
    width: int
    height: int
    scale: float = 1.0
    query: str = "?symbol=AAPL&interval=1m"
    touch: bool = False
    act: Callable[[Page], None] = lambda page: None


def click(*selectors: str) -> Callable[[Page], None]:
    """Click on each, one after the other."""

    def act(page: Page) -> None:
        for selector in selectors:
            page.locator(selector).first.click()

    return act


FRONT = "?symbol=AAPL&interval=5m&studies=sma20,ema50"
LINES = "?symbol=AAPL&interval=5m&studies=sma20,ema50,vwap"
COMPARED = "?symbol=AAPL&interval=15m&compare=MSFT,NVDA"
SHOTS = (
    Shot("dashboard-light", "light", 1440, 860, query=FRONT),
    Shot("dashboard-dark", "dark", 1440, 860, query=FRONT),
    Shot("dashboard-plain", "light", 1440, 860),
    Shot("dashboard-phone", "light", 390, 844, 2.0, touch=True),
    Shot("dashboard-phone-dark", "dark", 390, 844, 2.0, touch=True),
    Shot("dashboard-tablet", "dark", 1024, 768),
    Shot("dashboard-lines-light", "light", 1440, 860, query=LINES),
    Shot("dashboard-lines-dark", "dark", 1440, 860, query=LINES),
    Shot("dashboard-averages", "light", 1440, 860, query=LINES, act=click("#studies-open")),
    Shot("dashboard-averages-phone", "dark", 390, 844, 2.0, LINES, True, click("#studies-open")),
    Shot("dashboard-compare-light", "light", 1440, 860, query=COMPARED),
    Shot("dashboard-compare-dark", "dark", 1440, 860, query=COMPARED, act=click("#compare-open")),
    Shot("dashboard-export", "light", 1440, 860, act=click("#export-open")),
    Shot("dashboard-code-light", "light", 1440, 860, act=click("#code-open")),
    Shot("dashboard-code-dark", "dark", 1440, 860, act=click("#code-open", "#code-Python")),
    Shot("dashboard-code-phone", "light", 390, 844, 2.0, touch=True, act=click("#code-open", "#code-JavaScript")),
    Shot("dashboard-connection-light", "light", 1440, 860, act=click("#badge")),
    Shot("dashboard-connection-dark", "dark", 1440, 860, act=click("#badge")),
    Shot("dashboard-help", "dark", 1440, 860, act=click("#help-open")),
    Shot("dashboard-search", "light", 1440, 860, act=click("#search")),
    Shot("dashboard-phone-down", "light", 390, 844, 2.0, touch=True, act=lambda page: page.mouse.wheel(0, 700)),
    Shot("dashboard-small", "light", 1100, 620),
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def service() -> Iterator[str]:
    """`ticker run` with the simulated market, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = {"redis": {"port": free_port(), "data_dir": f"{folder}/data"}, "server": {"port": port}}
        feeds = [{"type": "simulated", "symbols": 50, "seed": 7, "ticks_per_s": 5}]
        Path(folder, "config.yaml").write_text(yaml.safe_dump(config | {"feeds": feeds}))
        command = [sys.executable, "-u", "-m", "ticker", "run"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                if not any(line.startswith("page") for line in process.stdout):
                    raise SystemExit("the service did not start")
                url = f"http://127.0.0.1:{port}"
                wait_for_history(url)
                yield url
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=10)


def wait_for_history(url: str) -> None:
    """The candles of before the first tick are stored beside the live ones, one symbol after the other."""
    deadline = time.monotonic() + HISTORY_S
    while time.monotonic() < deadline:
        answer = httpx.get(f"{url}/v1/snapshots?symbols=*").raise_for_status().json()["snapshots"].values()
        if answer and all(snapshot["previous_close"] for snapshot in answer):
            return
        time.sleep(0.5)
    raise SystemExit(f"the history was not stored within {HISTORY_S} s")


def take(browser: Browser, url: str, shot: Shot, out: Path) -> None:
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        device_scale_factor=shot.scale,
        color_scheme=shot.scheme,
        has_touch=shot.touch,
        is_mobile=shot.touch,
        timezone_id="America/New_York",
    )
    page = context.new_page()
    page.goto(url + "/" + shot.query)
    expect(page.locator("#badge")).to_have_attribute("data-state", "live", timeout=15_000)
    # The numbers of the badge need a few seconds to say something.
    expect(page.locator("#badge-numbers")).to_contain_text("ms", timeout=15_000)
    shot.act(page)
    page.wait_for_timeout(SETTLE_MS)
    file = out / f"{shot.name}.png"
    page.screenshot(path=file)
    context.close()
    print(f"{file}  {file.stat().st_size / 1000:.0f} kB")


def main(url: str | None, out: Path, names: list[str]) -> None:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        raise SystemExit("no chromium on the PATH; install one, or set CHROMIUM to its path")
    out.mkdir(parents=True, exist_ok=True)
    with nullcontext(url) if url else service() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGS)
        for shot in (shot for shot in SHOTS if not names or shot.name.removeprefix("dashboard-") in names):
            take(browser, str(address), shot, out)
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a running service; without it one is started")
    parser.add_argument("--out", type=Path, default=Path("build/screenshots"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these, without 'dashboard-'")
    given = parser.parse_args()
    main(given.url, given.out, given.names)
