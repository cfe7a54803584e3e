"""What the chart sends: objects that hold what the README promises, for the defaults and for other values."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
import yaml

from packhound.api.load import load_object
from packhound.operator import settings
from packhound.operator.rbac import as_data
from tests.support.helm import CHART, CRDS, environment, helm, needs_helm, pick, pods, render

pytestmark = needs_helm
DIGEST = "sha256:" + "0123456789abcdef" * 4
SETS: dict[str, dict[str, Any]] = {
    "default": {},
    "outside": {
        "nats": {"enabled": False, "external": {"url": "tls://nats.example:4443"},
                 "auth": {"clientsSecret": "nats-clients", "operatorSecret": "nats-operator"}},
        "redis": {"enabled": False, "external": {"url": "rediss://redis.example:6390"}, "auth": {"clientsSecret": "r"}},
        "telemetry": {"otlp": "http://collector.observability:14317"},
    },
    "bare": {
        "fleet": {"create": False}, "webhook": {"enabled": False}, "networkPolicies": {"enabled": False},
        "priorityClass": {"create": False}, "rbac": {"aggregate": False}, "uninstall": {"deleteFleets": False},
        "namespaces": {"sensors": {"create": False}}, "operator": {"replicas": 1},
        "nats": {"enabled": False, "external": {"url": "nats://nats.other:4222"}},
    },
    "full": {
        "monitoring": {name: {"enabled": True} for name in ("podMonitor", "serviceMonitor", "prometheusRule", "dashboards")},
        "openshift": {"enabled": True}, "sensors": {"privileged": True}, "commonLabels": {"team": "voice"},
        "webhook": {"failurePolicy": "Fail", "certManager": {"enabled": True}},
        "nats": {"replicas": 3, "fleets": ["edge", "main", "lab"]},
        "image": {"registry": "mirror.example:5000/hub", "pullSecrets": ["mirror"]},
        "images": {"operator": {"digest": DIGEST}, "nats": {"registry": ""}},
        "operator": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "a", "operator": "Exists"}],
                     "podAnnotations": {"a": "b"}, "podLabels": ["app", "team.example/*"]},
        "clusterName": "north",
    },
    "sealed": {
        "nats": {"tls": {"enabled": True, "clientCertificates": True}, "streams": {"packets": "2Gi"}, "podAnnotations": {"a": "b"}},
        "processors": {"api": {"enabled": True, "tlsSecret": "api", "tokensSecret": "people", "serviceType": "LoadBalancer"}},
    },
    "certificates": {
        "nats": {"replicas": 3, "streams": {"replicas": 3, "packets": "1Gi"},
                 "tls": {"enabled": True, "certManager": {"enabled": True, "issuerRef": {"name": "ours"}}}},
        "processors": {"api": {"enabled": True, "dnsNames": ["hunt.example.org"],
                               "certManager": {"enabled": True, "issuerRef": {"kind": "Issuer", "name": "ours"}}}},
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=SETS)
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return render(SETS[request.param])


@pytest.mark.parametrize("name", SETS)
def test_lint_is_clean(name: str) -> None:
    said = helm("lint", "--strict", CHART, values=SETS[name])
    assert said.code == 0, said.out + said.error
    assert "[WARNING]" not in said.out


def test_lint_of_the_kinds_is_clean() -> None:
    said = helm("lint", "--strict", CRDS)
    assert said.code == 0, said.out + said.error


def test_an_older_kubernetes_is_refused() -> None:
    said = helm("template", "p", CHART, "--kube-version", "1.29.9")
    assert said.code != 0
    assert "kubeVersion: >=1.30.0-0" in said.error
    assert helm("template", "p", CHART, "--kube-version", "v1.31.2-gke.1200").code == 0


def test_names_are_unique_and_labelled(objects: list[dict[str, Any]]) -> None:
    seen = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects]
    assert len(seen) == len(set(seen))
    for each in objects:
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "packhound", each["kind"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


def test_no_number_lost_its_form(objects: list[dict[str, Any]]) -> None:
    assert not re.search(r"\d(\.\d+)?e\+\d\d", json.dumps(objects)), "a float crept in"


def test_every_pod_is_restricted(objects: list[dict[str, Any]]) -> None:
    """Sensors are made by the operator; the chart's own pods need nothing."""
    for name, metadata, spec in pods(objects):
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "packhound", name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert not any("hostPath" in each for each in spec.get("volumes", ())), name
        for each in spec["containers"]:
            rights = each["securityContext"]
            assert rights == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                              "capabilities": {"drop": ["ALL"]}}, name  # fmt: skip
            assert set(each["resources"]) == {"requests", "limits"}, name
            assert "memory" in each["resources"]["limits"], name


