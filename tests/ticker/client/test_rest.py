"""One request: what is asked again, and what the errors say."""

import pytest

from ticker.client import NotTicker, Refused, Unauthorized, Unavailable, UnknownSymbol, Unreachable
from ticker.client.rest import ATTEMPTS, Rest

BUSY = {"status": 503, "code": "unavailable", "detail": "the store does not answer", "request_id": "r1"}


@pytest.fixture
async def rest(scripted, soon):
    """A client of the scripted gateway."""
    async with Rest(scripted.url, {"Authorization": "Bearer sesame"}, soon, 5.0) as made:
        yield made


async def test_an_answer(scripted, rest):
    """With the key in the request, and the parameters."""
    scripted.answer("/x", {"a": 1})
    assert await rest.get("/x", {"b": "c d"}) == {"a": 1}
    assert scripted.requests[0].path == "/x?b=c+d"
    assert scripted.requests[0].headers["Authorization"] == "Bearer sesame"


async def test_a_busy_gateway_is_asked_again(scripted, rest):
    """A few times."""
    scripted.answer("/x", BUSY, 503, Retry_After="0")
    scripted.answer("/x", {"a": 1})
    assert await rest.get("/x") == {"a": 1}
    scripted.answers.clear()
    scripted.answer("/x", BUSY, 503, Retry_After="0")
    with pytest.raises(Unavailable, match="the store does not answer") as error:
        await rest.get("/x")
    assert (error.value.status, error.value.request_id, error.value.retry_after_s) == (503, "r1", 0.0)
    assert len(scripted.requests) == 2 + ATTEMPTS


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "bad_request", Refused),
        (401, "unauthorized", Unauthorized),
        (403, "forbidden_origin", Unauthorized),
        (404, "unknown_symbol", UnknownSymbol),
        (404, "unknown_path", Refused),
        (500, "internal_error", Refused),
    ],
)
async def test_a_refusal_is_told_as_it_is(scripted, rest, status, code, error):
    """Once."""
    scripted.answer("/x", {"code": code, "detail": "why", "parameter": "limit", "request_id": "r2"}, status)
    with pytest.raises(error) as refused:
        await rest.get("/x")
    found = refused.value
    assert type(found) is error
    assert (found.status, found.code, found.detail, found.parameter, found.request_id) == (
        status,
        code,
        "why",
        "limit",
        "r2",
    )
    assert str(found) == f"GET {scripted.url}/x: {status} {code}: why (request r2)"
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("body", [b"<html>", b"", [1], "text"])
async def test_something_else_is_not_taken_for_an_answer(scripted, rest, body):
    """It says what it was asked."""
    scripted.answer("/x", body)
    with pytest.raises(NotTicker, match=r"GET .*/x: answered 200"):
        await rest.get("/x")


async def test_nobody_there(free_port, soon):
    """At once; once somebody has been there, a few attempts are made."""
    port = free_port()
    async with Rest(f"http://127.0.0.1:{port}", {}, soon, 5.0) as rest:
        with pytest.raises(Unreachable, match=str(port)):
            await rest.get("/x")


async def test_a_gateway_that_is_away_in_the_middle_of_an_answer(scripted, rest, monkeypatch):
    """The page is asked for again."""
    scripted.answer("/x", {"a": 1, "next": "c1"})
    scripted.answer("/x", {"a": 2, "next": None})
    whole, calls = rest._client.get, []

    async def flaky(path, params):
        calls.append(dict(params))
        if len(calls) == 2:
            port, scripted_port = 1, rest._client.base_url
            rest._client.base_url = f"http://127.0.0.1:{port}"
            try:
                return await whole(path, params=params)
            finally:
                rest._client.base_url = scripted_port
        return await whole(path, params=params)

    monkeypatch.setattr(rest._client, "get", flaky)
    assert [page["a"] async for page in rest.pages("/x", {"limit": "1"})] == [1, 2]
    assert calls == [{"limit": "1"}, {"limit": "1", "cursor": "c1"}, {"limit": "1", "cursor": "c1"}]
