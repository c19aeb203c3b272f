from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker.candles.interval import INTERVALS
from ticker.errors import BadRequest
from ticker.web.operations import OPERATIONS, Operation
from ticker.web.params import TIME_MAX, TIME_MIN, Params, check_symbol, parse_time

NEW_YORK = ZoneInfo("America/New_York")
EVERY = OPERATIONS["many_candles"].parameters
KNOWN = Operation("test", "/test", "", {name: EVERY[name] for name in EVERY if name not in ("fill", "format")})
NOON = 1_795_176_000_000_000
"""2026-11-20T12:00:00Z."""


def params(**given_values: str) -> Params:
    return Params(list(({"symbols": "AAPL"} | given_values).items()), KNOWN)


def refused(call, *args) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    assert caught.value.http_status in (400, 406)
    return caught.value


def test_an_unknown_parameter_is_refused_by_name_with_those_that_are_allowed():
    """Before anything else is looked at."""
    error = refused(Params, [("limit", "x"), ("lmit", "5")], KNOWN)
    assert (
        str(error) == "unknown parameter 'lmit'; allowed: cursor, end, forming, interval, limit, order, start, symbols"
    )
    assert (error.parameter, error.code) == ("lmit", "bad_request")


def test_a_parameter_that_is_given_twice_is_refused():
    """Also with the same value: nobody should have to know which one counts."""
    error = refused(Params, [("limit", "5"), ("limit", "5")], KNOWN)
    assert (str(error), error.parameter) == ("'limit' is given twice", "limit")


def test_a_text_is_taken_as_it_is():
    """None where it is not given, empty where it is empty."""
    assert params().text("start") is None
    assert params(start="").text("start") == ""
    assert params(start=" x ").text("start") == " x "


def test_a_choice_is_one_of_several_words():
    """In exactly this spelling."""
    assert params().choice("order") == "asc"
    assert params(order="desc").choice("order") == "desc"
    for value in ("", "DESC", "desc ", "up"):
        error = refused(params(order=value).choice, "order")
        assert str(error) == f"order {value!r} is not known; allowed: asc, desc"
        assert error.parameter == "order"


def test_a_flag_is_true_or_false():
    """False where it is not given; `1`, `yes` and nothing at all are refused."""
    assert params().flag("forming") is False
    assert params(forming="true").flag("forming") is True
    assert params(forming="false").flag("forming") is False
    for value in ("", "1", "yes", "True"):
        assert refused(params(forming=value).flag, "forming").parameter == "forming"


def test_an_interval_is_one_of_the_contract():
    """A minute where none is given."""
    assert params().interval().name == "1m"
    for name, interval in INTERVALS.items():
        assert params(interval=name).interval() is interval
    for value in ("", "2m", "1M", "1dxyz", "60", "1m "):
        error = refused(params(interval=value).interval)
        assert (error.parameter, error.code) == ("interval", "unknown_interval")
        assert "allowed: 1s, 5s, 15s, 30s, 1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w" in str(error)


@given(st.integers(1, 10_000))
def test_a_limit_is_a_whole_number_up_to_the_most(value):
    """Both ends are allowed."""
    assert params(limit=str(value)).limit(500, 10_000) == value


@pytest.mark.parametrize(
    "value",
    [
        "0",
        "-1",
        "-5",
        "10001",
        "",
        "5.0",
        "1e3",
        "+5",
        " 5",
        "5 ",
        "0x10",
        "five",
        "\u0665",
        "9" * 5000,
        "1000000000001",
    ],
)
def test_any_other_limit_is_refused(value):
    """With what is allowed."""
    error = refused(params(limit=value).limit, 500, 10_000)
    assert str(error).endswith("is not allowed; expected a whole number from 1 to 10000")
    assert error.parameter == "limit"


def test_the_limit_is_the_default_where_none_is_given():
    """Whatever the server has for it."""
    assert params().limit(500, 10_000) == 500


def test_a_range_has_a_start_and_an_end_or_neither():
    """Both may be the same moment: nothing lies between."""
    assert params().range(NEW_YORK) == (None, None)
    assert params(start=str(NOON)).range(NEW_YORK) == (NOON, None)
    assert params(start=str(NOON), end="2026-11-20T12:00:00Z").range(NEW_YORK) == (NOON, NOON)


