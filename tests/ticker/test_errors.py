import inspect
import re

import pytest

from ticker import errors
from ticker.errors import (
    BadRequest,
    BadTick,
    DuplicateTick,
    LateTick,
    NotAcceptable,
    NotFound,
    StoreUnavailable,
    TickerError,
)


def drawn() -> dict[str, str | None]:
    """Each class in the tree of the module's docstring, with the one it hangs from."""
    parents: dict[str, str | None] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.fullmatch(r"((?:│   |    )*[├└]── )?([A-Z]\w+)( +\S.*)?", line):
            depth = len(found[1] or "") // 4
            if depth or not found[3]:
                del above[depth:]
                parents[found[2]] = above[-1] if above else None
                above.append(found[2])
    return parents


def classes() -> list[type[Exception]]:
    return [
        found
        for _, found in inspect.getmembers(errors, inspect.isclass)
        if found.__module__ == errors.__name__ and issubclass(found, Exception)
    ]


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    """No class is missing in the drawing, none is drawn that is not there, each hangs from its base."""
    bases = {found.__name__: found.__base__.__name__ for found in classes()}
    assert drawn() == bases | {"TickerError": None}


@pytest.mark.parametrize("error", classes(), ids=lambda error: error.__name__)
def test_every_error_says_what_it_is_and_becomes_something_at_the_rim(error):
    """A docstring, an HTTP status of an error, and a code in snake case."""
    assert error.__doc__
    assert 400 <= error.http_status < 600
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadRequest("x"), 400, "bad_request"),
        (NotAcceptable("x"), 406, "not_acceptable"),
        (NotFound("x"), 404, "unknown_symbol"),
        (StoreUnavailable("x"), 503, "unavailable"),
        (TickerError("x"), 500, "internal_error"),
    ],
)
def test_what_clients_get_to_see(error, status, code):
    """The statuses and codes of the contract."""
    assert (error.http_status, error.code, str(error)) == (status, code, "x")


def test_a_bad_request_names_its_parameter_and_may_have_a_code_of_its_own():
    """The code of one does not stick to the next."""
    special = BadRequest("no", "interval", "unknown_interval")
    assert (special.parameter, special.code, special.http_status) == ("interval", "unknown_interval", 400)
    assert (BadRequest("no").parameter, BadRequest("no").code) == (None, "bad_request")


def test_a_refused_tick_says_what_was_found_and_what_was_expected():
    """One line each."""
    assert str(BadTick("size", -1, "0 or more")) == "size is -1, expected 0 or more"
    assert str(LateTick(5, 65, 50)) == "time 5 is 60 us behind the feed's clock, allowed are 50"
    assert str(DuplicateTick("a\nb")) == r"id 'a\nb' was stored before"
