"""AdmissionReview in, AdmissionReview out: a filter or fleet that could never work is refused with every reason.

Promise: pure; `now` is given (ns since the epoch). What is refused here is refused by the compiler too: a cluster
without the webhook learns the same from the condition `Accepted`. A deletion and a change of the status are never
refused, nor is an object that is being deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from packhound.api.huntfilter import HuntFilter
from packhound.api.load import Loaded, load_object, path_text
from packhound.rules.bpf import check_pcap
from packhound.rules.compile import Identity, compile_plan

MAX_MESSAGE = 8192
MAX_WARNINGS = 16
Object = Mapping[str, Any]


class NoPods:
    """Pods as admission knows them: they may come, so no leaf on them is wrong."""

    def addresses(self, field: str, test: Callable[[str], bool]) -> tuple[str, ...]:
        """Nobody's address."""
        return ()


def faults_of(raw: Object, *, now: int, identity: Identity | None = None) -> tuple[list[str], list[str]]:
    """What is wrong with an object, each with its path, and what should be known of it."""
    plain = {key: value for key, value in raw.items() if key != "status"}
    loaded: Loaded = load_object(plain)
    if loaded.bad or not loaded.objects:
        return [f"{each.path}: {each.reason}" if each.path else each.reason for each in loaded.bad], []
    made = loaded.objects[0]
    if not isinstance(made, HuntFilter):
        return [], []
    result = compile_plan([made], revision=0, now=now, check_pcap=check_pcap, identity=identity or NoPods(),
                          guards={made.full_name: ("0.0.0.0/0", "::/0")})  # fmt: skip
    return [f"{path_text(each.path)}: {each.reason}" for each in result.refused], [
        f"{path_text(each.path)}: {each.text}" for each in result.notes
    ]


def review(request: Object, *, now: int) -> dict[str, Any]:
    """Answer an AdmissionReview (admission.k8s.io/v1)."""
    asked = request.get("request") or {}
    answer: dict[str, Any] = {"uid": str(asked.get("uid", "")), "allowed": True}
    raw = asked.get("object")
    written = asked.get("operation") in ("CREATE", "UPDATE") and not asked.get("subResource")
    if written and isinstance(raw, Mapping) and not _leaving(raw):
        faults, notes = faults_of(raw, now=now)
        if faults:
            message = "; ".join(faults)[:MAX_MESSAGE]
            answer |= {"allowed": False, "status": {"code": 422, "reason": "Invalid", "message": message}}
        elif notes:
            answer["warnings"] = [each[:256] for each in notes[:MAX_WARNINGS]]
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}


def _leaving(raw: Object) -> bool:
    metadata = raw.get("metadata")
    return isinstance(metadata, Mapping) and bool(metadata.get("deletionTimestamp"))
