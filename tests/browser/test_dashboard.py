"""The trading page as somebody who trades meets it."""

import asyncio
import re

import pytest
from playwright.async_api import Page, Route, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST_CANDLES_MS = 1_500
INITIAL_BYTES = 120_000
HIST = "?symbol=HIST&interval=1m&time=utc"


async def legend(page: Page) -> str:
    """The time of the candle that the legend shows."""
    return await page.locator("#legend time").inner_text()


def rows(page: Page):
    return page.locator("#rows tr[data-symbol]")


async def symbols(page: Page) -> list[str]:
    return [str(await row.get_attribute("data-symbol")) for row in await rows(page).all()]


async def test_it_loads_fast_and_small(market, open_page):
    """First candles within 1.5 s of the first byte; at most 120 kB come over the wire for the page itself."""
    page = await open_page(market)
    await expect(page.locator("#legend b").first).not_to_be_empty()
    times = await page.evaluate(
        """() => {
          const [visit] = performance.getEntriesByType('navigation');
          const files = performance.getEntriesByType('resource').filter(({name}) => !name.includes('/v1/'));
          return {
            candles: performance.getEntriesByName('candles')[0].startTime - visit.responseStart,
            bytes: [visit, ...files].reduce((sum, {encodedBodySize}) => sum + encodedBodySize, 0),
            files: files.map(({name}) => name),
          };
        }"""
    )
    assert times["candles"] < FIRST_CANDLES_MS, times
    assert 20_000 < times["bytes"] < INITIAL_BYTES, times
    assert all(name.startswith(market) for name in times["files"])


async def test_a_first_visitor_sees_the_market_move(market, open_page):
    """The first symbols are there, prices change, the badge tells lag and messages, and made-up prices are said to be."""
    page = await open_page(market)
    assert (await symbols(page))[:3] == ["AAPL", "AMD", "GOOG"]
    last = page.locator('tr[data-symbol="AMD"] td.last')
    before = await last.inner_text()
    await expect(last).not_to_have_text(before)
    await expect(page.locator("#last")).to_have_text(re.compile(r"\d"))
    await expect(page.locator('tr[data-symbol="AMD"] td.volume')).to_have_text(re.compile(r"\d"))
    await expect(page.locator('tr[data-symbol="AMD"] td.bid')).to_have_text(re.compile(r"\d"))
    await expect(page.locator("#badge-numbers")).to_have_text(re.compile(r"^\d+ ms · [1-9]\d*/s$"))
    await expect(page.locator("#simulated")).to_be_visible()
    await expect(page).to_have_title(re.compile(r"^AAPL [\d.,]+ · ticker$"))


async def test_a_recording_is_not_called_simulated(market, open_page):
    """Only the symbols of a simulated feed are."""
    page = await open_page(market, HIST)
    await expect(page.locator("#origin")).to_have_text("Feed replay")
    await expect(page.locator("#simulated")).to_be_hidden()


async def test_the_forming_candle_moves_with_the_ticks(market, open_page):
    """The legend shows the newest candle, and follows it."""
    page = await open_page(market, "?symbol=AAPL&interval=1d")
    close = page.locator("#legend b").nth(3)
    before = await close.inner_text()
    await expect(close).not_to_have_text(before)
    # Not only the first time.
    before = await close.inner_text()
    await expect(close).not_to_have_text(before)


async def test_the_interval_is_switched_by_click_and_key(market, open_page):
    """The address says which one, and the way back leads to the one before."""
    page = await open_page(market, "?symbol=AAPL&interval=1m")
    await page.get_by_role("radio", name="5 seconds", exact=True).click()
    await expect(page).to_have_url(re.compile("interval=5s"))
    await expect(page.locator("#legend time")).to_have_text(re.compile(r"\d\d:\d\d:\d[05]$"))
    await page.keyboard.press("8")
    await expect(page.get_by_role("radio", name="1 day", exact=True)).to_be_checked()
    await expect(page.locator("#legend time")).to_have_text(re.compile(r"^\w{3},? \d+ \w+ \d{4}$"))
    await page.go_back()
    await expect(page.get_by_role("radio", name="5 seconds", exact=True)).to_be_checked()
    await expect(page.locator("#badge")).to_have_attribute("data-state", "live")


