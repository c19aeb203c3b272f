"""One tree, and what was asked and came back in every refusal."""

import re

import pytest

from ticker.client import errors
from ticker.errors import TickerError


def test_the_tree_is_as_drawn():
    """Every class of the module stands in its drawing, under its parent."""
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__)
    made = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.ClientError)]
    assert sorted(["ClientError", *drawn]) == sorted(one.__name__ for one in made)
    assert all(issubclass(one, TickerError) for one in made)
    under_refused = re.findall(r"^    [├└]── (\w+)", errors.__doc__, re.MULTILINE)
    assert all(issubclass(getattr(errors, name), errors.Refused) for name in under_refused)


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [("5", 5.0), (None, None), ("Wed, 25 Nov 2026 04:00:00 GMT", None)]
)
def test_when_to_ask_again(retry_after, seconds):
    """Where the gateway says it in seconds."""
    error = errors.from_problem("GET /x", 503, {"code": "unavailable"}, retry_after)
    assert error.retry_after_s == seconds


def test_a_refusal_without_a_problem_still_says_what_it_was():
    """A proxy's, perhaps."""
    error = errors.from_problem("GET /x", 502, {"title": "Bad Gateway"}, None)
    assert str(error) == "GET /x: 502 http_error: Bad Gateway"
