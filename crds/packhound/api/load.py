"""YAML text -> objects, with errors that say where: file, line, path, reason.

Promise: pure; every error of a document is reported, and a bad document does not hide the good ones beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from packhound.api.huntfilter import API_VERSION, ClusterHuntFilter, HuntFilter, Match
from packhound.api.huntfleet import HuntFleet
from packhound.api.yamltext import BadYaml, Document, Path, documents

MAX_BYTES = 4 * 1024 * 1024
KINDS: dict[str, type[HuntFilter] | type[HuntFleet]] = {
    "HuntFilter": HuntFilter, "ClusterHuntFilter": ClusterHuntFilter, "HuntFleet": HuntFleet,
}  # fmt: skip
_WRONG_TYPE = {
    "string_type": "text", "int_type": "a whole number", "int_parsing": "a whole number",
    "int_from_float": "a whole number", "bool_type": "true or false", "bool_parsing": "true or false",
    "float_type": "a number", "float_parsing": "a number", "list_type": "a list", "dict_type": "a mapping",
    "model_type": "a mapping", "model_attributes_type": "a mapping",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class BadObject:
    """One thing wrong: in which file and line (0: unknown), at which path of which object, and why."""

    file: str
    line: int
    object: str
    path: str
    reason: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        where = " ".join(part for part in (self.object, self.path) if part)
        return f"{place}: {where}: {self.reason}" if where else f"{place}: {self.reason}"


@dataclass(slots=True)
class Loaded:
    """What a text held: good objects, the line of every path of each, and what was wrong."""

    objects: list[HuntFilter | HuntFleet] = field(default_factory=list)
    lines: list[dict[Path, int]] = field(default_factory=list)
    bad: list[BadObject] = field(default_factory=list)


def load_text(text: str, *, file: str = "<text>") -> Loaded:
    """Read every object of a YAML text (several documents, or a `List`)."""
    out = Loaded()
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        out.bad.append(BadObject(file, 0, "", "", f"larger than {MAX_BYTES} bytes"))
        return out
    for each in documents(text):
        if isinstance(each, BadYaml):
            out.bad.append(BadObject(file, each.line, "", "", f"not valid YAML: {each.reason}"))
        elif isinstance(each.value, dict) and each.value.get("kind") == "List":
            _read_list(each, file, out)
        elif each.value is not None:
            _read(each, file, out)
    return out


def load_object(value: Any) -> Loaded:
    """Read one object that is no text any more (a cluster's): nothing in it has a line."""
    out = Loaded()
    _read(Document(value, {}), "", out)
    return out


def _read_list(document: Document, file: str, out: Loaded) -> None:
    items = document.value.get("items")
    if not isinstance(items, list):
        out.bad.append(BadObject(file, line_of(document.lines, ("items",)), "List", "items", "must be a list"))
        return
    for index, value in enumerate(items):
        head: Path = ("items", index)
        lines = {path[2:]: line for path, line in document.lines.items() if path[:2] == head}
        _read(Document(value, lines), file, out)


def _read(document: Document, file: str, out: Loaded) -> None:
    value, lines = document.value, document.lines
    if not isinstance(value, dict):
        reason = "a document is a mapping with apiVersion, kind, metadata, spec"
        out.bad.append(BadObject(file, line_of(lines, ()), "", "", reason))
        return
    kind, metadata = value.get("kind"), value.get("metadata")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        reason = f"{kind!r} is none of {', '.join(KINDS)} ({API_VERSION})"
        out.bad.append(BadObject(file, line_of(lines, ("kind",)), "", "kind", reason))
        return
    name = metadata.get("name") if isinstance(metadata, dict) else None
    title = f"{kind} {name}" if isinstance(name, str) else str(kind)
    try:
        found = model.model_validate(value)
    except ValidationError as error:
        for path, reason in _faults(error, value):
            out.bad.append(BadObject(file, line_of(lines, path), title, path_text(path), reason))
        return
    out.objects.append(found)
    out.lines.append(lines)


def _faults(error: ValidationError, value: Any) -> Iterable[tuple[Path, str]]:
    """Where and what; several faults of one value (the members of a union that it is not) become one sentence."""
    by_path: dict[Path, list[Any]] = {}
    for each in error.errors(include_url=False):
        by_path.setdefault(_place(each, value), []).append(each)
    for path, faults in by_path.items():
        wanted = [_WRONG_TYPE[each["type"]] for each in faults if each["type"] in _WRONG_TYPE]
        if wanted:
            quotes = " (put text in quotes)" if "text" in wanted else ""
            yield path, f"must be {' or '.join(dict.fromkeys(wanted))}{quotes}"
        else:
            yield path, "; ".join(dict.fromkeys(_reason(each) for each in faults))


def _place(error: Any, value: Any) -> Path:
    """A pydantic location as a path of the document: without the names of union members that were tried."""
    path: list[str | int] = []
    last = len(error["loc"]) - 1
    for index, part in enumerate(error["loc"]):
        if (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        ):
            value = value[part]
            path.append(part)
        elif index == last and error["type"] == "missing":
            path.append(part)
        elif isinstance(part, int) and part == 0:
            continue  # a single value stands for a list of one
    return tuple(path)


def _reason(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return "is not a known key"
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        return f"{error['input']!r} is not {context['expected']}"
    if kind in ("too_short", "string_too_short") and context.get("min_length") == 1:
        return "is empty"
    if kind == "string_pattern_mismatch":
        return f"{error['input']!r} is not of the form {context['pattern']}"
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")


def path_text(path: Path) -> str:
    """A path as people write it: `spec.match.any[2].in[0]`."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


def line_of(lines: dict[Path, int], path: Path) -> int:
    """Line of the nearest enclosing thing that the text holds; 0 when there is none."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 0)


def depth_of(match: Match) -> int:
    """Levels of a match tree."""
    below = [*(match.any_ or ()), *(match.all_ or ()), *([match.not_] if match.not_ else ())]
    return 1 + max((depth_of(each) for each in below), default=0)