async def test_scrolling_back_loads_older_candles_without_a_jump(market, open_page):
    """What is under the pointer stays there when older candles come; at last the oldest one is reached."""
    page = await open_page(market, HIST)
    held: list[Route] = []
    let_through = asyncio.Event()

    async def hold(route: Route) -> None:
        if not let_through.is_set():
            held.append(route)
            await let_through.wait()
        await route.continue_()

    await page.route(re.compile(r"/v1/candles/.*cursor="), hold)
    box = await page.locator("#chart").bounding_box()
    assert box
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 120)
    while not held:
        await page.mouse.wheel(-400, 0)
        await asyncio.sleep(0.02)
    await expect(page.locator("#older")).to_be_visible()
    before = await legend(page)
    let_through.set()
    await expect(page.locator("#older")).to_be_hidden()
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 121)
    assert await legend(page) == before

    async with asyncio.timeout(40):
        # 4,000 minutes before Monday noon.
        while not re.match(r"Fri,? 21 Nov 17:", await legend(page)):
            await page.mouse.wheel(-200, 0)
            await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 120)
            await asyncio.sleep(0.01)
    await expect(page.locator("#newest")).to_be_visible()
    await page.locator("#newest").click()
    await expect(page.locator("#newest")).to_be_hidden()


async def test_symbols_are_searched_added_and_remembered(market, open_page):
    """`/` goes to the search, Enter takes what fits best, and a later visit finds it in the list."""
    page = await open_page(market, "?symbol=AAPL")
    await page.locator('tr[data-symbol="MSFT"] .pick').press("Delete")
    await expect(page.locator('tr[data-symbol="MSFT"]')).to_have_count(0)
    await page.locator("body").click(position={"x": 5, "y": 5})
    await page.keyboard.press("/")
    await expect(page.locator("#search")).to_be_focused()
    await page.keyboard.type("micro")
    await expect(page.locator("#found [role=option]").filter(has_text="MSFT")).to_be_visible()
    await page.locator("#search").fill("msft")
    await expect(page.locator("#found [role=option]")).to_have_count(1)
    await page.keyboard.press("Enter")
    await expect(page.locator("#symbol")).to_have_text("MSFT")
    assert (await symbols(page))[-1] == "MSFT"
    await page.reload()
    await expect(page.locator("#symbol")).to_have_text("MSFT")
    assert (await symbols(page))[-1] == "MSFT"
    await page.locator("#search").fill("no such thing")
    await expect(page.locator("#found")).to_contain_text("No symbol or name contains")


async def test_the_watchlist_is_sorted_moved_and_pruned(market, open_page):
    """By a click on a head, Alt with arrows, dragging, and a button; one's own order comes back."""
    page = await open_page(market, "?symbol=AAPL")
    own = await symbols(page)
    head = page.get_by_role("columnheader", name="Symbol")
    await head.get_by_role("button").click()
    await head.get_by_role("button").click()
    await expect(head).to_have_attribute("aria-sort", "descending")
    await expect(rows(page).first).to_have_attribute("data-symbol", max(own))
    await head.get_by_role("button").click()
    await expect(rows(page).first).to_have_attribute("data-symbol", own[0])
    await page.locator(f'tr[data-symbol="{own[0]}"] .pick').press("Alt+ArrowDown")
    await expect(rows(page).first).to_have_attribute("data-symbol", own[1])
    third = page.locator(f'tr[data-symbol="{own[2]}"]')
    await third.hover()
    await third.locator(".handle").hover()
    await page.mouse.down()
    top = await rows(page).first.bounding_box()
    assert top
    await page.mouse.move(top["x"] + 20, top["y"] + 5, steps=5)
    await page.mouse.up()
    await expect(rows(page).first).to_have_attribute("data-symbol", own[2])
    await third.hover()
    await page.get_by_role("button", name=f"Remove {own[2]}").click()
    await expect(third).to_have_count(0)
    expected = [own[1], own[0], *own[3:]]
    assert await symbols(page) == expected
    await page.reload()
    await expect(rows(page)).to_have_count(len(expected))
    assert await symbols(page) == expected


