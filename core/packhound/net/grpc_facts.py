"""gRPC over HTTP/2: which call a request makes, and how it ended (gRPC's PROTOCOL-HTTP2).

Promise: pure, linear, never raises. Messages are not read: only their schema, which is not on the wire, tells them.
"""

from __future__ import annotations

from urllib.parse import unquote

from packhound.net.facts import Fact, Value
from packhound.net.text import to_number

MAX_STATUS = 999
MAX_MESSAGE = 1024
STATUS_TEXT = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
FIELDS = frozenset({
    "grpc.service", "grpc.method", "grpc.status", "grpc.status.name", "grpc.message", "grpc.duration", "http2.stream",
})  # fmt: skip


def is_grpc(content_type: str) -> bool:
    """Tell a gRPC call: `application/grpc`, with a suffix for the encoding of its messages or without."""
    name = content_type.partition(";")[0].strip().lower()
    return name == "application/grpc" or name.startswith("application/grpc+")


def call_of(path: str) -> tuple[str, str]:
    """Split `/package.Service/Method`; both are empty where the path is none of gRPC's."""
    service, _, method = path[1:].rpartition("/")
    return (service, method) if path.startswith("/") and service and method else ("", "")


def grpc_fact(service: str, method: str, status: str, message: str, *, stream: int, duration: int = -1) -> Fact | None:
    """Return the `grpc` fact of a call that ended: `status` and `message` as in the trailers, `duration` in ns from its
    request (-1: not known); None when the status is no number."""
    number = to_number(status, limit=MAX_STATUS)
    if number is None:
        return None
    fields: dict[str, Value] = {"grpc.status": number, "http2.stream": stream}
    if number < len(STATUS_TEXT):
        fields["grpc.status.name"] = STATUS_TEXT[number]
    if service:
        fields["grpc.service"] = service
    if method:
        fields["grpc.method"] = method
    if message:
        fields["grpc.message"] = unquote(message[:MAX_MESSAGE], errors="replace")
    if duration >= 0:
        fields["grpc.duration"] = duration
    return Fact("grpc", fields)
