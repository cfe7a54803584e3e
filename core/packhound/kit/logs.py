"""Logs: one line per event on standard error, for people on a terminal, as JSON otherwise.

Promise: the only door to structlog. Every text passes the sanitiser that was handed in before it reaches a terminal;
JSON is ASCII. A log never fails its process: a closed standard error is the end of logging.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import structlog

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "human", "json"]
LEVELS: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLOURS = {"debug": "\x1b[2m", "info": "", "warning": "\x1b[33m", "error": "\x1b[31m"}
_RESET = "\x1b[0m"
Event = MutableMapping[str, Any]


class _Lines:
    """What structlog prints to: a stream that may go away."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        try:
            self._stream.write(message + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = msg


def set_up(
    *,
    level: Level = "info",
    form: Format = "auto",
    sanitise: Callable[[str], str],
    stream: TextIO | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Configure logging of the process. `sanitise` makes any text safe for a terminal; `form` auto: human when
    `stream` (standard error) is a terminal."""
    out = stream or sys.stderr
    human = form == "human" or (form == "auto" and out.isatty())
    colours = human and out.isatty()

    def render(_logger: Any, name: str, event: Event) -> str:
        return _human(event, name, sanitise, clock(), colours=colours) if human else _json(event, name, clock())

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Lines(out),
        cache_logger_on_first_use=False,
    )


def logger(name: str) -> Any:
    """A logger that says which part speaks."""
    return structlog.get_logger(part=name)


def _human(event: Event, level: str, sanitise: Callable[[str], str], now: datetime, *, colours: bool) -> str:
    text = sanitise(str(event.pop("event", "")))
    trace = event.pop("exception", None)
    event.pop("part", None)
    words = [f"{name}={_value(value, sanitise)}" for name, value in event.items()]
    line = f"{now.astimezone():%H:%M:%S} {level:<7} {text}" + ("  " + " ".join(words) if words else "")
    if trace:
        line += "\n" + "\n".join(sanitise(each) for each in str(trace).splitlines())
    return f"{_COLOURS.get(level, '')}{line}{_RESET}" if colours and _COLOURS.get(level) else line


def _value(value: Any, sanitise: Callable[[str], str]) -> str:
    text = sanitise(value if isinstance(value, str) else str(value))
    return f'"{text}"' if " " in text else text


def _json(event: Event, level: str, now: datetime) -> str:
    row = {"time": now.isoformat().replace("+00:00", "Z"), "level": level, **event}
    return json.dumps(row, ensure_ascii=True, separators=(",", ":"), default=str).replace("\x7f", "\\u007f")
