"""The charts on a real API server with its controllers: taken whole, upgraded, tested, uninstalled without a trace.

There is no kubelet: what a pod of ours would do is done here with the token of its account, and its pod is then said
to have succeeded.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from packhound.api.huntfleet import HuntFleet
from packhound.operator.desired import Site, objects_of
from tests.support.helm import CHART, CRDS, helm, needs_helm, pods, render
from tests.support.kube import Api, ApiError, ControlPlane, control_plane, needs_assets

pytestmark = [needs_helm, needs_assets, pytest.mark.slow]
SPACE, SENSORS, TRIED, RELEASE = "hunt", "hunt-sensors", "hunt-tried", "hounds"
BASE: dict[str, Any] = {"namespaces": {"sensors": {"name": SENSORS}}, "tests": {"timeoutSeconds": 30}, "uninstall": {"timeoutSeconds": 5},
                        "nats": {"tls": {"enabled": True, "clientCertificates": True}}}  # fmt: skip
ELSEWHERE = ("monitoring.coreos.com", "cert-manager.io", "security.openshift.io")  # kinds that are not served here


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane"), controllers=True) as made:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        made.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}})
        made.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TRIED}})
        run(made, "install", "packhound-crds", CRDS, "--namespace", SPACE)
        for kind in ("HuntFilter", "ClusterHuntFilter", "HuntFleet"):
            _soon(lambda kind=kind: made.admin.items(kind) == [])
        yield made


def run(plane: ControlPlane, *arguments: str | Path, values: Mapping[str, Any] | None = None) -> str:
    said = helm(*arguments, values=values, kubeconfig=plane.admin.kubeconfig)
    assert said.code == 0, said.out + said.error
    return said.out


def _soon(holds: Callable[[], Any], within: float = 30.0) -> Any:
    deadline = time.monotonic() + within
    while True:
        with contextlib.suppress(ApiError):
            if found := holds():
                return found
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def _served(api: Api) -> dict[tuple[str, str], tuple[str, bool]]:
    """Path and scope of every kind that can be listed."""
    groups = [f"/apis/{version['groupVersion']}" for each in api.call("GET", "/apis")["groups"] for version in each["versions"]]
    found = {}
    for root in ("/api/v1", *groups):
        listed = api.call("GET", root)
        for each in listed["resources"]:
            if "/" not in each["name"] and "list" in each["verbs"]:
                found[listed["groupVersion"], each["kind"]] = (f"{root}/{each['name']}", each["namespaced"])
    return found


def _dry(api: Api, served: Mapping[tuple[str, str], tuple[str, bool]], raw: Mapping[str, Any]) -> None:
    path, namespaced = served[raw["apiVersion"], raw["kind"]]
    meta = raw["metadata"]
    if namespaced:
        root, _, plural = path.rpartition("/")
        path = f"{root}/namespaces/{meta['namespace']}/{plural}"
    query = "?dryRun=All&fieldValidation=Strict&fieldManager=helm&force=true"
    try:
        api.call("PATCH", f"{path}/{meta['name']}{query}", raw, "application/apply-patch+yaml")
    except ApiError as error:
        raise AssertionError(f"{raw['kind']} {meta['name']}: {error}") from None


def _everything(api: Api) -> set[str]:
    """Every object but what the cluster itself makes and lets go."""
    passing = {"Event", "EndpointSlice", "Endpoints", "ControllerRevision", "APIService"}
    found = set()
    for (_, kind), (path, _) in _served(api).items():
        if kind not in passing:
            for each in _soon(lambda path=path: api.call("GET", path))["items"]:
                meta = each["metadata"]
                found.add(f"{kind} {meta.get('namespace', '-')}/{meta['name']}")
    return found


SETS: dict[str, dict[str, Any]] = {
    "default": {},
    "outside": {"nats": {"enabled": False, "external": {"url": "nats://n.example:4222"}},
                "redis": {"enabled": False, "external": {"url": "redis://r.example:6379"}}},
    "sealed": {"nats": {"replicas": 3, "streams": {"replicas": 3}, "tls": {"enabled": True}, "storage": {"maxFile": "20Gi", "size": "21Gi"}},
               "processors": {"api": {"enabled": True, "tlsSecret": "s", "tokensSecret": "t", "serviceType": "NodePort"}}},
    "full": {
        "monitoring": {name: {"enabled": True} for name in ("podMonitor", "serviceMonitor", "prometheusRule", "dashboards")},
        "openshift": {"enabled": True}, "sensors": {"privileged": True}, "commonLabels": {"team": "voice"},
        "webhook": {"failurePolicy": "Fail", "certManager": {"enabled": True}},
        "nats": {"replicas": 3, "fleets": ["edge"]}, "image": {"pullSecrets": ["mirror"]},
        "operator": {"tolerations": [{"key": "a", "operator": "Exists"}], "podAnnotations": {"a": "b"}},
        "redis": {"storage": {"storageClass": "fast"}}, "telemetry": {"otlp": "http://c:4317"},
        "fleet": {"spec": {"processor": {"maxReplicas": 5, "targetLag": 1000000}, "transport": {"nats": {"url": "nats://a:1"}}}},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_the_api_server_takes_every_object(plane: ControlPlane, name: str) -> None:
    served = _served(plane.admin)
    objects = render(SETS[name] | {"namespaces": {"sensors": {"name": TRIED}}}, namespace=SPACE, release=RELEASE)
    tried = [each for each in objects if each["kind"] != "Pod" and not each["apiVersion"].startswith(ELSEWHERE)]
    assert len(tried) > 30
    for each in tried:
        _dry(plane.admin, served, each)


@pytest.fixture(scope="module")
def installed(plane: ControlPlane) -> Iterator[set[str]]:
    """Installed for the tests that follow; the value is what there was before."""
    before = _everything(plane.admin)
    run(plane, "install", RELEASE, CHART, "--namespace", SPACE, values=BASE)
    yield before


def _pod(api: Api, name: str, raw: Mapping[str, Any], namespace: str) -> None:
    meta = {**raw["metadata"], "name": name, "namespace": namespace}
    spec = dict(raw["spec"])
    known = {each["name"] for each in spec.setdefault("volumes", [])}
    claimed = {each["name"] for each in spec["containers"][0].get("volumeMounts", ())} - known
    spec["volumes"] = [*spec["volumes"], *({"name": each, "emptyDir": {}} for each in claimed)]
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
    api.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict", body)


def test_restricted_pod_security_lets_everything_in_but_sensors(plane: ControlPlane, installed: set[str]) -> None:
    api = plane.admin
    for name, metadata, spec in pods(render(BASE, namespace=SPACE, release=RELEASE)):
        _pod(api, f"try-{name.partition('/')[2]}", {"metadata": {"labels": metadata["labels"]}, "spec": spec}, SPACE)
    fleet = HuntFleet.model_validate({"apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFleet",
                                      "metadata": {"name": "main"}, "spec": {}})  # fmt: skip
    site = Site(namespace=SPACE, sensor_namespace=SENSORS, nats_secret="n", redis_secret="r")
    for each in objects_of(fleet, site):
        if each["kind"] in {"ServiceAccount"}:
            api.apply(each)
    made = {name.partition("/")[0]: {"metadata": metadata, "spec": spec} for name, metadata, spec in pods(objects_of(fleet, site))}
    _pod(api, "try", made["StatefulSet"], SPACE)
    _pod(api, "try", made["DaemonSet"], SENSORS)
    made["DaemonSet"]["spec"]["serviceAccountName"] = "packhound-main-processor"
    with pytest.raises(ApiError, match="violates PodSecurity"):
        _pod(api, "try", made["DaemonSet"], SPACE)
    for each in objects_of(fleet, site):
        if each["kind"] in {"ServiceAccount"}:
            api.delete("ServiceAccount", each["metadata"]["name"], each["metadata"]["namespace"])


def _secrets(api: Api) -> dict[str, Any]:
    names = [(SPACE, f"{RELEASE}-packhound-nats-server"), (SPACE, f"{RELEASE}-packhound-nats"),
             (SENSORS, f"{RELEASE}-packhound-nats"), (SPACE, f"{RELEASE}-packhound-redis"),
             (SPACE, f"{RELEASE}-packhound-redis-server"), (SPACE, f"{RELEASE}-packhound-nats-authority"),
             *((space, f"{RELEASE}-packhound-nats-{name}") for space, name in ((SPACE, "server-tls"), (SPACE, "tls"), (SENSORS, "tls")))]
    return {f"{space}/{name}": api.get("Secret", name, space)["data"] for space, name in names}


def test_an_upgrade_keeps_passwords_certificate_and_lead(plane: ControlPlane, installed: set[str]) -> None:
    api, name = plane.admin, f"{RELEASE}-packhound-operator"
    before = _secrets(api)
    lease = api.get("Lease", name, SPACE)
    lease["spec"] = {"holderIdentity": "me", "leaseDurationSeconds": 12}
    api.call("PUT", api.path("Lease", name, SPACE) + "?fieldManager=packhound", lease)
    secret = api.get("Secret", f"{name}-webhook", SPACE)
    secret["data"] = {"tls.crt": base64.b64encode(b"made").decode()}
    api.call("PUT", api.path("Secret", f"{name}-webhook", SPACE) + "?fieldManager=packhound", secret)
    bundle = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": base64.b64encode(_authority(plane)).decode()}]
    api.call("PATCH", api.path("ValidatingWebhookConfiguration", f"{RELEASE}-packhound") + "?fieldManager=packhound", bundle,
             "application/json-patch+json")  # fmt: skip
    run(plane, "upgrade", RELEASE, CHART, "--namespace", SPACE, values=BASE | {"operator": {"replicas": 3}})
    assert api.get("Lease", name, SPACE)["spec"]["holderIdentity"] == "me"
    assert api.get("Secret", f"{name}-webhook", SPACE)["data"]
    assert api.get("ValidatingWebhookConfiguration", f"{RELEASE}-packhound")["webhooks"][0]["clientConfig"]["caBundle"]
    assert _secrets(api) == before
    passwords = [base64.b64decode(each) for each in before[f"{SPACE}/{RELEASE}-packhound-nats-server"].values()]
    assert len(set(passwords)) == 3


def _authority(plane: ControlPlane) -> bytes:
    return (plane.folder / "ca.pem").read_bytes()


def test_rights_by_verb_role_and_namespace(plane: ControlPlane, installed: set[str]) -> None:
    """view, edit, admin of one namespace; cluster-view, cluster-admin of the chart; nobody."""
    api = plane.admin
    reads, writes = ("get", "list", "watch"), ("create", "update", "patch", "delete", "deletecollection")
    roles = {"view": "view", "edit": "edit", "admin": "admin"}
    for who, role in roles.items():
        api.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": who, "namespace": "default"},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                    "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": who}]})  # fmt: skip
    for who in ("cluster-view", "cluster-admin"):
        api.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": f"t-{who}"},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"{RELEASE}-packhound-{who}"},
                    "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": who}]})  # fmt: skip
    _soon(lambda: _may(api, "view", "list", "huntfilters", "default") and _may(api, "admin", "create", "huntfilters", "default"))
    wrong = []
    try:
        for who in (*roles, "cluster-view", "cluster-admin", "nobody"):
            for resource, spaces in (("huntfilters", ("default", SPACE)), ("clusterhuntfilters", ("",)), ("huntfleets", ("",))):
                for space in spaces:
                    for verb in (*reads, *writes):
                        everywhere = who.startswith("cluster")
                        mine = everywhere or (resource == "huntfilters" and space == "default" and who in roles)
                        expected = mine and (verb in reads or who in {"edit", "admin", "cluster-admin"})
                        if _may(api, who, verb, resource, space) is not expected:
                            wrong.append((who, verb, resource, space))
                        assert not _may(api, who, "update", resource, space, "status"), "a status is the operator's"
    finally:
        for who in roles:
            api.delete("RoleBinding", who, "default")
        for who in ("cluster-view", "cluster-admin"):
            api.delete("ClusterRoleBinding", f"t-{who}")
    assert wrong == []


def _may(api: Api, who: str, verb: str, resource: str, namespace: str, sub: str = "") -> bool:
    asked = {"group": "packhound.dev", "verb": verb, "resource": resource, "namespace": namespace, "subresource": sub}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": who, "resourceAttributes": asked}}
    return bool(api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)["status"]["allowed"])


def _as_pod(plane: ControlPlane, folder: Path, spec: Mapping[str, Any], **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command of a pod's container with the token of its account."""
    path = f"/api/v1/namespaces/{SPACE}/serviceaccounts/{spec['serviceAccountName']}/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(plane.admin.call("POST", path, asked)["status"]["token"])
    (folder / "ca.crt").write_bytes(_authority(plane))
    env = {"ACCOUNT": str(folder), "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(plane.port), **environ}
    command = spec["containers"][0]["command"]
    assert command[0] == "python3"
    return subprocess.run([sys.executable, *command[1:]], env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True,
                          timeout=60)  # fmt: skip


def _ended(api: Api, name: str) -> None:
    api.merge("Pod", name, {"status": {"phase": "Succeeded"}}, namespace=SPACE, sub="status")


def test_helm_test_hunts_a_canary(plane: ControlPlane, installed: set[str], tmp_path: Path) -> None:
    api, name = plane.admin, f"{RELEASE}-canary"
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.1", 0))
        resolver.settimeout(20)
        (tmp_path / "resolv.conf").write_text("search x\nnameserver 127.0.0.1\n")

        def fleet() -> None:
            """What operator and sensors would do: hunt, see the question, count it."""
            made = _soon(lambda: api_of_fleet.get("HuntFilter", name, SPACE))
            spec = made["spec"]
            out = {"type": "Distributed", "status": "True", "reason": "AllAcked", "message": "1 of 1"}
            change: dict[str, Any] = {"status": {"conditions": [out]}}
            api_of_fleet.merge("HuntFilter", name, change, namespace=SPACE, sub="status")
            heard.append(resolver.recv(512))
            wanted = b"".join(bytes([len(part)]) + part.encode() for part in spec["match"]["equals"][0].split("."))
            assert wanted in heard[0]
            change["status"]["packets"] = {"matched": 1, "delivered": 1, "lost": 0}
            api_of_fleet.merge("HuntFilter", name, change, namespace=SPACE, sub="status")

        api_of_fleet = Api(plane.admin.kubeconfig)
        results: list[subprocess.CompletedProcess[str]] = []

        def kubelet() -> None:
            pod = _soon(lambda: api_of_kubelet.get("Pod", f"{RELEASE}-packhound-canary", SPACE))
            port = str(resolver.getsockname()[1])
            results.append(_as_pod(plane_of_kubelet, tmp_path / "account", pod["spec"], RESOLVERS=str(tmp_path / "resolv.conf"),
                                   RESOLVER_PORT=port))  # fmt: skip
            _ended(api_of_kubelet, f"{RELEASE}-packhound-canary")

        api_of_kubelet = Api(plane.admin.kubeconfig)
        plane_of_kubelet = _With(plane, api_of_kubelet)
        threads = [threading.Thread(target=each) for each in (fleet, kubelet)]
        for each in threads:
            each.start()
        out = run(plane, "test", RELEASE, "--namespace", SPACE, "--timeout", "60s")
        for each in threads:
            each.join(30)
    assert heard
    (done,) = results
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the canary was hunted" in done.stdout
    assert "Phase:          Succeeded" in out
    assert api.gone("HuntFilter", name, SPACE)
    for each in (api_of_fleet, api_of_kubelet):
        each.close()


class _With:
    """A control plane as another thread sees it."""

    def __init__(self, plane: ControlPlane, api: Api) -> None:
        self.admin, self.port, self.folder = api, plane.port, plane.folder


def test_a_canary_that_nobody_hunts_fails_and_takes_its_filter_away(plane: ControlPlane, installed: set[str], tmp_path: Path) -> None:
    objects = render(BASE | {"tests": {"timeoutSeconds": 5}}, namespace=SPACE, release=RELEASE)
    spec = next(spec for name, _, spec in pods(objects) if name.startswith("Pod/"))
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    done = _as_pod(plane, tmp_path / "account", spec, RESOLVERS=str(tmp_path / "resolv.conf"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "not matched in time; asked 0 times" in done.stdout
    assert plane.admin.gone("HuntFilter", f"{RELEASE}-canary", SPACE)


def test_uninstall_leaves_the_claims_and_nothing_else(plane: ControlPlane, installed: set[str], tmp_path: Path) -> None:
    """With a fleet whose finalizer nobody takes off (its operator is gone) and a second one that was made by hand."""
    api = plane.admin
    api.merge("HuntFleet", "main", {"metadata": {"finalizers": ["packhound.dev/fleet"]}})
    api.create({"apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFleet", "metadata": {"name": "second"}, "spec": {}})
    claims = {"data-hounds-packhound-nats-0", "data-hounds-packhound-redis-0"}
    listed = f"/api/v1/namespaces/{SPACE}/persistentvolumeclaims"
    _soon(lambda: {each["metadata"]["name"] for each in api.call("GET", listed)["items"]} == claims)
    results: list[subprocess.CompletedProcess[str]] = []

    def kubelet() -> None:
        other = Api(plane.admin.kubeconfig)
        chosen = "batch.kubernetes.io%2Fjob-name=hounds-packhound-farewell"
        (pod,) = _soon(lambda: other.call("GET", f"/api/v1/namespaces/{SPACE}/pods?labelSelector={chosen}")["items"])
        results.append(_as_pod(_With(plane, other), tmp_path / "account", pod["spec"]))
        _ended(other, pod["metadata"]["name"])
        other.close()

    thread = threading.Thread(target=kubelet)
    thread.start()
    run(plane, "uninstall", RELEASE, "--namespace", SPACE, "--timeout", "120s")
    thread.join(30)
    (done,) = results
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the fleet main is not gone after 5 s: it is let go as it is" in done.stdout
    assert api.items("HuntFleet") == []

    def left() -> set[str]:
        return _everything(api) - installed

    deadline = time.monotonic() + 60
    while left() != {f"PersistentVolumeClaim {SPACE}/{each}" for each in claims} and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left() == {f"PersistentVolumeClaim {SPACE}/{each}" for each in claims}
    assert installed - _everything(api) == set()


def test_kinds_and_filters_outlive_their_chart_and_can_be_upgraded(plane: ControlPlane) -> None:
    api = plane.admin
    made = {"apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFilter", "metadata": {"name": "kept", "namespace": "default"},
            "spec": {"match": {"field": "dns.qname", "equals": ["a.example"]}}}  # fmt: skip
    api.create(made)
    run(plane, "upgrade", "packhound-crds", CRDS, "--namespace", SPACE, values={"labels": {"team": "voice"}})
    assert api.get("CustomResourceDefinition", "huntfilters.packhound.dev")["metadata"]["labels"]["team"] == "voice"
    run(plane, "uninstall", "packhound-crds", "--namespace", SPACE)
    assert api.get("HuntFilter", "kept", "default")["spec"] == json.loads(json.dumps(made["spec"]))
    out = run(plane, "upgrade", "--install", "packhound-crds", CRDS, "--namespace", SPACE)
    assert "STATUS: deployed" in out
    assert api.get("HuntFilter", "kept", "default")