async def test_an_emptied_watchlist_says_what_to_do(market, open_page):
    """And stays empty."""
    page = await open_page(market, "?symbol=AAPL")
    for symbol in await symbols(page):
        await page.locator(f'tr[data-symbol="{symbol}"] .pick').press("Delete")
    await expect(page.locator("#empty")).to_contain_text("Search")
    await page.reload()
    await expect(page.locator("#empty")).to_be_visible()


async def test_everything_can_be_done_by_key(market, open_page):
    """Arrows choose symbols and read candles, `?` explains, Escape leaves."""
    page = await open_page(market, HIST)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await expect(page.locator("#search")).to_be_focused()
    await page.keyboard.press("Escape")
    newest = await legend(page)
    for minute in (59, 58, 57):
        await page.keyboard.press("ArrowLeft")
        await expect(page.locator("#legend time")).to_have_text(re.compile(f"11:{minute}$"))
    await expect(page.locator("#spoken")).to_contain_text("close")
    await page.keyboard.press("Escape")
    await expect(page.locator("#legend time")).to_have_text(newest)
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("#symbol")).to_have_text("IBM")
    await page.keyboard.press("ArrowUp")
    await expect(page.locator("#symbol")).to_have_text("HIST")


async def test_times_are_shown_in_the_zone_that_is_chosen(market, open_page):
    """The exchange's at first; the address remembers another choice."""
    page = await open_page(market, "?symbol=HIST&interval=1m", timezone_id="Asia/Tokyo")
    assert (await legend(page)).endswith("06:59")
    await page.locator("#zone").select_option("local")
    await expect(page.locator("#legend time")).to_have_text(re.compile("20:59$"))
    await page.locator("#zone").select_option("utc")
    await expect(page.locator("#legend time")).to_have_text(re.compile("11:59$"))
    await expect(page).to_have_url(re.compile("time=utc"))


async def test_an_unknown_symbol_is_an_error_one_can_leave(market, open_page, complaints):
    """It says so where the chart would be, and the rest of the page works on."""
    page = await open_page(market, "?symbol=ZZZZ", state=None)
    await expect(page.locator("#veil")).to_contain_text("ZZZZ' is not known")
    await expect(page.locator("#badge")).to_have_attribute("data-state", "live")
    await page.locator('tr[data-symbol="AAPL"]').click()
    await expect(page.locator("#veil")).to_be_hidden()
    await expect(page.locator("#badge")).to_have_attribute("data-state", "live")
    complaints.expect("404 (Not Found)")


async def test_it_fits_a_phone(market, open_page):
    """Nothing sticks out to the side, and what is touched is large enough."""
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    page = await open_page(market, "?symbol=AAPL&interval=5s", **phone)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    remove = await page.get_by_role("button", name="Remove AAPL").bounding_box()
    assert remove
    assert remove["x"] + remove["width"] <= 360
    for name in ("#search", "#badge", "#theme", "#intervals button >> nth=0"):
        box = await page.locator(name).bounding_box()
        assert box
        assert min(box["height"], box["width"]) >= 30, name
    await page.locator('tr[data-symbol="IBM"]').tap()
    await expect(page.locator("#symbol")).to_have_text("IBM")


async def test_colours_follow_the_system_and_may_be_chosen(market, open_page):
    """A choice is remembered."""
    page = await open_page(market, color_scheme="dark")

    async def background() -> str:
        return str(await page.evaluate("getComputedStyle(document.body).backgroundColor"))

    dark = await background()
    await page.emulate_media(color_scheme="light")
    light = await background()
    assert dark != light
    await page.locator("#theme").click()
    await page.locator("#theme").click()
    assert await background() == dark
    await page.reload()
    assert await background() == dark


async def test_less_motion_means_none(market, open_page):
    """Prices still change, and an arrow says which way."""
    page = await open_page(market, reduced_motion="reduce")
    arrow = page.locator('tr[data-symbol="AMD"] td.last .arrow')
    await expect(arrow).to_have_text(re.compile("[▲▼]"))
    assert await page.evaluate("document.getAnimations().filter((a) => a.playState === 'running').length") == 0
