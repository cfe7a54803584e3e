"""With the rights of its roles and no more the operator does everything; the webhook answers a real API server."""

from __future__ import annotations

import base64
import copy
import time

import pytest

from packhound.fleet.permissions import user
from packhound.operator.rbac import as_data
from tests.support.kube import ApiError, Existing, free_ports
from tests.support.objects import hunt_filter, leaf
from tests.support.operated import OperatorProcess, eventually
from tests.support.simulated import Sensors

NAMES = {"LEASE": "packhound-operator", "SECRET": "packhound-operator-webhook", "WEBHOOKS": "packhound"}
WHO = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "operator-under-test"}


def rules(part):
    found = copy.deepcopy(as_data()[part])
    for rule in found:
        if "resourceNames" in rule:
            rule["resourceNames"] = [NAMES[each] for each in rule["resourceNames"]]
    return found


@pytest.fixture
def limited(kube, scene, tmp_path):
    """An operator with exactly its roles, a webhook that the API server reaches, and what its installer makes."""
    if isinstance(kube, Existing):
        pytest.skip("needs an API server of its own, on this machine")
    (port,) = free_ports(1)
    api, version = scene.api, "rbac.authorization.k8s.io/v1"
    made = []
    for part, namespace in (("cluster", ""), ("own", "packhound"), ("sensors", "packhound-sensors")):
        kind = "Role" if namespace else "ClusterRole"
        meta = {"name": f"test-operator-{part}", **({"namespace": namespace} if namespace else {})}
        made.append({"apiVersion": version, "kind": kind, "metadata": meta, "rules": rules(part)})
        made.append({"apiVersion": version, "kind": f"{kind}Binding", "metadata": meta, "subjects": [WHO],
                     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": meta["name"]}})  # fmt: skip
    made += [
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAMES["LEASE"], "namespace": "packhound"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAMES["SECRET"], "namespace": "packhound"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "packhound-operator", "namespace": "packhound"},
         "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}},
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
         "metadata": {"name": NAMES["WEBHOOKS"]}, "webhooks": [{
             "name": "admission.packhound.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
             "failurePolicy": "Fail", "timeoutSeconds": 5,
             "clientConfig": {"service": {"namespace": "packhound", "name": "packhound-operator", "port": port, "path": "/validate"}},
             "rules": [{"apiGroups": ["packhound.dev"], "apiVersions": ["v1alpha1"], "operations": ["CREATE", "UPDATE"],
                        "resources": ["huntfilters", "clusterhuntfilters", "huntfleets"]}],
         }]},
    ]  # fmt: skip
    for each in made:
        api.apply(each)
    operator = OperatorProcess(
        tmp_path, kube.user(WHO["name"]), scene.broker.url, WEBHOOK_LISTEN=f"127.0.0.1:{port}"
    )
    try:
        yield operator.start().ready()
    finally:
        operator.kill()
        for each in reversed(made):
            api.delete(each["kind"], each["metadata"]["name"], each["metadata"].get("namespace", ""))


def test_its_roles_are_enough_and_admission_works(limited, scene, sensors):
    def trusted():
        (webhook,) = scene.api.get("ValidatingWebhookConfiguration", "packhound")["webhooks"]
        return base64.b64decode(webhook["clientConfig"]["caBundle"]).startswith(b"-----BEGIN CERTIFICATE")

    eventually(trusted, "the authority is where the API server looks for it")
    scene.node("n1", ip="10.0.0.1")
    scene.pod("web", "n1", "10.1.0.5", app="web")
    eventually(lambda: scene.fleet() is None, "the API server reaches the webhook")
    sensors.add("n1")
    scene.filter("alice")
    scene.holds("alice", "Distributed")
    scene.fleet_holds("Accepted")
    with pytest.raises(ApiError) as refused:
        scene.filter("bad", leaf("port", "glob", "8*"))
    assert refused.value.status == 422
    assert "spec.match.glob: port has no operator glob" in str(refused.value)
    with pytest.raises(ApiError) as refused:
        scene.api.create(hunt_filter("worse", leaf("sip.user", "regex", "("), namespace="default"))
    assert "spec.match.regex" in str(refused.value)
    scene.fleet(processor={"replicas": 1, "maxReplicas": 3})
    scene.fleet(processor={"replicas": 1})
    eventually(lambda: scene.api.gone("HorizontalPodAutoscaler", "packhound-main-processor", "packhound"))
    sensors["n1"].books.filter("default/alice").lost["spool_full"] = 1
    eventually(lambda: scene.events("alice"), "an Event is written")
    sensors.close()
    scene.api.delete("HuntFilter", "alice", "default")
    scene.api.delete("HuntFleet", "main", now=False)
    eventually(lambda: scene.api.gone("HuntFleet", "main"))
    assert "forbidden" not in limited.said().lower()


def test_the_brokers_permissions_of_its_role_are_enough(kube, scene, tmp_path):
    """With the rights of `operator` at the broker, of one fleet: hunts, pod tables, the fleet's end."""
    secret = tmp_path / "password"
    secret.write_text("p")
    rows = [user("operator", "main", "operator", name="operator", password="p"), {"user": "sensors", "password": "p"}]
    scene.broker.users = rows
    scene.broker.restart()
    operator = OperatorProcess(tmp_path, kube.admin.kubeconfig, scene.broker.url, NATS_USER="operator",
                               NATS_PASSWORD_FILE=str(secret)).start()  # fmt: skip
    sensors = Sensors(scene.broker.url, "main", user="sensors", password_file=str(secret))
    try:
        scene.node("n1", ip="10.0.0.1")
        scene.pod("web", "n1", "10.1.0.5", app="web")
        scene.fleet()
        sensors.add("n1")
        scene.filter("alice")
        scene.holds("alice", "Distributed")
        scene.node("n2", ip="10.0.0.2")
        eventually(lambda: scene.fleet_status()["sensors"]["desired"] == 2, within=15)
        scene.api.delete("Node", "n2")
        eventually(lambda: scene.fleet_status()["sensors"]["desired"] == 1, within=15)
        sensors.close()
        scene.api.delete("HuntFleet", "main", now=False)
        began = time.monotonic()
        eventually(lambda: scene.api.gone("HuntFleet", "main"))
        assert time.monotonic() - began < 5, "the broker refused"
        assert "Permissions Violation" not in scene.broker.log
    finally:
        sensors.close()
        operator.kill()


def test_a_secret_that_somebody_broke_is_made_anew(limited, scene):
    old = eventually(lambda: scene.api.get("Secret", NAMES["SECRET"], "packhound").get("data"))
    scene.api.merge("Secret", NAMES["SECRET"], {"data": {"ca.key": "AAAA"}}, namespace="packhound")
    limited.restart().ready()

    def fresh():
        data = scene.api.get("Secret", NAMES["SECRET"], "packhound")["data"]
        (webhook,) = scene.api.get("ValidatingWebhookConfiguration", "packhound")["webhooks"]
        return data["ca.crt"] != old["ca.crt"] and webhook["clientConfig"]["caBundle"] == data["ca.crt"]

    eventually(fresh)
    scene.filter("alice")
