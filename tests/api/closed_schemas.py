"""Validates what the service says by its own documents, read strictly: a field that a document lacks is a mistake."""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs


def closed(schema: Any) -> Any:
    """The same schema, without room for more fields than it names."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        name: one if name in ("examples", "example", "enum", "const") else closed(one) for name, one in schema.items()
    }
    if schema.get("type") == "object" and "properties" in schema:
        made.setdefault("additionalProperties", False)
    return made


class Validator:
    """One schema of a document."""

    def __init__(self, document: Mapping[str, Any], schema: Any) -> None:
        components = {"schemas": closed(document["components"]["schemas"])}
        self._validator = jsonschema_rs.Draft202012Validator({**closed(schema), "components": components})

    def complaints(self, value: Any) -> list[str]:
        """What is wrong with a value, if anything."""
        return [f"{'/'.join(map(str, one.instance_path))}: {one.message}" for one in self._validator.iter_errors(value)]

    def accepts(self, value: Any) -> bool:
        return self._validator.is_valid(value)


def parts(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every object in a document, with where it is."""
    if isinstance(value, dict):
        yield path, value
        for name, one in value.items():
            yield from parts(one, (*path, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from parts(one, (*path, str(number)))


def dangling(document: Mapping[str, Any]) -> list[str]:
    """References that lead nowhere."""
    found = []
    for _, part in parts(document):
        target = part.get("$ref")
        if isinstance(target, str):
            at: Any = document
            for name in target.removeprefix("#/").split("/"):
                at = at.get(name.replace("~1", "/")) if isinstance(at, dict) else None
            if at is None:
                found.append(target)
    return found
