"""What is worth an Event of Kubernetes, and how it is written: one per object and reason, counted, never a flood.

Promise: pure; `now` is given (ns since the epoch). The same thing said again within `EVERY` adds to the count of the
next write; the name of an Event follows from what it is about, so that a restarted operator goes on with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packhound.operator.kinds import Ref
from packhound.operator.rollout import SECOND, text_of_time

SOURCE = "packhound.dev"
EVERY = 60 * SECOND
KEPT = 1024  # different Events that are remembered
MAX_MESSAGE = 1024
_WORTH: Mapping[tuple[str, str], str] = {
    ("Accepted", "False"): "Rejected", ("Distributed", "False"): "NotDistributed", ("Lossless", "False"): "PacketsLost",
}  # fmt: skip
_QUIET = frozenset({"NotAccepted", "Waiting", "NoFleet"})


@dataclass(slots=True)
class _Said:
    first: int
    wrote: int
    count: int
    message: str


class Sayings:
    """Remembers what was said lately."""

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}

    def of_status(
        self, ref: Ref, before: Mapping[str, Any] | None, after: Mapping[str, Any], *, now: int
    ) -> list[dict[str, Any]]:
        """The Events that a change of status is worth, to be created or applied."""
        old = {each["type"]: each for each in (before or {}).get("conditions") or ()}
        found = []
        for each in after.get("conditions") or ():
            reason = _WORTH.get((each["type"], each["status"]))
            was = old.get(each["type"], {})
            same = was.get("status") == each["status"] and was.get("message") == each["message"]
            fresh = was.get("observedGeneration") != each["observedGeneration"]
            if reason is None or each["reason"] in _QUIET or (same and not (fresh and each["type"] == "Accepted")):
                continue
            made = self._say(ref, reason, each["message"], now)
            if made is not None:
                found.append(made)
        return found

    def _say(self, ref: Ref, reason: str, message: str, now: int) -> dict[str, Any] | None:
        name = f"{ref.name[:180]}.{hashlib.sha256(f'{ref.uid}/{reason}'.encode()).hexdigest()[:16]}"
        said = self._said.pop(name, None) or _Said(now, 0, 0, "")
        self._said[name] = said
        while len(self._said) > KEPT:
            del self._said[next(iter(self._said))]
        said.count += 1
        if now - said.wrote < EVERY and said.wrote and said.message == message:
            return None
        said.wrote, said.message = now, message
        space = ref.namespace or "default"
        return {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": space}, "type": "Warning",
            "involvedObject": {"apiVersion": ref.kind.api_version, "kind": ref.kind.name, "name": ref.name,
                               "namespace": ref.namespace, "uid": ref.uid},
            "reason": reason, "message": message[:MAX_MESSAGE], "count": said.count,
            "firstTimestamp": text_of_time(said.first), "lastTimestamp": text_of_time(now),
            "source": {"component": SOURCE}, "reportingComponent": SOURCE, "reportingInstance": "operator",
        }  # fmt: skip
