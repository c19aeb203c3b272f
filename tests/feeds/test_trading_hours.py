"""Spans of trading: what is open when, moment by moment and for many at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.trading_hours import ALWAYS, TradingHours

TWO = TradingHours([(10, 20), (30, 40)])


@pytest.mark.parametrize(
    ("time", "is_open", "next_change"),
    [
        (9, False, 10),
        (10, True, 20),
        (19, True, 20),
        (20, False, 30),
        (30, True, 40),
        (40, False, None),
        (99, False, None),
    ],
)
def test_a_span_begins_with_its_open_and_ends_before_its_close(
    time: int, is_open: bool, next_change: int | None
) -> None:
    assert TWO.is_open(time) == is_open
    assert TWO.next_change(time) == next_change


def test_always_is_open_and_never_changes() -> None:
    assert ALWAYS.is_open(0)
    assert ALWAYS.is_open(1_763_985_600_000_000)
    assert ALWAYS.next_change(1_763_985_600_000_000) is None
    assert ALWAYS.between(5, 9) == [(5, 9)]


def test_without_spans_nothing_is_open() -> None:
    never = TradingHours([])
    assert not never.is_open(0)
    assert never.next_change(0) is None
    assert never.between(0, 99) == []
    assert never.contains(np.array([0, 99])).tolist() == [False, False]
    assert never.share_open(np.array([0, 99])).tolist() == [0.0]


@pytest.mark.parametrize("spans", [[(10, 10)], [(20, 10)], [(10, 20), (20, 30)], [(30, 40), (10, 20)]])
def test_spans_that_do_not_rise_are_refused(spans: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        TradingHours(spans)


@given(
    st.lists(st.integers(0, 60), unique=True, max_size=12).map(sorted),
    st.lists(st.integers(-5, 65), unique=True, min_size=2, max_size=12).map(sorted),
)
def test_every_answer_agrees_with_asking_moment_by_moment(edges: list[int], asked: list[int]) -> None:
    hours = TradingHours(zip(edges[::2], edges[1::2], strict=False))
    inside = [hours.is_open(time) for time in range(-5, 65)]
    assert hours.contains(np.arange(-5, 65)).tolist() == inside
    for before, after, share in zip(asked, asked[1:], hours.share_open(np.array(asked)).tolist(), strict=False):
        open_moments = inside[before + 5 : after + 5].count(True)
        assert share == pytest.approx(open_moments / (after - before))
        assert sum(closed - opened for opened, closed in hours.between(before, after)) == open_moments
