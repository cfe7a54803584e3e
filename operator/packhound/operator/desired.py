"""HuntFleet -> the objects that make it: sensors, processors, their accounts, policies, budgets of disruption.

Promise: pure; the same fleet and settings give the same objects, byte for byte. Every object is owned by its fleet and
labelled with it; none holds a secret, only the names of Secrets. What runs privileged is the sensor alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from packhound.api.huntfleet import HuntFleet

Object = dict[str, Any]
PART_OF = {"app.kubernetes.io/part-of": "packhound", "app.kubernetes.io/managed-by": "packhound-operator"}
SENSOR_PORT, PROCESSOR_PORT = 9100, 9101
GRPC_PORT, TLS_PORT, TOKEN_PORT = 7443, 7444, 7445
SPOOL = "/var/lib/packhound"
SECRETS = "/run/secrets/packhound"
SECOND = 1_000_000_000
_REQUESTS = {"cpu": "100m", "memory": "256Mi"}
_RESOURCES = {
    "sensor": {"requests": _REQUESTS, "limits": {"memory": "1Gi"}},
    "processor": {"requests": _REQUESTS, "limits": {"memory": "2Gi"}},
}


@dataclass(frozen=True, slots=True)
class Site:
    """What the operator was told of its cluster, for every fleet: namespaces, images, broker, shared state, secrets
    (names of Secrets in the namespace of who mounts them; empty: none). `nats_tls_secret` holds the broker's authority
    (ca.crt) and, with `nats_tls_client`, what clients show (tls.crt, tls.key). `api_secret` (tls.crt, tls.key, ca.crt):
    subscribers are served over TLS too, those of `api_tokens` without a certificate. `streams`: MiB by name."""

    sensor_namespace: str = "packhound-sensors"
    namespace: str = "packhound"
    image: str = "packhound:latest"
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    nats_url: str = "nats://packhound-nats.packhound:4222"
    nats_secret: str = ""
    nats_tls_secret: str = ""
    nats_tls_client: bool = False
    redis_url: str = "redis://packhound-redis.packhound:6379"
    redis_secret: str = ""
    otlp: str = ""
    privileged: bool = False
    priority_class: str = ""
    cluster: str = ""
    shards: int = 16
    stream_replicas: int = 1
    streams: Mapping[str, int] = field(default_factory=dict)
    api_secret: str = ""
    api_tokens: str = ""
    api_type: str = "ClusterIP"
    network_policies: bool = True
    resources: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def objects_of(fleet: HuntFleet, site: Site, *, uid: str = "") -> list[Object]:
    """Every object of a fleet, in the order in which they are to be applied."""
    made: list[Object | None] = [
        _account(fleet, site, "sensor", site.sensor_namespace), _account(fleet, site, "processor", site.namespace),
        _headless(fleet, site), _api(fleet, site), _processors(fleet, site), _disruption(fleet, site),
        _scaler(fleet, site), _sensors(fleet, site),
    ]  # fmt: skip
    if site.network_policies:
        made += _policies(fleet, site)
    owner = {
        "apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFleet", "name": fleet.metadata.name, "uid": uid,
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    found = [each for each in made if each is not None]
    for each in found:
        if uid:
            each["metadata"]["ownerReferences"] = [owner]
    return found


def name_of(fleet: HuntFleet, role: str) -> str:
    """Name of the objects of a role."""
    return f"packhound-{fleet.metadata.name}-{role}"


def _labels(fleet: HuntFleet, role: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "packhound", "app.kubernetes.io/component": role,
        "app.kubernetes.io/instance": fleet.metadata.name,
    }  # fmt: skip


def _meta(fleet: HuntFleet, site: Site, role: str, namespace: str, *, suffix: str = "") -> Object:
    return {
        "name": name_of(fleet, role) + suffix, "namespace": namespace,
        "labels": {**_labels(fleet, role), **PART_OF, **site.labels},
    }  # fmt: skip


def _account(fleet: HuntFleet, site: Site, role: str, namespace: str) -> Object:
    return {
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta(fleet, site, role, namespace),
        "automountServiceAccountToken": False,
    }  # fmt: skip


def _env(fleet: HuntFleet, site: Site, role: str) -> list[Object]:
    port = SENSOR_PORT if role == "sensor" else PROCESSOR_PORT
    plain = {
        "PACKHOUND_FLEET_NAME": fleet.metadata.name, "PACKHOUND_FLEET_CLUSTER": site.cluster,
        "PACKHOUND_FLEET_SHARDS": str(site.shards), "PACKHOUND_NATS_URLS": _nats_url(fleet, site),
        "PACKHOUND_TELEMETRY_LISTEN": f"[::]:{port}", "PACKHOUND_TELEMETRY_OTLP": site.otlp,
        "PACKHOUND_LOG_FORMAT": "json", "PACKHOUND_FLEET_PODS": "true",
    }  # fmt: skip
    if site.nats_secret:
        plain |= {
            "PACKHOUND_NATS_USER": role,
            "PACKHOUND_NATS_PASSWORD_FILE": f"{SECRETS}/nats/{role}",
        }
    if site.nats_tls_secret:
        plain["PACKHOUND_NATS_CA"] = f"{SECRETS}/nats-tls/ca.crt"
        if site.nats_tls_client:
            plain["PACKHOUND_NATS_CERT"] = f"{SECRETS}/nats-tls/tls.crt"
            plain["PACKHOUND_NATS_KEY"] = f"{SECRETS}/nats-tls/tls.key"
    return [{"name": key, "value": value} for key, value in plain.items() if value]


def _nats_url(fleet: HuntFleet, site: Site) -> str:
    chosen = fleet.spec.transport.nats
    return chosen.url if chosen is not None and "url" in chosen.model_fields_set else site.nats_url


def _probes(port: str) -> Object:
    def get(path: str) -> Object:
        return {"httpGet": {"path": path, "port": port}}

    return {
        "startupProbe": {**get("/startupz"), "periodSeconds": 1, "failureThreshold": 120},
        "livenessProbe": {**get("/livez"), "periodSeconds": 10, "timeoutSeconds": 3},
        "readinessProbe": {**get("/readyz"), "periodSeconds": 2, "timeoutSeconds": 3},
    }


def _mounts(*secrets: tuple[str, str]) -> tuple[list[Object], list[Object]]:
    volumes = [
        {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}} for name, secret in secrets if secret
    ]
    mounts = [{"name": each["name"], "mountPath": f"{SECRETS}/{each['name']}", "readOnly": True} for each in volumes]
    return volumes, mounts


def _sensors(fleet: HuntFleet, site: Site) -> Object:
    spec = fleet.spec.sensor
    volumes, mounts = _mounts(("nats", site.nats_secret), ("nats-tls", site.nats_tls_secret))
    volumes += [
        {"name": "spool", "hostPath": {"path": f"{SPOOL}/{fleet.metadata.name}", "type": "DirectoryOrCreate"}},
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
    ]
    mounts += [
        {"name": "spool", "mountPath": f"{SPOOL}/spool", "subPathExpr": "$(PACKHOUND_FLEET_NODE)"},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the container
    ]
    env = _env(fleet, site, "sensor")
    env += [
        {"name": "PACKHOUND_FLEET_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "PACKHOUND_SPOOL_DIR", "value": f"{SPOOL}/spool"},
        {"name": "PACKHOUND_CAPTURE_INTERFACES", "value": ",".join(spec.interfaces)},
        {"name": "PACKHOUND_CAPTURE_RING_MIB", "value": str(spec.ring_mib)},
    ]
    container = {
        "name": "sensor", "image": spec.image or site.image, "imagePullPolicy": site.pull_policy,
        "args": ["sensor"], "env": env, "volumeMounts": mounts,
        "ports": [{"name": "health", "containerPort": SENSOR_PORT, "protocol": "TCP"}],
        "securityContext": _sensor_rights(site),
        "resources": site.resources.get("sensor", _RESOURCES["sensor"]),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_probes("health"),
    }  # fmt: skip
    pod: Object = {
        "serviceAccountName": name_of(fleet, "sensor"), "automountServiceAccountToken": False, "hostNetwork": True,
        "dnsPolicy": "ClusterFirstWithHostNet", "terminationGracePeriodSeconds": 30, "enableServiceLinks": False,
        "containers": [container], "volumes": volumes,
        "nodeSelector": {"kubernetes.io/os": "linux", **spec.node_selector},
        "tolerations": [
            each.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True) for each in spec.tolerations
        ],
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": _meta(fleet, site, "sensor", site.sensor_namespace),
        "spec": {
            "selector": {"matchLabels": _labels(fleet, "sensor")},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {"metadata": {"labels": {**_labels(fleet, "sensor"), **PART_OF}}, "spec": _common(pod, site)},
        },
    }  # fmt: skip


def _sensor_rights(site: Site) -> Object:
    if site.privileged:
        return {"privileged": True, "readOnlyRootFilesystem": True, "runAsUser": 0}
    return {
        "privileged": False, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsUser": 0,
        "capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}, "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip


def _common(pod: Object, site: Site) -> Object:
    if site.priority_class:
        pod["priorityClassName"] = site.priority_class
    if site.pull_secrets:
        pod["imagePullSecrets"] = [{"name": each} for each in site.pull_secrets]
    return pod


def _processors(fleet: HuntFleet, site: Site) -> Object:
    volumes, mounts = _mounts(
        ("nats", site.nats_secret), ("nats-tls", site.nats_tls_secret), ("redis", site.redis_secret),
        ("api", site.api_secret), ("api-tokens", site.api_secret and site.api_tokens),
    )  # fmt: skip
    volumes.append({"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}})
    mounts += [{"name": "recordings", "mountPath": SPOOL}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the container
    env = _env(fleet, site, "processor")
    env += [
        {"name": "PACKHOUND_FLEET_NODE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "PACKHOUND_OUTPUT_OUT", "value": f"{SPOOL}/recordings"},
        {"name": "PACKHOUND_OUTPUT_RETENTION_SECONDS", "value": str(-(-fleet.spec.storage.retention_ns // SECOND))},
        {"name": "PACKHOUND_SHARED_REDIS", "value": site.redis_url},
        {"name": "PACKHOUND_GRPC_LOCAL", "value": f"127.0.0.1:{GRPC_PORT}"},  # for port-forward: a person's own rights
        {"name": "PACKHOUND_FLEET_REPLICAS", "value": str(site.stream_replicas)},
        *({"name": f"PACKHOUND_STREAMS_{name.upper()}_MIB", "value": str(site.streams[name])} for name in site.streams),
        *_api_env(site),
    ]
    if site.redis_secret:
        env.append({"name": "PACKHOUND_SHARED_PASSWORD_FILE", "value": f"{SECRETS}/redis/password"})
    container = {
        "name": "processor", "image": fleet.spec.processor.image or site.image, "imagePullPolicy": site.pull_policy,
        "args": ["processor"], "env": env, "volumeMounts": mounts,
        "ports": [{"name": "health", "containerPort": PROCESSOR_PORT}, {"name": "grpc", "containerPort": GRPC_PORT},
                  *({"name": name, "containerPort": port} for name, port in _api_ports(site))],
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
        "resources": site.resources.get("processor", _RESOURCES["processor"]),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_probes("health"),
    }  # fmt: skip
    labels = _labels(fleet, "processor")
    pod: Object = {
        "serviceAccountName": name_of(fleet, "processor"), "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 60, "enableServiceLinks": False, "containers": [container], "volumes": volumes,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
                            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels},
        }],
    }  # fmt: skip
    volume = fleet.spec.storage.volume
    claim: Object = {
        "metadata": {"name": "recordings", "labels": labels},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": str(volume.size)}}},
    }
    if volume.storage_class is not None:
        claim["spec"]["storageClassName"] = volume.storage_class
    scaled = _scaler(fleet, site) is not None  # then the number is the scaler's
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": _meta(fleet, site, "processor", site.namespace),
        "spec": {
            "serviceName": name_of(fleet, "processor"),
            **({} if scaled else {"replicas": fleet.spec.processor.replicas}),
            "podManagementPolicy": "Parallel", "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": {**labels, **PART_OF}}, "spec": _common(pod, site)},
            "volumeClaimTemplates": [claim],
        },
    }  # fmt: skip


def _headless(fleet: HuntFleet, site: Site) -> Object:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": _meta(fleet, site, "processor", site.namespace),
        "spec": {
            "clusterIP": "None", "selector": _labels(fleet, "processor"), "publishNotReadyAddresses": True,
            "ports": [{"name": "health", "port": PROCESSOR_PORT, "targetPort": "health"},
                      *({"name": name, "port": port, "targetPort": name} for name, port in _api_ports(site))],
        },
    }  # fmt: skip


def _api_ports(site: Site) -> list[tuple[str, int]]:
    """Ports for subscribers who come over the network: with a certificate, with a token."""
    found = [("grpc-tls", TLS_PORT)] if site.api_secret else []
    return [*found, ("grpc-token", TOKEN_PORT)] if found and site.api_tokens else found


def _api_env(site: Site) -> list[Object]:
    if not site.api_secret:
        return []
    plain = {
        "LISTEN": f"[::]:{TLS_PORT}", "CERT": f"{SECRETS}/api/tls.crt", "KEY": f"{SECRETS}/api/tls.key",
        "CA": f"{SECRETS}/api/ca.crt",
    }  # fmt: skip
    if site.api_tokens:
        plain |= {"API": f"[::]:{TOKEN_PORT}", "TOKENS": f"{SECRETS}/api-tokens/tokens"}
    return [{"name": f"PACKHOUND_GRPC_{name}", "value": value} for name, value in plain.items()]


def _api(fleet: HuntFleet, site: Site) -> Object | None:
    if not site.api_secret:
        return None
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": _meta(fleet, site, "processor", site.namespace, suffix="-api"),
        "spec": {
            "selector": _labels(fleet, "processor"), "type": site.api_type,
            "ports": [{"name": name, "port": port, "targetPort": name} for name, port in _api_ports(site)],
        },
    }  # fmt: skip


def _disruption(fleet: HuntFleet, site: Site) -> Object:
    return {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": _meta(fleet, site, "processor", site.namespace),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _labels(fleet, "processor")}},
    }  # fmt: skip


def _scaler(fleet: HuntFleet, site: Site) -> Object | None:
    """Scales processors by what waits for them, where `maxReplicas` says that it may."""
    spec = fleet.spec.processor
    if spec.max_replicas is None or spec.max_replicas <= spec.replicas:
        return None
    target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name_of(fleet, "processor")}
    average = {"type": "AverageValue", "averageValue": str(spec.target_lag)}
    lag = {"type": "Pods", "pods": {"metric": {"name": "packhound_consumer_lag"}, "target": average}}
    bounds = {"minReplicas": max(1, spec.replicas), "maxReplicas": spec.max_replicas}
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": _meta(fleet, site, "processor", site.namespace),
        "spec": {"scaleTargetRef": target, **bounds, "metrics": [lag]},
    }  # fmt: skip


def _policies(fleet: HuntFleet, site: Site) -> list[Object]:
    """Who may speak with processors: scrapes and subscribers in; names, broker, Redis, traces out.

    Sensors are on the network of their node, which no NetworkPolicy reaches.
    """
    labels = _labels(fleet, "processor")
    out: list[Object] = [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}]
    out += [{"ports": [{"port": port, "protocol": "TCP"}]} for port in _ports(fleet, site)]
    return [{
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": _meta(fleet, site, "processor", site.namespace),
        "spec": {
            "podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": port, "protocol": "TCP"}
                                   for port in (PROCESSOR_PORT, *(port for _, port in _api_ports(site)))]}],
            "egress": out,
        },
    }]  # fmt: skip


def _ports(fleet: HuntFleet, site: Site) -> list[int]:
    defaults = (_nats_url(fleet, site), 4222), (site.redis_url, 6379), (site.otlp, 4317)
    return sorted({_port(url, otherwise) for url, otherwise in defaults if url})


def _port(url: str, otherwise: int) -> int:
    tail = url.rpartition("/")[2] if url.count("/") == 2 else url.split("/")[2]
    port = tail.rpartition(":")[2]
    return int(port) if port.isdecimal() else otherwise
