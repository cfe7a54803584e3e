"""What ends a process, as exceptions that carry a sentence for a person and an exit code.

    Stop                 ends the process
    +-- Usage            2: a command line or setting that cannot be
    +-- BadInput         3: a file, filter, interface or folder that is bad
    +-- NotPermitted     4: a privilege or permission is missing
    +-- Bug              1: ours; everything that nobody foresaw is one too

Exit codes in full: 0 ok, 1 a bug, 2 usage, 3 bad input, 4 not permitted.
"""

from __future__ import annotations

import errno

OK, FAULT, USAGE, BAD_INPUT, NOT_PERMITTED = range(5)


class Stop(Exception):
    """Ends the process with `exit_code`; `reason` says what to do about it, `notes` more lines of it."""

    exit_code = FAULT

    def __init__(self, reason: str, *, notes: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.notes = notes


class Usage(Stop):
    """A command line, environment variable or settings file that asks for what does not exist."""

    exit_code = USAGE


class BadInput(Stop):
    """Something that was given to work on is missing or bad."""

    exit_code = BAD_INPUT


class NotPermitted(Stop):
    """The system forbids it."""

    exit_code = NOT_PERMITTED


class Bug(Stop):
    """A promise of this program does not hold."""

    exit_code = FAULT


def from_os(error: OSError, *, what: str) -> Stop:
    """The Stop for an OSError: `what` names the thing that could not be done."""
    kind = NotPermitted if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS} else BadInput
    place = f"{error.filename}: " if error.filename else ""
    return kind(f"{what}: {place}{error.strerror or error}")
