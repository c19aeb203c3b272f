"""What is drawn over the candles: averages, other symbols, corrections, and how long the newest candle stays open."""

import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, WebSocketRoute, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

PERCENT = re.compile(r"^[+\u2212]?\d+\.\d\d%$")
HIST = "?symbol=HIST&interval=1m&time=utc"


async def stored(market: str, symbol: str, **query: object) -> list[dict[str, float]]:
    """Candles as REST has them."""
    async with httpx.AsyncClient(base_url=market) as client:
        answer = await client.get(f"/v1/candles/{symbol}", params={"interval": "1m", "limit": 600} | query)
    return list(answer.raise_for_status().json()["candles"])


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def line(page: Page, name: str):
    """The value of a line in the legend."""
    return page.locator("#overlays li").filter(has_text=name).locator("b")


async def test_averages_are_switched_on_edited_and_kept(market, open_page):
    """Their values are those of the candles; the address and a later visit have them."""
    page = await open_page(market, HIST)
    closes = [row["close"] for row in await stored(market, "HIST")]
    await page.get_by_role("button", name="Averages").click()
    await page.get_by_role("button", name="+ Simple").click()
    await expect(line(page, "SMA 20")).to_have_text(f"{sum(closes[-20:]) / 20:.2f}")
    await page.get_by_label("Simple average: candles").fill("7")
    await page.get_by_label("Simple average: candles").press("Enter")
    await expect(line(page, "SMA 7")).to_have_text(f"{sum(closes[-7:]) / 7:.2f}")
    await page.get_by_role("button", name="+ Exponential").click()
    average = sum(closes[:20]) / 20
    for close in closes[20:]:
        average += 2 / 21 * (close - average)
    await expect(line(page, "EMA 20")).to_have_text(f"{average:.2f}")
    await expect(page).to_have_url(re.compile("studies=sma7,ema20"))
    await page.keyboard.press("Escape")
    await expect(page.locator("#studies")).to_be_hidden()
    await page.goto(f"{market}/{HIST}")
    await expect(page.locator("#overlays li")).to_have_count(2)
    await page.get_by_role("button", name="Remove SMA 7").click()
    await expect(page.locator("#overlays li")).to_have_count(1)


async def test_the_vwap_is_that_of_the_markets_day(market, open_page):
    """From midnight in New York on, by volume."""
    page = await open_page(market, HIST)
    rows = await stored(market, "HIST", start="2025-11-24", limit=1000)
    await page.get_by_role("button", name="Averages").click()
    await page.get_by_label("VWAP of the day").check()
    volume = sum(row["volume"] for row in rows)
    expected = sum(row["vwap"] * row["volume"] for row in rows) / volume
    await expect(line(page, "VWAP")).to_have_text(f"{expected:.2f}")


async def test_an_average_of_nonsense_is_refused(market, open_page):
    """The line stays as it was."""
    page = await open_page(market, f"{HIST}&studies=sma20")
    await page.get_by_role("button", name="Averages").click()
    period = page.get_by_label("Simple average: candles")
    for nonsense in ("0", "501", ""):
        await period.fill(nonsense)
        await period.press("Enter")
        assert await page.evaluate("document.querySelector('#study-list input').matches(':invalid')")
    await expect(line(page, "SMA 20")).to_be_visible()


async def test_symbols_are_compared_in_per_cent(market, open_page):
    """Each since the first candle in sight, live; the address leads back to it, and a cross takes it away."""
    page = await open_page(market, "?symbol=AAPL&interval=5s&studies=sma20")
    await page.get_by_role("button", name="Compare").click()
    await expect(page.locator("#compare-search")).to_be_focused()
    await page.keyboard.type("msft")
    await expect(page.locator("#compare-found [role=option]")).to_have_count(1)
    await page.keyboard.press("Enter")
    await expect(line(page, "MSFT")).to_have_text(PERCENT)
    await expect(line(page, "AAPL")).to_have_text(PERCENT)
    await expect(page.locator("#overlays")).not_to_contain_text("SMA")
    await expect(page).to_have_url(re.compile("compare=MSFT"))
    await page.locator("#compare-search").fill("ibm")
    await expect(page.locator("#compare-found [role=option]")).to_have_text([re.compile("^IBM")])
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await page.reload()
    await expect(page.locator("#badge")).to_have_attribute("data-state", "live")
    await expect(line(page, "IBM")).to_have_text(re.compile("%$"))
    before = await line(page, "MSFT").inner_text()
    await expect(line(page, "MSFT")).not_to_have_text(before, timeout=40_000)
    await page.locator("#overlays").get_by_role("button", name="Remove MSFT").click()
    await page.locator("#overlays").get_by_role("button", name="Remove IBM").click()
    await expect(line(page, "SMA 20")).to_be_visible()


