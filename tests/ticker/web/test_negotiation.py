import pytest

from ticker.errors import NotAcceptable
from ticker.history.choices import CONTENT_TYPES
from ticker.web.negotiation import encodings, matches, shape

ALL = tuple(CONTENT_TYPES)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("application/problem+json", "json"),
        ("application/*", "json"),
        ("text/*", "csv"),
        ("text/csv", "csv"),
        ("TEXT/CSV ; Q=0.9", "csv"),
        ("application/vnd.ticker.columns+json", "columns"),
        ("application/vnd.apache.arrow.stream", "arrow"),
        ("application/vnd.apache.arrow.stream;q=0.9, application/json;q=0.8", "arrow"),
        ("text/csv, application/json;q=0.5", "csv"),
        ("application/json;q=0, */*", "columns"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
    ],
)
def test_the_most_wanted_format_is_chosen(accept, expected):
    """Of equals, the plainest."""
    found = shape(accept, None, ALL)
    assert found.format == expected
    assert found.media_type == (
        CONTENT_TYPES[expected] if expected != "columns" else "application/vnd.ticker.columns+json"
    )


@pytest.mark.parametrize("wanted", ALL)
def test_format_rules_over_accept(wanted):
    """Whatever else the client takes."""
    assert shape("text/html", wanted, ALL) == (wanted, CONTENT_TYPES[wanted])


@pytest.mark.parametrize(
    ("accept", "wanted", "parameter"),
    [
        ("text/html", None, "Accept"),
        ("application/json;q=0", None, "Accept"),
        (None, "xml", "format"),
        ("*/*", "", "format"),
    ],
)
def test_what_is_not_offered_is_refused_with_406(accept, wanted, parameter):
    """With what is."""
    with pytest.raises(NotAcceptable, match="is not offered; allowed: ") as caught:
        shape(accept, wanted, ALL)
    assert (caught.value.parameter, caught.value.http_status, caught.value.code) == (parameter, 406, "not_acceptable")
    with pytest.raises(NotAcceptable, match=r"allowed: json$"):
        shape(None, "csv", ("json",))
    with pytest.raises(NotAcceptable, match=r"allowed: application/json$"):
        shape("text/csv", None, ("json",))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ()),
        ("identity", ()),
        ("br", ()),
        ("gzip", ("gzip",)),
        ("GZIP;q=0.5", ("gzip",)),
        ("gzip;q=0", ()),
        ("gzip, deflate, br, zstd", ("zstd", "gzip")),
        ("zstd;q=0.1, gzip;q=0.9", ("gzip", "zstd")),
        ("*", ("gzip",)),
        ("*, gzip;q=0", ()),
        ("zstd", ("zstd",)),
    ],
)
def test_encodings_are_those_that_the_client_takes(header, expected):
    """The most wanted first; `*` is no promise to read anything but what everybody reads."""
    assert encodings(header) == expected


@pytest.mark.parametrize("header", [b'"a"', b'W/"a"', b'"x", "a"', b'"x",W/"a"', b"*"])
def test_a_client_that_has_it_says_so(header):
    """Weakly or not, among others, or by a star."""
    assert matches(header, b'"a"')
    assert not matches(header.replace(b"a", b"b").replace(b"*", b"a"), b'"a"')
