"""The pages themselves: no block that nothing runs, no link that leads nowhere."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ticker.cli import cli

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
LINK = re.compile(r"\]\(([^)\s]+)\)")
README_LINES_MAX = 120


def untested(blocks: list[Any]) -> list[str]:
    return [block.place for block in blocks if block.kind is None]


def taken_by_tests(sources: list[str]) -> set[str]:
    """The kinds of which a test takes all blocks."""
    return {kind for source in sources for kind in re.findall(r'@pytest\.mark\.blocks\("(.+?)"\)', source)}


def test_every_block_is_run(all_blocks: list[Any], pages: list[Path]) -> None:
    """Each is of a kind that has a test."""
    assert len(all_blocks) > 30
    assert untested(all_blocks) == []
    fences = sum(len(re.findall(r"^ *```", path.read_text("utf-8"), re.MULTILINE)) for path in pages)
    assert fences == 2 * len(all_blocks), "a fence is indented or not closed"


def test_every_kind_has_a_test(kinds: dict[str, tuple[str, str]], all_blocks: list[Any]) -> None:
    """By its marker, or by the language and words of its one block; and every kind has blocks."""
    sources = [path.read_text("utf-8") for path in HERE.glob("test_*.py")]
    marked = taken_by_tests(sources)
    assert marked <= set(kinds)
    for kind in set(kinds) - marked:
        blocks = [block for block in all_blocks if block.kind == kind]
        assert blocks
        for block in blocks:
            direct = f'the_block("{block.language}", "{block.words}")'
            named = f'the_block("{block.language}", name)'
            found = [s for s in sources if direct in s or (named in s and f'users("{block.words}")' in s)]
            assert found, f"{block.place}: no test takes it"
    assert {block.kind for block in all_blocks} == set(kinds)


def test_a_block_that_nothing_runs_is_found(parse_blocks: Callable[[str, str], list[Any]]) -> None:
    """No language, one that nobody knows, or words that name no test."""
    text = "```\nx\n```\n\n```perl\nx\n```\n\n```python later\nx\n```\n\n```sh\nmake run\n```\n"
    assert untested(parse_blocks("p.md", text)) == ["p.md:1", "p.md:5", "p.md:9"]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(path: Path, text: str) -> list[str]:
    found = []
    for link in LINK.findall(text):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        page = (path.parent / target).resolve() if target else path
        if not page.exists() or (anchor and anchor not in anchors(page.read_text("utf-8"))):
            found.append(f"{path.name}: {link}")
    return found


def test_every_link_leads_somewhere(pages: list[Path]) -> None:
    """Pages, files, pictures, headings; in the other pages of the repository too."""
    others = ["ARCHITECTURE.md", "CHANGELOG.md", "bench/README.md", *REPOSITORY.glob("docs/decisions/*.md")]
    every = [*pages, *(REPOSITORY / other for other in others)]
    assert [dead for path in every for dead in dead_links(path, path.read_text("utf-8"))] == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    """A page that is not there, a heading that is not there."""
    page = tmp_path / "page.md"
    page.write_text("# A heading\n")
    text = "[a](page.md#a-heading) [b](page.md#other) [c](none.md) [d](https://example.com/x)"
    assert dead_links(page, text) == ["page.md: page.md#other", "page.md: none.md"]


def test_every_page_can_be_found(pages: list[Path]) -> None:
    """The index has a link to each page of docs/."""
    index = (REPOSITORY / "docs/README.md").read_text("utf-8")
    for path in pages:
        if path.parent == REPOSITORY / "docs" and path.name != "README.md":
            assert f"({path.name})" in index


def test_the_readme_is_short() -> None:
    """Whoever wants more follows a link."""
    text = (REPOSITORY / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= README_LINES_MAX
    assert "docs/images/" in text


def test_every_command_that_the_docs_name_exists(pages: list[Path]) -> None:
    """In prose too."""
    for path in pages:
        for name in re.findall(r"`ticker ([a-z]+)", path.read_text("utf-8")):
            assert name in cli.commands, f"{path.name}: ticker {name}"
