"""Logs: for people on a terminal, JSON otherwise, sanitised, and never the end of their process."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog

from packhound.kit import logs

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def _clean(text: str) -> str:
    return text.replace("\x1b", "<esc>")


def _set_up(stream: io.StringIO, *, form: logs.Format = "auto", level: logs.Level = "info") -> None:
    logs.set_up(level=level, form=form, sanitise=_clean, stream=stream, clock=lambda: NOON)


def test_json_where_nobody_watches() -> None:
    stream = io.StringIO()
    _set_up(stream)
    logs.logger("tap").info("opened", interface="eth0", packets=3)
    assert json.loads(stream.getvalue()) == {
        "time": "2026-01-02T12:00:00Z", "level": "info", "event": "opened", "part": "tap", "interface": "eth0",
        "packets": 3,
    }  # fmt: skip
    assert stream.getvalue().count("\n") == 1


def test_a_line_for_a_person_on_a_terminal() -> None:
    stream = Terminal()
    _set_up(stream)
    logs.logger("tap").info("opened", interface="eth0", reason="two words")
    assert stream.getvalue().endswith('info    opened  interface=eth0 reason="two words"\n')


def test_what_came_from_the_wire_cannot_drive_the_terminal() -> None:
    stream = Terminal()
    _set_up(stream)
    logs.logger("sip").info("user \x1b[2J", user="\x1b]0;title")
    assert "\x1b" not in stream.getvalue()
    assert "<esc>[2J" in stream.getvalue()


def test_json_is_ascii_without_control_characters() -> None:
    stream = io.StringIO()
    _set_up(stream)
    logs.logger("sip").info("\x1b[2J\n\x7f é")
    assert all(" " <= sign <= "~" for sign in stream.getvalue().rstrip("\n"))


def test_the_level_holds() -> None:
    stream = io.StringIO()
    _set_up(stream, level="warning")
    log = logs.logger("x")
    log.info("quiet")
    log.warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_the_form_can_be_said() -> None:
    on_terminal, in_file = Terminal(), io.StringIO()
    _set_up(on_terminal, form="json")
    logs.logger("x").info("a")
    _set_up(in_file, form="human")
    logs.logger("x").info("a")
    assert on_terminal.getvalue().startswith("{")
    assert not in_file.getvalue().startswith("{")


def test_an_exception_is_told() -> None:
    stream = io.StringIO()
    _set_up(stream)
    try:
        raise ValueError("seven")
    except ValueError:
        logs.logger("x").error("failed", exc_info=True)
    assert "ValueError: seven" in json.loads(stream.getvalue())["exception"]


def test_a_closed_stream_ends_logging_not_the_process() -> None:
    stream = io.StringIO()
    _set_up(stream)
    stream.close()
    logs.logger("x").info("nobody hears")
