"""The plugin's commands that need no cluster, and what it makes of what kubectl and packets say."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from packhound.console.kubectl import command
from packhound.console.portforward import Missing, fault
from packhound.kit.errors import BadInput, NotPermitted
from packhound.operator.admission import review
from packhound.run import hunting
from packhound.run.podnames import PodNames
from packhound.run.viewing import Capture, Remarks, json_of, line_of, packet_rows
from packhound.wire.facts import Fact
from tests.support.batches import batch_of, udp_packet
from tests.support.objects import hunt_filter, leaf

COMMANDS = ("hunt", "status", "sensors", "tail", "pcap", "explain", "check")
Captured = pytest.CaptureFixture[str]


def made(capsys: Captured, *words: str) -> dict[str, Any]:
    assert command(["hunt", *words, "-n", "voice", "--dry-run"]) == 0
    found: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    assert review({"request": {"uid": "1", "operation": "CREATE", "object": found}}, now=1)["response"]["allowed"]
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_and_json(name: str, capsys: Captured) -> None:
    assert command([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"  kubectl packhound {name}" in text.split("Usage:", 1)[1].split("\n", 1)[1]
    assert "--json" in text


# hunt ----------------------------------------------------------------------------------------------------------------


def test_a_filter_is_made_of_flags(capsys: Captured) -> None:
    found = made(capsys, "alice", "--field", "sip.user", "--value", "alice", "--value", "bob", "--pcap", "udp",
                 "--pod", "app=pbx", "--purpose", "ticket 7", "--per-call", "--scope", "call")  # fmt: skip
    assert found["metadata"] == {"name": "alice", "namespace": "voice", "labels": {"app.kubernetes.io/managed-by": "kubectl-packhound"}}
    assert found["spec"] == {
        "match": {"field": "sip.user", "equals": ["alice", "bob"]}, "pcapFilter": "udp", "scope": "call", "purpose": "ticket 7",
        "target": {"podSelector": {"matchLabels": {"app": "pbx"}}}, "actions": {"record": {"perCall": True}},
        "schedule": {"ttl": "1h"},
    }  # fmt: skip


def test_several_fields_must_all_match_and_values_have_the_type_of_their_field(capsys: Captured) -> None:
    spec = made(capsys, "--field", "port", "--value", "443", "--field", "tls.sni", "--value", ".example.com",
                "--op", "equals", "--op", "domain", "--ttl", "none")["spec"]  # fmt: skip
    assert spec == {"match": {"all": [{"field": "port", "equals": [443]}, {"field": "tls.sni", "domain": [".example.com"]}]}}
    assert made(capsys, "--field", "phone.number", "--value", "+49 30 123456")["spec"]["match"]["number"] == ["+49 30 123456"]
    assert made(capsys, "--field", "ip.addr", "--value", "10.0.0.0/8")["spec"]["match"]["in"] == ["10.0.0.0/8"]
    assert made(capsys, "--field", "dns.response", "--value", "true")["spec"]["match"]["equals"] == [True]
    assert made(capsys, "--pcap", "tcp port 5432")["metadata"]["name"].startswith("hunt-tcp-port-5432-")


def test_a_cluster_filter_has_no_namespace(capsys: Captured) -> None:
    found = made(capsys, "x", "--pcap", "icmp", "--cluster")
    assert (found["kind"], "namespace" in found["metadata"]) == ("ClusterHuntFilter", False)


@pytest.mark.parametrize(("words", "code", "says"), [
    ([], 2, "say what to hunt"),
    (["--field", "sip.usr", "--value", "a"], 2, "did you mean sip.user"),
    (["--field", "sip.user"], 2, "give a --value"),
    (["--value", "a"], 2, "needs a --field"),
    (["--field", "sip.user", "--op", "domain", "--value", "a"], 2, "which has: equals, glob"),
    (["--field", "sip.user", "--op", "regex", "--value", "("], 3, "could not work"),
    (["--pcap", "port port"], 3, "could not work"),
    (["--pcap", "udp", "--ttl", "soon"], 3, "duration"),
    (["Bad_Name", "--pcap", "udp"], 3, "metadata.name"),
    (["--field", "port", "--value", "1", "--field", "port"], 2, "one --value for each"),
    (["--pcap", "udp", "--pod", "app"], 2, "LABEL=VALUE"),
    (["--nonsense"], 2, "--help"),
])  # fmt: skip
def test_what_cannot_be_is_refused_with_what_to_do(words: list[str], code: int, says: str, capsys: Captured) -> None:
    assert command(["hunt", *words, "-n", "t", "--dry-run"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err


# check ---------------------------------------------------------------------------------------------------------------


def test_check_says_what_admission_says_with_lines(tmp_path: Path, capsys: Captured) -> None:
    good, bad = hunt_filter("good", leaf("sip.user", "equals", "a")), hunt_filter("bad", leaf("sip.usr", "equals", "a"), pcapFilter="port port")
    path = tmp_path / "both.yaml"
    path.write_text(yaml.safe_dump_all([good, bad]))
    assert command(["check", str(path)]) == 3
    said = capsys.readouterr()
    assert said.out == f"{path}:1: HuntFilter t/good: ok\n"
    refusal = review({"request": {"uid": "1", "operation": "CREATE", "object": bad}}, now=1)["response"]["status"]["message"]
    lines = path.read_text().splitlines()
    for line in said.err.splitlines():
        place, fault = line.removeprefix("packhound: ").split(": HuntFilter t/bad: ")
        assert fault in refusal
        number = int(place.rpartition(":")[2])
        assert fault.split(":")[0].rpartition(".")[2] in lines[number - 1]
    assert said.err.count("t/bad") == 2
    assert command(["check", str(path), "--json"]) == 3
    rows = json.loads(capsys.readouterr().out)
    assert [(row["object"], row["ok"]) for row in rows] == [("HuntFilter t/good", True), ("HuntFilter t/bad", False)]


def test_check_of_what_is_no_filter(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "x.yaml"
    for text, says in (("{", "not valid YAML"), ("- 1", "a document is a mapping"), ("kind: Pod", "none of HuntFilter")):
        path.write_text(text)
        assert command(["check", str(path)]) == 3
        assert says in capsys.readouterr().err
    path.write_text(yaml.safe_dump({"kind": "List", "items": [hunt_filter("a", pcapFilter="udp"), hunt_filter("a", pcapFilter="udp")]}))
    assert command(["check", str(path)]) == 3
    assert "is already in" in capsys.readouterr().err
    path.write_text("")
    assert command(["check", str(path), str(tmp_path / "none.yaml")]) == 3
    assert "cannot be read" in capsys.readouterr().err
    assert command(["check", str(path)]) == 3
    assert "nothing to check" in capsys.readouterr().err


# explain -------------------------------------------------------------------------------------------------------------


def test_fields_are_explained(capsys: Captured) -> None:
    assert command(["explain", "tls.sni", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["field"], found["type"], "domain" in found["operators"]) == ("tls.sni", "name", True)
    assert command(["explain", "sip"]) == 0
    text = capsys.readouterr().out
    assert "sip.user" in text
    assert "tls.sni" not in text
    assert command(["explain", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) > 200


def test_a_filter_of_a_cluster_is_explained() -> None:
    raw = hunt_filter("a", leaf("sip.user", "equals", "alice"), namespace="voice", schedule={"ttl": "1h"}) | {"status": {"x": 1}}
    raw["metadata"] |= {"uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    found = hunting.explained(raw)
    assert (found["name"], found["active"], found["scope"]) == ("voice/a", False, "call")
    assert "a pod of namespace voice" in found["traffic"]
    assert any("sip.user" in each for each in (*found["engine"], *found["fields"]))
    with pytest.raises(BadInput, match="cannot work"):
        hunting.explained(hunt_filter("b", leaf("sip.usr", "equals", "x")))


# status --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("conditions", "seen", "state"), [
    ({}, 1, "not taken up"), ({"Accepted": "True"}, 0, "changing"), ({"Accepted": "False"}, 1, "refused"),
    ({"Accepted": "True", "Capturing": "True", "Distributed": "True"}, 1, "hunting"),
    ({"Accepted": "True", "Capturing": "True", "Distributed": "False"}, 1, "distributing"),
    ({"Accepted": "True", "Capturing": "False", "Expired": "True"}, 1, "expired"),
    ({"Accepted": "True", "Capturing": "False"}, 1, "nosensor"),
])  # fmt: skip
def test_the_state_of_a_filter_is_one_word(conditions: dict[str, str], seen: int, state: str) -> None:
    raw = hunt_filter("a", pcapFilter="udp") | {"status": {
        "observedGeneration": seen, "sensors": {"acked": 1, "desired": 2}, "packets": {"matched": 3},
        "conditions": [{"type": key, "status": value, "reason": "NoSensor"} for key, value in conditions.items()],
    }}  # fmt: skip
    raw["metadata"]["generation"] = 1
    row = hunting.status_row(raw, now=10**18)
    assert (row["state"], row["sensors"], row["matched"]) == (state, "1/2", 3)


# kubectl's complaints ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "kind", "means"), [
    ('Error from server (Forbidden): pods is forbidden: User "a" cannot list', NotPermitted, "does not let you"),
    ("error: You must be logged in to the server (Unauthorized)", NotPermitted, "does not know you"),
    ("Unable to connect to the server: getting credentials: exec: executable x not found", NotPermitted, "does not know you"),
    ("The connection to the server localhost:8080 was refused - did you specify the right host or port?", BadInput, "cannot be reached"),
    ("Unable to connect to the server: dial tcp: lookup k8s: no such host", BadInput, "cannot be reached"),
    ('error: the server doesn\'t have a resource type "huntfilters"', BadInput, "no such kind"),
    ('Error from server (NotFound): huntfilters.packhound.dev "x" not found', Missing, "no such thing"),
    ('error: context "x" does not exist', BadInput, "kubeconfig cannot be used"),
    ('admission webhook "x" denied the request: bad', BadInput, "refused it"),
    ("W1121 12:00:00 warn.go] deprecated\nsome other thing", BadInput, "some other thing"),
    ("", BadInput, "said nothing"),
])  # fmt: skip
def test_what_kubectl_says_becomes_what_to_do(said: str, kind: type, means: str) -> None:
    found = fault(said, doing="list pods")
    assert type(found) is kind
    assert means in found.reason
    assert "deprecated" not in found.reason
    assert found.notes or means.startswith(("some", "said"))


# pods ----------------------------------------------------------------------------------------------------------------

AT = 1_600_000_000 * 10**9


def row(name: str, ip: str, *, since: str = "2020-01-01T00:00:00Z", host: str = "<none>", gone: str = "<none>",
        phase: str = "Running") -> str:  # fmt: skip
    return f"shop   {name}  u-{name}   {ip}   {host}   {since}   {gone}   {phase}\n"


def test_a_pod_is_named_for_the_time_it_had_the_address() -> None:
    pods = PodNames()
    pods.see(row("old", "10.0.0.1,fd00::1"), now=AT)
    assert (pods.of("10.0.0.1", AT), pods.of("fd00::1", AT), pods.of("10.0.0.2", AT)) == ("shop/old", "shop/old", "")
    assert pods.of("10.0.0.1", 0) == ""
    pods.see(row("old", "10.0.0.1,fd00::1", phase="Succeeded"), now=AT + 10**9)
    pods.see(row("new", "10.0.0.1", since="2020-09-13T12:26:45Z"), now=AT + 5 * 10**9)
    assert [pods.of("10.0.0.1", AT + second * 10**9) for second in (0, 2, 6)] == ["shop/old", "", "shop/new"]
    assert pods.of("fd00::1", AT + 2 * 10**9) == ""


def test_what_names_nobody_is_left_out() -> None:
    pods = PodNames()
    for line in (row("node", "10.0.0.1", host="true"), row("early", "<none>"), "", "NAME READY", "a b c d e f g"):
        pods.see(line, now=AT)
    assert len(pods) == 0
    pods.see("sh,op  a=b  u  10.0.0.9  <none>  <none>  <none>  Running", now=AT)
    assert pods.of("10.0.0.9", AT) == "sh\\x2cop/a\\x3db"


# lines and captures --------------------------------------------------------------------------------------------------


def batch(**more: Any) -> Any:
    made = batch_of([udp_packet(n) for n in range(3)], fset=[1, 1, 2], fsets={1: ("voice/a",), 2: ("voice/a", "voice/b")}, **more)
    made.sensor = "n1"
    return made


def test_lines_are_sanitised_and_json_is_ascii() -> None:
    given = batch()
    given.facts = [(0, 1, int(given.ts[0]), Fact("sip", {"sip.method": "INVITE\x1b[2J", "sip.from": "a\u202eb\n"}))]
    given.calls = np.array(["call\x07\x7f", None, None], object)
    rows = packet_rows(given, lambda address, _: f"shop/{address}")
    text = line_of("packets", rows[0])
    assert text.isprintable()
    assert "INVITE\\x1b[2J" in text
    assert "k8s.src.pod" in rows[0]
    raw = json_of("packets", rows[0])
    assert raw.isascii()
    assert raw.isprintable()
    assert json.loads(raw)["sip.call_id"] == "call\x07\x7f"
    for kind in ("flows", "calls"):
        assert line_of(kind, {"flow.host": "\x1b]0;x\x07", "sip.from": "\x1b", "ip.src": "::1", "ip.dst": "::2", "port.src": 1}).isprintable()
        assert line_of(kind, {}).isprintable()


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_a_capture_is_a_pcapng_with_comments(tmp_path: Path) -> None:
    remarks = Remarks(lambda address, _: f"shop/p-{address}")
    capture = Capture(remarks, comment="filter=voice/*")
    other = batch()
    other.sensor = "n2"
    data = capture.head() + capture.blocks(batch()) + capture.blocks(batch(), most=1) + capture.blocks(other) + capture.tail()
    path = tmp_path / "x.pcapng"
    path.write_bytes(data)
    assert capture.packets == 7
    done = subprocess.run(["tshark", "-r", path, "-T", "fields", "-e", "frame.comment", "-e", "frame.interface_description"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 7
    assert "filter=voice/a protocol" in lines[0]
    assert "filter=voice/a,voice/b" in lines[2]
    assert all("k8s.src.pod=shop/p-" in line and "k8s.dst.pod=shop/p-" in line for line in lines)
    assert ["n2" in line for line in lines] == [False] * 4 + [True] * 3
