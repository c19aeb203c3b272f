"""What the trading page does when things go wrong behind it."""

import os
import re
import signal

import httpx
import pytest
from playwright.async_api import Page, expect
from redis import Redis

from ticker.store.embedded import EmbeddedServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEEDS = [{"type": "simulated", "symbols": ["AAPL", "MSFT"], "ticks_per_s": 40}]
SECONDS = 30
CHART = 300
KILLS = 5
MINUTES = float(os.environ.get("TICKER_KILLS_MINUTES", "0"))
"""How long the page lives through the kills; as short as can be where nothing else is asked for."""


def state(page: Page, wanted: str):
    return expect(page.locator("#badge")).to_have_attribute("data-state", wanted)


async def next_frame(page: Page) -> None:
    """The page draws once a frame."""
    await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


async def read_candles(page: Page, count: int) -> list[list[str]]:
    """The newest candles as the chart has them, read one by one with the arrow key: time, open, high, low, close."""
    read: list[list[str]] = []
    while len(read) < count and (len(read) < 2 or read[-1] != read[-2]):
        await page.keyboard.press("ArrowLeft")
        await next_frame(page)
        texts = await page.locator("#legend time, #legend b").all_inner_texts()
        read.append([texts[0][-8:], *(text.replace(",", "") for text in texts[1:5])])
    # Before the oldest candle there is none: it is read again.
    return read[-2::-1] if read[-1] == read[-2] else read[::-1]


async def test_a_killed_service_leaves_no_hole_in_the_chart(chromium, start_run, open_page, complaints):
    """Offline while it is away; once it is back every candle is there that REST has, with its values."""
    run = start_run(feeds=FEEDS)
    page = await open_page(run.url, "?symbol=AAPL&interval=1s&time=utc")
    await expect(page.locator("#legend time")).to_have_text(re.compile(r":\d\d$"))
    killed = (await page.locator("#legend time").inner_text())[-8:]
    run.end(signal.SIGKILL)
    await state(page, "offline")
    await expect(page.locator("#notice")).to_contain_text("Not connected")
    run.start()
    await state(page, "live")
    await expect(page.locator("#notice")).to_be_empty()
    await compare_with_rest(page, run.url, killed)
    complaints.expect("ERR_CONNECTION_REFUSED")
    complaints.expect("WebSocket connection to")


async def compare_with_rest(page: Page, url: str, killed: str, count: int = SECONDS) -> None:
    """A few candles later, those of the chart are those of REST, on both sides of the time of the kill."""
    for _ in range(5):
        await next_candle(page)
    shown = await read_candles(page, count)
    async with httpx.AsyncClient(base_url=url) as client:
        body = (await client.get("/v1/candles/AAPL", params={"interval": "1s", "limit": count + 200})).json()
    stored = [
        [clock(row["time"]), *(f"{row[name]:.2f}" for name in ("open", "high", "low", "close"))]
        for row in body["candles"]
    ]
    begin = next(index for index, row in enumerate(stored) if row[0] == shown[0][0])
    final = len(shown) - 2
    assert shown[:final] == stored[begin : begin + final]
    times = [row[0] for row in shown[:final]]
    assert times.index(killed) < final - 2, "the candles that were compared lie on both sides of the outage"


async def test_a_killed_gateway_is_resumed_from(
    chromium, start_run, open_page, tmp_path, free_port, wait_until, complaints
):
    """Ticks go on without it; the page is sent what it missed, says how much, and asks REST for no candles."""
    with EmbeddedServer(tmp_path / "data", free_port()) as store:
        ingester = start_run("ingest", feeds=FEEDS, redis={"url": store.url})
        gateway = start_run("serve", redis={"url": store.url})
        await wait_until(lambda: httpx.get(f"{gateway.url}/v1/symbols/AAPL").status_code == 200)
        page = await open_page(gateway.url, "?symbol=AAPL&interval=1s&time=utc")
        pages: list[str] = []
        page.on("request", lambda request: pages.append(request.url) if "/AAPL?interval=1s" in request.url else None)
        for _ in range(3):
            await next_candle(page)
        killed = (await page.locator("#legend time").inner_text())[-8:]
        gateway.end(signal.SIGKILL)
        await state(page, "offline")
        pages.clear()
        gateway.start()
        numbers = page.locator("#badge-numbers")
        await expect(numbers).to_have_text(re.compile("replayed"))
        replayed = await numbers.inner_text()
        assert re.fullmatch(r"[1-9]\d* replayed, 0 missed", replayed)
        await state(page, "live")
        await expect(numbers).to_have_text(re.compile(r"/s$"))
        await page.locator("#badge").click()
        await expect(page.locator(".events")).to_contain_text(f"AAPL: of the trades while away {replayed}")
        await page.keyboard.press("Escape")
        await compare_with_rest(page, gateway.url, killed)
        # It looks for older ones now and then.
        assert [url for url in pages if "end=" not in url] == []
        await page.close()
        gateway.end()
        ingester.end()
    complaints.expect("ERR_CONNECTION_REFUSED")
    complaints.expect("WebSocket connection to")


