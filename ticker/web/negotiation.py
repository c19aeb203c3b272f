"""Chooses, of what a request takes, the format and the encoding of its answer (RFC 9110, 12.5)."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from ticker.errors import NotAcceptable
from ticker.history.choices import CONTENT_TYPES, MEDIA_TYPES, Format

ENCODINGS = ("zstd", "gzip")
"""In order of preference."""
REMEMBERED = 256
"""Different headers, of which browsers and programs send few."""
QUALITY = re.compile(r"\s*[qQ]\s*=\s*([01](?:\.[0-9]{0,3})?)\s*")


class Shape(NamedTuple):
    """The format of an answer, and what it calls itself."""

    format: Format
    media_type: str


def shape(accept: str | None, wanted: str | None, offered: Sequence[str]) -> Shape:
    """The format that `format` names or `Accept` prefers; raises `NotAcceptable` where that is not offered."""
    if wanted is not None:
        if wanted not in offered:
            raise NotAcceptable(f"format {wanted!r} is not offered; allowed: {', '.join(offered)}", "format")
        return _by_name(wanted)
    if not accept:
        return _by_name("json")
    found = _preferred(accept, tuple(offered))
    if found is None:
        kinds = [kind for kind, name in MEDIA_TYPES.items() if name in offered]
        raise NotAcceptable(f"Accept {accept[:80]!r} is not offered; allowed: {', '.join(kinds)}", "Accept")
    return found


def _by_name(name: str) -> Shape:
    for known, media_type in CONTENT_TYPES.items():
        if name == known:
            return Shape(known, media_type)
    raise AssertionError(name)


@lru_cache(REMEMBERED)
def _preferred(accept: str, offered: tuple[str, ...]) -> Shape | None:
    """What is offered of what a header takes, the most wanted first, then in our order."""
    given = _weights(accept)
    best, most = None, 0.0
    for media_type, name in MEDIA_TYPES.items():
        if name not in offered:
            continue
        # An error comes as problem+json: whoever takes only that means JSON.
        ranges = [media_type, f"{media_type.partition('/')[0]}/*", "*/*"]
        if name == "json":
            ranges.insert(1, "application/problem+json")
        weight = next((given[one] for one in ranges if one in given), 0.0)
        if weight > most:
            content_type = CONTENT_TYPES[name] if name != "columns" else media_type
            best, most = Shape(name, content_type), weight
    return best


@lru_cache(REMEMBERED)
def encodings(accept_encoding: str) -> tuple[str, ...]:
    """The compressions that a header takes, the most wanted first."""
    given = _weights(accept_encoding)
    # `*` means what everybody can, and that is gzip.
    weights = {"zstd": given.get("zstd", 0.0), "gzip": given.get("gzip", given.get("*", 0.0))}
    return tuple(sorted((name for name in ENCODINGS if weights[name] > 0), key=lambda name: -weights[name]))


def _weights(header: str) -> dict[str, float]:
    """The names in a header with their `q`."""
    found: dict[str, float] = {}
    for part in header.lower().split(","):
        name, *parameters = part.split(";")
        weight = 1.0
        for parameter in parameters:
            if quality := QUALITY.fullmatch(parameter):
                weight = float(quality[1])
        found.setdefault(name.strip(), weight)
    return found


def matches(if_none_match: bytes, etag: bytes) -> bool:
    """Whether what a client has is what it would get: `If-None-Match` compares weakly (RFC 9110, 13.1.2)."""
    if if_none_match == etag:
        return True
    parts = [part.strip().removeprefix(b"W/") for part in if_none_match.split(b",")]
    return etag in parts or parts == [b"*"]
