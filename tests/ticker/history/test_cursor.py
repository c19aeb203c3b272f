import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker import codec
from ticker.errors import BadRequest
from ticker.history import cursor

QUERY = "TickQuery(kind='trades', symbol='AAPL', start=None)"
NUMBERS = st.integers(-(2**63), 2**63 - 1)


@given(st.text(), st.lists(NUMBERS, max_size=4))
def test_a_cursor_leads_back_to_its_place(query, place):
    """With the query that it came from."""
    assert cursor.read(query, cursor.write(query, place), (int,) * len(place)) == place


@given(st.lists(NUMBERS, min_size=1, max_size=4))
def test_a_cursor_fits_into_an_address_as_it_is(place):
    """Letters, digits, - and _."""
    text = cursor.write(QUERY, place)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.text(), st.text(), st.lists(NUMBERS, max_size=3))
def test_another_querys_cursor_is_refused(query, other, place):
    """Its place would mean something else there."""
    if query != other:
        with pytest.raises(BadRequest, match="belongs to another query") as caught:
            cursor.read(other, cursor.write(query, place), (int,) * len(place))
        assert caught.value.parameter == "cursor"


@given(st.tuples(NUMBERS, NUMBERS), st.data())
def test_a_cursor_that_was_tampered_with_is_refused(place, data):
    """One letter changed, left out or put in: never another place."""
    text = cursor.write(QUERY, list(place))
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("ABCxyz0189-_!é \n="))
    changed = data.draw(
        st.sampled_from(
            [text[:at] + letter + text[at + 1 :], text[:at] + text[at + 1 :], text[:at] + letter + text[at:]]
        )
    )
    with suppress(BadRequest):
        assert cursor.read(QUERY, changed, (int, int)) == list(place)


@given(st.text(max_size=60))
def test_any_other_text_is_no_cursor(text):
    """The answer says what one is."""
    with pytest.raises(BadRequest, match="is no cursor; expected the `next` of an answer"):
        cursor.read(QUERY, text, (int, int))


@pytest.mark.parametrize(
    "value",
    [
        [],
        ["0123456789ab"],
        [1, 2, 3],
        ["0123456789ab", 1],
        ["0123456789ab", 1, 2, 3],
        ["0123456789ab", 1.5, 2],
        {},
        "x",
        5,
        ["0123456789ab", True, 2],
        ["0123456789ab", "1", 2],
        ["0123456789ab", 10**18, None],
    ],
)
def test_json_of_another_shape_is_no_cursor(value):
    """Nor are numbers that are none."""
    text = base64.urlsafe_b64encode(codec.to_json(value)).decode()
    with pytest.raises(BadRequest):
        cursor.read(QUERY, text, (int, int))


def test_a_cursor_of_another_kind_is_refused():
    """One of candles, with two numbers, where ticks have three."""
    with pytest.raises(BadRequest):
        cursor.read(QUERY, cursor.write(QUERY, [1, 2]), (int, int, int))
