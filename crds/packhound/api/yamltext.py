"""YAML text -> plain values and the line of each: the only door to PyYAML.

Promise: pure and bounded; safe tags only, no aliases, no duplicate keys. Plain scalars are read as YAML 1.2 has them:
`yes`, `0046...`, `+46...`, `12:30` and dates stay the text that was written.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Hashable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import yaml

MAX_NODES = 200_000  # of all documents of a text
MAX_DOCUMENTS = 16_384
MAX_NESTING = 64
Path = tuple[str | int, ...]
_MARKER = re.compile(r"^---(?=\s|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """A value and, for each path in it, the line it stands on (from 1)."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadYaml:
    """Why a document is not YAML, and on which line (0: unknown)."""

    line: int
    reason: str


def _error(reason: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=reason, problem_mark=mark)


class _Reader(yaml.SafeLoader):
    """Safe loader that refuses aliases and duplicate keys and counts nodes."""

    nodes = 0
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _error("aliases are not accepted", event.start_mark)
        self.nodes += 1
        self.depth += 1
        if self.nodes > MAX_NODES or self.depth > MAX_NESTING:
            raise _error("too many or too deeply nested values", event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _error("a key is not plain text", key.start_mark)
            if key.value in seen:
                raise _error(f"key {key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Reader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"-?(?:0|[1-9][0-9]*)", list("-0123456789")),
    ("float", r"-?(?:0|[1-9][0-9]*)?(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)", list("-0123456789.")),
):
    _Reader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


def documents(text: str) -> Iterator[Document | BadYaml]:
    """Read every document of a text on its own, so that a bad one costs no other."""
    starts = [0, *(found.start() for found in islice(_MARKER.finditer(text), MAX_DOCUMENTS + 1) if found.start())]
    pending = line = nodes = 0
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(text)], strict=True)):
        if number >= MAX_DOCUMENTS:
            yield BadYaml(line + 1, f"more than {MAX_DOCUMENTS} documents")
            return
        if _only_directives(text[start:end]) and end < len(text):
            continue  # %YAML and the like belong to the document that follows
        part = text[pending:end]
        nodes = yield from _read(part, line, nodes)
        if nodes > MAX_NODES:
            return
        line, pending = line + part.count("\n"), end


def _only_directives(part: str) -> bool:
    lines = [line for line in part.splitlines() if line.strip() and not line.startswith("#")]
    return all(line.startswith("%") for line in lines)


def _read(text: str, offset: int, nodes: int) -> Generator[Document | BadYaml, None, int]:
    """Read what is between two markers; `offset` lines and `nodes` values came before. Returns the values so far."""
    try:
        reader = _Reader(text)
    except yaml.YAMLError as error:
        yield BadYaml(0, _sentence(error))
        return nodes
    reader.nodes = nodes
    try:
        while reader.check_node():
            node = reader.get_node()
            lines: dict[Path, int] = {}
            _lines(node, (), offset, lines)
            yield Document(reader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        yield BadYaml(mark.line + 1 + offset if mark else 0, _sentence(error))
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        yield BadYaml(offset + 1, _sentence(error))
    finally:
        reader.dispose()
    return reader.nodes


def _sentence(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        return error.problem or error.context or "unreadable"
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.reason} (character #x{ord(error.character):04x})" if isinstance(
            error.character, str) else f"{error.reason}"  # fmt: skip
    return str(error)


def _lines(node: Any, path: Path, offset: int, out: dict[Path, int]) -> None:
    out[path] = node.start_mark.line + 1 + offset
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _lines(value, (*path, key.value if isinstance(key, yaml.ScalarNode) else "?"), offset, out)
            if isinstance(key, yaml.ScalarNode):
                out[(*path, key.value)] = key.start_mark.line + 1 + offset
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _lines(value, (*path, index), offset, out)
