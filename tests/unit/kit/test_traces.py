"""Spans reach a real OTLP receiver, joined by traceparent; without one, contexts are passed on and nothing else."""

from __future__ import annotations

import pytest

from packhound.kit.traces import OFF, Traces, TraceSettings
from tests.support.otlp import Collector

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


def test_a_span_continues_the_trace_of_its_parent_and_links_others(collector):
    traces = Traces(TraceSettings("sensor", endpoint=collector.endpoint, attributes={"k8s.node.name": "n1"}))
    with traces.span("batch", kind="producer", packhound__packets=512) as outer:
        with traces.span("publish", parent=outer.traceparent, links=[PARENT, "nonsense"]) as inner:
            inner.event("retried", attempt=2)
    traces.close()
    by_name = {each.name: each for each in collector.wait(lambda spans: len(spans) == 2)}
    assert by_name["publish"].trace == by_name["batch"].trace
    assert by_name["publish"].parent == by_name["batch"].span
    assert by_name["publish"].links == ((PARENT[3:35], PARENT[36:52]),)
    assert by_name["batch"].attributes["packhound.packets"] == 512
    assert by_name["batch"].service == "sensor"


def test_an_exception_marks_the_span_and_goes_on(collector):
    traces = Traces(TraceSettings("p", endpoint=collector.endpoint))
    with pytest.raises(ValueError, match="x"), traces.span("record"):
        raise ValueError("x")
    traces.close()
    assert [each.error for each in collector.wait(lambda spans: spans)] == [True]


def test_a_parent_that_is_not_sampled_is_not_recorded(collector):
    traces = Traces(TraceSettings("p", endpoint=collector.endpoint))
    with traces.span("intake", parent=PARENT[:-1] + "0") as span:
        assert span.traceparent.startswith(PARENT[:35])
    with traces.span("seen"):
        pass
    traces.close()
    assert [each.name for each in collector.wait(lambda spans: spans)] == ["seen"]


def test_without_an_endpoint_the_context_is_passed_on():
    with OFF.span("intake", parent=PARENT) as span:
        assert span.traceparent == PARENT
    with OFF.span("intake") as span:
        assert span.traceparent == ""


def test_a_collector_that_is_away_costs_no_time():
    traces = Traces(TraceSettings("p", endpoint="http://127.0.0.1:1"))
    for _ in range(100):
        with traces.span("batch"):
            pass
    traces.close(timeout=0.2)
