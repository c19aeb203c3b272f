import re

import pytest
from pydantic import ValidationError

from ticker.config import Config
from ticker.errors import BadRequest
from ticker.limits import LIMITS, Limits

CODES = {"503", "1009", "4400", "4408", "4429", "too_many_symbols", BadRequest.code, ""}
"""What the contract has for a client that meets a limit; nothing where it meets the server only."""


def test_the_table_has_a_row_for_every_limit_of_the_configuration():
    """In the same order, with the same default."""
    assert list(LIMITS) == list(Limits.model_fields)
    assert {name: row.default for name, row in LIMITS.items()} == Limits().model_dump()
    assert Config().limits == Limits()


@pytest.mark.parametrize("row", LIMITS.values(), ids=lambda row: row.name)
def test_every_row_is_complete(row):
    """A name in snake case, a unit, a reason, and a code that the contract knows."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", row.name)
    assert row.default >= 1
    assert row.unit
    assert row.why
    assert row.code in CODES


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [0, -1, None, "many", 1.5])
def test_a_limit_is_a_whole_number_above_zero(name, value):
    """No limit can be switched off."""
    with pytest.raises(ValidationError):
        Limits(**{name: value})


def test_limits_do_not_change():
    """They are read by many, for as long as the process lives."""
    with pytest.raises(ValidationError):
        Limits().connections = 5


def test_a_page_fits_its_largest():
    """The default of `limit` is one that may be asked for."""
    assert LIMITS["page_rows_default"].default <= LIMITS["page_rows"].default
