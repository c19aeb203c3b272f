import io
import json
import logging
import re
import sys
import warnings
from datetime import UTC, datetime

import pytest

from ticker import logs, metrics
from ticker.logs import TEXT_MOST, WINDOW_S, LogHandler, RateLimit, formatter, in_short
from ticker.redact import Redactor


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    """A clock that the test holds."""
    return [1_000.0]


@pytest.fixture
def new_log(clock):
    """Makes a logger with a handler of ours; returns it, the stream it writes to, and the handler."""
    made = []

    def new_log(*, human=False, most=1_000, secrets=()):
        stream = io.StringIO()
        handler = LogHandler(stream, RateLimit(most, lambda: clock[0]))
        handler.setFormatter(formatter(human=human, colors=False, redact=Redactor(secrets)))
        log = logging.getLogger(f"ticker.test{len(made)}")
        log.propagate, log.handlers = False, [handler]
        log.setLevel(logging.DEBUG)
        made.append((log, handler))
        return log, stream, handler

    yield new_log
    for log, handler in made:
        log.handlers = []
        handler.close()


def lines(stream):
    return stream.getvalue().splitlines()


def objects(stream):
    return [json.loads(line) for line in lines(stream)]


def test_a_line_for_programs_is_one_object(new_log):
    """When, how bad, who, what, and the event's own fields."""
    log, stream, _ = new_log()
    log.warning("feed %s waits", "sim", extra={"feed": "sim", "ticks": 3, "clock": None, "path": sys})
    (line,) = objects(stream)
    assert list(line)[:4] == ["time", "level", "logger", "event"]
    assert (line["level"], line["logger"], line["event"]) == ("warning", log.name, "feed sim waits")
    assert (line["feed"], line["ticks"], line["clock"]) == ("sim", 3, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line["time"])).total_seconds()) < 10
    assert isinstance(line["path"], str)


def test_an_exception_is_one_field(new_log):
    """The whole traceback, in the same line."""
    log, stream, _ = new_log()
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("it failed")
    (line,) = objects(stream)
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: two\nlines")


def test_a_line_for_people_is_one_line_too(new_log):
    """What it is and where it came from; a field that the text has already is not repeated."""
    log, stream, _ = new_log(human=True)
    try:
        raise ValueError("two\nlines") from KeyError("x")
    except ValueError:
        log.exception("feed %s failed", "sim", extra={"feed": "sim", "symbol": "AAPL"})
    (line,) = lines(stream)
    assert re.match(r"\d\d:\d\d:\d\d \[error +\] feed sim failed ", line)
    assert "symbol=AAPL" in line
    assert "feed=" not in line
    assert r"ValueError: two\nlines [test_logs.py:" in line
    assert "<- KeyError: 'x'" in line


