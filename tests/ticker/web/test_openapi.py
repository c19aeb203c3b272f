"""The OpenAPI document is whole, and what the service really answers is what it says."""

import json

import jsonschema_rs
from closed_schemas import Validator, dangling, parts
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from starlette.routing import Route

from ticker import codec
from ticker.app import create_app
from ticker.config import Config
from ticker.limits import Limits
from ticker.web import openapi
from ticker.web.operations import OPERATIONS

DOCUMENT = openapi.document(Limits())
PAGES = {"/", "/docs", "/licenses.md"}
"""For people, not for programs."""
OF_HTTP = {"content-length", "content-type", "content-encoding", "date", "server", "connection"}
OF_BROWSERS = {
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "cross-origin-opener-policy",
}
"""On every answer, whatever it is: they say what a browser may do with it."""


def operation(path):
    return DOCUMENT["paths"][path]["get"]


def complaints(path, answer):
    """What an answer has that the document has not."""
    response = operation(path)["responses"].get(str(answer.status_code))
    if response is None:
        return [f"{answer.status_code} is not described"]
    told = {name.lower() for name in response.get("headers", {})}
    found = [f"header {n} is not described" for n in set(answer.headers) - told - OF_HTTP - OF_BROWSERS]
    if answer.status_code == 304:
        return found
    media_type = answer.headers["content-type"].partition(";")[0]
    if media_type not in response["content"]:
        return [*found, f"{media_type} is not described"]
    if media_type.endswith("json"):
        found += Validator(DOCUMENT, response["content"][media_type]["schema"]).complaints(answer.json())
    return found


def test_it_is_openapi_as_a_whole():
    """By the schema that the OpenAPI Initiative gives for 3.1."""
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(json.loads(codec.to_json(DOCUMENT)))] == []
    assert list(OPENAPI_31_VALIDATOR.iter_errors(DOCUMENT | {"openapi": "2"}))


def test_every_path_is_described_and_no_other():
    """But pages for people, and the WebSocket, which has a document of its own."""
    found = {route.path for route in create_app(Config()).routes if isinstance(route, Route)}
    assert {OPERATIONS[name].path for name in OPERATIONS} < found
    assert set(DOCUMENT["paths"]) == found - PAGES


def test_everything_in_it_is_explained():
    """Each parameter, response, header and field, each failure with an example; every reference leads somewhere."""
    assert dangling(DOCUMENT) == []
    for path, part in parts(DOCUMENT):
        at = path[-2] if len(path) > 1 else ""
        if at in ("responses", "headers", "parameters", "tags", "links") and "$ref" not in part:
            assert part.get("description"), path
        if at == "parameters" and part["name"] != "cursor":
            names = {"example"} | ({"default", "$ref"} & set(part["schema"]))
            assert names & {*part, *part["schema"]}, path
        if at == "content" and path[-1] != "application/vnd.apache.arrow.stream":
            assert {"example", "examples"} & set(part), path


def test_every_schema_is_one_and_takes_its_examples():
    """By the dialect that the document names; also where no more fields are allowed than it has."""
    assert DOCUMENT["jsonSchemaDialect"] == "https://json-schema.org/draft/2020-12/schema"
    count = 0
    for path, part in parts(DOCUMENT):
        if "schema" not in part or path[-1] == "properties":
            continue
        jsonschema_rs.meta.validate({"$schema": DOCUMENT["jsonSchemaDialect"], **part["schema"]})
        shown = [part["example"]] if "example" in part else []
        shown += [one["value"] for one in part.get("examples", {}).values()]
        for example in shown:
            assert Validator(DOCUMENT, part["schema"]).complaints(example) == [], path
            count += 1
    assert count > 60


def test_what_the_document_lacks_is_found():
    """A field more, a field less, another kind of value."""
    schema = operation("/v1/trades/{symbol}")["responses"]["200"]["content"]["application/json"]["schema"]
    good = operation("/v1/trades/{symbol}")["responses"]["200"]["content"]["application/json"]["example"]
    validator = Validator(DOCUMENT, schema)
    assert validator.accepts(good)
    assert not validator.accepts(good | {"more": 1})
    assert not validator.accepts({name: good[name] for name in good if name != "next"})
    assert not validator.accepts(good | {"trades": [good["trades"][0] | {"more": 1}]})
    assert not validator.accepts(good | {"trades": [good["trades"][0] | {"seq": "1"}]})


async def test_answers_are_as_described(filled):
    """Each path, each format, a page with more behind it and one without rows; status, headers, media type, body."""
    await filled.json("/readyz")
    for path in DOCUMENT["paths"]:
        formats = OPERATIONS_BY_PATH[path].formats if path in OPERATIONS_BY_PATH else ("",)
        for symbol in ("AAPL", "MSFT") if "{symbol}" in path else ("",):
            for wanted in formats:
                query = {"symbols": "AAPL,MSFT,ZZZZ"} if path in ("/v1/candles", "/v1/snapshots") else {}
                query |= {"format": wanted} if wanted else {}
                query |= {"limit": 1} if path in OPERATIONS_BY_PATH and "limit" in operation_names(path) else {}
                answer = await filled.get(path.replace("{symbol}", symbol), params=query)
                assert answer.status_code == 200, answer.text
                assert complaints(path, answer) == [], answer.text[:500]
                if tag := answer.headers.get("etag"):
                    again = await filled.get(
                        path.replace("{symbol}", symbol), params=query, headers={"If-None-Match": tag}
                    )
                    assert (again.status_code, complaints(path, again)) == (304, [])


OPERATIONS_BY_PATH = {one.path: one for one in OPERATIONS.values()}


def operation_names(path):
    return {parameter["name"] for parameter in operation(path)["parameters"]}


async def test_failures_are_as_described(filled):
    """A wrong parameter, an unknown symbol and interval, a format that is not offered."""
    for path, one in OPERATIONS_BY_PATH.items():
        place = path.replace("{symbol}", "AAPL")
        needed = {"symbols": "AAPL"} if "symbols" in one.parameters else {}
        wrong = [({"nonsense": "1"}, 400), ({"format": "xml"}, 406)]
        if "interval" in one.parameters:
            wrong.append(({"interval": "2m"}, 400))
        for query, status in wrong:
            answer = await filled.get(place, params=needed | query)
            assert (answer.status_code, complaints(path, answer)) == (status, []), answer.text
            examples = operation(path)["responses"][str(status)]["content"]["application/problem+json"]["examples"]
            assert answer.json()["code"] in examples
        if one.of_symbol:
            answer = await filled.get(path.replace("{symbol}", "ZZZZ"))
            assert (answer.status_code, complaints(path, answer)) == (404, [])


async def test_limits_that_are_met_are_as_described(start_service, valkey_url):
    """The headers of rates on good answers too, and 429."""
    service = await start_service(valkey_url, symbols=["AAPL"], limits={"requests_per_minute": 4})
    seen = set()
    for _ in range(6):
        answer = await service.get("/v1/limits")
        assert complaints("/v1/limits", answer) == []
        seen.add(answer.status_code)
    assert seen == {200, 429}


async def test_the_document_is_served_and_asked_for_by_its_tag(service):
    """With the limits in force."""
    answer = await service.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    limit = next(p for p in answer.json()["paths"]["/v1/symbols"]["get"]["parameters"] if p["name"] == "limit")
    assert limit["schema"]["maximum"] == service.gateway.config.limits.page_rows
    again = await service.get("/openapi.json", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
