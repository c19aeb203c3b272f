"""`/docs` in a real browser: it shows every path, sends what is asked, and is fit for keyboards, phones and the dark."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from ticker.limits import Limits
from ticker.web import openapi

pytestmark = pytest.mark.asyncio(loop_scope="module")

AXE = Path(__file__).parents[2] / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
PATHS = openapi.document(Limits())["paths"]


async def faults(page):
    """What axe finds, whatever its weight."""
    await page.evaluate(AXE.read_text("utf-8"))
    found = await page.evaluate("async () => (await axe.run()).violations")
    return [f"{fault['id']}: {[node['html'][:120] for node in fault['nodes'][:3]]}" for fault in found]


async def test_every_path_is_shown_with_all_that_the_document_has(market, open_page):
    """Parameters, answers, headers, codes and fields; the page complains of nothing and asks nobody else."""
    asked = []

    async def listen(page):
        page.on("request", lambda request: asked.append(request.url))

    page = await open_page(market, "docs", state=None, prepare=listen)
    await expect(page.locator("main section")).to_have_count(len(PATHS))
    for path, item in PATHS.items():
        operation = item["get"]
        section = page.locator(f"main section#{operation['operationId']}")
        await expect(section.locator("h2")).to_have_text(f"GET {path}")
        assert await section.locator("form [data-in]").count() == len(operation.get("parameters", ()))
        assert await section.locator(".answer > h4").all_inner_texts() == list(operation["responses"])
    text = await page.locator("#candles").evaluate("(section) => section.textContent")
    for word in ("Ticker-Position", "unknown_interval", "request_id", "vwap", "application/vnd.apache.arrow.stream"):
        assert word in text
    assert all(url.startswith((market, "data:")) for url in asked)


async def test_a_question_is_sent_and_its_answer_shown(market, open_page, complaints):
    """By the keyboard alone: what was filled in, as a curl command, the status, the headers and the body; a refusal too."""
    page = await open_page(market, "docs#trades", state=None)
    await page.get_by_role("region", name="GET /v1/trades/{symbol}").get_by_label("limit").focus()
    await page.keyboard.type("2")
    await page.keyboard.press("Enter")
    shown = page.locator("#trades form + pre")
    await expect(shown).to_contain_text(f"curl '{market}/v1/trades/AAPL?limit=2'")
    await expect(shown).to_contain_text("200 OK")
    await expect(shown).to_contain_text("cache-control: no-cache")
    await expect(shown).to_contain_text('"symbol": "AAPL"')
    await page.keyboard.type("x")
    await page.keyboard.press("Enter")
    await expect(shown).to_contain_text("limit '2x' is not allowed")
    complaints.expect("400 (Bad Request)")
    await page.locator("#snapshots").get_by_role("button").click()
    await expect(page.locator("#snapshots form + pre")).to_contain_text('"MSFT"')


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
async def test_it_fits_and_has_no_fault(market, open_page, scheme, width):
    """Nothing is wider than the window, and axe finds nothing, with everything unfolded."""
    size = {"width": width, "height": 800}
    page = await open_page(market, "docs", state=None, color_scheme=scheme, viewport=size)
    await expect(page.locator("main section")).to_have_count(len(PATHS))
    await page.locator("#limits").get_by_role("button").click()
    await expect(page.locator("#limits form + pre")).to_contain_text("200 OK")
    await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await faults(page) == []


async def test_what_cannot_be_read_is_said(market, open_page, complaints):
    """Where the document does not come, the page says so."""

    async def refuse(page):
        await page.route("**/openapi.json", lambda route: route.fulfill(status=200, body="nothing"))

    page = await open_page(market, "docs", state=None, prepare=refuse)
    await expect(page.locator("#about")).to_contain_text("/openapi.json cannot be read")
