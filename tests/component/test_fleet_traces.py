"""Traces of real processes, as a real OTLP receiver gets them: a batch on its way, an edit of a filter on its way.

docs/tracing.md is held against what comes: names, services, kinds, attributes and links of every span.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.support.fleet_processes import EXAMPLES, Fleet, fleet, marked, packets, until
from tests.support.hunting import call
from tests.support.nats_server import nats_server, needs_nats
from tests.support.otlp import Collector, Received

CALL = EXAMPLES / "captures" / "call.pcapng"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "tracing.md"
ROW = re.compile(r"\| `([a-z.]+)` \| ([a-z, ]+) \| ([a-z]+) \| (.*?) \| (.*?) \|")
ON_THE_WAY = ["batch.close", "parcel.publish", "parcel.intake", "parcel.correlate", "parcel.record"]


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


def documented() -> dict[str, tuple[set[str], str, str, set[str]]]:
    """Of each span its services, kind, parent and attributes, as docs/tracing.md has them."""
    found = {}
    for name, services, kind, parent, attributes in ROW.findall(DOCS.read_text()):
        found[name] = (set(services.split(", ")), kind, parent, set(re.findall(r"`([a-z_.]+)`", attributes)))
    return found


def family(spans: list[Received]) -> dict[str, Received]:
    return {each.span: each for each in spans}


def check_against_the_docs(spans: list[Received]) -> None:
    """Every span that came is documented, with its attributes; nothing is named otherwise."""
    docs = documented()
    for each in spans:
        assert each.name in docs, f"docs/tracing.md does not know {each.name}"
        services, kind, _, attributes = docs[each.name]
        assert each.service.removeprefix("packhound-") in services
        assert each.kind == kind, each
        assert set(each.attributes) <= attributes, (each.name, set(each.attributes) - attributes)
        assert {"service.name", "service.instance.id", "service.version", "packhound.fleet"} <= set(each.resource)


def check_the_way_of_a_batch(spans: list[Received], *, packets_in: int) -> None:
    """Each parcel's trace: close > publish > intake > correlate and record; groups link the intakes that they settled."""
    by_id, children = family(spans), defaultdict(list)
    for each in spans:
        children[each.parent].append(each)
    closed = [each for each in spans if each.name == "batch.close"]
    assert closed
    recorded = 0
    for batch in closed:
        published = [each for each in children[batch.span] if each.name == "parcel.publish"]
        assert len(published) == batch.attributes["packhound.parcels"]
        for parcel in published:
            (intake,) = children[parcel.span]
            assert (intake.name, intake.service) == ("parcel.intake", "packhound-processor")
            assert intake.attributes["packhound.packets"] == parcel.attributes["packhound.packets"]
            assert sorted(each.name for each in children[intake.span]) == ["parcel.correlate", "parcel.record"]
            record = next(each for each in children[intake.span] if each.name == "parcel.record")
            recorded += record.attributes.get("packhound.recorded", 0)
            way = (batch, parcel, intake, *children[intake.span])
            assert {each.trace for each in way} == {batch.trace}
            assert batch.start <= parcel.start <= intake.start <= record.start
    assert recorded == packets_in
    intakes = {each.span for each in spans if each.name == "parcel.intake"}
    linked = Counter(span for each in spans if each.name == "group.settle" for _, span in each.links)
    assert intakes == set(linked)
    assert set(linked.values()) == {1}
    for each in spans:
        if each.name == "group.settle":
            assert each.attributes["packhound.parcels"] == len(each.links)
            assert all(by_id[span].trace == trace for trace, span in each.links)
    assert len(spans) < packets_in  # never a span per packet


def run_the_capture(made: Fleet, collector: Collector) -> list[Received]:
    """Let a sensor read a capture of a call to its end and everything be settled; the spans that came."""
    sensor = made.sensor("n1", CALL, "--wait-for-plan", "60", *([] if made.nats else ["--nats", ""]))
    assert sensor.popen.wait(30) == 0
    matched = sensor.said("sensor stopped")["books"]["matched"]
    until(lambda: made.books().sensor("n1").recorded == matched, what="settled")
    for each in made.processes:
        assert each.stop() == 0
    assert len(packets(made.out("p1"))) == matched
    spans = collector.wait(lambda found: [each for each in found if each.name == "group.settle"])
    check_against_the_docs(spans)
    check_the_way_of_a_batch(spans, packets_in=matched)
    return spans


