"""Filters as text: what is read, and how everything that is wrong is said: file, line, path, reason."""

from __future__ import annotations

import pytest

from packhound.api import ClusterHuntFilter, HuntFilter, load_text, yamltext
from packhound.api.huntfleet import HuntFleet
from packhound.api.load import depth_of

HEAD = "apiVersion: packhound.dev/v1alpha1\nkind: HuntFilter\nmetadata: {name: a, namespace: n}\nspec:\n"


def wrong(text: str) -> list[str]:
    """What is wrong with a text, one line each; nothing may be read from it."""
    found = load_text(text, file="f.yaml")
    assert not found.objects
    return [str(each) for each in found.bad]


def spec_of(text: str) -> HuntFilter:
    found = load_text(HEAD + text)
    assert not found.bad, [str(each) for each in found.bad]
    assert isinstance(found.objects[0], HuntFilter)
    return found.objects[0]


def test_a_whole_filter_is_read() -> None:
    found = spec_of(
        """
  target:
    podSelector: {matchLabels: {app: kamailio}}
    interfaces: [any]
  pcapFilter: "udp or tcp"
  match:
    any:
      - {field: sip.user, glob: ["alice", "+4670*"]}
      - {field: phone.number, number: ["+46 70 123 45 67"]}
      - not: {field: ip.addr, in: ["10.1.0.0/16", "2001:db8::/32"]}
  scope: call
  capture: {payload: full, snaplen: 262144, preTrigger: 30s}
  sample: {rate: 1.0}
  actions:
    record: {perCall: true}
    alert: {severity: high}
  budget: {packetsPerSecond: 20000, totalBytes: 5Gi}
  schedule: {ttl: 2h}
  suspend: false
  purpose: INC-4711
"""
    )
    assert found.full_name == "n/a"
    assert found.spec.match is not None
    assert depth_of(found.spec.match) == 3
    assert found.spec.match.any_ is not None
    assert found.spec.match.any_[0].values("glob") == ["alice", "+4670*"]
    assert found.spec.actions.record is not None
    assert found.spec.actions.record.per_call


def test_what_is_left_out_has_its_default() -> None:
    spec = spec_of("  pcapFilter: tcp\n").spec
    assert spec.target.interfaces == ["any"]
    assert spec.scope is None
    assert spec.capture.snaplen == 262144
    assert spec.actions.record is not None
    assert spec.actions.alert is None
    assert not spec.suspend


def test_record_may_be_turned_off() -> None:
    assert spec_of("  pcapFilter: tcp\n  actions: {record: null, alert: {}}\n").spec.actions.record is None


def test_one_value_stands_for_a_list_of_one() -> None:
    match = spec_of("  match: {field: port, equals: 53}\n").spec.match
    assert match is not None
    assert match.values("equals") == [53]


def test_plain_text_stays_what_was_written() -> None:
    match = spec_of(
        "  match: {field: x, equals: [0046701, +46701, yes, 12:30, 0x1f, 2024-01-02, 1_000, 007, 42]}\n"
    ).spec.match
    assert match is not None
    assert match.values("equals") == ["0046701", "+46701", "yes", "12:30", "0x1f", "2024-01-02", "1_000", "007", 42]


def test_keys_that_a_cluster_adds_are_accepted() -> None:
    text = HEAD.replace(
        "namespace: n", "uid: x, creationTimestamp: 2024-01-01T00:00:00Z, generation: 3, labels: {a: b}"
    )
    found = load_text(text + "  pcapFilter: tcp\nstatus: {revision: 3}\n")
    assert [each.full_name for each in found.objects] == ["default/a"]


def test_cluster_kinds_have_no_namespace() -> None:
    text = "kind: ClusterHuntFilter\nmetadata: {name: a}\nspec: {pcapFilter: tcp}\n---\n"
    text += "kind: HuntFleet\nmetadata: {name: b}\n"
    found = load_text(text)
    assert [type(each) for each in found.objects] == [ClusterHuntFilter, HuntFleet]
    assert [each.full_name for each in found.objects] == ["a", "b"]
    said = [
        str(each) for each in load_text(text.replace("}", ", namespace: n}", 1).replace("b}", "b, namespace: n}")).bad
    ]
    assert [each.split(":")[1] for each in said] == ["1", "5"]
    assert all("is cluster-scoped" in each for each in said)


