import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ticker import codes, errors
from ticker.web.operations import OPERATIONS

TICKER = Path(codes.__file__).parent
WEBSOCKET = ("web/messages.py", "web/stream.py", "web/subscriptions.py")


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call, by the last part of the name that is called."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield name, node


def literals(node: ast.AST, kind: type) -> set:
    return {found.value for found in ast.walk(node) if isinstance(found, ast.Constant) and type(found.value) is kind}


def closes(source: str) -> set[int]:
    """The close codes in a source: first arguments of `Closed(...)` and of a socket's `close(...)`."""
    return {
        code
        for name, call in calls(source)
        if name in ("Closed", "close") and call.args
        for code in literals(call.args[0], int)
    }


def error_codes(source: str) -> set[str]:
    """The codes in a source: of errors that are raised, and of dictionaries with a `code`."""
    found = {
        code
        for name, call in calls(source)
        if name in ("RequestError", "BadRequest") and len(call.args) > 2
        for code in literals(call.args[2], str)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "code":
                    found |= literals(value, str)
    return found


def problems(source: str) -> set[str]:
    """The codes of answers that are made on the spot."""
    return {
        code
        for name, call in calls(source)
        if name == "problem" and len(call.args) > 1
        for code in literals(call.args[1], str)
    }


def source(path: str) -> str:
    return (TICKER / path).read_text("utf-8")


def all_sources() -> list[str]:
    return [path.read_text("utf-8") for path in TICKER.rglob("*.py") if path.name != "codes.py"]


def of_errors() -> set[str]:
    """What the tree of errors becomes at the rim."""
    return {error.code for error in vars(errors).values() if isinstance(error, type) and hasattr(error, "code")}


def test_close_codes_are_those_of_the_table():
    """Each code that we send stands there, and each that stands there is sent, by us or by what carries us."""
    used = {code for text in all_sources() for code in closes(text)}
    assert used == set(codes.CLOSES) - codes.BY_LIBRARY
    assert set(codes.CLOSES) >= codes.BY_LIBRARY


def test_websocket_errors_are_those_of_the_table():
    """What requests are refused with, and single symbols."""
    used = {code for path in WEBSOCKET for code in error_codes(source(path))} | {errors.BadRequest.code}
    assert used == set(codes.WEBSOCKET_ERRORS)


def test_problem_codes_are_those_of_the_table():
    """The tree of errors, codes of single parameters, and what is answered outside of it."""
    from ticker.web import problems as answers

    spot = {code for text in all_sources() for code in problems(text)}
    of_parameters = {p.code for o in OPERATIONS.values() for p in o.parameters.values() if p.code}
    used = of_errors() | of_parameters | spot | set(answers.CODES.values())
    assert used == set(codes.PROBLEMS)


def gap_reasons(source: str) -> set[str]:
    """What a `gap` is announced with: the last argument where it is written out, or a variable called `reason`."""
    found = {
        reason
        for name, call in calls(source)
        if name in ("announce_hole", "gap_message", "_miss")
        for reason in literals(call.args[-1], str)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "reason" for target in node.targets):
            found |= literals(node.value, str)
    return found


def stale_reasons(source: str) -> set[str]:
    """The keys of the dictionaries that `_wrong` returns."""
    wrong = next(node for node in ast.walk(ast.parse(source)) if getattr(node, "name", "") == "_wrong")
    dicts = [node for node in ast.walk(wrong) if isinstance(node, ast.Dict)]
    return {key.value for node in dicts for key in node.keys if isinstance(key, ast.Constant)}


def test_gaps_and_service_messages_have_the_reasons_of_the_tables():
    """As the relay, the replays and the service write them."""
    assert set().union(*(gap_reasons(file.read_text()) for file in TICKER.glob("hub/*.py"))) == set(codes.GAPS)
    assert stale_reasons(source("hub/service.py")) == set(codes.STALE)


@pytest.mark.parametrize("table", ["PROBLEMS", "WEBSOCKET_ERRORS", "CLOSES", "GAPS", "STALE", "EXITS"])
def test_every_code_is_explained(table):
    """A meaning for each, in a phrase without a full stop."""
    rows = getattr(codes, table)
    assert rows
    assert all(row.meaning and not row.meaning.endswith(".") and not row.remedy.endswith(".") for row in rows.values())


def test_a_code_without_its_line_is_found():
    """So that the comparisons above mean something."""
    assert closes("raise Closed(4999, 'x')\nawait socket.close(4998 if a else 1003, 'x')") == {4999, 4998, 1003}
    assert error_codes("raise RequestError(i, 'x', 'novelty')\ny = {'symbol': s, 'code': 'other'}") == {
        "novelty",
        "other",
    }
    assert gap_reasons("reason = 'a' if b else 'c'\nself._outlet.announce_hole(track, 5, 'd')") == {"a", "c", "d"}
    assert stale_reasons("def _wrong():\n    return {'moon': []} if a else {}") == {"moon"}
    assert problems("return problem(418, 'teapot', 'x')") == {"teapot"}