def test_a_start_after_the_end_is_refused():
    """It is no empty range but a mistake."""
    error = refused(params(start=str(NOON + 1), end=str(NOON)).range, NEW_YORK)
    assert (str(error), error.parameter) == (f"start {NOON + 1} lies after end {NOON}", "start")


@given(st.integers(TIME_MIN, TIME_MAX - 1))
def test_a_number_is_microseconds(time):
    """From 1973 to 2286."""
    assert parse_time(str(time), "start", NEW_YORK) == time


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        ("1795176000", "seconds"),
        ("0", "seconds"),
        ("-5", "seconds"),
        ("1795176000000", "milliseconds"),
        (str(TIME_MIN - 1), "milliseconds"),
        ("1795176000000000000", "nanoseconds"),
        (str(TIME_MAX), "nanoseconds"),
        ("9" * 5000, "nanoseconds"),
    ],
)
def test_a_number_that_looks_like_another_unit_is_refused(value, unit):
    """By the name of the unit."""
    error = refused(parse_time, value, "end", NEW_YORK)
    assert f"looks like {unit}; expected microseconds since 1970, RFC 3339 with an offset" in str(error)
    assert error.parameter == "end"


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-20T12:00:00Z",
        "2026-11-20t12:00:00z",
        "2026-11-20 12:00:00Z",
        "2026-11-20T12:00:00+00:00",
        "2026-11-20T12:00:00-00:00",
        "2026-11-20T12:00:00 00:00",
        "2026-11-20T07:00:00-05:00",
        "2026-11-20T17:30:00+05:30",
        "2026-11-20T17:30:00 05:30",
        "2026-11-20 17:30:00 05:30",
        "2026-11-21T11:59:00+23:59",
        "2026-11-20T12:00:00.0Z",
        "2026-11-20T12:00:00.000000Z",
    ],
)
def test_every_form_of_rfc_3339_is_the_same_moment(value):
    """Also where the plus sign arrived as a space, as it does in a query string."""
    assert parse_time(value, "start", NEW_YORK) == NOON


@pytest.mark.parametrize(("fraction", "us"), [(".5", 500_000), (".25", 250_000), (".000001", 1), (".999999", 999_999)])
def test_a_fraction_counts_to_the_microsecond(fraction, us):
    """One to six digits."""
    assert parse_time(f"2026-11-20T12:00:00{fraction}Z", "start", NEW_YORK) == NOON + us


