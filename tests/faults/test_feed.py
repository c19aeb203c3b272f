"""The ledger feed keeps the contract of feeds: what was not stored is made again, nothing else."""

import time
from pathlib import Path
from typing import Any

import pytest
from ledger import produced
from ledger.feed import KIND, LedgerFeed, LedgerOptions
from ledger.sequence import made

from feeds.feed import CLOCK_END, Stored
from feeds.market import Market

SYMBOLS = ["L00", "L01", "L02"]


def options(folder: Path, **more: Any) -> LedgerOptions:
    given = {
        "folder": str(folder),
        "seed": 3,
        "symbols": SYMBOLS,
        "ticks_per_s": 100,
        "origin_us": 1_795_000_000_000_000,
        "origin_s": time.monotonic() - 2,
        "hostile": True,
    }
    return LedgerOptions(**given | more)


async def started(folder: Path, stored: dict[str, Stored] | None = None, **more: Any) -> LedgerFeed:
    feed = KIND.make(options(folder, **more), Market())
    assert isinstance(feed, LedgerFeed)
    await feed.start(0, stored or {})
    return feed


async def test_what_is_due_comes_in_order_and_is_written_down_first(tmp_path: Path) -> None:
    feed = await started(tmp_path)
    batch = feed.poll(0)
    plan = options(tmp_path).plan()
    assert len(batch.ticks) >= 200
    assert [repr(tick) for tick in batch.ticks] == [repr(made(plan, number).tick) for number in range(len(batch.ticks))]
    with (tmp_path / "produced.txt").open() as lines:
        assert len(produced.read(lines).ticks) == len(batch.ticks)
    assert batch.clock == plan.time(len(batch.ticks) - 1)


async def test_after_a_restart_each_symbol_goes_on_behind_what_it_has(tmp_path: Path) -> None:
    """Also where some symbols of a batch were stored and others were not; nothing is left out, nothing comes twice."""
    feed = await started(tmp_path)
    first = feed.poll(0)
    middle = len(first.ticks) // 2
    stored = {"L00": Stored(1, first.cursor), "L01": Stored(1, str(middle))}
    again = await started(tmp_path, stored)
    batch = again.poll(0)
    plan = options(tmp_path).plan()
    assert batch.cursor
    until = {"L00": int(first.cursor or 0), "L01": middle, "L02": 0}
    expected = [n for n in range(int(batch.cursor)) if n >= until[SYMBOLS[n % 3]]]
    assert [repr(tick) for tick in batch.ticks] == [repr(made(plan, n).tick) for n in expected]


async def test_it_ends_when_it_is_told_to_and_says_so(tmp_path: Path) -> None:
    feed = await started(tmp_path)
    (tmp_path / "stop").touch()
    last = feed.poll(0)
    assert (last.clock, last.more) == (CLOCK_END, False)
    assert feed.poll(0).ticks == ()
    with (tmp_path / "produced.txt").open() as lines:
        assert produced.read(lines).end == len(last.ticks)


async def test_it_fails_and_is_silent_while_it_is_told_to(tmp_path: Path) -> None:
    feed = await started(tmp_path)
    (tmp_path / "fail").touch()
    with pytest.raises(ConnectionError, match="told to"):
        feed.poll(0)
    (tmp_path / "fail").unlink()
    (tmp_path / "pause").touch()
    assert feed.poll(0).ticks == ()
    (tmp_path / "pause").unlink()
    assert feed.poll(0).ticks
