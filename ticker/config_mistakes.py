"""Says what is wrong with a configuration in words of ours: where, what was found, what is allowed."""

from typing import Any

from pydantic import BaseModel

from ticker.config import Config, keys_of
from ticker.redact import without_secrets

ALLOWED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "path_type": "a path",
    "tuple_type": "a list (in the environment: as JSON)",
    "list_type": "a list (in the environment: as JSON)",
    "dict_type": "a mapping",
    "literal_error": "{expected}",
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "string_too_short": "a text of {min_length} characters or more",
    "string_pattern_mismatch": "a text of the form {pattern}",
}
"""What a setting may be, in our words, by the kind of mistake in pydantic's."""


def in_words(error: Any) -> str:
    """One mistake: where it is, what was found, what is allowed."""
    where = ".".join(str(part) for part in error["loc"]) or "config"
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return f"{where}: {context['error']}"
    if kind == "missing":
        return f"{where} is missing"
    if kind == "extra_forbidden":
        beside = _model_at(error["loc"][:-1])
        return f"{where}: unknown key" + (f"; allowed: {', '.join(keys_of(beside))}" if beside else "")
    if kind == "model_type":
        allowed = a_mapping(_model_at(error["loc"]))
    elif kind in ALLOWED:
        allowed = ALLOWED[kind].format_map(context)
    else:
        return f"{where}: {error['msg']}, found {shown(error['input'])}"
    return f"{where}: found {shown(error['input'])}; allowed: {allowed}"


def shown(found: object) -> str:
    """What was found, in one short piece."""
    if found is None:
        return "nothing"
    if isinstance(found, dict):
        return "a mapping"
    # What a cut leaves of a secret would not look like one any more.
    return "a list" if isinstance(found, (list, tuple)) else without_secrets(repr(found))[:80]


def a_mapping(model: type[BaseModel] | None) -> str:
    """What a section is, by the keys it may have."""
    return f"a mapping with {', '.join(keys_of(model))}" if model else "a mapping"


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The section at a place in the tree."""
    model: type[BaseModel] = Config
    for part in loc:
        field = model.model_fields.get(str(part))
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return None
        model = kind
    return model if model is not BaseModel else None