async def test_a_comparison_with_what_is_not_there_says_so(market, open_page, complaints):
    """And the chart goes on."""
    page = await open_page(market, "?symbol=AAPL&interval=5s&compare=ZZZZ")
    await expect(page.locator("#overlays")).to_contain_text("ZZZZ' is not known")
    complaints.expect("404 (Not Found)")


async def test_corrections_count_by_their_number(market, open_page):
    """A candle with a higher number replaces the one that is shown, and moves the average; one with a lower does not."""
    routes: list[WebSocketRoute] = []

    def meet(route: WebSocketRoute) -> None:
        route.connect_to_server()
        routes.append(route)

    async def prepare(page: Page) -> None:
        await page.route_web_socket(re.compile("/v1/stream"), meet)

    page = await open_page(market, f"{HIST}&studies=sma2", prepare=prepare)
    rows = await stored(market, "HIST")
    async with httpx.AsyncClient(base_url=market) as client:
        seq = (await client.get("/v1/trades/HIST", params={"limit": 1})).json()["position"]["seq"]
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowLeft")
    close = page.locator("#legend b").nth(3)
    await expect(close).to_have_text(f"{rows[-2]['close']:.2f}")

    def say(close: float, seq: int) -> None:
        candle = rows[-2] | {"close": close, "high": max(rows[-2]["high"], close), "final": True}
        routes[-1].send(json.dumps(candle | {"type": "candle", "symbol": "HIST", "interval": "1m", "seq": seq}))

    say(777.28, seq + 1)
    await expect(close).to_have_text("777.28")
    await expect(line(page, "SMA 2")).to_have_text(f"{(rows[-3]['close'] + 777.28) / 2:.2f}")
    say(1.0, seq)
    say(888.5, seq + 2)
    await expect(close).to_have_text("888.50")


async def test_the_countdown_runs_to_the_candles_close(market, open_page):
    """By the server's clock; a recording has none."""
    page = await open_page(market, "?symbol=AAPL&interval=1m")
    countdown = page.locator("#countdown")
    await expect(countdown).to_have_text(re.compile(r"^(0:\d\d|1:00)$"))
    minutes, seconds = (await countdown.inner_text()).split(":")
    left, passed = int(minutes) * 60 + int(seconds), datetime.now(UTC).timestamp() % 60
    assert min(abs(left + passed - turn) for turn in (0, 60, 120)) < 2.5
    await expect(countdown).not_to_have_text(f"{minutes}:{seconds}")
    await page.goto(f"{market}/{HIST}")
    await expect(page.locator("#legend b").first).not_to_be_empty()
    await expect(countdown).to_have_text("\u2013")


async def test_what_is_in_sight_is_saved_as_csv(market, open_page):
    """Its candles equal REST's, with a column for each average."""
    page = await open_page(market, f"{HIST}&studies=sma3")
    await expect(line(page, "SMA 3")).to_have_text(re.compile(r"\d"))
    await page.get_by_role("button", name="Export").click()
    async with page.expect_download() as saving:
        await page.get_by_role("button", name="Candles in sight as CSV").click()
    saved = await saving.value
    assert re.fullmatch(r"HIST-1m-20251124T1159\d\d\.csv", saved.suggested_filename)
    rows = list(csv.DictReader(content_of(await saved.path()).decode().splitlines()))
    expected = (await stored(market, "HIST"))[-len(rows) :]
    assert 50 < len(rows) < 600
    for name in ("open", "high", "low", "close", "volume", "trades", "vwap"):
        assert [float(row[name]) for row in rows] == [row[name] for row in expected], name
    assert [int(row["time_us"]) for row in rows] == [row["time"] for row in expected]
    assert rows[-1]["time"] == "2025-11-24T11:59:00Z"
    assert float(rows[-1]["SMA 3"]) == pytest.approx(sum(row["close"] for row in expected[-3:]) / 3, abs=1e-6)


async def test_the_chart_is_saved_as_a_picture(market, open_page):
    """A PNG with a head above the chart."""
    page = await open_page(market, HIST)
    box = await page.locator("#chart").bounding_box()
    await page.get_by_role("button", name="Export").click()
    async with page.expect_download() as saving:
        await page.get_by_role("button", name="Picture as PNG").click()
    saved = await saving.value
    content = content_of(await saved.path())
    assert content.startswith(b"\x89PNG\r\n")
    width, height = int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
    assert box
    assert abs(width - box["width"]) < 2
    assert 30 < height - box["height"] < 60
