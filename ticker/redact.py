"""Takes secrets out of texts that others will see: logs, errors, the state of a feed.

What formats an address or a setting leaves them out in the first place; this is for texts from elsewhere, which quote what
they were given: exceptions of libraries, messages of feeds.
"""

import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, quote, unquote

HIDDEN = "***"
SECRET_MIN = 4
"""A password shorter than this would take harmless words with it wherever it occurs; by its place it is hidden all the same."""

# Each begins with a few letters that are rarely found and goes on for so long at most: hostile text must cost no time.
_END = r"""\s'"<>\\"""
_PATTERNS = (
    # user:password@ of any address; the password may hold an unescaped / or @.
    (re.compile(rf"(://)[^{_END}]{{0,512}}@"), rf"\1{HIDDEN}@"),
    # The same where no host follows, or a cut has taken it: behind the colon is no port.
    (
        re.compile(rf"(://)(?!\[|\*\*\*)[^{_END}/]{{0,512}}:(?![0-9]{{1,5}}(?:[/?#,;.)\]{_END}]|$))[^{_END}]*"),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(
            rf"""(?i)(authorization\\?["']?\s*[:=,]\s*(?:b(?=["'\\]))?\\?["']?)(?:(?:basic|bearer|digest|token)\s+)?[^{_END},;&]+"""
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(
            rf"""(?i)((?:passw(?:or)?d|passwd|secret|token|api[_\-]?key|(?<=[?&])key|cookie)\\?["']?\s*[=:]\s*(?:b(?=["'\\]))?\\?["']?)"""
            rf"""[^{_END},;&]+"""
        ),
        rf"\1{HIDDEN}",
    ),
)


class Redactor:
    """Hides what looks like a secret, and secrets that are known, wherever they stand."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), repr(secret)[1:-1])}
        self._secrets = sorted((form for form in forms if len(form) >= SECRET_MIN), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without them."""
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


without_secrets = Redactor()
"""For texts of which no particular secret is known."""


def passwords_of(url: str) -> tuple[str, ...]:
    """The passwords in an address, as servers get them: that before the hosts, and those among the options."""
    place, _, query = url.partition("?")
    login, at, _ = place.partition("://")[2].rpartition("@")
    _, _, password = login.partition(":")
    options = parse_qsl(query, keep_blank_values=True)
    found = [unquote(password) if at else "", *(value for name, value in options if name.endswith("password"))]
    return tuple(value for value in found if value)
