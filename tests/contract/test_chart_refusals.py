"""Values that cannot be meant are refused before anything is sent, with their path."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.helm import CHART, CRDS, needs_helm, refusal


def _at(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


WRONG = [
    ("operator.replica", 3, "replica"),
    ("operator.replicas", 0, "/operator/replicas"),
    ("operator.replicas", "2", "/operator/replicas"),
    ("operator.logLevel", "loud", "/operator/logLevel"),
    ("operator.resources.limits.memory", "a lot", "/operator/resources/limits/memory"),
    ("operator.resources.limit", {"memory": "1Gi"}, "limit"),
    ("operator.tolerations", [{"key": "a", "operator": "Is"}], "/operator/tolerations/0/operator"),
    ("operator.podLabels", ["app, tier"], "/operator/podLabels/0"),
    ("images.sensor.digest", "sha256:abc", "/images/sensor/digest"),
    ("images.sensor.tag", "latest please", "/images/sensor/tag"),
    ("images.sensors", {"tag": "1"}, "sensors"),
    ("image.pullPolicy", "Sometimes", "/image/pullPolicy"),
    ("namespaces.sensors.name", "Sensors!", "/namespaces/sensors/name"),
    ("namespaces.sensors.podSecurity", "restricted", "/namespaces/sensors/podSecurity"),
    ("fleet.name", "a-name-of-a-fleet-too-long", "/fleet/name"),
    ("fleet.name", "main-", "/fleet/name"),
    ("fleet.spec.sensors", {}, "sensors"),
    ("fleet.spec.sensor.ringMiB", 0, "/fleet/spec/sensor/ringMiB"),
    ("fleet.spec.sensor.interfaces", [], "/fleet/spec/sensor/interfaces"),
    ("fleet.spec.storage.retention", "a week", "/fleet/spec/storage/retention"),
    ("fleet.spec.transport.nats.url", "nats://user:password@nats", "/fleet/spec/transport/nats/url"),
    ("webhook.failurePolicy", "Maybe", "/webhook/failurePolicy"),
    ("webhook.certManager.issuerRef.password", "x", "password"),
    ("nats.replicas", 2, "/nats/replicas"),
    ("nats.external.url", "http://nats:4222", "/nats/external/url"),
    ("nats.external.url", "nats://me:secret@nats:4222", "/nats/external/url"),
    ("nats.auth.password", "hunter2", "password"),
    ("nats.streams.replicas", 2, "/nats/streams/replicas"),
    ("nats.streams.packets", "4000000", "/nats/streams/packets"),
    ("nats.streams.packet", "1Gi", "packet"),
    ("nats.tls.enable", True, "enable"),
    ("nats.tls.certManager.issuerRef.kind", "CA", "/nats/tls/certManager/issuerRef/kind"),
    ("processors.api.serviceType", "ExternalName", "/processors/api/serviceType"),
    ("processors.api.dnsNames", ["Hunt Example"], "/processors/api/dnsNames/0"),
    ("processors.api.tokens", ["hunter2"], "tokens"),
    ("redis.external.url", "redis://:secret@redis:6379", "/redis/external/url"),
    ("redis.maxMemory", "512", "/redis/maxMemory"),
    ("networkPolicies.apiServerPorts", [], "/networkPolicies/apiServerPorts"),
    ("priorityClass.value", 2000000000, "/priorityClass/value"),
    ("telemetry.otlp", "jaeger:4317", "/telemetry/otlp"),
    ("monitoring.podMonitor.interval", "often", "/monitoring/podMonitor/interval"),
    ("global", {"imageRegistry": "x"}, "imageRegistry"),
    ("anything", 1, "anything"),
]
# What only a look at several values together shows.
TLS = {"enabled": True}
SEALED = {"certManager": {"enabled": True}}
AT_ODDS = [
    ({"nats": {"fleets": ["lab"]}}, ("Fleets: 2, each reserves 4800Mi (nats.streams); copies of each stream: 1; so 9600Mi in all. "
     "Brokers: 1 of 9Gi, 9216Mi in all")),
    ({"nats": {"storage": {"maxFile": "900Mi"}}}, "nats.storage.maxFile: too little"),
    ({"nats": {"replicas": 3, "streams": {"replicas": 3}, "storage": {"maxFile": "4Gi"}}}, "so 14400Mi in all"),
    ({"nats": {"streams": {"packets": "8Mi"}}}, "nats.streams.packets: 8Mi is too little; give 16Mi or more"),
    ({"nats": {"streams": {"status": "4Mi"}}}, "nats.streams.status: 4Mi is too little; give 8Mi or more"),
    ({"nats": {"streams": {"replicas": 3}}}, "3 copies of each stream need as many brokers; nats.replicas is 1"),
    ({"nats": {"tls": {"clientCertificates": True}}}, "what is given here needs nats.tls.enabled"),
    ({"nats": {"tls": SEALED}}, "what is given here needs nats.tls.enabled"),
    ({"nats": {"tls": TLS | {"serverSecret": "s"}}}, "give serverSecret and clientsSecret, or none of them"),
    ({"nats": {"tls": TLS | SEALED}}, "nats.tls.certManager.issuerRef: name a ClusterIssuer"),
    ({"nats": {"tls": TLS | SEALED | {"serverSecret": "s", "clientsSecret": "c"}}}, "not both"),
    ({"nats": {"enabled": False, "external": {"url": "tls://n"}, "tls": TLS}}, "nats.tls.clientsSecret: give the authority"),
    ({"processors": {"api": {"enabled": True}}}, "subscribers are never served in clear"),
    ({"processors": {"api": {"tokensSecret": "t"}}}, "what is given here needs processors.api.enabled"),
    ({"processors": {"api": {"enabled": True, "tlsSecret": "s"} | SEALED}}, "not both"),
    ({"processors": {"api": {"enabled": True} | SEALED}}, "processors.api.certManager.issuerRef: name an issuer"),
    ({"namespaces": {"sensors": {"name": "packhound"}}}, "must not be the namespace of the release"),
    ({"nats": {"enabled": False}}, "nats.external.url: give the broker's address"),
    ({"redis": {"enabled": False}}, "redis.external.url: give the address"),
    ({"nats": {"auth": {"clientsSecret": "mine"}}}, "nats.auth: give clientsSecret, operatorSecret and serverSecret"),
    ({"redis": {"auth": {"serverSecret": "mine"}}}, "redis.auth: give clientsSecret and serverSecret"),
    ({"fleet": {"create": False}}, "nats.fleets: name the fleets"),
    (
        {"nats": {"enabled": False, "external": {"url": "nats://n"}, "auth": {"operatorSecret": "o"}}},
        "nats.auth: give clientsSecret and operatorSecret",
    ),
]


@needs_helm
@pytest.mark.parametrize(("path", "value", "says"), WRONG, ids=[f"{row[0]}={row[1]}"[:60] for row in WRONG])
def test_a_wrong_value_is_refused(path: str, value: Any, says: str) -> None:
    error = refusal(_at(path, value))
    assert "values don't meet the specifications of the schema" in error
    assert says in error


@needs_helm
@pytest.mark.parametrize(("values", "says"), AT_ODDS, ids=[row[1][:40] for row in AT_ODDS])
def test_values_at_odds_are_refused_with_a_sentence(values: dict[str, Any], says: str) -> None:
    assert says in refusal(values)


@needs_helm
@pytest.mark.parametrize("values", [{"keeps": True}, {"keep": "yes"}, {"labels": {"a": 1}}])
def test_wrong_values_of_the_kinds_are_refused(values: dict[str, Any]) -> None:
    assert "values don't meet the specifications of the schema" in refusal(values, chart=CRDS)


@pytest.mark.parametrize("chart", [CHART, CRDS], ids=["packhound", "packhound-crds"])
def test_the_schema_takes_nothing_unknown_anywhere(chart: Any) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    loose = [path for path, each in _objects(schema, "") if each.get("additionalProperties") in (None, True, {})]
    assert loose == []


def test_the_schema_knows_every_value() -> None:
    import yaml

    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    missing: list[str] = []

    def walk(value: Any, known: Mapping[str, Any], path: str) -> None:
        known = schema["$defs"][known["$ref"].rpartition("/")[2]] if "$ref" in known else known
        for key, each in value.items() if isinstance(value, dict) else ():
            if key in known.get("properties", {}):
                walk(each, known["properties"][key], f"{path}.{key}")
            elif not isinstance(known.get("additionalProperties"), dict):
                missing.append(f"{path}.{key}")

    walk(values, schema, "")
    assert missing == []
    assert set(schema["properties"]) - {"global"} == set(values)


def _objects(schema: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object" or schema.get("type") == ["object", "null"]:
            yield path, schema
        for key, each in schema.items():
            yield from _objects(each, f"{path}/{key}")
    elif isinstance(schema, list):
        for at, each in enumerate(schema):
            yield from _objects(each, f"{path}/{at}")
