"""Archives to write to: a folder, and an object store in memory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from ticker.archive.archive import Archive
from ticker.archive.storage import open_storage
from ticker.store.tick_stream import Entry

ZONE = ZoneInfo("America/New_York")
NOON_MS = 1_763_985_600_000
"""2025-11-24 12:00:00 UTC, 07:00 in New York."""
DAY_MS = 86_400_000


@pytest.fixture(params=["folder", "object store"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each kind of place in turn, empty."""
    return str(tmp_path / "archive") if request.param == "folder" else f"memory://{uuid4().hex}/archive"


@pytest.fixture
def new_archive() -> Callable[..., Archive]:
    """Opens an archive, as another process would."""
    return lambda url, **more: Archive(open_storage(url), ZONE, **more)


@pytest.fixture
def archive(url: str, new_archive: Callable[..., Archive]) -> Archive:
    """An empty archive."""
    return new_archive(url)


def trade(ms: int, seq: int, price: str = "100.25", **more: str) -> Entry:
    """A trade as the stream has it."""
    row = {"price": price, "size": "3", "time": str(ms * 1000 + seq % 1000), **more, "seq": str(seq)}
    return Entry(ms, seq, int(row["time"]), [text.encode() for pair in row.items() for text in pair])


@pytest.fixture
def trades() -> Callable[..., list[Entry]]:
    """Makes trades with the numbers `first` to `last`, a second apart from noon on."""

    def trades(first: int, last: int, ms: int = NOON_MS, step_ms: int = 1000) -> Sequence[Entry]:
        return [trade(ms + step_ms * (seq - first), seq, f"{100 + seq % 50 / 4:g}") for seq in range(first, last + 1)]

    return trades
