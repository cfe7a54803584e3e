"""What every command promises: help with examples, JSON, and refusals that say what there is."""

import json

import pytest

from packhound.console.cli import VERSION, command

COMMANDS = ("run", "inspect", "interfaces", "replay", "query", "calls", "demo", "version", "filter check")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_and_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([*name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert f"  packhound {name}" in text.split("Usage:", 1)[1].split("\n", 1)[1]
    assert "--json" in text


@pytest.mark.parametrize("name", ["run", "inspect", "replay"])
def test_long_work_can_show_progress(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command([name, "--help"])
    assert "--progress" in capsys.readouterr().out


def test_version_names_the_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["version", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["version"] == VERSION
    assert found["kernel"] in {"native", "portable"}


@pytest.mark.parametrize("kinds", ["nonsense", "flow,nonsense", ",", ""])
def test_a_kind_that_nothing_prints_is_refused(kinds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["inspect", "-r", "any.pcap", "--kind", kinds]) == 2
    assert "tls.client_hello" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["flow", "tls", "tls.client_hello", "dns,sip"])
def test_kinds_and_their_families_are_taken(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["inspect", "-r", "no-such.pcap", "--kind", kind]) == 3
    assert "no-such.pcap" in capsys.readouterr().err