def test_a_list_is_its_items() -> None:
    items = [("- " + HEAD + f"  pcapFilter: {each}").replace("\n", "\n  ") for each in ("tcp", "[]")]
    found = load_text("\n".join(["apiVersion: v1", "kind: List", "items:", *items]), file="f")
    assert [each.full_name for each in found.objects] == ["n/a"]
    assert found.lines[0][("spec",)] == 7
    assert [str(each) for each in found.bad] == [
        "f:13: HuntFilter a spec.pcapFilter: must be text (put text in quotes)"
    ]


@pytest.mark.parametrize(
    ("body", "line", "path", "reason"),
    [
        ("  pcapFilter: tcp\n  huh: 1\n", 6, "spec.huh", "is not a known key"),
        ("  pcapFilter: tcp\n  str: 1\n", 6, "spec.str", "is not a known key"),
        ("  pcapFilter: tcp\n  capture:\n    snaplen: 5\n", 7, "spec.capture.snaplen", "greater than or equal to 64"),
        ("  pcapFilter: tcp\n  scope: dialog\n", 6, "spec.scope", "'dialog' is not 'packet', 'flow' or 'call'"),
        ("  pcapFilter: tcp\n  schedule: {ttl: 3 days}\n", 6, "spec.schedule.ttl", "not a duration"),
        ("  pcapFilter: tcp\n  schedule: {ttl: 0s}\n", 6, "spec.schedule.ttl", "never match"),
        ("  pcapFilter: tcp\n  capture: {preTrigger: 5}\n", 6, "spec.capture.preTrigger", "must be text"),
        ("  pcapFilter: tcp\n  budget: {totalBytes: 5x}\n", 6, "spec.budget.totalBytes", "not a quantity"),
        (
            "  pcapFilter: tcp\n  budget: {totalBytes: true}\n",
            6,
            "spec.budget.totalBytes",
            "must be text or a whole number",
        ),
        ("  pcapFilter: tcp\n  sample: {rate: 0}\n", 6, "spec.sample.rate", "greater than 0"),
        ("  pcapFilter: tcp\n  sample: {rate: .nan}\n", 6, "spec.sample.rate", ""),
        ("  pcapFilter: tcp\n  target: {interfaces: []}\n", 6, "spec.target.interfaces", "is empty"),
        ("  suspend: true\n", 4, "spec", "match, pcapFilter, or both"),
        ("  match: {}\n", 5, "spec.match", "exactly one of any, all, not, field"),
        ("  match: 3\n", 5, "spec.match", "must be a mapping"),
        ("  match: {any: []}\n", 5, "spec.match.any", "is empty"),
        (
            "  match:\n    any:\n    - {field: a, equals: 1}\n    - {field: a}\n",
            8,
            "spec.match.any[1]",
            "exactly one operator",
        ),
        ("  match: {field: a, equals: 1, glob: b}\n", 5, "spec.match", "exactly one operator"),
        ("  match: {any: [{field: a, equals: 1}], all: [{field: a, equals: 1}]}\n", 5, "spec.match", "exactly one of"),
        ("  match: {any: [{field: a, equals: 1}], field: a}\n", 5, "spec.match", "exactly one of"),
        ("  match: {any: [{field: a, equals: 1}], glob: b}\n", 5, "spec.match", "glob belongs to a leaf"),
        ("  match:\n    not:\n      any_: []\n", 7, "spec.match.not.any_", "is not a known key"),
        (
            "  match: {field: a, equals: 1.5}\n",
            5,
            "spec.match.equals",
            "must be text or a whole number or true or false",
        ),
        ("  match: {field: a, equals: []}\n", 5, "spec.match.equals", "is empty"),
        ("  match: {field: a, glob: ''}\n", 5, "spec.match.glob", "is empty"),
        (
            "  match: {field: a, number: [46701234567]}\n",
            5,
            "spec.match.number[0]",
            "must be text (put text in quotes)",
        ),
        ("  match: {field: a, equals: [{}]}\n", 5, "spec.match.equals[0]", "must be text"),
        ("  match: {field: a, number: x, minDigits: 0}\n", 5, "spec.match.minDigits", "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_path(body: str, line: int, path: str, reason: str) -> None:
    said = wrong(HEAD + body)
    assert any(each.startswith(f"f.yaml:{line}: HuntFilter a {path}: ") and reason in each for each in said), said


def test_everything_wrong_is_said_at_once() -> None:
    said = wrong(HEAD + "  a: 1\n  scope: x\n  match: {any: [{field: a}, {field: b}]}\n")
    assert len(said) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [a", "f.yaml:1: not valid YAML: expected"),
        ("a: 1\nb: {c: 1, c: 2}\n", "f.yaml:2: not valid YAML: key 'c' is given twice"),
        ("a: &x 1\nb: *x\n", "f.yaml:2: not valid YAML: aliases are not accepted"),
        ("? [1]\n: 2\n", "f.yaml:1: not valid YAML: a key is not plain text"),
        ("!!python/object:os.system [x]\n", "f.yaml:1: not valid YAML: could not determine a constructor"),
        ("a: \x00", "f.yaml: not valid YAML: special characters are not allowed"),
        ("[" * 1000, "f.yaml:1: not valid YAML: too many or too deeply nested values"),
        ("---\n" * 20_000 + "a: 1\n", "f.yaml:16385: not valid YAML: more than 16384 documents"),
        ("x" * (4 * 1024 * 1024 + 1), "f.yaml: larger than 4194304 bytes"),
        ("- 1\n", "f.yaml:1: a document is a mapping"),
        ("kind: Pod\n", "f.yaml:1: kind: 'Pod' is none of HuntFilter, ClusterHuntFilter, HuntFleet"),
        ("kind: [1]\n", "is none of HuntFilter"),
        ("metadata: {name: a}\n", "f.yaml:1: kind: None is none of"),
        ("kind: List\nitems: 3\n", "f.yaml:2: List items: must be a list"),
        ("kind: HuntFilter\nmetadata: {name: A_b}\nspec: {pcapFilter: x}\n", "metadata.name: 'A_b' is not of the form"),
        ("kind: HuntFilter\nmetadata: {name: a}\n", "f.yaml:1: HuntFilter a spec: is missing"),
        (
            HEAD.replace("v1alpha1", "v2") + "  pcapFilter: x\n",
            "f.yaml:1: HuntFilter a apiVersion: 'packhound.dev/v2' is not",
        ),
    ],
)
def test_what_is_no_filter_is_said(text: str, message: str) -> None:
    (said,) = wrong(text)
    assert said.startswith(message) or message in said


def test_a_bad_document_hides_no_other() -> None:
    good = HEAD + "  pcapFilter: tcp\n"
    found = load_text(f"a: [\n---\n{good}---\nkind: Pod\n--- # comment\n{good}---\n*x\n---\n", file="f")
    assert len(found.objects) == 2
    assert [each.line for each in found.bad] == [2, 9, 17]
    assert [lines[("spec",)] for lines in found.lines] == [6, 14]


def test_directives_belong_to_the_document_behind_them() -> None:
    found = load_text(f"# a comment\n%YAML 1.2\n---\n{HEAD}  pcapFilter: tcp\n")
    assert len(found.objects) == 1
    assert not found.bad


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n---\n", "null\n"])
def test_nothing_is_nothing(text: str) -> None:
    found = load_text(text)
    assert not found.objects
    assert not found.bad


@pytest.mark.parametrize(
    ("spec", "path", "reason"),
    [
        ("{sensor: {workers: 2}}", "spec.sensor.workers", "not a known key"),
        ("{sensor: {ringMiB: 0}}", "spec.sensor.ringMiB", "greater than or equal to 1"),
        ("{sensor: {tolerations: [{operator: Exists, value: x}]}}", "spec.sensor.tolerations[0]", "takes no value"),
        ("{sensor: {tolerations: [{value: x}]}}", "spec.sensor.tolerations[0]", "needs a key"),
        ("{transport: {grpc: {}}}", "spec.transport.grpc", "not a known key"),
        ("{transport: {nats: {url: 'nats://user:secret@host'}}}", "spec.transport.nats.url", "not of the form"),
        ("{storage: {retention: 0s}}", "spec.storage.retention", "keeps nothing"),
        ("{storage: {retention: 59s999ms}}", "spec.storage.retention", "less than 1m keeps nothing"),
        ("{storage: {volume: {size: 0Gi}}}", "spec.storage.volume.size", "keeps nothing"),
    ],
)
def test_a_fleet_that_could_not_work_is_refused(spec: str, path: str, reason: str) -> None:
    (said,) = wrong(f"kind: HuntFleet\nmetadata: {{name: main}}\nspec: {spec}\n")
    assert path in said
    assert reason in said


def test_the_values_of_a_text_are_counted_over_its_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamltext, "MAX_NODES", 1000)
    said = wrong(("---\n- [" + "1," * 300 + "]\n") * 8)
    assert (
        [each for each in said if "too many" in each]
        == said[3:]
        == ["f.yaml:8: not valid YAML: too many or too deeply nested values"]
    )
