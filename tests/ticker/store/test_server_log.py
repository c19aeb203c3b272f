"""The log of the embedded server does not grow for ever, and tells why it ended."""

import pytest

from ticker.store import server_log
from ticker.store.embedded import EmbeddedServer
from ticker.store.server_log import last_words


def test_a_large_log_is_put_aside(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log does not grow for ever."""
    server.start()
    server.stop()
    monkeypatch.setattr(server_log, "LOG_BYTES_MAX", 10)
    server.start()
    assert server.log_path.with_suffix(".log.old").exists()
    assert server.log_path.read_text().count("Ready to accept connections") == 1


def test_warnings_come_first() -> None:
    """The last two warnings tell why; what a server says at every start does not."""
    text = (
        "7:M 24 Nov 2026 02:31:17.529 # WARNING Memory overcommit must be enabled! And so on.\n"
        "7:M 24 Nov 2026 02:31:17.609 # first\n"
        "7:M 24 Nov 2026 02:31:17.609 # second\n"
        "7:M 24 Nov 2026 02:31:17.610 * Running mode=standalone, port=26379.\n"
        "7:M 24 Nov 2026 02:31:17.610 # third\n"
    )
    assert last_words(text) == "second; third"


def test_bare_lines_come_next() -> None:
    """A server that does not like its options has no log yet."""
    assert last_words("\n*** FATAL ***\n>>> 'nonsense'\nBad directive\n") == ">>> 'nonsense'; Bad directive"


def test_any_line_is_better_than_none() -> None:
    """Where nothing warns, the last lines stand in."""
    assert last_words("7:M 24 Nov 2026 02:31:17.610 * Server initialized\n") == "Server initialized"
    assert last_words("") == ""
