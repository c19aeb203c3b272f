"""A short run of what `make fuzz` does at length: REST keeps its document, whatever is asked."""

import pytest
import rest_fuzz

SEED = 20_261_125
"""Always the same requests, so that who has changed nothing sees nothing new."""


@pytest.mark.timeout(300)
def test_rest_keeps_its_document(tmp_path):
    """No failure of any check, no 5xx, and every path has given what it promises."""
    with rest_fuzz.running(tmp_path) as url:
        tally = rest_fuzz.fuzz(url, tmp_path, requests=1, seed=SEED, examples=3)
        missed = rest_fuzz.paths_of(url) - tally.reached()
    assert tally.failures == []
    assert tally.server_errors == []
    assert missed == set()
    assert tally.requests > 500


def test_what_is_against_the_document_is_found(tmp_path):
    """A run that fails is told of, with what schemathesis says."""
    tally = rest_fuzz.Tally()
    tally.answers.update({"GET /v1/symbols 200": 3, "GET /v1/limits 503": 1, "POST /v1/limits 200": 1})
    assert (tally.requests, tally.reached(), tally.server_errors) == (5, {"/v1/symbols"}, ["GET /v1/limits 503"])
    found = rest_fuzz.fuzz("http://127.0.0.1:9", tmp_path, requests=1, seed=1, examples=1)
    assert any("exit code" in failure for failure in found.failures)
