"""Plans on their way to sensors, and what sensors answer.

Promise: pure values with one form as bytes (canonical JSON, deflated). A plan whose digest is not that of its filters
does not decode; whatever the bytes, the only exception is BadMessage.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from packhound.wire import checked
from packhound.wire.checked import MAX_UNPACKED, BadMessage
from packhound.wire.subjects import MAX_NODE, is_traceparent

ALL: Final = "all"
"""Scope of a plan for every node; any other scope is `node/NAME`."""
MAX_FILTERS = 10_000

AckState = Literal["applied", "rejected"]
APPLIED: Final = "applied"
REJECTED: Final = "rejected"

MAX_REASON = 4096
MAX_EPOCH = (1 << 63) - 1
_ACK_FIELDS = ("node", "epoch", "revision", "digest", "state", "reason", "time_ns", "scope", "traceparent")
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def node_scope(node: str) -> str:
    """Scope of a plan for `node` alone."""
    return f"node/{node}"


def digest_of(filters: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 over the canonical JSON of `filters`, in their order, as hex digits."""
    return hashlib.sha256(checked.canonical(list(filters))).hexdigest()


def joined(rows: Iterable[bytes]) -> bytes:
    """Filters that are canonical JSON each, as the canonical JSON of their list: what digests are made of."""
    return b"[" + b",".join(rows) + b"]"


def assemble(
    filters: bytes, *, digest: str, revision: int, created_ns: int, scope: str, previous: int = 0, publisher: str = "",
    traceparent: str = "",
) -> bytes:  # fmt: skip
    """A plan as bytes from `joined` filters: what `PlanMessage.of(...).encode()` gives, for who publishes the same
    filters to many nodes. `digest`: hex SHA-256 of `filters`."""
    by, where, trace = (checked.canonical(each) for each in (publisher, scope, traceparent))
    head = b'{"created_ns":%d,"digest":"%s","filters":' % (created_ns, digest.encode())
    tail = b',"previous":%d,"publisher":%s,"revision":%d,"scope":%s,"traceparent":%s}'
    return zlib.compress(head + filters + tail % (previous, by, revision, where, trace), 1)


@dataclass(frozen=True, slots=True)
class PlanMessage:
    """The filters in force in `scope` from `revision` on, whole: objects as their users wrote them (`apiVersion`,
    `kind`, `metadata`, `spec`), not yet compiled. `previous`: the revision it replaces, 0 for none. `created_ns` on
    the clock of `publisher`. `traceparent`: the edit that it comes from, or empty."""

    revision: int
    digest: str
    scope: str
    created_ns: int
    filters: tuple[Mapping[str, Any], ...]
    previous: int = 0
    publisher: str = ""
    traceparent: str = ""

    @classmethod
    def of(
        cls,
        filters: Iterable[Mapping[str, Any]],
        *,
        revision: int,
        created_ns: int,
        scope: str = ALL,
        previous: int = 0,
        publisher: str = "",
        traceparent: str = "",
    ) -> PlanMessage:
        """A plan with the digest of its filters."""
        held = tuple(filters)
        return cls(revision, digest_of(held), scope, created_ns, held, previous, publisher, traceparent)

    def encode(self) -> bytes:
        """The plan as bytes."""
        return checked.pack({
            "revision": self.revision, "digest": self.digest, "scope": self.scope, "created_ns": self.created_ns,
            "filters": list(self.filters), "previous": self.previous, "publisher": self.publisher,
            "traceparent": self.traceparent,
        })  # fmt: skip

    @classmethod
    def decode(cls, data: bytes, *, limit: int = MAX_UNPACKED) -> PlanMessage:
        """Read a plan. Raises BadMessage."""
        row = checked.unpack(data, limit=limit)
        filters = checked.items(row, "filters", checked.rows, limit=MAX_FILTERS)
        digest = checked.text(row, "digest")
        if not _DIGEST.fullmatch(digest) or _digest(filters) != digest:
            raise BadMessage("digest is not that of the filters")
        return cls(
            revision=checked.number(row, "revision", low=1),
            digest=digest,
            scope=_scope(row),
            created_ns=checked.number(row, "created_ns"),
            filters=filters,
            previous=checked.number(row, "previous", default=0),
            publisher=checked.text(row, "publisher", limit=MAX_NODE, default=""),
            traceparent=_trace(row),
        )


@dataclass(frozen=True, slots=True)
class PlanAck:
    """What became of a plan on a node: `reason` says why it was rejected; `time_ns` on the node's clock; `warnings`
    are sentences about what of an applied plan cannot work there."""

    node: str
    epoch: int
    revision: int
    digest: str
    state: AckState
    reason: str = ""
    time_ns: int = 0
    scope: str = ALL
    warnings: tuple[str, ...] = ()
    traceparent: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The acknowledgement as plain values."""
        cut = tuple(each[:MAX_REASON] for each in self.warnings[:64])
        made = replace(self, reason=self.reason[:MAX_REASON], warnings=cut)
        return {name: getattr(made, name) for name in _ACK_FIELDS} | {"warnings": list(cut)}

    @classmethod
    def of_dict(cls, row: Mapping[str, Any]) -> PlanAck:
        """Read plain values. Raises BadMessage."""
        state = checked.text(row, "state", limit=16)
        if state not in get_args(AckState):
            raise BadMessage("state is neither applied nor rejected")
        return cls(
            node=checked.text(row, "node", limit=MAX_NODE),
            epoch=checked.number(row, "epoch", high=MAX_EPOCH),
            revision=checked.number(row, "revision"),
            digest=checked.text(row, "digest", limit=64),
            state=APPLIED if state == APPLIED else REJECTED,
            reason=checked.text(row, "reason", limit=MAX_REASON, default=""),
            time_ns=checked.number(row, "time_ns", default=0),
            scope=_scope(row),
            warnings=checked.items(row, "warnings", _warning, limit=64),
            traceparent=_trace(row),
        )

    def encode(self) -> bytes:
        """The acknowledgement as bytes."""
        return checked.pack(self.as_dict())

    @classmethod
    def decode(cls, data: bytes, *, limit: int = 1 << 20) -> PlanAck:
        """Read an acknowledgement. Raises BadMessage."""
        return cls.of_dict(checked.unpack(data, limit=limit))



def _digest(filters: Iterable[Mapping[str, Any]]) -> str:
    try:
        return digest_of(filters)
    except (ValueError, RecursionError):  # what JSON can say and cannot say again: 1e999, nesting at the very limit
        raise BadMessage("filters have no digest") from None


def _scope(row: Mapping[str, Any]) -> str:
    scope = checked.text(row, "scope", limit=MAX_NODE + 5, default=ALL)
    if scope != ALL and not (scope.startswith("node/") and len(scope) > 5):
        raise BadMessage("scope is neither all nor node/NAME")
    return scope


def _warning(value: Any) -> str:
    return checked.text({"warning": value}, "warning", limit=MAX_REASON)


def _trace(row: Mapping[str, Any]) -> str:
    found = checked.text(row, "traceparent", limit=64, default="")
    if not is_traceparent(found):
        raise BadMessage("traceparent is not W3C trace context")
    return found
