"""What goes over the bus and what can come of it: values of outcomes, exceptions of questions.

    BusError
    +-- Away        nobody answered: no connection, no reply in time, nobody there who could
    +-- Denied      the broker does not let us
    +-- Rejected    the broker understood and says no (`code` is JetStream's error code)
        +-- Conflict    what was to be changed has changed meanwhile

A publish never raises: its outcome is a value, because every outcome has to be dealt with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Headers = Mapping[str, str]
RefusedCause = Literal["permission", "too_large", "no_stream", "rejected"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came. `reply`: where an answer goes, empty for none."""

    subject: str
    data: bytes
    headers: Headers = field(default_factory=dict)
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """The stream has it, at `sequence`. `duplicate`: it had it before."""

    sequence: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Full:
    """The stream or the disk under it has no room; it may have later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker does not take it. `no_stream`: no stream has that subject now (it may be made later); the other
    causes do not go away by waiting."""

    cause: RefusedCause
    reason: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No answer: it may be stored or not."""

    reason: str


Outcome = Stored | Full | Refused | Unreachable


class BusError(Exception):
    """Something asked of the bus did not come about; `reason` is for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Away(BusError):
    """Nobody answered."""


class Denied(BusError):
    """The broker's permissions forbid it."""


class Rejected(BusError):
    """The broker says no."""

    def __init__(self, reason: str, *, code: int = 0, status: int = 0) -> None:
        super().__init__(reason)
        self.code = code
        self.status = status


class Conflict(Rejected):
    """Somebody else was faster."""


# JetStream's error codes (server/errors.json)
STORE_FAILED = 10077  # maximum bytes or messages exceeded, or the disk is full
NO_ROOM = frozenset({10002, 10023, 10028, 10047, STORE_FAILED})
TOO_LARGE = 10054
WRONG_LAST = frozenset({10071, 10164})
NO_CONSUMER = 10014
NO_STREAM = 10059
NO_MESSAGE = 10037
NO_RESPONDERS = "503"
STATUS, DESCRIPTION = "Status", "Description"


def outcome_of_error(error: Mapping[str, object]) -> Outcome:
    """What a negative acknowledgement of a publish means."""
    code, status = error.get("err_code"), error.get("code")
    reason = str(error.get("description", "no reason given"))[:200]
    if code in NO_ROOM:
        return Full(reason)
    if code == TOO_LARGE:
        return Refused("too_large", reason)
    if status == 503:
        return Unreachable(reason)
    return Refused("rejected", reason)


def raise_for(error: Mapping[str, object], *, what: str) -> None:
    """Raise what a negative answer of the JetStream API means."""
    found, said = error.get("err_code"), error.get("code")
    code, status = found if isinstance(found, int) else 0, said if isinstance(said, int) else 0
    reason = f"{what}: {str(error.get('description', 'no reason given'))[:200]}"
    if status == 503:
        raise Away(reason)
    kind = Conflict if code in WRONG_LAST else Rejected
    raise kind(reason, code=code, status=status)
