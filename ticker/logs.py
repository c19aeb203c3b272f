"""The log: one line an event on standard error, for people on a terminal, as JSON for programs.

Modules log as ever, with `logging.getLogger(__name__)`, and give an event's fields as `extra`. Here every line gets its
form, by structlog: secrets are hidden, what others have sent cannot forge a line, and the same event does not flood.
"""

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from time import monotonic
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from ticker import metrics
from ticker.limits import LIMITS
from ticker.redact import Redactor

Format = Literal["auto", "human", "json"]
Level = Literal["debug", "info", "warning", "error"]

LIBRARIES = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "httpx", "httpcore", "apscheduler", "asyncio", "websockets")
"""They only speak up when something is wrong."""
WINDOW_S = 60.0
TEXT_MOST = 8_192
"""Characters of an event, a field or a traceback (its end, which says what happened); what is longer is cut."""
LOOKED_AT_MOST = 8 * TEXT_MOST
"""Characters that are searched for secrets; what comes after them is cut in any case."""
FRAMES, CAUSES = 6, 4
"""Of an error in short: the places it passed, and what it came of."""
PLAIN = frozenset({"time", "level", "logger", "event"})
NOT_FIELDS = frozenset({"_record", "_from_structlog", "exc_info", "stack_info", "color_message"})
QUOTED = frozenset(" \t=\r\n\"'")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Line ends of every kind, what terminals obey, and what makes text run backwards."""


class RateLimit:
    """Lines of the same event, which is one call in one place of the code, in a minute from its first one on."""

    def __init__(self, most: int, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._clock = clock
        self._windows: dict[tuple[str, int], tuple[float, int]] = {}
        self._left_out: dict[tuple[str, int], tuple[logging.LogRecord, int]] = {}

    def passes(self, record: logging.LogRecord) -> bool:
        """Count a line; False where it is one too many."""
        place, now_s = (record.pathname, record.lineno), self._clock()
        began_s, count = self._windows.get(place, (now_s, 0))
        if now_s - began_s >= WINDOW_S:
            began_s, count = now_s, 0
        self._windows[place] = began_s, count + 1
        if count < self._most:
            return True
        self._left_out[place] = record, self._left_out.get(place, (record, 0))[1] + 1
        return False

    def ended(self, *, all_of_them: bool = False) -> list[logging.LogRecord]:
        """One line for each event whose minute is over and of which lines were left out: how many."""
        now_s = self._clock()
        places = [p for p in self._left_out if all_of_them or now_s - self._windows[p][0] >= WINDOW_S]
        return [self._told(*self._left_out.pop(place)) for place in places]

    def _told(self, record: logging.LogRecord, count: int) -> logging.LogRecord:
        text = f"{count} more lines of this event were left out: {str(record.msg)[:200]}"
        told = logging.LogRecord(record.name, record.levelno, record.pathname, record.lineno, text, None, None)
        told.left_out = count
        return told


class LogHandler(logging.StreamHandler[TextIO]):
    """Writes lines that the rate limit lets pass, and tells of those that it did not."""

    def __init__(self, stream: TextIO, limit: RateLimit) -> None:
        super().__init__(stream)
        self._limit = limit
        self._timer: Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """One line, or none; the handler's lock is held."""
        self._tell()
        if self._limit.passes(record):
            super().emit(record)
            return
        metrics.met("log_lines_per_minute")
        if self._timer is None:
            # Should nothing be logged any more, the count is told all the same.
            self._timer = Timer(WINDOW_S, self._time_is_up)
            self._timer.daemon = True
            self._timer.start()

    def format(self, record: logging.LogRecord) -> str:
        """A line; also where a call's text and arguments do not fit, which must not end in more lines than one."""
        try:
            return super().format(record)
        except (TypeError, ValueError, KeyError) as error:
            text = f"{record.msg!r} does not fit its arguments {record.args!r}: {error}"
            return super().format(
                logging.LogRecord(record.name, record.levelno, record.pathname, record.lineno, "%s", (text,), None)
            )

    def close(self) -> None:
        """Tell what was left out until now."""
        if self._timer:
            self._timer.cancel()
        self._tell_locked(all_of_them=True)
        super().close()

    def _time_is_up(self) -> None:
        self._timer = None
        self._tell_locked()

    def _tell_locked(self, *, all_of_them: bool = False) -> None:
        self.acquire()
        try:
            self._tell(all_of_them=all_of_them)
        finally:
            self.release()

    def _tell(self, *, all_of_them: bool = False) -> None:
        for record in self._limit.ended(all_of_them=all_of_them):
            super().emit(record)


