"""HuntFilters from flags, judged as the admission webhook judges them; fields and filters explained; statuses read.

Promise: pure but for the files that are read and the clock; nothing here asks a cluster. What is refused here is
refused by the webhook, in the same words.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from packhound.api.huntfilter import API_VERSION, HuntFilter
from packhound.api.load import MAX_BYTES, line_of, load_object, path_text
from packhound.api.units import duration_ns
from packhound.api.yamltext import BadYaml, documents
from packhound.fields import FIELDS, FLOW, HEADER, POD, Type
from packhound.kit.errors import BadInput, Usage
from packhound.operator.admission import NoPods, judge
from packhound.rules.bpf import check_pcap
from packhound.rules.compile import compile_plan
from packhound.rules.explain import explain

SECOND = 1_000_000_000
MANAGED = {"app.kubernetes.io/managed-by": "kubectl-packhound"}
_USUAL = {Type.PHONE: "number", Type.ADDRESS: "in"}
_FILLED = {HEADER: "the header of any packet", FLOW: "the flow table", POD: "the pods of the cluster"}
Object = dict[str, Any]


# hunt ----------------------------------------------------------------------------------------------------------------


def made(
    name: str, *, namespace: str, cluster: bool, fields: Sequence[str], operators: Sequence[str],
    values: Sequence[str], pcap: str, ttl: str, scope: str, pods: Sequence[str], purpose: str, per_call: bool,
) -> Object:  # fmt: skip
    """The filter that the flags ask for. Raises Usage for flags that do not fit together, BadInput with every fault
    for a filter that could not work."""
    spec: Object = {}
    if leaves := _leaves(fields, operators, values):
        spec["match"] = leaves[0] if len(leaves) == 1 else {"all": leaves}
    if pcap:
        spec["pcapFilter"] = pcap
    if not spec:
        raise Usage("say what to hunt: --field FIELD --value VALUE, or --pcap EXPRESSION",
                    notes=("kubectl packhound explain lists the fields",))  # fmt: skip
    if pods:
        spec["target"] = {"podSelector": {"matchLabels": dict(_pair(each) for each in pods)}}
    spec |= {key: value for key, value in (("scope", scope), ("purpose", purpose)) if value}
    if per_call:
        spec["actions"] = {"record": {"perCall": True}}
    if ttl not in ("", "0", "none"):
        spec["schedule"] = {"ttl": ttl}
    metadata: Object = {"name": name, "labels": dict(MANAGED)} | ({} if cluster else {"namespace": namespace})
    raw = {"apiVersion": API_VERSION, "kind": "ClusterHuntFilter" if cluster else "HuntFilter", "metadata": metadata,
           "spec": spec}  # fmt: skip
    now = time.time_ns()
    if faults := judge(raw, now=now, created=now).faults:
        raise BadInput("such a filter could not work: " + faults[0], notes=faults[1:])
    return raw


def notes_of(raw: Object) -> tuple[str, ...]:
    """What its user should know of a filter that works."""
    now = time.time_ns()
    return judge(raw, now=now, created=now).notes


def as_yaml(raw: Object) -> str:
    """A filter as a file has it."""
    return str(yaml.safe_dump(raw, sort_keys=False, allow_unicode=False))


def _leaves(fields: Sequence[str], operators: Sequence[str], values: Sequence[str]) -> list[Object]:
    if len(operators) not in (0, len(fields)):
        raise Usage("give --op for every --field, or for none")
    if fields and not values:
        raise Usage(f"give a --value for --field {fields[-1]}")
    if values and not fields:
        raise Usage("--value needs a --field")
    if len(fields) > 1 and len(values) != len(fields):
        raise Usage("with several --field give one --value for each, in the same order")
    found = []
    for at, name in enumerate(fields):
        row = FIELDS.get(name)
        if row is None:
            raise Usage(f"there is no field {name!r}", notes=(near(name),))
        operator = operators[at] if operators else _USUAL.get(row.type, "equals")
        if operator not in row.operators:
            can = ", ".join(row.operators) or "none: it is shown, not matched"
            raise Usage(f"--op {operator!r} does not fit {name}, which has: {can}")
        mine = values if len(fields) == 1 else [values[at]]
        found.append({"field": name, operator: [_value(each, row.type, operator) for each in mine]})
    return found


def _value(text: str, kind: Type, operator: str) -> str | int | bool:
    if kind is Type.NUMBER and operator in ("equals", "in") and text.isascii() and text.isdecimal() and len(text) < 20:
        return int(text)
    if kind is Type.BOOL and text in ("true", "false"):
        return text == "true"
    return text


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise Usage(f"--pod {text!r} is not LABEL=VALUE")
    return key, value


def near(name: str) -> str:
    """What may have been meant by a name that is no field."""
    import difflib

    near = difflib.get_close_matches(name, FIELDS, n=3) or [each for each in FIELDS if name and name in each][:3]
    return f"did you mean {', '.join(near)}?" if near else "kubectl packhound explain lists the fields"


# check ---------------------------------------------------------------------------------------------------------------


def checked(paths: Sequence[Path]) -> list[Object]:
    """Every object of some files, judged as admission does: file, line, object, ok, faults with their lines, notes."""
    rows: list[Object] = []
    for path in paths:
        try:
            text = Path(path).read_text("utf-8")
        except UnicodeDecodeError:
            rows.append(_row(path, 0, "", ["is not UTF-8 text"]))
            continue
        except OSError as error:
            rows.append(_row(path, 0, "", [f"cannot be read: {error.strerror}"]))
            continue
        if len(text.encode("utf-8", "replace")) > MAX_BYTES:
            rows.append(_row(path, 0, "", [f"larger than {MAX_BYTES} bytes"]))
            continue
        rows += _judged(path, text)
    seen: dict[str, Object] = {}
    for row in rows:
        first = seen.setdefault(row["object"], row)
        if first is not row and row["object"]:
            row["faults"].append({"line": row["line"], "fault": f"is already in {first['file']}:{first['line']}"})
            row["ok"] = False
    return rows


def _judged(path: Path, text: str) -> list[Object]:
    now = time.time_ns()
    rows = []
    for each in documents(text):
        if isinstance(each, BadYaml):
            rows.append(_row(path, each.line, "", [f"not valid YAML: {each.reason}"]))
            continue
        if each.value is None:
            continue
        listed = isinstance(each.value, dict) and each.value.get("kind") == "List"
        items = each.value.get("items") if listed else [each.value]
        for at, raw in enumerate(items if isinstance(items, list) else [items]):
            head = ("items", at) if listed else ()
            lines = {key[len(head) :]: line for key, line in each.lines.items() if key[: len(head)] == head}
            places = {path_text(key): line for key, line in lines.items()}
            if not isinstance(raw, dict):
                fault = "a document is a mapping with apiVersion, kind, metadata, spec"
                rows.append(_row(path, line_of(lines, ()), "", [fault]))
                continue
            judged = judge(raw, now=now, created=now)
            row = _row(path, line_of(lines, ()), _title(raw), judged.faults, notes=judged.notes)
            for told in row["faults"]:
                told["line"] = _line(told["fault"], places) or row["line"]
            rows.append(row)
    return rows


def _line(fault: str, places: Mapping[str, int]) -> int:
    """The line of the longest known path that a fault is about."""
    where = fault.partition(": ")[0]
    while where:
        if where in places:
            return places[where]
        where = where[: max(where.rfind("."), where.rfind("["), 0)]
    return 0


def _title(raw: Object) -> str:
    metadata = raw.get("metadata")
    name = metadata.get("name", "?") if isinstance(metadata, dict) else "?"
    space = metadata.get("namespace") if isinstance(metadata, dict) else None
    return f"{raw.get('kind', '?')} {space}/{name}" if space else f"{raw.get('kind', '?')} {name}"


def _row(path: Path, line: int, name: str, faults: Sequence[str], *, notes: Sequence[str] = ()) -> Object:
    told = [{"line": line, "fault": each} for each in faults]
    return {"file": str(path), "line": line, "object": name, "ok": not faults, "faults": told, "notes": list(notes)}


# explain -------------------------------------------------------------------------------------------------------------


def fields_like(name: str) -> list[Object]:
    """The field of that name, or all that begin with it (`sip`, `tls.cert`); every field for no name."""
    rows = [FIELDS[name]] if name in FIELDS else [
        row for row in FIELDS.values() if not name or row.name.startswith(f"{name.rstrip('.')}.")
    ]  # fmt: skip
    return [{
        "field": row.name, "type": str(row.type), "about": row.doc, "protocols": list(row.protocols),
        "operators": list(row.operators), "filled by": [_FILLED.get(each, each) for each in row.filled_by],
        "matchable": bool(row.operators and row.filled_by),
    } for row in rows]  # fmt: skip


def explained(raw: Object) -> Object:
    """What a filter of a cluster does, and where it is decided. Raises BadInput when it cannot work."""
    raw = {key: value for key, value in raw.items() if key != "status"}
    loaded = load_object(raw)
    model = next((each for each in loaded.objects if isinstance(each, HuntFilter)), None)
    if model is None:
        raise BadInput("this version cannot read it", notes=tuple(f"{each.path}: {each.reason}" for each in loaded.bad))
    now = time.time_ns()
    name = model.full_name
    created = at_ns(model.metadata.creation_timestamp) or now
    result = compile_plan([model], revision=0, now=now, created={name: created}, check_pcap=check_pcap,
                          identity=NoPods(), guards={name: ("0.0.0.0/0", "::/0")})  # fmt: skip
    if result.refused:
        faults = tuple(f"{path_text(each.path)}: {each.reason}" for each in result.refused)
        raise BadInput(f"{name} cannot work: {faults[0]}", notes=faults[1:])
    notes = [f"{path_text(each.path)}: {each.text}" for each in result.notes]
    found = asdict(explain(result.plan, notes=lambda _: notes)[0])
    tenant = model.kind == "HuntFilter"
    found["traffic"] = (
        f"packets with a pod of namespace {model.metadata.namespace or 'default'} at one end, or both" if tenant
        else "any traffic of the nodes, theirs included"
    )  # fmt: skip
    selector = model.spec.target.pod_selector
    if selector.match_labels or selector.match_expressions:
        found["pods"] = selector.model_dump(by_alias=True, exclude_defaults=True)
    if ends := model.spec.schedule.ttl:
        found["ttl"] = f"{ends} from its creation"
    return found


# status --------------------------------------------------------------------------------------------------------------


def full_name(raw: Object) -> str:
    """`namespace/name`, or `name` of a ClusterHuntFilter."""
    metadata = raw["metadata"]
    space = metadata.get("namespace")
    return f"{space}/{metadata['name']}" if space else str(metadata["name"])


def status_row(raw: Object, *, now: int) -> Object:
    """A filter of a cluster in short: how it stands, in one word, and its numbers."""
    status, spec = raw.get("status") or {}, raw.get("spec") or {}
    conditions = {each.get("type"): each for each in status.get("conditions") or ()}
    sensors, packets = status.get("sensors") or {}, status.get("packets") or {}
    created = at_ns(raw["metadata"].get("creationTimestamp")) or now
    return {
        "name": full_name(raw), "kind": raw.get("kind"), "state": _state(raw, conditions),
        "sensors": f"{sensors.get('acked', 0)}/{sensors.get('desired', 0)}", "matched": packets.get("matched", 0),
        "delivered": packets.get("delivered", 0), "lost": packets.get("lost", 0),
        "age_seconds": max(0, (now - created) // SECOND), "expires": status.get("expiresAt"),
        "purpose": spec.get("purpose", ""),
        "conditions": [{key: each.get(key, "") for key in ("type", "status", "reason", "message")}
                       for each in status.get("conditions") or ()],
    }  # fmt: skip


def _state(raw: Object, conditions: Mapping[Any, Object]) -> str:
    def holds(kind: str) -> bool:
        return (conditions.get(kind) or {}).get("status") == "True"

    status = raw.get("status") or {}
    if not conditions:
        return "not taken up"
    if status.get("observedGeneration", 0) < raw["metadata"].get("generation", 0):
        return "changing"
    if not holds("Accepted"):
        return "refused"
    if holds("Expired"):
        return "expired"
    if holds("Capturing"):
        return "hunting" if holds("Distributed") else "distributing"
    return str((conditions.get("Capturing") or {}).get("reason") or "waiting").lower()


def is_expired(raw: Object, *, now: int) -> bool:
    """Its ttl is over: to apply it again does not begin anew."""
    ttl = ((raw.get("spec") or {}).get("schedule") or {}).get("ttl")
    created = at_ns(raw["metadata"].get("creationTimestamp"))
    try:
        return bool(ttl and created and created + duration_ns(str(ttl)) <= now)
    except ValueError:
        return False


def at_ns(text: Any) -> int:
    """A time of the Kubernetes API in ns; 0 where there is none."""
    try:
        return int(datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()) * SECOND if text else 0
    except ValueError:
        return 0
