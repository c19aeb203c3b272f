"""The selected symbol's quote and trades, and the code behind the screen."""

import asyncio
import json
import re
import shlex
import sys

import httpx
import pytest
from playwright.async_api import Page, expect
from websockets.asyncio.client import connect

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def prints(page: Page) -> list[int]:
    """The numbers of the trades on the tape, newest first, read at one moment."""
    return list(
        await page.evaluate("[...document.querySelectorAll('#prints tr')].map((row) => Number(row.dataset.seq))")
    )


async def test_the_tape_shows_every_trade(market, open_page):
    """From before the page was opened and live ones, without a hole, with REST's values."""
    page = await open_page(market, "?symbol=AAPL&interval=1m&time=utc")
    await expect(page.locator("#prints tr").nth(4)).to_be_visible()
    first = await prints(page)
    async with asyncio.timeout(30):
        while (await prints(page))[0] < first[0] + 20:
            shown = await prints(page)
            assert shown == list(range(shown[0], shown[0] - len(shown), -1))
            await asyncio.sleep(0.1)
    shown = await page.evaluate(
        "[...document.querySelectorAll('#prints tr')].map((row) => [row.dataset.seq, row.innerText])"
    )
    async with httpx.AsyncClient(base_url=market) as client:
        stored = {row["seq"]: row for row in (await client.get("/v1/trades/AAPL?limit=200")).json()["trades"]}
    for seq, text in shown:
        row = stored[int(seq)]
        time, price, size = text.split("\t")
        assert re.sub(r"[^\d.]", "", price) == f"{row['price']:.2f}"
        assert size.replace(",", "") == str(row["size"])
        assert time.endswith(f"{row['time'] // 1000 % 1000:03}")


async def test_the_tape_follows_the_selected_symbol(market, open_page):
    """Nothing of the one before is left."""
    page = await open_page(market, "?symbol=HIST&interval=1m&time=utc")
    await expect(page.locator("#prints tr").first).to_contain_text("11:59:00.000")
    await page.locator('tr[data-symbol="IBM"]').click()
    await expect(page.locator("#prints tr").first).not_to_contain_text("11:59:00.000")
    await expect(page.locator("#prints tr").nth(3)).to_have_text(re.compile(r"\d\d\d"))
    await expect(page.locator("#tape #bid")).to_have_text(re.compile(r"^\d"))
    await expect(page.locator("#spread")).to_have_text(re.compile(r"^0\.\d\d \(\d+\.\d bp\)$"))


async def test_missing_numbers_are_shown_where_they_are_missing(market, open_page):
    """Between the trades before and after."""

    async def prepare(page: Page) -> None:
        await page.route_web_socket(re.compile("/v1/stream"), lambda route: hole(route, route.connect_to_server()))

    def hole(page_side, server) -> None:
        def pass_on(text: str) -> None:
            message = json.loads(text)
            if message.get("type") == "trade" and message["symbol"] == "AMD" and not message.get("snapshot"):
                lost.append(message["seq"])
                if len(lost) <= 3:
                    return
                if len(lost) == 4:
                    gap = {"type": "gap", "channel": "trades", "symbol": "AMD", "from": lost[0], "to": lost[2]}
                    page_side.send(json.dumps(gap | {"reason": "trimmed"}))
            page_side.send(text)

        server.on_message(pass_on)

    lost: list[int] = []
    page = await open_page(market, "?symbol=AMD&interval=1h", prepare=prepare)
    row = page.locator("#prints .missing")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text(f"numbers {lost[0]} to {lost[2]}")


async def snippet(page: Page, title: str) -> str:
    return str(await page.locator("#code section").filter(has_text=title).locator("code").inner_text())


async def test_the_code_gives_what_the_screen_shows(market, open_page):
    """The copied address answers with the candles in sight, the other one streams them."""
    page = await open_page(market, "?symbol=HIST&interval=1m&time=utc&compare=IBM")
    await page.keyboard.press("c")
    curl = await snippet(page, "Candles of HIST, as shown")
    program, address = shlex.split(curl)
    assert program == "curl"
    async with httpx.AsyncClient() as client:
        rows = (await client.get(address)).raise_for_status().json()["candles"]
    assert rows[-1]["time"] == 1_763_985_540_000_000
    assert f"limit={len(rows)}&" in curl
    await expect(page.locator("#code")).to_contain_text("Candles of IBM, as shown")
    stream = re.search(r"'(ws://[^']+)'", await snippet(page, "Candles of HIST,IBM, live"))
    assert stream
    async with connect(stream[1]) as socket, asyncio.timeout(20):
        while (message := json.loads(await socket.recv()))["type"] != "candle":
            assert message["type"] in ("welcome", "subscribed")
        assert (message["symbol"], message["interval"]) in (("HIST", "1m"), ("IBM", "1m"))


async def test_the_javascript_runs_and_can_be_copied(market, open_page):
    """In the page itself, as it stands there."""
    page = await open_page(market, "?symbol=AAPL&interval=5s")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Code").click()
    await page.get_by_role("tab", name="curl").press("ArrowRight")
    await expect(page.get_by_role("tab", name="JavaScript")).to_be_focused()
    await page.get_by_role("button", name="Copy: The newest trades of AAPL").click()
    await expect(page.locator("#code .copy[data-done]")).to_have_text("Copied")
    code = await page.evaluate("navigator.clipboard.readText()")
    assert code == await snippet(page, "The newest trades of AAPL")
    rows = await page.evaluate(f"(async () => {{ {code}; return rows; }})()")
    assert rows["symbol"] == "AAPL"
    assert rows["trades"]


async def test_what_is_looked_at_further_back_is_asked_for_by_its_range(market, open_page):
    """Scrolled away from the newest candle, the code names the times."""
    page = await open_page(market, "?symbol=HIST&interval=1m&time=utc")
    for _ in range(3):
        await page.keyboard.press("Shift+ArrowLeft")
    for _ in range(15):
        await page.keyboard.press("Shift+ArrowLeft")
    await expect(page.locator("#newest")).to_be_visible()
    await page.keyboard.press("c")
    address = re.search(r"'(http[^']+)'", await snippet(page, "Candles of HIST, as shown"))
    assert address
    async with httpx.AsyncClient() as client:
        rows = (await client.get(address[1])).raise_for_status().json()["candles"]
    assert 50 < len(rows) < 600
    assert rows[-1]["time"] < 1_763_985_540_000_000


async def test_the_python_runs(market, open_page):
    """With the client that comes with the server: rows come to an end, events go on."""
    page = await open_page(market, "?symbol=AAPL&interval=5s")
    await page.get_by_role("button", name="Code").click()
    await page.get_by_role("tab", name="Python").click()
    programs = await page.locator("#code pre").all_inner_texts()
    assert len(programs) >= 6
    for program in programs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-u", "-c", program),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(20):
                line = (await process.stdout.readline()).decode()
                assert "AAPL" in line or "price" in line, (program, (await process.stderr.read()).decode())
                if "async for" not in program:
                    assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
