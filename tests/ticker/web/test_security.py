import os
import re

import pytest

from ticker.web import pages
from ticker.web.security import is_loopback

PATHS = ["/", "/page/page.js", "/page/page.css", "/v1/symbols", "/v1/candles/ZZZZ", "/nothing", "/healthz", "/metrics"]


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_says_what_a_browser_may_do_with_it(service, path):
    """Errors too: scripts and styles of our own only, no framing, no guessing of types."""
    headers = (await service.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


@pytest.mark.parametrize("which", ["built", "small"])
async def test_the_page_keeps_its_own_policy(which, start_service, valkey_url, monkeypatch, tmp_path):
    """All it needs comes from this server, in files of their own; links may lead elsewhere."""
    if which == "small":
        monkeypatch.setattr(pages, "BUILT", tmp_path)
    elif not (pages.BUILT / "index.html").is_file():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the trading page is not built; make setup does that")
    service = await start_service(valkey_url)
    page = await service.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-cache"
    assert not re.search(r"<style|<script>|\son\w+=|\sstyle=|javascript:", page.text)
    assert ("/page/page.js" in page.text) == (which == "small")
    wanted = re.findall(r'(?:src|href)="([^"#]+)"', re.sub(r"<a\b[^>]*>", "", page.text))
    assert wanted
    for address in wanted:
        if address.startswith("data:"):
            continue
        assert not address.startswith(("http:", "https:", "//")), address
        found = await service.get(address if address.startswith("/") else f"/{address}")
        assert found.status_code == 200, address


async def test_pages_of_this_machine_may_read(service):
    """Any port of localhost and 127.0.0.1, with the headers that a program needs."""
    for origin in ("http://localhost:5173", "http://127.0.0.1:8080", "https://localhost"):
        headers = (await service.get("/v1/symbols", headers={"Origin": origin})).headers
        assert headers["access-control-allow-origin"] == origin
        exposed = {name.strip() for name in headers["access-control-expose-headers"].split(",")}
        assert exposed == {"ETag", "Link", "Ticker-Position", "RateLimit", "RateLimit-Policy", "Retry-After"}
    headers = (await service.get("/v1/candles/ZZZZ", headers={"Origin": "http://localhost:5173"})).headers
    assert headers["access-control-allow-origin"] == "http://localhost:5173"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://localhost.evil.example", "null", "http://localhost:1@e.example"]
)
async def test_other_pages_may_not_read(service, origin):
    """They get no word of leave."""
    answer = await service.get("/v1/symbols", headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


async def test_listed_origins_take_the_place_of_localhost(start_service, valkey_url):
    """The same list as for the WebSocket."""
    service = await start_service(valkey_url, server={"origins": ["https://desk.example"]})
    answer = await service.get("/v1/symbols", headers={"Origin": "https://desk.example"})
    assert answer.headers["access-control-allow-origin"] == "https://desk.example"
    answer = await service.get("/v1/symbols", headers={"Origin": "http://localhost:3000"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_programs_of_this_machine_are_known_by_their_address(address):
    """Or by having none, where they come through a Unix socket."""
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "127.example", "testclient"]
)
def test_nobody_else_is_of_this_machine(address):
    """Whatever the address looks like."""
    assert not is_loopback(address)
