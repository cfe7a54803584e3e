"""What could never work is refused with every reason and its path; everything else passes."""

from __future__ import annotations

import pytest

from packhound.operator.admission import review
from tests.support.objects import hunt_filter, leaf


def ask(raw, operation="CREATE", **more):
    asked = {"uid": "u1", "operation": operation, "object": raw, **more}
    return review({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}, now=0)["response"]


def test_a_good_filter_passes():
    assert ask(hunt_filter("a", leaf("sip.user", "glob", "alice*"))) == {"uid": "u1", "allowed": True}
    assert ask(hunt_filter("a", leaf("k8s.pod.name", "glob", "web-*")))["allowed"]


def test_everything_wrong_is_said_at_once():
    bad = hunt_filter("a", {"any": [leaf("port", "glob", "8*"), leaf("http.host", "regex", "(")]}, pcapFilter="tcp prt 80")
    answer = ask(bad)
    assert not answer["allowed"]
    message = answer["status"]["message"]
    assert "spec.match.any[0].glob: port has no operator glob" in message
    assert "spec.match.any[1].regex[0]" in message
    assert "spec.pcapFilter" in message


@pytest.mark.parametrize("raw", [{}, {"kind": "Pod"}, {"kind": "HuntFilter"}, {"kind": "HuntFilter", "metadata": 7, "spec": []}])
def test_what_is_no_filter_is_refused_not_a_crash(raw):
    assert not ask(raw)["allowed"]


def test_notes_are_warnings():
    answer = ask(hunt_filter("a", pcapFilter="udp", scope="flow"))
    assert answer["allowed"]
    assert "decides packet by packet" in answer["warnings"][0]


def test_deletion_status_and_objects_on_their_way_out_are_never_refused():
    bad = hunt_filter("a", leaf("port", "glob", "8*"))
    assert ask(None, "DELETE")["allowed"]
    assert ask(bad, "UPDATE", subResource="status")["allowed"]
    assert ask({**bad, "metadata": {**bad["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}, "UPDATE")["allowed"]
    assert not ask(bad, "UPDATE")["allowed"]


@pytest.mark.parametrize("request_", [{}, {"request": None}, {"request": {"object": 7, "operation": "CREATE"}}])
def test_a_strange_request_is_answered(request_):
    assert review(request_, now=0)["kind"] == "AdmissionReview"
