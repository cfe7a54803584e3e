"""Probes and metrics as a scraper and a kubelet read them: over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from packhound.kit.errors import BadInput
from packhound.kit.health import HealthServer
from packhound.kit.metrics import Descriptor, Metrics, Sample


def get(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def served():
    reasons: list[str] = []
    metrics = Metrics(
        [Descriptor("packhound_packets", "counter", "packets by fate", ("stage", "outcome")),
         Descriptor("packhound_spool_bytes", "gauge", "bytes waiting")],
        info={"version": "0.1.0", "kernel": "native"},
    )  # fmt: skip
    metrics.add(lambda: [Sample("packhound_packets", 7, ("match", "matched")), Sample("packhound_spool_bytes", 5)])

    def broken() -> list[str]:
        raise RuntimeError

    server = HealthServer(
        ("127.0.0.1", 0), probes={"livez": list, "readyz": lambda: reasons, "startupz": broken}, metrics=metrics.text
    )
    yield server, reasons
    server.close()


def test_ready_says_why_not(served):
    server, reasons = served
    assert get(server, "readyz")[0] == 200
    reasons.append("no plan yet")
    status, body = get(server, "readyz")
    assert (status, json.loads(body)) == (503, {"ok": False, "reasons": ["no plan yet"]})


def test_a_probe_that_breaks_is_a_reason_and_the_server_lives(served):
    server, _ = served
    status, body = get(server, "startupz")
    assert status == 503
    assert "RuntimeError" in body
    assert get(server, "livez")[0] == 200
    assert get(server, "etc/passwd")[0] == 404


def test_metrics_are_prometheus_text(served):
    server, _ = served
    status, body = get(server, "metrics")
    assert status == 200
    rows = {(s.name, tuple(sorted(s.labels.items()))): s.value
            for family in text_string_to_metric_families(body) for s in family.samples}  # fmt: skip
    assert rows["packhound_packets_total", (("outcome", "matched"), ("stage", "match"))] == 7
    assert rows["packhound_spool_bytes", ()] == 5
    assert rows["packhound_build_info", (("kernel", "native"), ("version", "0.1.0"))] == 1
    assert any(name == "process_resident_memory_bytes" for name, _ in rows)


def test_a_port_in_use_is_said(served):
    server, _ = served
    with pytest.raises(BadInput, match="cannot serve health"):
        HealthServer(("127.0.0.1", server.port), probes={}, metrics=bytes)
