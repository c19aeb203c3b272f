import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ticker.web import pages

SCRIPT = b"export const name = 'ticker';\n" * 200
FOREVER = "public, max-age=31536000, immutable"
PLAIN = {"Accept-Encoding": "identity"}


def build(folder: Path) -> None:
    """What Vite leaves behind, made by hand."""
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text('<!doctype html><script src="/assets/index-Ab3_-x9Z.js"></script>')
    (folder / "licenses.md").write_text("# Licenses")
    (folder / "secret.txt").write_text("not for the public")
    script = folder / "assets" / "index-Ab3_-x9Z.js"
    script.write_bytes(SCRIPT)
    script.with_name(script.name + ".gz").write_bytes(gzip.compress(SCRIPT))
    script.with_name(script.name + ".br").write_bytes(b"stands for brotli")
    (folder / "assets" / "logo-Zz000000.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")


Start = Callable[[], Awaitable[Any]]


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    """Where the built page is looked for; nothing is there yet."""
    monkeypatch.setattr(pages, "BUILT", tmp_path / "static")
    return tmp_path / "static"


@pytest.fixture
async def site(folder, start_service, valkey_url):
    """A service whose page is not built yet."""
    return await start_service(valkey_url)


async def test_the_small_page_is_shown_until_the_other_is_built(site, folder):
    """Also by a service that was started before."""
    small = await site.get("/")
    assert (small.status_code, "page.js" in small.text) == (200, True)
    assert (await site.get("/assets/index-Ab3_-x9Z.js")).status_code == 404
    assert (await site.get("/licenses.md")).status_code == 404
    build(folder)
    built = await site.get("/")
    assert "/assets/index-Ab3_-x9Z.js" in built.text
    assert built.headers["cache-control"] == "no-cache"
    assert built.headers["content-type"] == "text/html; charset=utf-8"
    assert (await site.get("/licenses.md")).text == "# Licenses"


async def test_what_is_named_after_its_content_is_kept_for_ever(site, folder):
    """With the type that a browser insists on; what has no such name is asked for again."""
    build(folder)
    script = await site.get("/assets/index-Ab3_-x9Z.js", headers=PLAIN)
    assert script.headers["cache-control"] == FOREVER
    assert script.headers["content-type"].partition(";")[0] == "text/javascript"
    assert script.content == SCRIPT
    logo = await site.get("/assets/logo-Zz000000.svg")
    assert (logo.headers["cache-control"], logo.headers["content-type"]) == (FOREVER, "image/svg+xml")
    assert "content-encoding" not in logo.headers
    assert (await site.get("/page/page.js")).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("br; q=0.0,gzip;q=0", None),
        ("GZIP", "gzip"),
        ("brotli", None),
        ("", None),
        ("identity", None),
    ],
)
async def test_the_smallest_form_that_the_client_takes_is_sent(site, folder, accept, encoding):
    """Compressed beforehand, with the type of the original; caches are told that it depends on the client."""
    build(folder)
    async with (
        site_client(site) as client,
        client.stream("GET", "/assets/index-Ab3_-x9Z.js", headers={"Accept-Encoding": accept}) as answer,
    ):
        body = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers.get("content-encoding") == encoding
    assert "Accept-Encoding" in answer.headers["vary"]
    assert answer.headers["content-type"].partition(";")[0] == "text/javascript"
    expected = {"br": b"stands for brotli", "gzip": gzip.compress(SCRIPT), None: SCRIPT}[encoding]
    assert (gzip.decompress(body) if encoding == "gzip" else body) == (SCRIPT if encoding == "gzip" else expected)


async def test_what_a_client_has_is_not_sent_again(site, folder):
    """Each encoding has an ETag of its own."""
    build(folder)
    tags = set()
    for accept in ("br", "gzip", "identity"):
        first = await site.get("/assets/index-Ab3_-x9Z.js", headers={"Accept-Encoding": accept, "Range": "bytes=0-1"})
        tag = first.headers["etag"]
        again = await site.get("/assets/index-Ab3_-x9Z.js", headers={"Accept-Encoding": accept, "If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["cache-control"] == FOREVER
        assert "Accept-Encoding" in again.headers["vary"]
        tags.add(tag)
    assert len(tags) == 3


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../secret.txt",
        "/assets/%2e%2e/secret.txt",
        "/assets/..%2fsecret.txt",
        "/assets/",
        "/assets/%00",
        "/secret.txt",
    ],
)
async def test_only_what_is_meant_to_be_served_is(site, folder, path):
    """Whatever the address is made to look like."""
    build(folder)
    answer = await site.get(path)
    assert answer.status_code == 404
    assert "public" not in answer.text


async def test_pages_are_only_read(site, folder):
    """GET and HEAD."""
    build(folder)
    async with site_client(site) as client:
        head = await client.head("/")
        assert (head.status_code, head.content) == (200, b"")
        for path in ("/", "/assets/index-Ab3_-x9Z.js"):
            assert (await client.post(path)).status_code == 405


def site_client(site: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=site.url, timeout=15)


async def test_the_page_of_the_documents_takes_nothing_from_elsewhere(site):
    """Under the policy of all pages; its files are ours, and no address but of this server stands in them."""
    answer = await site.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
    for name in ("docs.css", "docs.js"):
        assert f"/page/{name}" in answer.text
        file = await site.get(f"/page/{name}")
        assert file.status_code == 200
        assert "//" not in file.text.replace("// ", "")
    assert "//" not in answer.text
