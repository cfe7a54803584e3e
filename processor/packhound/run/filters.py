"""HuntFilters from files and folders, watched: an edit takes effect without a restart, a bad one is refused.

Promise: what was accepted last stays in force until a good version replaces it or its file goes. `read` and `refresh`
run in one thread; nothing here touches capture.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packhound.api.huntfilter import HuntFilter
from packhound.api.load import BadObject, Loaded, line_of, load_text, path_text
from packhound.rules.compile import Note, compile_plan
from packhound.rules.plan import EMPTY, HuntPlan

SUFFIXES = (".yaml", ".yml")
Signature = tuple[tuple[str, int, int, int], ...]


def files_of(paths: Iterable[Path]) -> list[Path]:
    """The filter files that `paths` name: files as they are, folders by their YAML files, in order of name."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and not p.name.startswith("."))
        else:
            found.append(path)
    return found


def read_file(path: Path) -> Loaded:
    """Objects of one file; a file that cannot be read is a BadObject."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return Loaded(bad=[BadObject(str(path), 0, "", "", "is not UTF-8 text")])
    except OSError as error:
        return Loaded(bad=[BadObject(str(path), 0, "", "", f"cannot be read: {error.strerror}")])
    return load_text(text, file=str(path))


@dataclass(slots=True)
class Change:
    """What a look at the files found: the plan now in force, whether it is new, and everything that was refused."""

    plan: HuntPlan
    changed: bool
    bad: list[BadObject] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class _Known:
    """One accepted filter: the file it came from and its object."""

    file: str
    object: HuntFilter
    line: int


class FilterFiles:
    """The filters of some files and folders. `now` is wall clock time in ns; `check_pcap` as for `compile_plan`."""

    def __init__(
        self, paths: Sequence[Path], *, check_pcap: Callable[[str], str | None], now: Callable[[], int]
    ) -> None:
        self._paths = tuple(paths)
        self._check_pcap = check_pcap
        self._now = now
        self._signature: Signature | None = None
        self._accepted: dict[str, _Known] = {}
        self._created: dict[str, int] = {}
        self.plan = EMPTY

    def signature(self) -> Signature:
        """What tells that a file was edited, added or removed."""
        rows = []
        for path in files_of(self._paths):
            try:
                found = os.stat(path)
            except OSError:
                continue
            rows.append((str(path), found.st_mtime_ns, found.st_size, found.st_ino))
        return tuple(rows)

    @property
    def due(self) -> bool:
        """Tell whether a filter has expired since the plan was made."""
        now = self._now()
        return any(f.active and f.expires_at is not None and f.expires_at <= now for f in self.plan.filters)

    @property
    def accepted(self) -> list[HuntFilter]:
        """The filters in force, by name."""
        return [known.object for _, known in sorted(self._accepted.items())]

    def refresh(self) -> Change | None:
        """Look again: None when neither files nor time have changed anything."""
        signature = self.signature()
        if signature == self._signature and not self.due:
            return None
        self._signature = signature
        return self.read()

    def read(self) -> Change:
        """Read every file and make the plan of what is good, last good versions standing in for what is not."""
        bad: list[BadObject] = []
        wanted: dict[str, _Known] = {}
        for path in files_of(self._paths):
            loaded = read_file(path)
            bad += loaded.bad
            for made, lines in zip(loaded.objects, loaded.lines, strict=True):
                if not isinstance(made, HuntFilter):
                    continue
                if made.full_name in wanted:
                    reason = f"{made.full_name} is already defined in {wanted[made.full_name].file}"
                    bad.append(BadObject(str(path), lines.get((), 0), made.kind, "metadata.name", reason))
                    continue
                wanted[made.full_name] = _Known(str(path), made, lines.get((), 0))
                bad += self._try(made, str(path), lines, wanted)
            if loaded.bad:
                self._keep_last_good(str(path), wanted)
        return self._settle(wanted, bad)

    def _try(
        self, made: HuntFilter, file: str, lines: dict[tuple[str | int, ...], int], wanted: dict[str, _Known]
    ) -> list[BadObject]:
        """Compile one filter alone; when it is refused its last good version takes its place."""
        result = compile_plan([made], revision=0, now=self._now(), check_pcap=self._check_pcap)
        if not result.refused:
            return []
        name = made.full_name
        if name in self._accepted:
            wanted[name] = self._accepted[name]
        else:
            del wanted[name]
        return [
            BadObject(file, line_of(lines, r.path), f"{made.kind} {made.metadata.name}", path_text(r.path), r.reason)
            for r in result.refused
        ]

    def _keep_last_good(self, file: str, wanted: dict[str, _Known]) -> None:
        for name, known in self._accepted.items():
            if known.file == file:
                wanted.setdefault(name, known)

    def _settle(self, wanted: dict[str, _Known], bad: list[BadObject]) -> Change:
        now = self._now()
        self._created = {name: self._created.get(name, now) for name in wanted}
        result = compile_plan(
            [known.object for known in wanted.values()], revision=self.plan.revision + 1, now=now,
            created=self._created, check_pcap=self._check_pcap,
        )  # fmt: skip
        for refusal in result.refused:
            known = wanted.pop(refusal.filter, None)
            if known is None:
                continue
            bad.append(BadObject(known.file, known.line, refusal.filter, path_text(refusal.path), refusal.reason))
        self._accepted = wanted
        changed = result.plan.digest != self.plan.digest or self.plan is EMPTY
        if changed:
            self.plan = result.plan
        return Change(self.plan, changed, bad, result.notes)
