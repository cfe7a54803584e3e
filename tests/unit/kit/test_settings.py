"""Layers of settings: the stronger wins, each value knows its origin, unknown keys are refused with their place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from packhound.kit.errors import BadInput, Usage
from packhound.kit.settings import Section, keys_of, load, variable


class Output(Section):
    out: str = "here"
    megabytes: Annotated[int, Field(ge=1)] = 64


class All(Section):
    quiet: bool = False
    ports: list[int] = [4789]
    output: Output = Output()


def _file(folder: Path, text: str, name: str = "packhound.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_keys_and_variables_have_one_spelling() -> None:
    assert list(keys_of(All)) == ["quiet", "ports", "output.out", "output.megabytes"]
    assert variable("output.out") == "PACKHOUND_OUTPUT_OUT"


def test_defaults_say_that_they_are() -> None:
    rows = load(All).rows()
    assert [(row.key, row.value, row.origin) for row in rows] == [
        ("quiet", False, "default"),
        ("ports", [4789], "default"),
        ("output.out", "here", "default"),
        ("output.megabytes", 64, "default"),
    ]


def test_file_then_environment_then_flag(tmp_path: Path) -> None:
    path = _file(tmp_path, "quiet: true\noutput:\n  out: file\n  megabytes: 1\n")
    settings = load(
        All,
        file=path,
        environ={"PACKHOUND_OUTPUT_OUT": "variable", "PACKHOUND_OUTPUT_MEGABYTES": "2", "HOME": "/"},
        flags={"output.out": ("--out", "flag"), "quiet": ("--quiet", None)},
    )
    assert settings.value == All(quiet=True, output=Output(out="flag", megabytes=2))
    assert {row.key: row.origin for row in settings.rows()} == {
        "quiet": f"{path}:1",
        "ports": "default",
        "output.out": "--out",
        "output.megabytes": "PACKHOUND_OUTPUT_MEGABYTES",
    }


def test_a_list_in_the_environment_is_separated_by_commas() -> None:
    assert load(All, environ={"PACKHOUND_PORTS": "4789, 8472,"}).value.ports == [4789, 8472]


def test_toml_is_read_too(tmp_path: Path) -> None:
    path = _file(tmp_path, "quiet = true\n[output]\nmegabytes = 7\n", "packhound.toml")
    settings = load(All, file=path)
    assert settings.value.output.megabytes == 7
    assert settings.origins["output.megabytes"] == f"{path}:3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("output:\n  owt: x\n", ":2: output.owt is no setting; did you mean output.out?"),
        ("zzz: 1\n", ":1: zzz is no setting"),
        ("output:\n  megabytes: 0\n", ":2: output.megabytes: Input should be greater than or equal to 1 (not 0)"),
        ("output:\n  out: a\n  out: b\n", ":3: output.out is given twice"),
        ("output: 3\n", ":1: output is no setting"),
        ("quiet: [\n", "not valid YAML"),
        ("- a\n", "is not a mapping of sections"),
        ("quiet: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(Usage) as caught:
        load(All, file=path)
    assert said in caught.value.reason
    assert str(path) in caught.value.reason


def test_all_faults_are_told(tmp_path: Path) -> None:
    path = _file(tmp_path, "quiet: perhaps\noutput:\n  megabytes: -1\n")
    with pytest.raises(Usage) as caught:
        load(All, file=path)
    assert f"{path}:1: quiet" in caught.value.reason
    assert len(caught.value.notes) == 1
    assert f"{path}:3: output.megabytes" in caught.value.notes[0]


def test_an_unknown_variable_is_refused_unless_reserved() -> None:
    with pytest.raises(Usage, match="PACKHOUND_OUTPUT_OWT is no setting; did you mean PACKHOUND_OUTPUT_OUT"):
        load(All, environ={"PACKHOUND_OUTPUT_OWT": "x"})
    load(All, environ={"PACKHOUND_CORPUS": "x"}, reserved=frozenset({"PACKHOUND_CORPUS"}))


def test_a_bad_flag_is_named_as_typed() -> None:
    with pytest.raises(Usage, match=r"--megabytes: output\.megabytes"):
        load(All, flags={"output.megabytes": ("--megabytes", 0)})


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="settings file"):
        load(All, file=tmp_path / "none.yaml")


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load(All, file=_file(tmp_path, "")).value == All()


def test_a_file_of_other_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Usage, match="not UTF-8"):
        load(All, file=path)
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(Usage, match="larger than"):
        load(All, file=path)
