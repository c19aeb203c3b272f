"""The opaque text that leads from one page of an answer to the next."""

import base64
import binascii
from hashlib import blake2b
from typing import Any

from ticker import codec
from ticker.errors import BadRequest


def write(query: str, place: list[Any]) -> str:
    """A cursor at `place` that goes on only with the query that it came from."""
    text = codec.to_json([_mark(query, place), *place])
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def read(query: str, cursor: str, kinds: tuple[type, ...]) -> list[Any]:
    """The place; refuses a cursor that is none, or another query's."""
    try:
        place = codec.from_json(base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, UnicodeError):
        place = None
    if not isinstance(place, list) or [type(part) for part in place[1:]] != list(kinds):
        raise BadRequest(f"{cursor!r} is no cursor; expected the `next` of an answer", "cursor")
    if place[0] != _mark(query, place[1:]):
        raise BadRequest("this cursor belongs to another query; send it with the parameters it came from", "cursor")
    return place[1:]


def _mark(query: str, place: list[Any]) -> str:
    return blake2b(codec.to_json([query, *place]), digest_size=6).hexdigest()
