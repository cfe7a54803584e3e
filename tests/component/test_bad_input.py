"""Bad captures, folders, filters and settings: each a message that names the place and the reason, the right exit code,
and nothing recorded before is damaged."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.capture_files import block, enhanced, interface, pcap_header, record, section
from tests.support.corpus import CORPUS, expected, needs_corpus
from tests.support.hunting import Ran, call, hunt, hunt_filter, leaf, write_filters
from tests.support.netns import needs_root
from tests.support.tape import Tape, phone_call, udp

PACKHOUND = Path(sys.executable).with_name("packhound")
ALL = hunt_filter("all", pcapFilter="ip or not ip")
FRAME = udp(1, 1000, 2, 2000, b"payload")
GOOD = pcap_header() + record(1, 0, FRAME) + record(2, 0, FRAME)

AS_NOBODY = """
import importlib, os, pkgutil, sys
import packhound.kit, packhound.run, prometheus_client
for where in (packhound.run, packhound.kit):  # nobody may not be able to read Python's own files
    for each in pkgutil.iter_modules(where.__path__, where.__name__ + "."):
        importlib.import_module(each.name)
from packhound.console.cli import command
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(command(sys.argv[1:]))
"""

BROKEN = {
    "empty": (b"", "is empty (0 bytes)", 0),
    "three bytes": (b"abc", "only 3 bytes long", 0),
    "not a capture": (b"PK\x03\x04" + bytes(200), "", 0),
    "header cut": (GOOD[:20], "", 0),
    "record header cut": (GOOD[: 24 + 16 + len(FRAME) + 7], "cut short", 1),
    "packet cut": (GOOD[:-5], "cut short", 1),
    "huge length": (GOOD + struct.pack("<IIII", 3, 0, 0x7FFFFFFF, 0x7FFFFFFF) + bytes(64), "", 2),
    "most negative length": (GOOD + struct.pack("<IIII", 3, 0, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(64), "", 2),
    "pcapng block cut": (section() + interface() + enhanced(1, FRAME) + enhanced(2, FRAME)[:-9], "cut short", 1),
    "pcapng length 0": (section() + interface() + enhanced(1, FRAME) + struct.pack("<II", 6, 0) + bytes(40), "", 1),
    "pcapng length huge": (section() + interface() + enhanced(1, FRAME) + struct.pack("<II", 6, 0xFFFFFFF0) + bytes(40), "", 1),
    "pcapng without interface": (section() + enhanced(1, FRAME), "", 0),
    "pcapng packet beyond its block": (
        section() + interface() + block(6, struct.pack("<IIIII", 0, 0, 0, 5000, 5000) + FRAME), "", 0
    ),
    "gzip cut": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + bytes(5), "", 0),
}  # fmt: skip


# captures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_capture_is_told_and_what_was_before_it_is_kept(tmp_path: Path, name: str) -> None:
    content, reason, whole = BROKEN[name]
    path = tmp_path / "broken.pcap"
    path.write_bytes(content)
    ran = hunt(tmp_path, path, [ALL])
    assert ran.code == 3, ran.said
    told = [line for line in ran.said.splitlines() if line.startswith("packhound: ")]
    assert len(told) == 1
    assert str(path) in told[0]
    assert reason in told[0]
    if ran.outcome:
        ran.code = 0
        assert [p.data for p in ran.balanced().packets()] == [FRAME] * whole
    code, printed, said = call("inspect", "-r", path)
    assert (code, str(path) in said) == (3, True)
    assert all(json.loads(line) for line in printed.splitlines())


@pytest.mark.parametrize("command", ["run", "inspect"])
def test_an_unknown_link_type_is_named(tmp_path: Path, command: str) -> None:
    path, mixed = tmp_path / "x.pcap", tmp_path / "mixed.pcapng"
    path.write_bytes(pcap_header(net=147) + record(1, 0, FRAME))
    mixed.write_bytes(section() + interface(net=147) + interface() + enhanced(1, FRAME) + enhanced(2, FRAME, who=1))
    extra = ["--out", tmp_path / "out"] if command == "run" else []
    code, _, said = call(command, "-r", path, *extra)
    assert (code, f"{path}: link type 147" in said) == (3, True)
    code, printed, said = call(command, "-r", mixed, *extra)
    assert code == 0, "the other interface was read"
    assert "unsupported link type 147" in printed + said


@pytest.mark.parametrize(("path", "code", "reason"), [
    ("nosuch.pcap", 3, "No such file or directory"), (".", 3, "directory"), ("/dev/null", 3, ""),
])  # fmt: skip
def test_what_is_no_readable_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, code: int, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("run", "inspect"):
        extra = ["--out", "out"] if command == "run" else []
        got, _, said = call(command, "-r", path, *extra)
        assert got == code
        assert path in said
        assert reason in said


def as_nobody(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line as a user without rights (the interpreter is opened before they go)."""
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=30
    )


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that everyone reaches."""
    made = Path("/tmp") / f"packhound-test-{os.getpid()}-{tmp_path.name}"
    made.mkdir(mode=0o755)
    yield made
    shutil.rmtree(made)


@needs_root
def test_what_is_not_permitted_has_its_exit_code(open_folder: Path) -> None:
    secret = open_folder / "secret.pcap"
    secret.write_bytes(GOOD)
    secret.chmod(0o600)
    done = as_nobody("inspect", "-r", secret)
    assert (done.returncode, str(secret) in done.stderr) == (4, True), done.stderr
    secret.chmod(0o644)
    done = as_nobody("run", "-r", secret, "--out", open_folder / "out")
    assert done.returncode == 4, done.stderr
    assert f"{open_folder / 'out'}: Permission denied" in done.stderr
    done = as_nobody("run", "-i", "lo", "--out", open_folder / "out")
    assert done.returncode == 4, done.stderr
    assert "CAP_NET_RAW" in done.stderr


def test_an_output_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.pcap").write_bytes(GOOD)
    (tmp_path / "file").write_text("mine")
    code, _, said = call("run", "-r", tmp_path / "x.pcap", "--out", tmp_path / "file")
    assert code == 3
    assert str(tmp_path / "file") in said
    assert (tmp_path / "file").read_text() == "mine"


@needs_root
def test_a_full_disk_costs_what_does_not_fit_and_harms_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        before = hunt(disk, Tape().add(*phone_call()).save(disk / "x.pcap"), [ALL]).balanced()
        kept = {path: path.read_bytes() for path in before.out.rglob("*") if path.is_file()}
        frames = [udp(1, 1000, 2, 2000, n.to_bytes(4) + os.urandom(1300)) for n in range(3000)]
        big = Tape(step=0.1).add(*frames).save(tmp_path / "big.pcap")
        ran = hunt(disk, big, [ALL])
        assert ran.code == 3
        account = ran.account
        assert ran.outcome["books"]["residual"] == 0
        assert account["lost"]["disk_full"] > 0
        assert account["recorded"] + account["lost"]["disk_full"] == account["matched"] == 3000
        assert any("disk_full" in each for each in ran.outcome["conditions"])
        assert all(path.read_bytes() == data for path, data in kept.items())
        fresh = [path for path in ran.segments() if path not in kept]
        assert sum(1 for _ in ran.packets()) == account["recorded"] + before.account["recorded"], fresh
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@needs_corpus
def test_no_capture_of_the_corpus_stops_inspect() -> None:
    codes: dict[str, int] = {}
    for row in expected("no_crash"):
        code, printed, said = call("inspect", "-r", CORPUS / row["capture"])
        codes[row["capture"]] = code
        assert code in (0, 3), (row["capture"], said)
        assert bool(said.strip()) == (code == 3) or "link type" in said, (row["capture"], said)
        assert printed.isascii()
    bad = [name for name, code in codes.items() if code == 3]
    assert len(bad) < 20
    assert len(codes) > 600


# filters -----------------------------------------------------------------------------------------------------------

LINE = """apiVersion: packhound.dev/v1alpha1
kind: HuntFilter
metadata: {name: a, namespace: t}
spec:
  match:
    any:
      - {field: sip.user, equals: [alice]}
      - %s