@needs_nats
def test_one_trace_from_the_close_of_a_batch_to_its_recording_over_nats(tmp_path, collector):
    with nats_server(tmp_path / "nats") as server, fleet(
        tmp_path / "fleet", nats=server.url, more={"PACKHOUND_TELEMETRY_OTLP": collector.endpoint}
    ) as made:
        assert made.command("filter", "apply", EXAMPLES / "filters", "--wait", "0")[0] == 0
        made.processor("p1")
        spans = run_the_capture(made, collector)
    flows = [each for each in spans if each.name == "flows.close"]
    assert flows
    assert {each.resource["service.instance.id"] for each in flows} == {"n1"}


def test_one_trace_from_the_close_of_a_batch_to_its_recording_over_grpc(tmp_path, collector):
    more = {"PACKHOUND_TELEMETRY_OTLP": collector.endpoint}
    with fleet(tmp_path / "fleet", more=more) as made:
        one = made.processor("p1", grpc_listen="127.0.0.1:0", fleet_filters=EXAMPLES / "filters")
        made.environ["PACKHOUND_GRPC_TARGET"] = f"127.0.0.1:{one.port('processor')}"
        spans = run_the_capture(made, collector)
    check_an_edit(spans, nodes={"n1"}, by="packhound-processor")


def check_an_edit(spans: list[Received], *, nodes: set[str], by: str) -> None:
    """One trace: edit > publish > apply on every node > its acknowledgement."""
    edit = max((each for each in spans if each.name == "filter.edit"), key=lambda each: each.start)
    mine = [each for each in spans if each.trace == edit.trace]
    by_id = family(mine)
    (publish,) = (each for each in mine if each.name == "plan.publish")
    assert publish.parent == edit.span
    applied = [each for each in mine if each.name == "plan.apply"]
    assert {each.attributes["packhound.node"] for each in applied} == nodes
    assert {(each.parent, each.service) for each in applied} == {(publish.span, "packhound-sensor")}
    answers = [each for each in mine if each.name == "plan.ack"]
    assert {each.attributes["packhound.node"] for each in answers} == nodes
    for each in answers:
        assert by_id[each.parent].attributes["packhound.node"] == each.attributes["packhound.node"]
        assert by_id[each.parent].name == "plan.apply"
        assert each.attributes["packhound.state"] == "applied"
    assert {each.service for each in (edit, publish, *answers)} == {by}


@needs_nats
def test_one_trace_from_an_edit_to_the_acknowledgement_of_every_sensor(tmp_path, collector, monkeypatch):
    with nats_server(tmp_path / "nats") as server, fleet(
        tmp_path / "fleet", nats=server.url, more={"PACKHOUND_TELEMETRY_OTLP": collector.endpoint}
    ) as made:
        for name in ("n1", "n2"):
            made.sensor(name, made.wire(name, rate=20))
        monkeypatch.setenv("PACKHOUND_TELEMETRY_OTLP", collector.endpoint)
        at = ("--nats", server.url, "--fleet", "t", "--json")
        until(lambda: '"n1"' in (seen := call("sensors", *at)[1]) and '"n2"' in seen)
        assert call("filter", "apply", made.filters(marked()), *at)[0] == 0
        for each in made.processes:
            each.stop()
    spans = collector.wait(lambda found: sum(each.name == "plan.apply" for each in found) >= 2)
    check_against_the_docs(spans)
    check_an_edit(spans, nodes={"n1", "n2"}, by="packhound-cli")


def test_every_span_that_is_documented_is_one_that_somebody_makes():
    root = DOCS.parents[1]
    source = "".join(path.read_text() for part in ("core", "sensor", "processor", "operator") for path in (root / part).rglob("*.py"))
    made = set(re.findall(r'(?:\.span|\.begin)\(\s*"([a-z.]+)"', source))
    assert made == set(documented())