def set_up(
    shape: Format = "auto",
    level: Level = "info",
    lines_per_minute: int = LIMITS["log_lines_per_minute"].default,
    secrets: Sequence[str] = (),
) -> None:
    """The log of this process, in place of what was set up before; warnings and crashes go the same way."""
    stream = sys.stderr
    human = shape == "human" or (shape == "auto" and stream.isatty())
    handler = LogHandler(stream, RateLimit(lines_per_minute))
    colors = human and stream.isatty() and "NO_COLOR" not in os.environ
    handler.setFormatter(formatter(human=human, colors=colors, redact=Redactor(secrets)))
    root = logging.getLogger()
    for one in [one for one in root.handlers if isinstance(one, LogHandler)]:
        root.removeHandler(one)
        one.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    sys.excepthook = _crashed


def formatter(*, human: bool, colors: bool, redact: Redactor) -> logging.Formatter:
    """What makes a line of a record of the standard library."""

    def fields(_: Any, __: str, event: EventDict) -> EventDict:
        return _for_people(event, redact) if human else _for_programs(event, redact)

    render: list[Processor] = [structlog.processors.JSONRenderer()]
    if human:
        console = structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="time", pad_event_to=0, sort_keys=False)
        render = [_printable, console]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()], processors=[fields, *render]
    )


def _for_programs(event: EventDict, redact: Redactor) -> EventDict:
    """The fields of a line: first those that all have, last what went wrong, as one text."""
    record: logging.LogRecord = event["_record"]
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields = _fields(event, time, redact)
    if error := _error(event):
        # Its end says what happened.
        told = "".join(traceback.format_exception(error)).rstrip()
        fields["exception"] = redact(told[-LOOKED_AT_MOST:])[-TEXT_MOST:]
    return fields


def _for_people(event: EventDict, redact: Redactor) -> EventDict:
    """The same with the time of day, without what the text says already, and an error in short."""
    time = datetime.fromtimestamp(event["_record"].created).astimezone().strftime("%H:%M:%S")
    fields = _fields(event, time, redact)
    fields = {name: v for name, v in fields.items() if name in PLAIN or str(v) not in str(fields["event"])}
    if error := _error(event):
        # Under the name `exception` structlog would give it lines of its own.
        fields["error"] = _cut(in_short(error), redact)
    return fields


def _fields(event: EventDict, time: str, redact: Redactor) -> dict[str, object]:
    record: logging.LogRecord = event["_record"]
    more = {name: _shown(v, redact) for name, v in event.items() if name not in NOT_FIELDS and name not in PLAIN}
    text = _cut(str(event["event"]), redact)
    return {"time": time, "level": record.levelname.lower(), "logger": record.name, "event": text} | more


def _shown(value: object, redact: Redactor) -> object:
    return value if isinstance(value, int | float | bool | None) else _cut(str(value), redact)


def _cut(text: str, redact: Redactor) -> str:
    # Secrets first: half of one does not look like it any more.
    shown = redact(text[:LOOKED_AT_MOST])
    return shown if len(shown) <= TEXT_MOST else f"{shown[:TEXT_MOST]}... ({len(text)} characters)"


def _error(event: EventDict) -> BaseException | None:
    found: Any = event.get("exc_info")
    error: BaseException | None = found[1] if isinstance(found, tuple) else found
    return error


def _printable(_: Any, __: str, event: EventDict) -> EventDict:
    """Nothing in a line begins another one, or does anything to a terminal."""
    return {name: _escaped(name, value) if isinstance(value, str) else value for name, value in event.items()}


def _escaped(name: str, value: str) -> str:
    if name not in PLAIN and QUOTED & set(value):
        # structlog quotes it, as repr does: that escapes.
        return value
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), value)


def in_short(error: BaseException, causes: int = CAUSES) -> str:
    """An error in one line: what it is, the last places it passed, and what it came of."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    where = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    text = f"{type(error).__name__}: {error}" + (f" [{where}]" if where else "")
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    if (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        inner = (*inner, cause)
    return " <- ".join((text, *(in_short(one, causes - 1) for one in inner if causes)))


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What nobody has caught; Ctrl-C is no crash."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("ticker").critical("the program ends: nobody expected this error", exc_info=(kind, error, trace))