def test_only_who_speaks_with_the_api_has_a_token(objects: list[dict[str, Any]]) -> None:
    for name, _, spec in pods(objects):
        speaks = name.startswith(("Deployment/packhound-operator", "Pod/packhound-canary", "Job/packhound-farewell"))
        assert spec.get("automountServiceAccountToken", True) is speaks, name


def test_the_operator_understands_its_environment(objects: list[dict[str, Any]]) -> None:
    found = settings.read(environ=environment(objects)).value
    assert found.operator.namespace == "packhound"
    assert found.operator.sensor_namespace == "packhound-sensors"
    bus = settings.bus_settings(found, "main", None)
    site = settings.site(found, json.loads(found.operator.resources))
    assert site.nats_url == bus.urls[0]
    assert set(site.resources) == {"sensor", "processor"}


def test_what_the_operator_is_told() -> None:
    site = settings.read(environ=environment(render(SETS["full"]))).value
    assert site.operator.privileged is True
    assert site.operator.image == "mirror.example:5000/hub/packhound-dev/processor:0.1.0"
    assert site.operator.pull_secrets == ("mirror",)
    assert site.operator.pod_labels == ("app", "team.example/*")
    assert site.operator.priority_class == "packhound"
    assert site.fleet.cluster == "north"
    assert site.webhook.configuration == ""
    assert str(site.webhook.cert) == "/run/secrets/packhound/webhook/tls.crt"
    site = settings.read(environ=environment(render(SETS["outside"]))).value
    assert site.nats.urls == ("tls://nats.example:4443",)
    assert site.operator.nats_secret == "nats-clients"
    assert site.operator.redis_url == "rediss://redis.example:6390"
    assert site.operator.otlp == site.telemetry.otlp == "http://collector.observability:14317"
    site = settings.read(environ=environment(render(SETS["bare"]))).value
    assert site.webhook.listen == site.operator.nats_secret == site.nats.user == site.operator.priority_class == ""
    assert site.operator.network_policies is False


def test_images_by_registry_tag_and_digest() -> None:
    images = {name: spec["containers"][0]["image"] for name, _, spec in pods(render(SETS["full"]))}
    assert images["Deployment/packhound-operator"] == f"mirror.example:5000/hub/packhound-dev/operator@{DIGEST}"
    assert images["StatefulSet/packhound-nats"].startswith("mirror.example:5000/hub/library/nats:2")
    assert images["StatefulSet/packhound-redis"].startswith("docker.io/library/redis:7")
    for _, _, spec in pods(render(SETS["full"])):
        assert spec["imagePullSecrets"] == [{"name": "mirror"}]


def test_the_fleet_is_one_that_the_operator_takes(objects: list[dict[str, Any]]) -> None:
    fleets = [each for each in objects if each["kind"] == "HuntFleet"]
    for each in fleets:
        loaded = load_object(each)
        assert not loaded.bad, loaded.bad
        assert each["spec"]["sensor"]["image"].endswith("/packhound-dev/sensor:0.1.0")


def test_a_fleet_keeps_what_the_user_said_of_it() -> None:
    spec = {"sensor": {"image": "my/sensor:7", "ringMiB": 8}, "processor": {"maxReplicas": 8, "targetLag": 1000000}}
    made = pick(render({"fleet": {"name": "edge", "spec": spec}}), "HuntFleet", "edge")
    assert made["spec"]["sensor"]["image"] == "my/sensor:7"
    assert made["spec"]["sensor"]["ringMiB"] == 8
    assert made["spec"]["processor"]["targetLag"] == 1000000


