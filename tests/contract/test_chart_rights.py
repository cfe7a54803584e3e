"""Verb x role x namespace by real requests: each person with a certificate of their own, against a real API server.

tests/contract/test_chart_cluster.py asks the authoriser the same; here it is tried, sub-resources included.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.helm import CHART, CRDS, helm, needs_helm
from tests.support.kube import OURS, Api, ApiError, ControlPlane, control_plane, needs_assets

pytestmark = [needs_helm, needs_assets, pytest.mark.slow]
RBAC = "rbac.authorization.k8s.io"
SPACE, MINE, OTHERS = "hounds", "voice", "shop"
READS = ("get", "list", "watch")
WRITES = ("create", "update", "patch", "delete", "deletecollection")
BOUND = {"view": "view", "edit": "edit", "admin": "admin"}  # in MINE
EVERYWHERE = {"cluster-view": "hounds-packhound-cluster-view", "cluster-admin": "hounds-packhound-cluster-admin"}
PEOPLE = (*BOUND, *EVERYWHERE, "nobody")
MATCH = {"match": {"field": "dns.qname", "equals": ["a.example"]}}
OBJECTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "huntfilters": ("HuntFilter", MATCH), "clusterhuntfilters": ("ClusterHuntFilter", MATCH), "huntfleets": ("HuntFleet", {}),
}  # fmt: skip
PLACES = (("huntfilters", MINE), ("huntfilters", OTHERS), ("clusterhuntfilters", ""), ("huntfleets", ""))


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane"), controllers=True) as made:
        admin = made.admin
        for name in (SPACE, MINE, OTHERS):
            admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for arguments in (("packhound-crds", CRDS), ("hounds", CHART)):
            values = {"fleet": {"create": False}, "nats": {"fleets": ["main"]}, "namespaces": {"sensors": {"name": "hounds-sensors"}}} if arguments[0] == "hounds" else {}
            done = helm("install", *arguments, "--namespace", SPACE, values=values, kubeconfig=admin.kubeconfig)
            assert done.code == 0, done.error
        for who, role in BOUND.items():
            admin.create(_binding(who, role, MINE))
        for who, role in EVERYWHERE.items():
            admin.create(_binding(who, role, ""))
        for resource, space in PLACES:
            _eventually(lambda resource=resource, space=space: admin.create(_object(resource, "there", space)))
        _eventually(lambda: Api(made.user("view")).items("HuntFilter", MINE))
        _eventually(lambda: Api(made.user("admin")).call("POST", f"{_path('huntfilters', MINE)}?dryRun=All", _object("huntfilters", "x", MINE)))
        yield made


def _eventually(done: Any) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            done()
            return
        except ApiError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def _binding(who: str, role: str, namespace: str) -> dict[str, Any]:
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    meta = {"name": f"people-{who}"} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": meta, "subjects": [{"kind": "User", "apiGroup": RBAC, "name": who}],
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}}  # fmt: skip


def _object(resource: str, name: str, namespace: str) -> dict[str, Any]:
    kind, spec = OBJECTS[resource]
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": OURS, "kind": kind, "metadata": meta, "spec": spec}


def _path(resource: str, namespace: str, name: str = "", sub: str = "") -> str:
    middle = f"/namespaces/{namespace}" if namespace else ""
    return "/".join(part for part in (f"/apis/{OURS}{middle}/{resource}", name, sub) if part)


def _try(api: Api, verb: str, resource: str, namespace: str, seen: Mapping[str, Any], sub: str = "") -> None:
    """One request that changes nothing. Raises ApiError when it is refused."""
    one, every = _path(resource, namespace, "there", sub), _path(resource, namespace)
    merge = "application/merge-patch+json"
    change: dict[str, Any] = {"metadata": {"labels": {"a": "b"}}}
    if sub:
        change = {"status": {"revision": 1}} if sub == "status" else {"spec": {"replicas": 2}}
    requests: dict[str, tuple[Any, ...]] = {
        "get": ("GET", one), "list": ("GET", every), "watch": ("GET", f"{every}?watch=true&timeoutSeconds=1"),
        "create": ("POST", f"{every}?dryRun=All", _object(resource, "fresh", namespace)),
        "update": ("PUT", f"{one}?dryRun=All", seen), "patch": ("PATCH", f"{one}?dryRun=All", change, merge),
        "delete": ("DELETE", f"{one}?dryRun=All"), "deletecollection": ("DELETE", f"{every}?dryRun=All"),
    }  # fmt: skip
    api.call(*requests[verb])


def _expected(who: str, verb: str, resource: str, space: str, sub: str) -> bool:
    here = who in EVERYWHERE or (who in BOUND and (resource, space) == ("huntfilters", MINE))
    if sub == "status":
        return here and verb in READS  # writing it is the operator's
    return here and (verb in READS or who in {"edit", "admin", "cluster-admin"})


@pytest.mark.parametrize("who", PEOPLE)
def test_what_each_may_and_may_not(plane: ControlPlane, who: str) -> None:
    person = Api(plane.user(who))
    wrong, tried = [], 0
    for resource, space in PLACES:
        seen = plane.admin.get(OBJECTS[resource][0], "there", space)
        asked = [(verb, "") for verb in (*READS, *WRITES)] + [(verb, "status") for verb in ("get", "patch")]
        asked += [(verb, "scale") for verb in ("get", "patch")] if resource == "huntfleets" else []
        for verb, sub in asked:
            try:
                _try(person, verb, resource, space, seen, sub)
                may = True
            except ApiError as error:
                if error.status != 403:
                    raise
                may = False
            tried += 1
            if may is not _expected(who, verb, resource, space, sub):
                wrong.append((verb, resource, sub, space, "may" if may else "may not"))
    person.close()
    assert wrong == []
    assert tried == 42


def test_roles_that_were_made_for_it_reach_nothing_else(plane: ControlPlane) -> None:
    """Who may hunt everywhere may not read Secrets, pods, or what makes the fleet."""
    person = Api(plane.user("cluster-admin"))
    for path in ("/api/v1/secrets", "/api/v1/pods", f"/apis/apps/v1/namespaces/{SPACE}/statefulsets", f"/apis/{RBAC}/v1/clusterroles"):
        with pytest.raises(ApiError) as refused:
            person.call("GET", path)
        assert refused.value.status == 403
    person.close()