"""
LEAVES = {
    "{field: sip.usr, equals: [a]}": ("any[1].field", "no such field: 'sip.usr'; did you mean sip.user?"),
    "{field: ip.addr, glob: [a]}": ("any[1].glob", "ip.addr has no operator glob; it has equals, in"),
    "{field: ip.addr, in: [10.0.0.0/40]}": ("any[1].in[0]", "'10.0.0.0/40' is not an IP address or CIDR"),
    "{field: sip.user, regex: ['(a']}": ("any[1].regex[0]", "missing )"),
    "{field: port, in: [9-1]}": ("any[1].in[0]", "'9-1' ends before it begins"),
    "{field: sip.user, equals: [a], glob: [b]}": ("any[1]", "exactly one operator"),
    "{field: sip.user, like: [a]}": ("any[1].like", ""),
    "{field: sip.user}": ("any[1]", "exactly one operator"),
}


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return Tape().add(*phone_call()).save(tmp_path / "x.pcap")


@pytest.mark.parametrize("text", LEAVES)
def test_a_bad_leaf_is_told_with_file_line_path_and_reason(tmp_path: Path, capture: Path, text: str) -> None:
    where, reason = LEAVES[text]
    file = tmp_path / "bad.yaml"
    file.write_text(LINE % text)
    for arguments in (("run", "-r", capture, "-f", file, "--out", tmp_path / "out"), ("filter", "check", file)):
        code, printed, said = call(*arguments)
        assert code == 3
        assert f"{file}:8: HuntFilter a spec.match.{where}: " in printed + said
        assert reason in printed + said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "reason"), [
    (LINE % "{field: sip.user", "bad.yaml:9: not valid YAML"),
    ("kind: Nothing\napiVersion: packhound.dev/v1alpha1\n", "bad.yaml:1"),
    ("a: &x [*x]\n", "bad.yaml"),
    ("apiVersion: packhound.dev/v1alpha1\nkind: HuntFilter\nmetadata: {name: a}\nspec: {pcapFilter: 'port nope'}\n", "spec.pcapFilter"),
    ("apiVersion: packhound.dev/v1alpha1\nkind: HuntFilter\nmetadata: {name: a}\nspec: {}\n", "needs match, pcapFilter, or both"),
    ("apiVersion: packhound.dev/v1alpha1\nkind: HuntFilter\nmetadata: {name: a}\nspec: {pcapFilter: ip, sope: flow}\n", "spec.sope"),
])  # fmt: skip
def test_a_bad_filter_file_is_told(tmp_path: Path, capture: Path, text: str, reason: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    code, _, said = call("run", "-r", capture, "-f", file, "--out", tmp_path / "out")
    assert code == 3
    assert str(file) in said
    assert reason in said


def test_a_filter_file_of_other_bytes_or_none_is_told(tmp_path: Path, capture: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for name, reason in (("bytes.yaml", "not UTF-8"), ("none.yaml", "No such file")):
        code, _, said = call("run", "-r", capture, "-f", tmp_path / name, "--out", tmp_path / "out")
        assert (code, str(tmp_path / name) in said, reason in said) == (3, True, True)


def test_a_bad_run_leaves_earlier_recordings_alone(tmp_path: Path, capture: Path) -> None:
    before = hunt(tmp_path, capture, [ALL]).balanced()
    kept = {path: path.read_bytes() for path in before.out.rglob("*") if path.is_file()}
    (tmp_path / "broken.pcap").write_bytes(GOOD[:-5])
    (tmp_path / "bad.yaml").write_text("kind: [")
    assert hunt(tmp_path, tmp_path / "broken.pcap", [ALL]).code == 3
    assert call("run", "-r", capture, "-f", tmp_path / "bad.yaml", "--out", before.out)[0] == 3
    assert {path: path.read_bytes() for path in kept} == kept


def test_the_same_name_twice_is_refused_with_both_places(tmp_path: Path, capture: Path) -> None:
    for name in ("one.yaml", "two.yaml"):
        write_filters(tmp_path / name, hunt_filter("a", leaf("sip.user", "equals", "alice")))
    code, _, said = call(
        "run", "-r", capture, "-f", tmp_path / "one.yaml", "-f", tmp_path / "two.yaml", "--out", tmp_path / "o"
    )
    assert code == 3
    assert f"{tmp_path / 'two.yaml'}:" in said
    assert f"t/a is already defined in {tmp_path / 'one.yaml'}" in said


# the command line and settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "code", "reason"), [
    (["run"], 2, "-r FILE"), (["run", "-r", "CAPTURE", "-i", "lo"], 2, "not both"), (["run", "--nope"], 2, "--nope"),
    (["nope"], 2, "nope"), (["run", "-r", "CAPTURE", "--snaplen", "3"], 2, "--snaplen: capture.snaplen"),
    (["run", "-r", "CAPTURE", "--count", "x"], 2, "count"), (["run", "-r", "CAPTURE", "--kernel", "gpu"], 2, "--kernel"),
    (["run", "-r", "CAPTURE", "--bpf", "port ("], 3, "--bpf"), (["run", "-i", "nosuch0"], 3, "nosuch0: no such interface"),
    (["replay", "-r", "CAPTURE", "-i", "lo", "--speed", "0"], 2, "--speed"), (["replay", "-i", "lo"], 2, "-r FILE"),
    (["query", "SELECT 1; SELECT 2", "--out", "."], 3, "only one SELECT"), (["query", "SELECT 1"], 3, "--out"),
    (["query", "DROP TABLE flows", "--out", "."], 3, "only one SELECT"), (["calls", "--out", "nosuch"], 3, "nosuch"),
])  # fmt: skip
def test_a_bad_command_line_has_its_exit_code_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capture: Path, arguments: list[str], code: int, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    got, _, said = call(*[capture if a == "CAPTURE" else a for a in arguments])
    assert got == code, said
    assert reason in said
    assert said.startswith("packhound: ")
    assert "Traceback" not in said


@pytest.mark.parametrize(("name", "text", "place"), [
    ("s.yaml", "outptu: {out: x}\n", "s.yaml:1: outptu is no setting; did you mean output.out?"),
    ("s.toml", "[capture]\nsnap = 9\n", "s.toml:2: capture.snap is no setting"),
    ("s.yaml", "capture: {snaplen: 3}\n", "s.yaml:1"),
    ("s.yaml", "capture: [\n", "s.yaml:2: not valid YAML"),
])  # fmt: skip
def test_a_bad_settings_file_is_told_with_its_line(
    tmp_path: Path, capture: Path, name: str, text: str, place: str
) -> None:
    (tmp_path / name).write_text(text)
    code, _, said = call("run", "-r", capture, "--config", tmp_path / name)
    assert code == 2
    assert place in said


def test_an_unknown_variable_is_refused(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKHOUND_CAPTURE_SNAPLENGTH", "100")
    code, _, said = call("run", "-r", capture)
    assert code == 2
    assert "PACKHOUND_CAPTURE_SNAPLENGTH is no setting; did you mean PACKHOUND_CAPTURE_SNAPLEN?" in said


def test_print_config_says_where_every_value_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.toml").write_text('[capture]\nsnaplen = 100\ncount = 1\n[output]\nsensor = "file"\n')
    monkeypatch.setenv("PACKHOUND_CAPTURE_COUNT", "2")
    monkeypatch.setenv("PACKHOUND_CAPTURE_SNAPLEN", "200")
    code, printed, _ = call("run", "--config", tmp_path / "s.toml", "--snaplen", "300", "--print-config", "--json")
    assert code == 0
    rows: dict[str, Any] = json.loads(printed)
    assert rows["capture.snaplen"] == {"value": 300, "from": "--snaplen"}
    assert rows["capture.count"] == {"value": 2, "from": "PACKHOUND_CAPTURE_COUNT"}
    assert rows["output.sensor"] == {"value": "file", "from": f"{tmp_path / 's.toml'}:5"}
    assert rows["output.rotate_mib"]["from"] == "default"
    code, printed, _ = call("run", "--print-config")
    assert code == 0
    assert "capture.snaplen" in printed


def test_bytes_of_packets_never_reach_the_terminal(tmp_path: Path) -> None:
    evil = phone_call(user="al\x1b[2Jice")
    ran: Ran = hunt(tmp_path, Tape().add(*evil).save(tmp_path / "x.pcap"), [ALL]).balanced()
    for arguments in (
        ("inspect", "-r", tmp_path / "x.pcap"),
        ("calls", "--out", ran.out),
        ("query", "SELECT * FROM messages", "--out", ran.out),
    ):
        code, printed, said = call(*arguments)
        assert code == 0
        assert "\x1b" not in printed + said
