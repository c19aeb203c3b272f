"""How the page talks to the server, as it shows it: counts, lag, losses made good; and that it asks for what it draws only."""

import asyncio
import json
import re

import pytest
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")


def fact(page: Page, name: str):
    return page.locator(f'[data-fact="{name}"]')


async def test_both_doors_are_counted(market, open_page):
    """Requests and messages with their bytes, and how long each takes; the numbers go on while one looks."""
    page = await open_page(market, "?symbol=AAPL&interval=5s")
    await page.locator("#badge").click()
    await expect(page.get_by_role("dialog", name="How this page talks to the server")).to_be_visible()
    await expect(fact(page, "rest Requests")).to_have_text(re.compile(r"^[1-9]\d*$"))
    await expect(fact(page, "rest Received")).to_have_text(re.compile(r"^\d+\.\d kB$"))
    await expect(fact(page, "rest Answer in")).to_have_text(re.compile(r"^\d+(\.\d)? ms$"))
    await expect(fact(page, "socket Connection")).to_have_text(re.compile(r"^c-\w+$"))
    await expect(fact(page, "socket Lag")).to_have_text(re.compile(r"^\d+(\.\d)? ms$"))
    await expect(fact(page, "socket Round trip")).to_have_text(re.compile(r"^\d+(\.\d)? ms$"))
    messages = fact(page, "socket Messages")
    before = await messages.inner_text()
    await expect(messages).not_to_have_text(before)
    assert await fact(page, "healed Missed").inner_text() == "0"


async def test_what_is_counted_is_what_the_browser_saw(market, open_page):
    """The panel's messages are those of the socket, its requests those of the network."""
    seen = {"messages": 0, "requests": 0}

    async def prepare(page: Page) -> None:
        def count(kind: str) -> None:
            seen[kind] += 1

        page.on("websocket", lambda socket: socket.on("framereceived", lambda _: count("messages")))
        for ended in ("requestfinished", "requestfailed"):
            page.on(ended, lambda request: count("requests") if "/v1/" in request.url else None)

    page = await open_page(market, "?symbol=HIST&interval=1m", prepare=prepare)
    await page.locator("#badge").click()
    await expect(fact(page, "rest Requests")).not_to_have_text("0")
    async with asyncio.timeout(20):
        while True:
            before = dict(seen)
            requests = int(await fact(page, "rest Requests").inner_text())
            messages = int((await fact(page, "socket Messages").inner_text()).split(" (")[0].replace(",", ""))
            # It is written once a second.
            if requests == before["requests"] and before["messages"] - 400 < messages <= seen["messages"]:
                break
            await asyncio.sleep(0.2)
    assert min(requests, messages) > 0


async def test_a_connection_that_is_dropped_heals_before_ones_eyes(market, open_page):
    """Offline for as long as the button says, then what was missed is replayed, all of it."""
    page = await open_page(market, "?symbol=AAPL&interval=1s&time=utc")
    await page.locator("#badge").click()
    connection = await fact(page, "socket Connection").inner_text()
    drop = page.get_by_role("button", name="Drop the connection for 5 s")
    await drop.click()
    await expect(fact(page, "healed State")).to_have_text("Offline")
    await expect(drop).to_be_disabled()
    await expect(fact(page, "healed State")).to_have_text("Live")
    await expect(drop).to_be_enabled()
    await expect(fact(page, "healed Resumes")).to_have_text("1")
    await expect(fact(page, "healed Replayed")).to_have_text(re.compile(r"^[1-9]"))
    await expect(fact(page, "healed Missed")).to_have_text("0")
    assert await fact(page, "socket Connection").inner_text() != connection
    await expect(page.locator(".events")).to_contain_text("Connection lost: dropped by hand")
    await expect(page.locator(".events")).to_contain_text(
        re.compile(r"AAPL: of the trades while away \d+ replayed, 0 missed")
    )
    await page.keyboard.press("Escape")
    seqs = await page.evaluate("[...document.querySelectorAll('#prints tr')].map((row) => Number(row.dataset.seq))")
    assert seqs == list(range(seqs[0], seqs[0] - len(seqs), -1))


async def test_the_panel_keeps_the_focus_while_it_is_written(market, open_page):
    """Whoever has reached the button by key still has it seconds later."""
    page = await open_page(market, "?symbol=AAPL&interval=5s")
    await page.locator("#badge").click()
    drop = page.get_by_role("button", name=re.compile("Drop the connection"))
    await drop.focus()
    before = await fact(page, "socket Messages").inner_text()
    await expect(fact(page, "socket Messages")).not_to_have_text(before)
    await expect(drop).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#connection")).to_be_hidden()


async def test_every_trade_is_asked_for_only_where_every_trade_is_shown(market, open_page):
    """The selected symbol's; of rows in sight the newest at the rate of frames, in the background once a second."""
    asked: list[dict[str, object]] = []

    async def prepare(page: Page) -> None:
        page.on("websocket", lambda socket: socket.on("framesent", lambda text: asked.append(json.loads(text))))

    def delivery(symbol: str) -> tuple[object, object]:
        requests = [
            request
            for request in asked
            if request["op"] == "subscribe" and request["channel"] == "trades" and symbol in request["symbols"]  # type: ignore[operator]
        ]
        return requests[-1].get("deliver", "all"), requests[-1].get("every_ms")

    page = await open_page(market, "?symbol=AAPL&interval=5s", prepare=prepare)

    async def until(symbol: str, expected: tuple[object, object]) -> None:
        for _ in range(100):
            if delivery(symbol) == expected:
                return
            await page.wait_for_timeout(50)
        assert delivery(symbol) == expected

    await until("AAPL", ("all", None))
    await until("IBM", ("latest", 16))
    hide = """Object.defineProperty(document, 'hidden', {value: %s, configurable: true});
    document.dispatchEvent(new Event('visibilitychange'))"""
    await page.evaluate(hide % "true")
    await until("IBM", ("latest", 1000))
    await until("AAPL", ("all", None))
    await page.evaluate(hide % "false")
    await until("IBM", ("latest", 16))
    await page.locator('tr[data-symbol="IBM"]').click()
    await until("IBM", ("all", None))
    await until("AAPL", ("latest", 16))


async def test_nothing_jumps_about(market, open_page):
    """From the first paint on, through loading and a while of ticks, the layout does not shift."""

    async def prepare(page: Page) -> None:
        await page.add_init_script(
            """window.shifts = [];
            new PerformanceObserver((list) => {
              for (const shift of list.getEntries()) if (!shift.hadRecentInput)
                shifts.push([shift.value, ...shift.sources.map(({node}) => node?.id || node?.className || node?.nodeName)]);
            }).observe({type: 'layout-shift', buffered: true});"""
        )

    for viewport in ({"width": 1280, "height": 800}, {"width": 390, "height": 800}):
        page = await open_page(market, "?symbol=AAPL&interval=5s&studies=sma5", prepare=prepare, viewport=viewport)
        first = await page.locator("#prints tr").first.get_attribute("data-seq")
        await expect(page.locator("#prints tr").first).not_to_have_attribute("data-seq", str(first))
        await expect(page.locator("#overlays b")).to_have_text(re.compile(r"\d"))
        await page.wait_for_timeout(2_000)
        shifts = await page.evaluate("shifts")
        assert sum(shift[0] for shift in shifts) < 0.02, shifts
