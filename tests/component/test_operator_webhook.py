"""Admission over HTTPS: a real server, real certificates, real requests."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import socket
import ssl
import time

import pytest

from packhound.operator.certificates import renewed
from packhound.operator.webhook import WebhookServer
from tests.support.objects import hunt_filter, leaf

NAME = "packhound-operator.packhound.svc"


@pytest.fixture
def bundle():
    return renewed(None, [NAME], now=dt.datetime.now(dt.UTC))


@pytest.fixture
def server(bundle):
    made = WebhookServer(("127.0.0.1", 0))
    made.use(bundle.cert, bundle.key)
    yield made
    made.close()


def connect(server, ca):
    context = ssl.create_default_context(cadata=ca.decode())
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    connection = http.client.HTTPSConnection(NAME, timeout=5)
    connection.sock = context.wrap_socket(raw, server_hostname=NAME)
    return connection


def ask(connection, raw, *, path="/validate?timeout=5s"):
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "u", "operation": "CREATE", "object": raw}}  # fmt: skip
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_good_and_bad_over_one_connection(server, bundle):
    connection = connect(server, bundle.ca)
    assert ask(connection, hunt_filter("a", leaf("sip.user", "glob", "a*")))[1]["response"]["allowed"]
    found = ask(connection, hunt_filter("a", leaf("port", "glob", "a*")))[1]["response"]
    assert not found["allowed"]
    assert "spec.match.glob" in found["status"]["message"]
    assert server.counts == {"allowed": 1, "refused": 1}


def test_a_fleet_that_could_never_work_is_refused(server, bundle):
    raw = {"apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFleet", "metadata": {"name": "a-name-too-long-for-streams"}, "spec": {}}
    found = ask(connect(server, bundle.ca), raw)[1]["response"]
    assert "at most 12 characters" in found["status"]["message"]


def test_other_paths_and_no_json_are_refused(server, bundle):
    assert ask(connect(server, bundle.ca), {}, path="/other")[0] == 404
    connection = connect(server, bundle.ca)
    connection.request("POST", "/validate", b"{", {"Content-Type": "application/json"})
    assert connection.getresponse().status == 400
    connection = connect(server, bundle.ca)
    connection.request("POST", "/validate", headers={"Content-Length": str(1 << 40)})
    assert connection.getresponse().status == 413


def test_a_certificate_is_replaced_without_a_restart(server, bundle):
    old = connect(server, bundle.ca)
    assert ask(old, hunt_filter("a", leaf("port", "equals", 1)))[0] == 200
    fresh = renewed(None, [NAME], now=dt.datetime.now(dt.UTC))
    server.use(fresh.cert, fresh.key)
    assert ask(old, hunt_filter("a", leaf("port", "equals", 1)))[0] == 200
    assert ask(connect(server, fresh.ca), hunt_filter("a", leaf("port", "equals", 1)))[0] == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(server, bundle.ca)


def test_who_speaks_no_tls_delays_nobody(server, bundle):
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    began = time.monotonic()
    assert ask(connect(server, bundle.ca), hunt_filter("a", leaf("port", "equals", 1)))[0] == 200
    assert time.monotonic() - began < 2
    for each in idle:
        each.sendall(b"GET / HTTP/1.1\r\n\r\n")
        each.close()
