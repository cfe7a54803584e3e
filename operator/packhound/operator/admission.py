"""AdmissionReview in, AdmissionReview out: a filter or fleet that could never work is refused with every reason.

Promise: pure; `now` is given (ns since the epoch). What is refused here is refused by the compiler too: a cluster
without the webhook learns the same from the condition `Accepted`. A deletion and a change of the status are never
refused, nor is an object that is being deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from packhound.api.huntfilter import HuntFilter
from packhound.api.huntfleet import HuntFleet
from packhound.api.load import Loaded, load_object, path_text
from packhound.rules.bpf import check_pcap
from packhound.rules.compile import Identity, compile_plan

MAX_MESSAGE = 8192
MAX_WARNINGS = 16
MAX_FLEET = 12  # characters: names of streams and buckets have 32
Object = Mapping[str, Any]


class NoPods:
    """Pods as admission knows them: they may come, so no leaf on them is wrong."""

    def addresses(self, field: str, test: Callable[[str], bool]) -> tuple[str, ...]:
        """Nobody's address."""
        return ()


@dataclass(frozen=True, slots=True)
class Judged:
    """What a filter is worth: its model, None when it cannot work; every fault with its path; what should be known;
    when its ttl ends (ns since the epoch)."""

    model: HuntFilter | None
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    expires_at: int | None = None


def judge(raw: Object, *, now: int, created: int, identity: Identity | None = None) -> Judged:
    """Compile a filter that came into being at `created`."""
    loaded: Loaded = load_object({key: value for key, value in raw.items() if key != "status"})
    if loaded.bad or not loaded.objects:
        return Judged(None, tuple(f"{each.path}: {each.reason}" if each.path else each.reason for each in loaded.bad))
    made = loaded.objects[0]
    if not isinstance(made, HuntFilter):
        return Judged(None, fleet_faults(made))
    result = compile_plan([made], revision=0, now=now, created={made.full_name: created}, check_pcap=check_pcap,
                          identity=identity or NoPods(), guards={made.full_name: ("0.0.0.0/0", "::/0")})  # fmt: skip
    faults = tuple(f"{path_text(each.path)}: {each.reason}" for each in result.refused)
    notes = tuple(f"{path_text(each.path)}: {each.text}" for each in result.notes)
    expires = next((each.expires_at for each in result.plan.filters), None)
    return Judged(None if faults else made, faults, notes, expires)


def fleet_faults(fleet: HuntFleet) -> tuple[str, ...]:
    """What is wrong with a fleet that its schema cannot say."""
    found = []
    if len(fleet.metadata.name) > MAX_FLEET:
        found.append(f"metadata.name: at most {MAX_FLEET} characters: the fleet's streams are named after it")
    if "." in fleet.metadata.name:
        found.append("metadata.name: no dot: the fleet's streams are named after it")
    return tuple(found)


def review(request: Object, *, now: int) -> dict[str, Any]:
    """Answer an AdmissionReview (admission.k8s.io/v1)."""
    asked = request.get("request") or {}
    answer: dict[str, Any] = {"uid": str(asked.get("uid", "")), "allowed": True}
    raw = asked.get("object")
    written = asked.get("operation") in ("CREATE", "UPDATE") and not asked.get("subResource")
    if written and isinstance(raw, Mapping) and not _leaving(raw):
        judged = judge(raw, now=now, created=now)
        if judged.faults:
            message = "; ".join(judged.faults)[:MAX_MESSAGE]
            answer |= {"allowed": False, "status": {"code": 422, "reason": "Invalid", "message": message}}
        elif judged.notes:
            answer["warnings"] = [each[:256] for each in judged.notes[:MAX_WARNINGS]]
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}


def _leaving(raw: Object) -> bool:
    metadata = raw.get("metadata")
    return isinstance(metadata, Mapping) and bool(metadata.get("deletionTimestamp"))
