"""axe-core finds nothing serious on the trading page, whatever it shows."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

AXE = Path(__file__).parents[2] / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"


async def faults(page: Page) -> list[str]:
    """What axe finds that is serious or worse."""
    await page.evaluate(AXE.read_text("utf-8"))
    found = await page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{fault['id']}: {fault['help']}: {[node['html'][:120] for node in fault['nodes'][:3]]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_has_no_serious_fault(market, open_page, scheme):
    """Itself, searching, with its dialogs, and on a phone. Flashes are over in an instant and left out."""
    page = await open_page(market, "?symbol=AAPL&interval=5s", color_scheme=scheme, reduced_motion="reduce")
    await expect(page.locator('tr[data-symbol="AMD"] td.last')).to_have_text(re.compile(r"\d"))
    assert await faults(page) == []
    await page.keyboard.press("/")
    await expect(page.locator("#found [role=option]").first).to_be_visible()
    assert await faults(page) == []
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    assert await faults(page) == []
    await page.keyboard.press("Escape")
    await page.locator("#badge").click()
    assert await faults(page) == []
    await page.keyboard.press("Escape")
    for button in ("#studies-open", "#compare-open", "#export-open"):
        await page.locator(button).click()
        assert await faults(page) == []
        await page.keyboard.press("Escape")
        await page.keyboard.press("Escape")
    for language in ("curl", "Python"):
        await page.locator("#code-open").click()
        await page.get_by_role("tab", name=language).click()
        assert await faults(page) == []
        await page.keyboard.press("Escape")
    await page.goto(f"{market}/?symbol=AAPL&interval=5s&compare=AMD,IBM")
    await expect(page.locator("#overlays li")).to_have_count(3)
    assert await faults(page) == []
    await page.goto(f"{market}/?symbol=AAPL&interval=5s&studies=sma5,ema9,vwap")
    await expect(page.locator("#overlays li")).to_have_count(3)
    assert await faults(page) == []
    await page.set_viewport_size({"width": 390, "height": 800})
    assert await faults(page) == []