@given(st.integers(10**11, TIME_MAX - 10**11), st.integers(-23 * 60 - 59, 23 * 60 + 59), st.booleans())
def test_any_moment_in_any_offset_is_exact(expected, minutes, as_space):
    """No microsecond is lost on the way."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=expected)
    text = moment.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    assert parse_time(text.replace("+", " ") if as_space else text, "start", NEW_YORK) == expected


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-11-20", "2026-11-20T05:00:00Z"),
        ("2026-07-20", "2026-07-20T04:00:00Z"),
        ("2026-03-08", "2026-03-08T05:00:00Z"),
        ("2026-03-09", "2026-03-09T04:00:00Z"),
        ("2024-02-29", "2024-02-29T05:00:00Z"),
    ],
)
def test_a_date_is_its_midnight_in_the_market(value, moment):
    """By summer and winter time."""
    assert parse_time(value, "start", NEW_YORK) == parse_time(moment, "start", NEW_YORK)
    assert parse_time(value, "start", ZoneInfo("UTC")) == parse_time(f"{value}T00:00:00Z", "start", NEW_YORK)


@pytest.mark.parametrize("value", ["2026-11-20T12:00:00", "2026-11-20 12:00:00", "2026-11-20T12:00:00.5"])
def test_a_time_without_an_offset_is_refused(value):
    """Nobody knows whose clock it is."""
    error = refused(parse_time, value, "start", NEW_YORK)
    assert str(error) == f"start {value!r} has no offset; add Z or +00:00"
    assert error.parameter == "start"


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "now",
        "today",
        "2026",
        "2026-11",
        "20261120",
        "2026-11-31",
        "2026-02-29",
        "2026-13-01",
        "2026-1-1",
        "0000-01-01",
        "2026-W47-5",
        "2026-11-20T24:00:00Z",
        "2026-11-20T12:60:00Z",
        "2026-11-20T12:00:60Z",
        "2026-11-20T12:00Z",
        "2026-11-20T12:00:00.Z",
        "2026-11-20T12:00:00.1234567Z",
        "2026-11-20T12:00:00,5Z",
        "2026-11-20T12:00:00+0530",
        "2026-11-20T12:00:00+05",
        "2026-11-20T12:00:00+24:00",
        "2026-11-20T12:00:00+05:60",
        "2026-11-20T12:00:00Z ",
        " 2026-11-20T12:00:00Z",
        "2026-11-20T12:00:00Z\n",
        "2026-11-20\n",
        "1795176000000000.5",
        "1.7e15",
        "+1795176000000000",
        "1_795_176_000_000_000",
        "\u0662\u0660\u0662\u0666-11-20",
        "nan",
    ],
)
def test_what_is_no_time_is_refused_with_the_forms_that_are(value):
    """Nothing is guessed."""
    error = refused(parse_time, value, "start", NEW_YORK)
    assert error.parameter == "start"
    assert "expected microseconds since 1970, RFC 3339 with an offset" in str(error)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_bad_request(value):
    """Never another error, and never a time that the rest cannot deal with."""
    with suppress(BadRequest):
        assert 0 <= parse_time(value, "start", NEW_YORK) <= TIME_MAX


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0001-01-01", 0),
        ("0001-01-01T00:00:00+23:59", 0),
        ("1969-12-31", 0),
        ("9999-12-31", TIME_MAX),
        ("9999-12-31T23:59:59.999999-23:59", TIME_MAX),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_a_moment_out_of_reach_is_the_nearest_that_is_not(value, expected):
    """`start=0001-01-01` means from the beginning, and gives no bounds that the calendar does not have."""
    assert parse_time(value, "start", NEW_YORK) == expected


@pytest.mark.parametrize("value", ["A", "AAPL", "BRK.B", "BF-B", "7203", "A" * 16, "A.", "0-."])
def test_a_symbol_has_one_to_sixteen_capitals_digits_dots_and_dashes(value):
    """And begins with a letter or digit."""
    assert check_symbol(value) == value


@pytest.mark.parametrize(
    "value", ["", "aapl", ".A", "-A", "A" * 17, "A B", "A\n", "Ä", "{A}", "*", "A,B", "A:1", "x" * 5000]
)
def test_what_is_no_symbol_is_refused(value):
    """The message has no more than its beginning."""
    error = refused(check_symbol, value)
    assert error.parameter == "symbol"
    assert "is no symbol; expected 1 to 16 of A-Z 0-9 . - beginning with a letter or digit" in str(error)
    assert len(str(error)) < 160


def test_symbols_are_parted_into_known_and_unknown():
    """In the order in which they are asked for, each once."""
    known = {"AAPL": 1, "MSFT": 2}
    assert params(symbols="ZZZZ,MSFT,AAPL,MSFT,ZZZZ").symbols(known) == (["MSFT", "AAPL"], ["ZZZZ"])
    assert params(symbols="*").symbols(known) == (["AAPL", "MSFT"], [])
    assert params(symbols="*").symbols({}) == ([], [])


@pytest.mark.parametrize("value", [None, "", ",", "AAPL,", "AAPL,,MSFT", "aapl", "*,AAPL", "AAPL, MSFT", "**"])
def test_symbols_that_are_none_are_refused(value):
    """As a whole, by the name of the parameter."""
    query = [] if value is None else [("symbols", value)]
    error = refused(lambda: Params(query, KNOWN).symbols({"AAPL": 1}))
    assert error.parameter == "symbols"
    assert value or str(error) == "'symbols' is needed: names with commas between them, or `*` for all"


def test_places_are_given_by_symbol():
    """`A:x,B:y`; a symbol may be left out."""
    assert params().cursors(["A", "B"]) == {}
    assert params(cursor="B:yy,A:x").cursors(["A", "B"]) == {"A": "x", "B": "yy"}
    assert params(cursor="B:y:z").cursors(["A", "B"]) == {"B": "y:z"}


@pytest.mark.parametrize("value", ["", "x", "A", "C:x", "A:x,", "A:x,A:y", ",", "a:x"])
def test_a_place_of_no_symbol_is_refused(value):
    """And one that is given twice."""
    error = refused(params(cursor=value).cursors, ["A", "B"])
    assert error.parameter == "cursor"
    assert "expected SYMBOL:NEXT once for each of `symbols`" in str(error)
