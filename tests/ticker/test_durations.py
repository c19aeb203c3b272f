import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker.config import Config
from ticker.durations import UNITS_US

DURATIONS = "a whole number and one of s m h d w y (as in 2d), or forever"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5", "5"),
        ("5 days", "'5 days'"),
        ("0d", "'0d'"),
        ("-1d", "'-1d'"),
        ("1.5h", "'1.5h'"),
        ("1D", "'1D'"),
        ("1dx", "'1dx'"),
        ("d", "'d'"),
        ("''", "''"),
        ("true", "True"),
        ("[1d]", "['1d']"),
        ("never", "'never'"),
        ('"1d\\n"', r"'1d\n'"),
    ],
)
def test_what_is_no_duration_is_refused(refusal, text, found):
    """A number without a unit too: it does not say of what."""
    assert refusal(f"retention: {{ticks: {text}}}") == f"retention.ticks: {found} is no duration; allowed: {DURATIONS}"
    assert refusal(f"retention: {{candles: {{1s: {text}}}}}").startswith(
        f"retention.candles.1s: {found} is no duration"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7_200),
        ("1d", 86_400),
        ("3w", 1_814_400),
        ("1y", 366 * 86_400),
        ("forever", None),
    ],
)
def test_durations_are_microseconds(load, text, seconds):
    """Or None, for ever."""
    assert load(f"retention: {{ticks: {text}}}").retention.ticks == (seconds and seconds * 1_000_000)


@given(st.integers(1, 5_000), st.sampled_from(list(UNITS_US)))
def test_a_duration_is_shown_as_one_that_means_the_same(count, unit):
    """In whichever unit fits best."""
    config = Config.model_validate({"retention": {"ticks": f"{count}{unit}"}})
    shown = config.model_dump(mode="json")["retention"]["ticks"]
    assert Config.model_validate({"retention": {"ticks": shown}}).retention.ticks == count * UNITS_US[unit]
