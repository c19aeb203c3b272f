"""What the commands print that need no service."""

import json

import pytest
from click.testing import CliRunner

from ticker.cli import cli
from ticker.config import Config
from ticker.web import asyncapi, openapi


@pytest.fixture
def printed(monkeypatch, tmp_path):
    """What a command prints in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def printed(*arguments: str) -> str:
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
        return done.output

    return printed


def test_the_documents_are_printed(printed):
    """As a service with the same configuration would serve them."""
    assert json.loads(printed("openapi")) == json.loads(json.dumps(openapi.document(Config().limits)))
    assert json.loads(printed("asyncapi")) == json.loads(json.dumps(asyncapi.document(Config())))


def test_the_configuration_counts(printed, tmp_path):
    """Its limits, and where it listens."""
    (tmp_path / "config.yaml").write_text("server: {port: 8123}\nlimits: {page_rows: 77}\n")
    parameters = json.loads(printed("openapi"))["paths"]["/v1/trades/{symbol}"]["get"]["parameters"]
    (limit,) = [one["schema"] for one in parameters if one["name"] == "limit"]
    assert (limit["maximum"], limit["default"]) == (77, 77)
    assert json.loads(printed("asyncapi"))["servers"]["gateway"]["host"] == "127.0.0.1:8123"