def test_rights_of_the_operator_are_those_of_the_code() -> None:
    objects = render({}, release="hounds", namespace="watch")
    names = {"LEASE": "hounds-packhound-operator", "SECRET": "hounds-packhound-operator-webhook", "WEBHOOKS": "hounds-packhound"}
    data = json.loads(re.sub('"(LEASE|SECRET|WEBHOOKS)"', lambda found: json.dumps(names[found[1]]), json.dumps(as_data())))
    assert pick(objects, "ClusterRole", "hounds-packhound-operator")["rules"] == data["cluster"]
    assert pick(objects, "Role", "hounds-packhound-operator", "watch")["rules"] == data["own"]
    assert pick(objects, "Role", "hounds-packhound-operator", "packhound-sensors")["rules"] == data["sensors"]
    for each in objects:
        if each["kind"].endswith("Binding") and each["metadata"]["labels"]["app.kubernetes.io/component"] == "operator":
            (subject,) = each["subjects"]
            assert subject == {"kind": "ServiceAccount", "name": "hounds-packhound-operator", "namespace": "watch"}
    pick(objects, "Lease", names["LEASE"], "watch")
    pick(objects, "Secret", names["SECRET"], "watch")
    pick(objects, "ValidatingWebhookConfiguration", names["WEBHOOKS"])


def test_roles_for_people() -> None:
    objects = render()
    by_name = {each["metadata"]["name"]: each for each in objects if each["kind"] == "ClusterRole"}
    for role in ("view", "edit", "admin"):
        made = by_name[f"packhound-{role}"]
        assert made["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{role}"] == "true"
        assert {name for rule in made["rules"] for name in rule["resources"]} <= {"huntfilters", "huntfilters/status"}
        writes = any("create" in rule["verbs"] for rule in made["rules"])
        assert writes is (role != "view")
        assert not any("*" in rule["verbs"] for rule in made["rules"])
    for name in ("packhound-cluster-view", "packhound-cluster-admin"):
        assert not any("aggregate" in key for key in by_name[name]["metadata"]["labels"])
    bare = [each for each in render(SETS["bare"]) if each["kind"] == "ClusterRole"]
    assert not any("aggregate" in key for each in bare for key in each["metadata"]["labels"])


def test_each_process_can_read_its_own_password_and_no_other() -> None:
    objects = render()
    secrets = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): {**each.get("data", {}), **each.get("stringData", {})}
        for each in objects if each["kind"] == "Secret"
    }  # fmt: skip
    assert set(secrets["packhound-sensors", "packhound-nats"]) == {"sensor"}
    assert set(secrets["packhound", "packhound-nats"]) == {"processor"}
    assert set(secrets["packhound", "packhound-nats-operator"]) == {"operator"}
    server = secrets["packhound", "packhound-nats-server"]
    assert len(set(server.values())) == 3
    assert server["sensor"] == secrets["packhound-sensors", "packhound-nats"]["sensor"]
    assert all(len(base64.b64decode(each)) >= 40 for each in server.values())
    assert "password" not in secrets["packhound", "packhound-redis-server"]
    password = base64.b64decode(secrets["packhound", "packhound-redis"]["password"]).decode()
    assert password not in secrets["packhound", "packhound-redis-server"]["users.acl"]
    assert secrets["packhound", "packhound-operator-webhook"] == {}


def test_tls_reaches_whoever_connects_to_the_broker() -> None:
    for name, shown in (("sealed", True), ("certificates", False)):
        objects = render(SETS[name])
        found = settings.read(environ=environment(objects)).value
        bus = settings.bus_settings(found, "main", None)
        assert bus.urls == ("tls://packhound-nats.packhound.svc:4222",)
        assert bus.tls is not None
        assert bus.tls.ca == "/run/secrets/packhound/nats-tls/ca.crt"
        assert bool(bus.tls.key) is shown
        made = {kind: [each["metadata"]["namespace"] for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, "packhound-nats-tls")]
                for kind in ("Secret", "Certificate")}  # fmt: skip
        assert made["Secret" if shown else "Certificate"] == ["packhound", "packhound-sensors"]
        broker = pick(objects, "StatefulSet", "packhound-nats")["spec"]["template"]["spec"]
        assert {"name": "tls", "secret": {"secretName": "packhound-nats-server-tls", "defaultMode": 0o440}} in broker["volumes"]
        text = pick(objects, "ConfigMap", "packhound-nats")["data"]["nats.conf"]
        assert text.count("cert_file") == (1 if shown else 2)
        assert text.count("verify: true") == 1
    server = pick(render(SETS["certificates"]), "Certificate", "packhound-nats-server-tls")["spec"]
    assert {"packhound-nats.packhound.svc", "*.packhound-nats-peers.packhound.svc"} <= set(server["dnsNames"])
    assert not any("tls" in each["metadata"]["name"] for each in render({}))


