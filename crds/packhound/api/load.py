"""YAML text -> objects, with errors that say where: file, line, path, reason.

Promise: pure; safe YAML only (no tags, no aliases, no duplicate keys, bounded size and depth); every error of a
document is reported, and a bad document does not hide the good ones beside it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import ValidationError

from packhound.api.huntfilter import API_VERSION, ClusterHuntFilter, HuntFilter, Match
from packhound.api.huntfleet import HuntFleet

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 200_000
MAX_NESTING = 64
KINDS: dict[str, type[HuntFilter] | type[HuntFleet]] = {
    "HuntFilter": HuntFilter, "ClusterHuntFilter": ClusterHuntFilter, "HuntFleet": HuntFleet,
}  # fmt: skip
Path = tuple[str | int, ...]


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


class _Reader(yaml.SafeLoader):
    """Safe loader that refuses aliases and duplicate keys and counts nodes."""

    nodes = 0
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()
            raise yaml.MarkedYAMLError(problem="aliases are not accepted", problem_mark=event.start_mark)
        self.nodes += 1
        self.depth += 1
        mark = self.peek_event().start_mark
        if self.nodes > MAX_NODES or self.depth > MAX_NESTING:
            raise yaml.MarkedYAMLError(problem="too many or too deeply nested values", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


# a timestamp stays the text that was written: metadata.creationTimestamp is one
_Reader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in rules if tag != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_text(text: str, *, file: str = "<text>") -> Loaded:
    """Read every object of a YAML text (several documents, or a `List`)."""
    out = Loaded()
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        out.bad.append(BadObject(file, 0, "", "", f"larger than {MAX_BYTES} bytes"))
        return out
    reader = _Reader(text)
    try:
        while reader.check_node():
            node = reader.get_node()
            value = reader.construct_document(node)
            if value is not None:
                _read(value, node, file, out)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "not YAML"
        out.bad.append(BadObject(file, mark.line + 1 if mark else 0, "", "", f"not valid YAML: {reason}"))
    except (yaml.YAMLError, ValueError, TypeError) as error:
        out.bad.append(BadObject(file, 0, "", "", f"not valid YAML: {error}"))
    finally:
        reader.dispose()
    return out


def _lines(node: Any, path: Path, out: dict[Path, int]) -> None:
    out[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _lines(value, (*path, key.value), out)
            out[(*path, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _lines(value, (*path, index), out)


def _read(value: Any, node: Any, file: str, out: Loaded) -> None:
    lines: dict[Path, int] = {}
    _lines(node, (), lines)
    if not isinstance(value, dict):
        out.bad.append(BadObject(file, lines[()], "", "", "a document is a mapping with apiVersion, kind, metadata, spec"))
        return
    kind = value.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    name = f"{kind} {(value.get('metadata') or {}).get('name')}" if isinstance(value.get("metadata"), dict) else str(kind)
    if model is None:
        line = lines.get(("kind",), lines[()])
        out.bad.append(BadObject(file, line, "", "kind", f"{kind!r} is none of {', '.join(KINDS)} ({API_VERSION})"))
        return
    try:
        found = model.model_validate(value)
    except ValidationError as error:
        for each in error.errors():
            path = _yaml_path(each["loc"])
            out.bad.append(BadObject(file, line_of(lines, path), name, path_text(path), _reason(each)))
        return
    out.objects.append(found)
    out.lines.append(lines)


def _yaml_path(loc: tuple[str | int, ...]) -> Path:
    """A pydantic location without the names of union members it tried."""
    skip = {"str", "int", "bool", "constrained-str", "function-after"}
    return tuple(part for part in loc if not (isinstance(part, str) and (part in skip or "[" in part)))


def _reason(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "is not a known key"
    message = str(error["msg"])
    return message.removeprefix("Value error, ")


def path_text(path: Path) -> str:
    """A path as people write it: `spec.match.any[2].in[0]`."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


def line_of(lines: dict[Path, int], path: Path) -> int:
    """Line of the nearest enclosing thing that the text holds."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 0)


def depth_of(match: Match) -> int:
    """Levels of a match tree."""
    below = [*(match.any_ or ()), *(match.all_ or ()), *([match.not_] if match.not_ else ())]
    return 1 + max((depth_of(each) for each in below), default=0)