async def fact(page: Page, name: str) -> str:
    return str(await page.locator(f'[data-fact="{name}"]').text_content())


@pytest.mark.timeout(120 + 90 * MINUTES)
async def test_a_gateway_that_is_killed_again_and_again_costs_nothing(
    chromium, start_run, open_page, tmp_path, free_port, wait_until, complaints
):
    """In the end the chart has REST's candles, and the panel says that each loss was resumed from and nothing is missing."""
    with EmbeddedServer(tmp_path / "data", free_port()) as store:
        ingester = start_run("ingest", feeds=FEEDS, redis={"url": store.url})
        gateway = start_run("serve", redis={"url": store.url})
        await wait_until(lambda: httpx.get(f"{gateway.url}/v1/symbols/AAPL").status_code == 200)
        page = await open_page(gateway.url, "?symbol=AAPL&interval=1s&time=utc")
        await next_candle(page)
        killed = (await page.locator("#legend time").inner_text())[-8:]
        lived = max(KILLS, int(MINUTES * 60))
        for _ in range(KILLS):
            for _ in range(lived // KILLS):
                await next_candle(page)
            gateway.end(signal.SIGKILL)
            await state(page, "offline")
            gateway.start()
            await state(page, "live")
        # All of the chart: how long the kills have taken depends on the machine.
        await compare_with_rest(page, gateway.url, killed, 2 * lived + CHART)
        await page.locator("#badge").click()
        assert await fact(page, "healed Resumes") == str(KILLS)
        assert await fact(page, "healed Missed") == "0"
        assert int((await fact(page, "healed Replayed")).replace(",", "")) >= KILLS
        await page.close()
        gateway.end()
        ingester.end()
    complaints.expect("ERR_CONNECTION_REFUSED")
    complaints.expect("WebSocket connection to")


async def next_candle(page: Page) -> None:
    seen = await page.locator("#legend time").inner_text()
    await expect(page.locator("#legend time")).not_to_have_text(seen)


def clock(time_us: int) -> str:
    seconds = time_us // 1_000_000 % 86_400
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


async def test_a_silent_store_is_shown_as_stale_and_a_lost_one_as_reset(
    chromium, start_run, open_page, tmp_path, free_port, complaints
):
    """With the reason; then all goes on by itself, from nothing where nothing is left, and what happened can be read."""
    with EmbeddedServer(tmp_path / "data", free_port()) as store:
        run = start_run(feeds=FEEDS, redis={"url": store.url})
        page = await open_page(run.url, "?symbol=AAPL&interval=1s")
        store.stop()
        await state(page, "stale")
        await expect(page.locator("#notice")).to_contain_text("the store does not answer")
        store.start()
        await state(page, "live")
        await page.locator("#badge").click()
        events = page.locator(".events")
        await expect(events).to_contain_text("Stale: the store does not answer")
        await expect(events).to_contain_text("Live again (store)")
        await page.keyboard.press("Escape")
        with Redis.from_url(store.url) as client:
            client.flushall()
        # The notice is the newest event's, and others may follow at once; the list keeps them all.
        await page.locator("#badge").click()
        await expect(events).to_contain_text(re.compile("The store began anew|are numbered anew"))
        await page.keyboard.press("Escape")
        await state(page, "live")
        await expect(page.locator("#veil")).to_be_hidden()
        volume = page.locator("#volume")
        await expect(volume).to_have_text(re.compile(r"^[\d,]+$"))
        await page.close()
        run.end()
    complaints.expect("ERR_CONNECTION_REFUSED")
    complaints.expect("WebSocket connection to")
    complaints.expect("503 (Service Unavailable)")


async def test_a_service_without_symbols_says_so(chromium, start_run, open_page, tmp_path):
    """No feed, no candles; the page waits for some."""
    run = start_run(feeds=[])
    page = await open_page(run.url, state=None)
    await expect(page.locator("#veil")).to_contain_text("no feed has announced a symbol")
    await expect(page.locator("#empty")).to_contain_text("No symbols yet")