def test_subscribers_are_served_over_the_network_by_value() -> None:
    found = settings.read(environ=environment(render(SETS["sealed"]))).value.operator
    assert (found.api_secret, found.api_tokens, found.api_type) == ("api", "people", "LoadBalancer")
    objects = render(SETS["certificates"])
    found = settings.read(environ=environment(objects)).value.operator
    made = pick(objects, "Certificate", found.api_secret)["spec"]
    assert made["dnsNames"] == ["packhound-main-processor-api.packhound.svc", "*.packhound-main-processor.packhound.svc",
                                "hunt.example.org"]  # fmt: skip
    assert settings.read(environ=environment(render())).value.operator.api_secret == ""


def test_no_value_holds_a_secret() -> None:
    def walk(value: Any, path: str) -> list[str]:
        if isinstance(value, dict):
            return [each for key, part in value.items() for each in walk(part, f"{path}.{key}")]
        return [path]

    paths = walk(yaml.safe_load((CHART / "values.yaml").read_text()), "")
    told = [path for path in paths if re.search(r"(?i)password|token|credential|key$|secret", path)]
    assert [path for path in told if not path.endswith(("Secret", ".pullSecrets"))] == []


def test_nothing_gets_in_or_out_that_is_not_named() -> None:
    objects = render(SETS["outside"])
    denies = [each for each in objects if each["kind"] == "NetworkPolicy" and each["metadata"]["name"].endswith("default-deny")]
    assert {each["metadata"]["namespace"] for each in denies} == {"packhound", "packhound-sensors"}
    for each in denies:
        assert each["spec"] == {"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "packhound"}},
                                "policyTypes": ["Ingress", "Egress"]}  # fmt: skip
    operator = pick(objects, "NetworkPolicy", "packhound-operator")["spec"]
    ports = {each["port"] for rule in operator["egress"] for each in rule["ports"]}
    assert ports == {53, 443, 6443, 4443, 14317}
    redis = pick(render(), "NetworkPolicy", "packhound-redis")["spec"]
    assert redis["egress"] == []
    assert redis["ingress"][0]["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "processor"
    assert not [each for each in render(SETS["bare"]) if each["kind"] == "NetworkPolicy"]


def test_the_webhook_fails_open_or_closed_by_value() -> None:
    assert pick(render(), "ValidatingWebhookConfiguration")["webhooks"][0]["failurePolicy"] == "Ignore"
    sealed = render(SETS["full"])
    made = pick(sealed, "ValidatingWebhookConfiguration")
    assert made["webhooks"][0]["failurePolicy"] == "Fail"
    assert made["metadata"]["annotations"]["cert-manager.io/inject-ca-from"] == "packhound/packhound-operator-tls"
    assert pick(sealed, "Certificate")["spec"]["issuerRef"] == {"kind": "Issuer", "name": "packhound-operator"}
    assert not [each for each in sealed if each["metadata"]["name"] == "packhound-operator-webhook"]
    bare = render(SETS["bare"])
    assert not [each for each in bare if each["kind"] == "ValidatingWebhookConfiguration"]


def test_privileged_is_one_namespace() -> None:
    objects = render()
    (space,) = [each for each in objects if each["kind"] == "Namespace"]
    assert space["metadata"]["name"] == "packhound-sensors"
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert not [each for each in render(SETS["bare"]) if each["kind"] == "Namespace"]


def test_openshift() -> None:
    plain = render({"openshift": {"enabled": True}})
    made = pick(plain, "SecurityContextConstraints")
    assert made["allowedCapabilities"] == ["NET_RAW"]
    assert made["allowPrivilegedContainer"] is False
    assert made["groups"] == ["system:serviceaccounts:packhound-sensors"]
    assert pick(render(SETS["full"]), "SecurityContextConstraints")["allowPrivilegedContainer"] is True
    assert pick(plain, "RoleBinding", "packhound-nonroot")["roleRef"]["name"] == "system:openshift:scc:nonroot-v2"


def test_monitors_find_what_the_operator_makes() -> None:
    from packhound.api.huntfleet import HuntFleet
    from packhound.operator.desired import Site, objects_of

    fleet = HuntFleet.model_validate({"apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFleet", "metadata": {"name": "main"},
                                      "spec": {}})  # fmt: skip
    made = {name.partition("/")[0]: (metadata["labels"], spec) for name, metadata, spec in pods(objects_of(fleet, Site()))}
    full = render(SETS["full"])
    for kind, role in (("DaemonSet", "sensor"), ("StatefulSet", "processor")):
        monitor = pick(full, "PodMonitor", f"packhound-{role}")["spec"]
        labels, spec = made[kind]
        assert monitor["selector"]["matchLabels"].items() <= labels.items()
        ports = [port["name"] for each in spec["containers"] for port in each["ports"]]
        assert monitor["podMetricsEndpoints"][0]["port"] in ports
    service = pick(full, "Service", "packhound-operator")
    monitor = pick(full, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]


def test_budgets_and_spread() -> None:
    objects = render(SETS["full"])
    assert pick(objects, "PodDisruptionBudget", "packhound-operator")["spec"]["minAvailable"] == 1
    assert pick(objects, "PodDisruptionBudget", "packhound-nats")["spec"]["maxUnavailable"] == 1
    assert not [each for each in render(SETS["bare"]) if each["kind"] == "PodDisruptionBudget"]
    deployment = pick(objects, "Deployment")["spec"]
    assert deployment["replicas"] == 2
    for each in deployment["template"]["spec"]["topologySpreadConstraints"]:
        assert each["labelSelector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()
    assert pick(objects, "PriorityClass")["value"] == 1000000


def test_a_changed_configuration_restarts_the_broker_and_nothing_else() -> None:
    def restarts(values: dict[str, Any], more: tuple[str, ...] = ()) -> dict[str, str]:
        return {name: json.dumps([metadata, spec], sort_keys=True) for name, metadata, spec in pods(render(values, more=more))}

    small = {"streams": {"packets": "1Gi"}}
    before, after = restarts({"nats": small}), restarts({"nats": {"fleets": ["lab"], **small}})
    assert [name for name in before if before[name] != after[name]] == ["StatefulSet/packhound-nats"]


def test_notes_end_with_the_next_command() -> None:
    said = helm("install", "packhound", CHART, "--namespace", "hounds", "--dry-run=client", values={})
    notes = said.out.partition("NOTES:")[2]
    assert "kubectl wait huntfleet/main" in notes
    assert "helm test packhound -n hounds" in notes
    (example,) = re.findall(r"<<'FILTER'\n(.*?)  FILTER", notes, re.DOTALL)
    assert not load_object(yaml.safe_load(example)).bad


def test_jaeger_for_trying_is_where_the_docs_say() -> None:
    docs = CHART.parents[1] / "docs"
    objects = list(yaml.safe_load_all((docs / "jaeger.yaml").read_text()))
    service = pick(objects, "Service", "jaeger", "observability")
    address = "http://jaeger.observability.svc:4317"
    assert 4317 in [port["port"] for port in service["spec"]["ports"]]
    assert address in (docs / "jaeger.md").read_text()
    site = settings.read(environ=environment(render({"telemetry": {"otlp": address}}))).value
    assert site.operator.otlp == address
    for name, metadata, spec in pods(objects):
        assert service["spec"]["selector"].items() <= metadata["labels"].items(), name
        assert spec["securityContext"]["runAsNonRoot"] is True


def test_commands_of_the_docs_are_taken() -> None:
    """Every block with `--set` in the docs, by itself: the schema takes it, and it fits together."""
    docs = CHART.parents[1] / "docs"
    blocks = [block for name in ("kubernetes.md", "jaeger.md")
              for block in re.findall(r"```sh\n(.*?)```", (docs / name).read_text(), re.DOTALL) if "--set" in block]  # fmt: skip
    assert len(blocks) > 5
    for block in blocks:
        given = re.findall(r"--set '?([^\s']+)'?", block)
        said = helm("template", "packhound", CHART, "--namespace", "packhound", *(part for each in given for part in ("--set", each)))
        assert said.code == 0, f"{block}\n{said.error}"
