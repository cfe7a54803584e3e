"""What the Kubernetes API can say no with, as exceptions that tell the operator what to do.

    ClusterError
    +-- Unreachable   no answer, or "not now" (429, 5xx): try again later
    +-- Missing       404: no such object, or no such kind
    +-- Conflict      409: it exists already, or changed since it was read
    +-- Forbidden     401, 403: a right is missing; the sentence names it
    +-- Invalid       any other 4xx: what was asked can never be

A user's mistake is none of these: it ends as a condition in a status.
"""

from __future__ import annotations


class ClusterError(Exception):
    """Something asked of the Kubernetes API did not come about; `reason` is for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreachable(ClusterError):
    """Nobody answered, or the API server cannot serve now."""


class Missing(ClusterError):
    """There is no such object."""


class Conflict(ClusterError):
    """Somebody else was faster."""


class Forbidden(ClusterError):
    """We may not."""


class Invalid(ClusterError):
    """The API server will never take this."""


def error_of(status: int, reason: str) -> ClusterError:
    """The exception for an HTTP status of 400 or more."""
    if status == 404:
        return Missing(reason)
    if status == 409:
        return Conflict(reason)
    if status in {401, 403}:
        return Forbidden(reason)
    if status == 429 or status >= 500:
        return Unreachable(reason)
    return Invalid(reason)
