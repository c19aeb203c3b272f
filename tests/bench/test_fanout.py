"""What bench/fanout makes of its samples: when a rate holds, what is compared, and what must not be believed."""

from dataclasses import replace

import pytest
from fanout.ceiling import best, cost_ratio, highest_common
from fanout.stage import Sample
from fanout.tables import Findings, ratio, spread

SAMPLE = Sample(
    server="ticker",
    rate=100,
    due_per_s=50_000,
    delivered_per_s=50_000,
    p50_ms=1,
    p99_ms=5,
    p999_ms=9,
    max_ms=12,
    cpu_us=2.0,
    server_cpu=0.1,
    generator_cpu=0.1,
    store_cpu=0.1,
    publisher_cpu=0.1,
    publisher_late_ms=1,
    bytes_per_s=5e6,
    delivered=50_000,
    skipped=0,
    lost=0,
    repeated=0,
    reordered=0,
    bad_frames=0,
    closed=0,
)


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"p99_ms": 50}, False),
        ({"p99_ms": 49.99}, True),
        ({"delivered_per_s": 48_400}, False),
        ({"delivered_per_s": 48_500}, True),
        ({"closed": 1}, False),
        ({"delivered_per_s": 25_000, "delivered": 25_000, "skipped": 25_000}, True),
    ],
)
def test_a_rate_holds_while_nearly_all_comes_in_time(changes: dict[str, float], holds: bool) -> None:
    assert replace(SAMPLE, **changes).holds is holds


def test_the_ceiling_is_the_highest_rate_that_held() -> None:
    climbed = [replace(SAMPLE, rate=rate, p99_ms=p99) for rate, p99 in ((100, 5), (200, 20), (400, 90))]
    top = best(climbed)
    assert top
    assert top.rate == 200
    assert best(climbed[2:]) is None


def test_costs_are_compared_at_the_highest_rate_that_both_held() -> None:
    ours = [[replace(SAMPLE, rate=rate, cpu_us=cost) for rate, cost in ((100, 2), (200, 1), (400, 0.5))]]
    theirs = [[replace(SAMPLE, rate=100, cpu_us=8), replace(SAMPLE, rate=200, cpu_us=6, p99_ms=80)]]
    assert highest_common(ours, theirs) == 100
    assert cost_ratio(ours, theirs, 100) == "0.25"
    assert highest_common(ours, []) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generator_cpu": 0.8}, "**The generator may be the limit**: ticker at 100 ticks/s"),
        ({"publisher_late_ms": 30}, "The publisher was up to 30 ms late"),
        ({"lost": 3}, "{'lost': 3}"),
        ({"bad_frames": 1}, "{'bad_frames': 1}"),
    ],
)
def test_what_must_not_be_believed_is_said(changes: dict[str, float], said: str) -> None:
    found = Findings("x")
    found.add(SAMPLE)
    assert found.remarks == []
    found.add(replace(SAMPLE, **changes))
    assert said in "\n".join(found.remarks)


def test_a_server_that_is_missing_does_not_end_the_rest() -> None:
    found = Findings("Ceiling")
    found.missing("picows", "No module named 'picows'")
    found.table(("server", "rate"), [("ticker", 1)])
    assert "| ticker | 1 |" in found.text()
    assert "- picows is missing: No module named 'picows'" in found.text()
    assert found.absent == ["picows"]


def test_numbers_are_given_with_their_spread() -> None:
    assert spread([3, 1, 2]) == "2 (1 to 3)"
    assert spread([1_234.5], 1) == "1,234.5"
    assert spread([]) == "-"
    assert ratio(1, 4) == "0.25"
    assert ratio(1, 0) == "-"