@pytest.mark.parametrize("human", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_foreign_text_cannot_forge_a_line(new_log, human, end):
    """Nor send orders to a terminal, nor run backwards; in the text, in a field, in an exception."""
    log, stream, _ = new_log(human=human)
    forged = f"x{end}12:00:00 [critical ] all is lost \x1b[31m \x9b31m \u202e \udcff"
    log.error("%s", forged, extra={"symbol": forged}, exc_info=ValueError(forged))
    assert len(lines(stream)) == 1
    assert stream.getvalue().count("\n") == 1
    assert not re.search("[\x1b\x9b\u202e\udcff]", stream.getvalue())


@pytest.mark.parametrize("human", [True, False])
def test_secrets_are_hidden_in_text_fields_and_exceptions(new_log, human):
    """Wherever they come from."""
    log, stream, _ = new_log(human=human, secrets=("hunter2",))
    error = ConnectionError("redis://user:hunter2@host: AUTH hunter2")
    log.error("lost %s", error, extra={"url": "redis://user:hunter2@host"}, exc_info=error)
    assert "hunter2" not in stream.getvalue()
    assert "redis://***@host" in stream.getvalue()


def test_a_call_whose_arguments_do_not_fit_is_a_line_all_the_same(new_log):
    """Somebody's mistake must not end in a traceback between the lines."""
    log, stream, _ = new_log()
    log.info("%d ticks of %s", "many")
    (line,) = objects(stream)
    assert "'%d ticks of %s' does not fit its arguments ('many',)" in line["event"]


def test_what_is_long_is_cut(new_log):
    """A feed may send anything; of a traceback the end is kept, which says what happened."""
    log, stream, _ = new_log()
    log.error("x" * 100_000, extra={"field": "y" * 100_000}, exc_info=ValueError("z" * 100_000 + " the end"))
    (line,) = objects(stream)
    assert len(lines(stream)[0]) < 4 * TEXT_MOST
    assert line["event"].endswith("(100000 characters)")
    assert line["exception"].endswith(" the end")


def flood(log, count):
    for number in range(count):
        log.warning("tick %d is bad", number)


@pytest.mark.limit("log_lines_per_minute")
def test_the_same_event_does_not_flood(new_log, clock):
    """So many lines a minute, whatever their arguments; others are not touched; then one line says how many more."""
    log, stream, handler = new_log(most=5)
    flood(log, 12)
    log.warning("something else")
    assert [line["event"] for line in objects(stream)] == [*(f"tick {n} is bad" for n in range(5)), "something else"]
    clock[0] += WINDOW_S - 1
    flood(log, 1)
    clock[0] += 1
    log.info("the minute is over")
    told, over = objects(stream)[6:]
    assert (told["level"], told["left_out"]) == ("warning", 8)
    assert told["event"] == "8 more lines of this event were left out: tick %d is bad"
    assert over["event"] == "the minute is over"
    flood(log, 6)
    assert len(objects(stream)) == 8 + 5
    handler.close()
    assert objects(stream)[-1]["left_out"] == 1


def test_lines_that_were_left_out_are_counted(new_log):
    """Each of them."""

    def hits():
        return metrics.REGISTRY.get_sample_value("ticker_limit_hits_total", {"limit": "log_lines_per_minute"})

    log, _, _ = new_log(most=2)
    before = hits()
    flood(log, 5)
    assert hits() == before + 3


def test_what_was_left_out_is_told_where_nothing_is_logged_any_more(new_log, clock):
    """Once the minute is over, by a timer."""
    log, stream, handler = new_log(most=1)
    flood(log, 3)
    timer = handler._timer
    assert timer.daemon
    assert timer.interval == WINDOW_S
    clock[0] += WINDOW_S
    timer.function()
    assert objects(stream)[-1]["left_out"] == 2
    timer.cancel()


def test_an_error_in_short_shows_groups_and_causes():
    """All that came together, and what each came of."""
    group = ExceptionGroup("tasks", [ValueError("a"), OSError("b")])
    group.__cause__ = KeyError("c")
    assert in_short(group) == "ExceptionGroup: tasks (2 sub-exceptions) <- ValueError: a <- OSError: b <- KeyError: 'c'"


def test_an_error_that_came_of_itself_ends():
    """Such a thing can be raised."""
    error = ValueError("a")
    error.__cause__ = error
    assert in_short(error).count("ValueError: a") == 5


def test_a_secret_is_found_before_the_text_is_cut(new_log):
    """What is left of one by a cut would not be recognised."""
    log, stream, _ = new_log()
    for length in range(TEXT_MOST - 30, TEXT_MOST):
        log.error("x" * length + " redis://user:hunter2@host")
        log.error("it failed", exc_info=ValueError("redis://user:hunter2@host " + "x" * length))
    assert "hunt" not in stream.getvalue()
    assert "ter2" not in stream.getvalue()


@pytest.fixture
def own_logging(monkeypatch):
    """The process's log, given back as it was."""
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in logs.LIBRARIES}
    yield
    for handler in [h for h in root.handlers if h not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(False)
    sys.excepthook = hook


@pytest.mark.parametrize(
    ("shape", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("human", io.StringIO, False),
    ],
)
def test_the_form_follows_the_stream_unless_told(own_logging, monkeypatch, shape, stream, is_json):
    """Human on a terminal, JSON otherwise; set up again, it replaces what was."""
    monkeypatch.setattr(sys, "stderr", stream())
    logs.set_up("human")
    logs.set_up(shape)
    logging.getLogger("ticker.x").info("hello")
    (line,) = lines(sys.stderr)
    assert line.startswith("{") == is_json
    assert ("\x1b[" in line) == (stream is Terminal and not is_json)


def test_no_colors_where_they_are_not_wanted(own_logging, monkeypatch):
    """As https://no-color.org has it."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    logs.set_up()
    logging.getLogger("ticker.x").warning("hello")
    assert "\x1b" not in sys.stderr.getvalue()


def test_libraries_speak_only_of_what_is_wrong(own_logging, monkeypatch):
    """Uvicorn would tell every path and query; its errors come in our form."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    logs.set_up("json", "debug")
    logging.getLogger("uvicorn.error").info("accepted /v1/stream?key=x")
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n")
    logging.getLogger("ticker.x").debug("told")
    assert [line["event"] for line in objects(sys.stderr)] == ["Exception in ASGI application\n", "told"]


def test_warnings_and_crashes_are_lines_too(own_logging, monkeypatch):
    """Nothing else writes to standard error; Ctrl-C is left to Python."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    logs.set_up("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", UserWarning, stacklevel=1)
    try:
        raise RuntimeError("gone")
    except RuntimeError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    warned, crashed = objects(sys.stderr)
    assert "old" in warned["event"]
    assert (crashed["level"], crashed["exception"].splitlines()[-1]) == ("critical", "RuntimeError: gone")
    monkeypatch.setattr(sys, "__excepthook__", lambda *_: None)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert len(objects(sys.stderr)) == 2
