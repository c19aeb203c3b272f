"""A long watchlist: only rows near what is seen exist, and each of them has the line of its day."""

import asyncio
import json
import re
import time

import httpx
import pytest
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = 500
ANNOUNCED_S = 60
GRABBED_S = 20


@pytest.fixture(scope="module")
def crowd(chromium, start_run) -> str:
    """A market of 500 symbols; its address."""
    return str(start_run(feeds=[{"type": "simulated", "symbols": COUNT, "ticks_per_s": 1, "history_days": 0}]).url)


@pytest.fixture(scope="module")
def names(crowd) -> list[str]:
    """All of them, once the feed has announced them."""
    deadline = time.monotonic() + ANNOUNCED_S
    found: list[str] = []
    while len(found) < COUNT and time.monotonic() < deadline:
        found = [row["symbol"] for row in httpx.get(f"{crowd}/v1/symbols?limit=1000").json()["symbols"]]
    return found


def remembering(names: list[str]):
    """A visitor who has been here before, with this list."""

    async def prepare(page: Page) -> None:
        await page.add_init_script(f"localStorage['ticker.watchlist'] ??= {json.dumps(json.dumps(names))}")

    return prepare


def row(page: Page, symbol: str):
    return page.locator(f'#rows tr[data-symbol="{symbol}"]')


async def scroll(page: Page, top: int) -> None:
    await page.locator(".rows").evaluate("(box, top) => { box.scrollTop = top }", top)


async def test_500_symbols_have_the_rows_that_are_seen(crowd, names, open_page):
    """Few elements; scrolling makes others, which are current at once; the table says how many there are in all."""
    assert len(names) == COUNT
    page = await open_page(crowd, f"?symbol={names[0]}", prepare=remembering(names))
    rows = page.locator("#rows tr[data-symbol]")
    await expect(row(page, names[0]).locator(".last")).to_have_text(re.compile(r"\d"))
    assert 5 < await rows.count() < 50
    assert await page.locator("#rows").get_attribute("aria-rowcount") == str(COUNT + 1)
    await scroll(page, 250 * 40)
    middle = row(page, names[252])
    await expect(middle).to_be_visible()
    await expect(middle.locator(".last")).to_have_text(re.compile(r"\d"))
    assert await middle.get_attribute("aria-rowindex") == "254"
    assert await rows.count() < 50
    await scroll(page, 1_000_000)
    await expect(row(page, names[-1])).to_be_visible()
    box = await page.locator(".rows").bounding_box()
    last = await row(page, names[-1]).bounding_box()
    assert box
    assert last
    assert last["y"] + last["height"] == pytest.approx(box["y"] + box["height"], abs=2)


async def test_keys_lead_through_all_of_it(crowd, names, open_page):
    """The selected row is brought into sight, and the list keeps its place while it is sorted and edited."""
    page = await open_page(crowd, f"?symbol={names[0]}", prepare=remembering(names))
    for _ in range(30):
        await page.keyboard.press("ArrowDown")
    await expect(page.locator("#symbol")).to_have_text(names[30])
    await expect(row(page, names[30])).to_be_in_viewport(ratio=0.9)
    await row(page, names[31]).locator(".pick").press("Delete")
    await expect(row(page, names[31])).to_have_count(0)
    await expect(row(page, names[32]).locator(".pick")).to_be_focused()
    await row(page, names[32]).locator(".pick").press("Alt+ArrowUp")
    await expect(row(page, names[32])).to_have_attribute("aria-rowindex", "32")
    await expect(row(page, names[32]).locator(".pick")).to_be_focused()
    await page.get_by_role("button", name="Symbol", exact=True).click()
    await scroll(page, 0)
    await expect(page.locator("#rows tr[data-symbol]").first).to_have_attribute("data-symbol", min(names))


async def test_a_row_is_dragged_beyond_what_is_seen(crowd, names, open_page):
    """The list scrolls on under the pointer."""
    page = await open_page(crowd, f"?symbol={names[0]}", prepare=remembering(names))
    # Rows above it have their height and place once prices are there.
    await expect(row(page, names[1]).locator(".last")).to_have_text(re.compile(r"\d"))
    grabbed = row(page, names[1])
    box = await page.locator(".rows").bounding_box()
    assert box
    async with asyncio.timeout(GRABBED_S):
        # A list that is still being laid out may move the row away from under the pointer.
        while "dragged" not in str(await grabbed.get_attribute("class")):
            await page.mouse.up()
            await grabbed.hover()
            handle = await grabbed.locator(".handle").bounding_box()
            assert handle
            await page.mouse.move(handle["x"] + 5, handle["y"] + 5)
            await page.mouse.down()
    for step in range(60):
        await page.mouse.move(handle["x"] + 5 + step % 2, box["y"] + box["height"] - 10)
    await page.mouse.up()
    stored = json.loads(await page.evaluate("localStorage.getItem('ticker.watchlist')"))
    assert sorted(stored) == sorted(names)
    assert stored.index(names[1]) > box["height"] / 40


async def test_each_row_has_the_line_of_its_day(market, open_page):
    """Drawn from candles, moved by live prices; a recording has its own last day."""
    page = await open_page(market, "?symbol=AMD&interval=1m")
    line = row(page, "AMD").locator(".spark .line")
    await expect(line).to_have_attribute("d", re.compile(r"^M[\d.]+ [\d.]+L"))
    before = await line.get_attribute("d")
    # A price may stay where it is for a while.
    await expect(line).not_to_have_attribute("d", str(before), timeout=100_000)
    recorded = row(page, "HIST").locator(".spark .line")
    await expect(recorded).to_have_attribute("d", re.compile(r"^M0\.0 "))
    assert str(await recorded.get_attribute("d")).count("L") == 95


async def test_a_phone_scrolls_through_all_of_it(crowd, names, open_page):
    """There the page scrolls, and rows are made just the same."""
    phone = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    page = await open_page(crowd, f"?symbol={names[0]}", prepare=remembering(names), **phone)
    await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    await expect(row(page, names[-1])).to_be_visible()
    assert await page.locator("#rows tr[data-symbol]").count() < 60


@pytest.mark.parametrize("width", [390, 700, 1024, 1280, 1600])
async def test_its_columns_fill_it_at_any_width(market, open_page, width):
    """Names have room, nothing sticks out or is cut off, and what there is no room for is left out."""
    page = await open_page(market, "?symbol=AAPL", viewport={"width": width, "height": 800})
    await expect(row(page, "AMD").locator(".last")).to_have_text(re.compile(r"\d"))
    box = await page.locator(".rows").bounding_box()
    name = await row(page, "AMD").locator(".pick").bounding_box()
    table = await page.locator("#rows").bounding_box()
    assert box
    assert name
    assert table
    assert name["width"] > 85
    assert table["width"] == pytest.approx(box["width"], abs=20)
    cut_off = """(cells) => cells.filter((cell) => cell.offsetWidth && cell.scrollWidth > cell.clientWidth)
      .map((cell) => cell.className + ': ' + cell.innerText)"""
    assert await page.locator("#rows tr[data-symbol] td:not(.tools)").evaluate_all(cut_off) == []
