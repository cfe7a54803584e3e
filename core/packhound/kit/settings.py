"""Settings in layers: defaults < file (TOML or YAML) < environment < flags, and where each value came from.

Promise: keys are those of a pydantic model, written with dots (`run.out`); whatever no layer knows is refused with
its place. Reads one file, nothing else; the environment and the flags are handed in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from packhound.kit.errors import Usage, from_os

PREFIX = "PACKHOUND_"
MAX_BYTES = 1 << 20
M = TypeVar("M", bound=BaseModel)


class Section(BaseModel):
    """Base of settings models: frozen, nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(NamedTuple):
    """One value in force: its key, the value, where it came from (`default`, `FILE:LINE`, a variable, a flag)."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Settings(Generic[M]):
    """Validated settings, and the origin of every key that is not at its default."""

    value: M
    origins: Mapping[str, str]

    def rows(self) -> list[Setting]:
        """Every setting in the order of the model."""
        plain = self.value.model_dump(mode="json")
        return [Setting(key, _at(plain, key), self.origins.get(key, "default")) for key in keys_of(type(self.value))]


class _Given(NamedTuple):
    value: Any
    origin: str


def load(
    model: type[M],
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, tuple[str, Any]] | None = None,
    reserved: frozenset[str] = frozenset(),
) -> Settings[M]:
    """Read every layer. `flags`: key -> (flag as typed, value), None values left out; `reserved`: variables with our
    prefix that are no settings. Raises Usage naming the place of what is unknown or wrong, NotPermitted or BadInput
    for a file that cannot be read."""
    keys = keys_of(model)
    given: dict[str, _Given] = {}
    if file is not None:
        given |= _from_file(file, keys)
    given |= _from_environment(environ or {}, keys, reserved)
    for key, (flag, value) in (flags or {}).items():
        if value is not None:
            given[key] = _Given(value, flag)
    tree: dict[str, Any] = {}
    for key, each in given.items():
        _put(tree, key, each.value)
    try:
        value = model.model_validate(tree)
    except ValidationError as error:
        raise _refused(error, given) from None
    return Settings(value, {key: each.origin for key, each in given.items()})


def keys_of(model: type[BaseModel], *, above: str = "") -> dict[str, Any]:
    """Every key of a model with its annotation, sections opened."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= keys_of(kind, above=f"{above}{name}.")
        else:
            found[above + name] = kind
    return found


def variable(key: str) -> str:
    """Name of the environment variable of a key: `run.out` is PACKHOUND_RUN_OUT."""
    return PREFIX + key.replace(".", "_").upper()


def _from_environment(
    environ: Mapping[str, str], keys: Mapping[str, Any], reserved: frozenset[str]
) -> Iterator[tuple[str, _Given]] | dict[str, _Given]:
    names = {variable(key): key for key in keys}
    found = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name in reserved:
            continue
        key = names.get(name)
        if key is None:
            raise Usage(f"environment variable {name} is no setting{_nearest(name, names)}")
        many = get_origin(keys[key]) in {list, tuple}
        found[key] = _Given([part.strip() for part in text.split(",") if part.strip()] if many else text, name)
    return found


def _from_file(path: Path, keys: Mapping[str, Any]) -> dict[str, _Given]:
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise from_os(error, what="settings file") from None
    if len(raw) > MAX_BYTES:
        raise Usage(f"settings file {path} is larger than {MAX_BYTES} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Usage(f"settings file {path} is not UTF-8 (byte {error.start})") from None
    tree, lines = _toml(path, text) if path.suffix == ".toml" else _yaml(path, text)
    found = {}
    for key, value in _flat(tree, keys):
        line = lines.get(key)
        place = f"{path}:{line}" if line else str(path)
        if key not in keys:
            raise Usage(f"{place}: {key} is no setting{_nearest(key, keys)}")
        found[key] = _Given(value, place)
    return found


def _toml(path: Path, text: str) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        return tomllib.loads(text), _toml_lines(text)
    except tomllib.TOMLDecodeError as error:
        raise Usage(f"settings file {path} is not valid TOML: {error}") from None


def _toml_lines(text: str) -> dict[str, int]:
    """Lines of plain keys below plain table headers; a key written otherwise has none."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            table = stripped.strip("[] ") + "."
        elif "=" in stripped and not stripped.startswith("#"):
            found.setdefault(table + stripped.partition("=")[0].strip().strip("\"'"), number)
    return found


def _yaml(path: Path, text: str) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise Usage(f"{path}:{line}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise Usage(f"settings file {path} is not valid YAML: {error}") from None
    if tree is None:
        return {}, {}
    if not isinstance(tree, dict):
        raise Usage(f"settings file {path} is not a mapping of sections")
    lines: dict[str, int] = {}
    _yaml_lines(path, node, "", lines)
    return tree, lines


def _yaml_lines(path: Path, node: Any, above: str, found: dict[str, int]) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    for name, value in node.value:
        key = f"{above}{name.value}"
        line = name.start_mark.line + 1
        if key in found:
            raise Usage(f"{path}:{line}: {key} is given twice")
        found[key] = line
        _yaml_lines(path, value, key + ".", found)


def _flat(tree: Mapping[Any, Any], keys: Mapping[str, Any], *, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{above}{name}"
        is_section = any(known.startswith(key + ".") for known in keys)
        if is_section and isinstance(value, Mapping):
            yield from _flat(value, keys, above=key + ".")
        else:
            yield key, value


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value


def _at(tree: Mapping[str, Any], key: str) -> Any:
    value: Any = tree
    for part in key.split("."):
        value = value[part]
    return value


def _refused(error: ValidationError, given: Mapping[str, _Given]) -> Usage:
    """The first fault as a sentence, all of them as notes."""
    sentences = []
    for each in error.errors():
        path = ".".join(part for part in each["loc"] if isinstance(part, str))
        key = next((key for key in given if path == key or path.startswith(key + ".")), path)
        place = f"{given[key].origin}: " if key in given else ""
        message = str(each["msg"]).removeprefix("Value error, ")
        shown = f" (not {given[key].value!r})" if key in given else ""
        sentences.append(f"{place}{key}: {message}{shown}")
    return Usage(sentences[0], notes=tuple(sentences[1:]))


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def is_list(annotation: Any) -> bool:
    """Tell whether a setting holds several values."""
    return get_origin(annotation) in {list, tuple} or any(get_origin(a) in {list, tuple} for a in get_args(annotation))
