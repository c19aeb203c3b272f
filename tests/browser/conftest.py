"""A real Chromium on a real service: `ticker run` on a free port, and pages that must not complain."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from ledger.processes import free_port
from playwright.async_api import Browser, Page, async_playwright, expect

from ticker.web import pages

ARGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DEADLINE_MS = 20_000
MINUTE = 60_000_000
HISTORY_MINUTES = 4_000
HISTORY_END = 1_763_985_600_000_000
expect.set_options(timeout=DEADLINE_MS)


def _need(found: object, what: str) -> None:
    """Without it there is nothing to test here; in CI it must be there."""
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    _need(path, "no chromium on the PATH; install one, or set CHROMIUM to its path")
    _need((pages.BUILT / "index.html").is_file(), "the trading page is not built; make setup does that")
    return str(path)


class Run:
    """`ticker run`, or another command that serves, which can be killed and started again where it was."""

    def __init__(self, folder: Path, port: int, config: dict[str, Any], command: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command = command
        self._folder = folder
        (folder / "config.yaml").write_text(yaml.safe_dump(config | {"server": {"port": port}}))
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("TICKER_")} | {"PYTHONUNBUFFERED": "1"}
        errors = self._folder / f"stderr-{time.monotonic_ns()}"
        with errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ticker", self._command],
                cwd=self._folder,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self.process.stdout is not None
        if not any(line.startswith(("page", "ingesting")) for line in self.process.stdout):
            pytest.fail(f"the service did not start: {errors.read_text()}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
        if self.process:
            self.process.communicate(timeout=20)
        self.process = None


StartRun = Callable[..., Run]


@pytest.fixture(scope="session")
def start_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartRun]:
    """Starts services with these sections of config.yaml; all end with the tests."""
    with ExitStack() as stack:

        def start_run(command: str = "run", **config: Any) -> Run:
            folder = tmp_path_factory.mktemp("run")
            redis = {"port": free_port(), "data_dir": str(folder / "data")}
            run = Run(folder, free_port(), {"redis": redis, "candles": {"publish_ms": 100}} | config, command)
            stack.callback(run.end, signal.SIGKILL)
            run.start()
            return run

        yield start_run


@pytest.fixture(scope="session")
def market(chromium: str, start_run: StartRun, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A simulated market, and HIST, whose recorded trades make a candle a minute for days; its address."""
    file = tmp_path_factory.mktemp("recording") / "hist.csv"
    begin = HISTORY_END - HISTORY_MINUTES * MINUTE
    rows = (f"{begin + i * MINUTE + 1},HIST,{100 + i % 50},{1 + i % 7}" for i in range(HISTORY_MINUTES))
    file.write_text("\n".join(("time,symbol,price,size", *rows)) + "\n")
    symbols = ["AAPL", "AMD", "GOOG", "IBM", "MSFT", "NVDA"]
    simulated = {"type": "simulated", "symbols": symbols, "ticks_per_s": 20}
    replay = {"type": "replay", "path": str(file), "speed": "max", "times": "keep"}
    return start_run(feeds=[simulated, replay]).url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGS)
        yield browser
        await browser.close()


class Complaints(list[str]):
    """What pages wrote to the console as errors, or threw; a test may say that some were to be expected."""

    def listen(self, page: Page) -> None:
        page.on("console", lambda message: self.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.append(str(error)))

    def expect(self, part: str) -> None:
        self[:] = [text for text in self if part not in text]


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """None are left when the test ends."""
    found = Complaints()
    yield found
    assert found == []


OpenPage = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(browser: Browser, complaints: Complaints) -> AsyncIterator[OpenPage]:
    """Opens pages, each as a new visitor's, and waits until they are live; `prepare` is called with each before it loads."""
    contexts = []

    async def open_page(
        url: str,
        query: str = "",
        *,
        state: str | None = "live",
        prepare: Callable[[Page], Awaitable[None]] | None = None,
        **options: Any,
    ) -> Page:
        context = await browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        contexts.append(context)
        context.set_default_timeout(DEADLINE_MS)
        page = await context.new_page()
        complaints.listen(page)
        if prepare:
            await prepare(page)
        await page.goto(f"{url}/{query}")
        if state:
            await expect(page.locator("#badge")).to_have_attribute("data-state", state)
        return page

    yield open_page
    for context in contexts:
        await context.close()
