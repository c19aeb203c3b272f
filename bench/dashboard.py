"""Measures the trading page in Chromium: frames, long tasks, memory, and the time to its first candles, with many symbols.

Needs the test requirements and Chromium: `.venv/bin/python bench/dashboard.py [--symbols 500] [--ticks 2500] [--minutes 10]`.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from common import Service
from playwright.async_api import CDPSession, Page, async_playwright

ARGS = (
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--enable-precise-memory-info",
    ),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SETTLE_S = 5.0
SAMPLE_S = 10.0
FLUSH_S = 0.5
READY_S = 180.0
FPS, TASK_MS, GROWTH = 55.0, 100.0, 0.10
"""What is to be held: median frames a second, the longest task after loading, how much memory may grow by."""

WATCH = """
window.bench = {frames: [], tasks: [], messages: 0};
let last = 0;
const frame = (now) => { if (last) bench.frames.push(now - last); last = now; requestAnimationFrame(frame); };
requestAnimationFrame(frame);
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) bench.tasks.push(task.duration);
}).observe({type: 'longtask', buffered: true});
const Native = WebSocket;
window.WebSocket = class extends Native {
  constructor(...given) { super(...given); this.addEventListener('message', () => { bench.messages += 1; }); }
};
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """Some seconds of the page."""

    fps: float
    slowest_frame_ms: float
    tasks_ms: tuple[float, ...]
    heap_mb: float
    elements: int
    messages: float


async def heap_mb(cdp: CDPSession) -> float:
    """What the page still holds after its garbage is gone."""
    await cdp.send("HeapProfiler.collectGarbage")
    metrics = {row["name"]: row["value"] for row in (await cdp.send("Performance.getMetrics"))["metrics"]}
    return float(metrics["JSHeapUsedSize"]) / 1e6


async def sample(page: Page, cdp: CDPSession, seconds: float) -> Sample:
    """Frames and long tasks of these seconds; memory and elements at their end, of which what they cost is left out."""
    await page.evaluate("() => { bench.frames.length = bench.tasks.length = 0 }")
    begun = await page.evaluate("bench.messages")
    await asyncio.sleep(seconds)
    frames, tasks, messages = await page.evaluate("[bench.frames, bench.tasks, bench.messages]")
    heap = await heap_mb(cdp)
    elements = await page.evaluate("document.getElementsByTagName('*').length")
    # Garbage that is collected on request is a long task too, of which the page is told a little later.
    await asyncio.sleep(FLUSH_S)
    rate = (messages - begun) / seconds
    return Sample(1000 / statistics.median(frames), max(frames), tuple(tasks), heap, elements, rate)


def wait_for(url: str, count: int) -> list[str]:
    """Their names, once all symbols are there and have their history."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        found = httpx.get(f"{url}/v1/snapshots?symbols=*", timeout=30).raise_for_status().json()["snapshots"]
        if len(found) >= count and all(row["previous_close"] for row in found.values()):
            return sorted(found)
        time.sleep(1)
    raise SystemExit(f"{count} symbols with a history were not there within {READY_S:g} s")


async def measure(url: str, names: list[str], minutes: float) -> dict[str, Any]:
    """Open the page with all symbols in its watchlist, and look on."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        raise SystemExit("no chromium on the PATH; install one, or set CHROMIUM to its path")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGS)
        page = await browser.new_page(viewport={"width": 1440, "height": 860})
        await page.add_init_script(f"localStorage['ticker.watchlist'] ??= {json.dumps(json.dumps(names))}")
        await page.add_init_script(WATCH)
        await page.goto(f"{url}/?symbol={names[0]}&interval=1m&studies=sma20,ema50,vwap")
        await page.locator('#badge[data-state="live"]').wait_for(timeout=60_000)
        candles = await page.evaluate(
            "performance.getEntriesByName('candles')[0].startTime - performance.getEntriesByType('navigation')[0].responseStart"
        )
        await asyncio.sleep(SETTLE_S)
        cdp = await page.context.new_cdp_session(page)
        await cdp.send("Performance.enable")
        await cdp.send("HeapProfiler.enable")
        samples = []
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            samples.append(await sample(page, cdp, min(SAMPLE_S, minutes * 60)))
            print(f"  {samples[-1]}", file=sys.stderr)
        scrolled = await scroll(page)
        await browser.close()
    return {"candles_ms": candles, "samples": samples, "scroll_fps": scrolled}


async def scroll(page: Page) -> float:
    """Median frames a second while the list is scrolled from one end to the other."""
    await page.evaluate("() => { bench.frames.length = 0 }")
    box = await page.locator(".rows").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 50, box["y"] + 100)
    for _ in range(60):
        await page.mouse.wheel(0, 320)
        await asyncio.sleep(0.03)
    frames: list[float] = await page.evaluate("bench.frames")
    return 1000 / statistics.median(frames)


def report(found: dict[str, Any]) -> bool:
    """Print it; whether everything was held."""
    samples: list[Sample] = found["samples"]
    fps = statistics.median(row.fps for row in samples)
    tasks = [ms for row in samples for ms in row.tasks_ms]
    longest = max(tasks, default=0.0)
    part = max(len(samples) // 5, 1)
    first = statistics.median(row.heap_mb for row in samples[:part])
    last = statistics.median(row.heap_mb for row in samples[-part:])
    rows = [
        ("first candles after the first byte", f"{found['candles_ms']:.0f} ms", True),
        ("messages a second", f"{statistics.mean(row.messages for row in samples):.0f}", True),
        ("frames a second, median", f"{fps:.1f}", fps >= FPS),
        ("the same while the list is scrolled", f"{found['scroll_fps']:.1f}", True),
        ("slowest frame", f"{max(row.slowest_frame_ms for row in samples):.0f} ms", True),
        ("tasks over 50 ms after loading", f"{len(tasks)}", True),
        ("the longest", f"{longest:.0f} ms", longest <= TASK_MS),
        ("memory in the first and last fifth", f"{first:.1f} and {last:.1f} MB", last <= first * (1 + GROWTH)),
        ("elements in the page", f"{samples[0].elements} and {samples[-1].elements}", True),
    ]
    print("| | | |\n|---|---|---|")
    for name, value, held in rows:
        print(f"| {name} | {value} | {'' if held else 'not held'} |")
    return all(held for _, _, held in rows)


def main(symbols: int, ticks: float, minutes: float) -> int:
    """0 where everything was held."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder), symbols, ticks / symbols)
        try:
            service.wait()
            found = asyncio.run(measure(service.url, wait_for(service.url, symbols), minutes))
        finally:
            service.stop()
    return 0 if report(found) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=500, help="in the market, and in the watchlist")
    parser.add_argument("--ticks", type=float, default=2_500, help="of all of them, a second")
    parser.add_argument("--minutes", type=float, default=10)
    given = parser.parse_args()
    sys.exit(main(given.symbols, given.ticks, given.minutes))
