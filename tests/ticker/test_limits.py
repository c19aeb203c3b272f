import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from ticker import metrics
from ticker.config import Config
from ticker.errors import BadRequest
from ticker.limits import LIMITS, Limits

REPOSITORY = Path(__file__).parents[2]
CODES = {
    *("408", "429", "431", "503", "1009", "4400", "4408", "4429", "4508"),
    *("too_many_symbols", BadRequest.code, "unavailable", "gap", "next", ""),
}
"""What the contract has for a client that meets a limit; nothing where it meets the server only."""
TOLD_BY_THE_OUTBOX = {"outbox_bytes", "outbox_ms"}
"""Counted under the name that the outbox says."""


def value_in(config: Config, setting: str) -> int:
    section, key = setting.split(".")
    return getattr(getattr(config, section), key)


def calls_with_a_text(folder: str, name: str) -> Iterator[str]:
    """The first argument of every call of `name` or `*.name` in the sources of a folder, where it is a text."""
    for path in (REPOSITORY / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name and node.args:
                yield from [str(a.value) for a in node.args if isinstance(a, ast.Constant)]


def test_the_table_has_a_row_for_every_limit_of_the_configuration():
    """In the same order, with the same default; others follow, from the sections that they belong to."""
    assert list(LIMITS)[: len(Limits.model_fields)] == list(Limits.model_fields)
    assert {row.name: row.default for row in LIMITS.values()} == {
        row.name: value_in(Config(), row.setting) for row in LIMITS.values()
    }
    assert Config().limits_in_force(loopback=False) == {row.name: row.default for row in LIMITS.values()}


@pytest.mark.parametrize("row", LIMITS.values(), ids=lambda row: row.name)
def test_every_row_is_complete(row):
    """A name in snake case, a setting, a unit, a reason, and a code that the contract knows."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", row.name)
    assert row.setting.endswith(f".{row.name}")
    assert row.default >= 1
    assert row.unit
    assert row.per
    assert row.description
    assert row.code in CODES


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_is_counted_and_tested(name):
    """By `metrics.met`, and by a test that is marked with it, which fails where nothing was counted."""
    assert name in {*calls_with_a_text("ticker", "met"), *TOLD_BY_THE_OUTBOX}
    assert name in set(calls_with_a_text("tests", "limit"))


def test_what_is_counted_is_in_the_table():
    """A name that no row has would be counted under nothing that is documented."""
    assert {*calls_with_a_text("ticker", "met")} <= set(LIMITS)
    with pytest.raises(KeyError):
        metrics.met("novelty")


def test_every_limit_is_counted_from_zero():
    """So that an alert sees the first time too."""
    for name in LIMITS:
        assert metrics.REGISTRY.get_sample_value("ticker_limit_hits_total", {"limit": name}) is not None


@pytest.mark.parametrize("name", Limits.model_fields)
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


def test_limits_by_address_hold_for_this_machine_only_where_they_are_set():
    """Set to the default is set; everybody else has them anyway, and other limits hold for all."""
    names = [name for name, row in LIMITS.items() if row.per == "address"]
    assert "connections_per_address" in names
    given = Config.model_validate({"limits": {name: LIMITS[name].default for name in names}})
    for name in names:
        assert Config().limits_in_force(loopback=True)[name] is None
        assert Config().limits_in_force(loopback=False)[name] == LIMITS[name].default
    assert given.limits_in_force(loopback=True) == given.limits_in_force(loopback=False)
    assert [n for n, value in Config().limits_in_force(loopback=True).items() if value is None] == names
