"""Who can reach processors, and by what: ports, Services, policies and files agree with each other."""

from __future__ import annotations

import pytest

from packhound.api.huntfleet import HuntFleet
from packhound.operator.desired import Site, objects_of

FLEET = HuntFleet.model_validate({"metadata": {"name": "main"}, "spec": {}})
OPEN = Site(api_secret="api", api_tokens="people", api_type="LoadBalancer")


def made(site):
    return {(each["kind"], each["metadata"]["name"]): each for each in objects_of(FLEET, site)}


def container(objects, kind="StatefulSet"):
    (name,) = [name for key, name in objects if key == kind]
    return objects[kind, name]["spec"]["template"]["spec"]["containers"][0]


def env(objects, kind="StatefulSet"):
    return {row["name"]: row.get("value") for row in container(objects, kind)["env"]}


def test_by_default_there_is_one_door_and_it_is_on_loopback():
    objects = made(Site())
    assert ("Service", "packhound-main-processor-api") not in objects
    found = env(objects)
    assert found["PACKHOUND_GRPC_LOCAL"] == "127.0.0.1:7443"
    assert not {name for name in found if name.startswith("PACKHOUND_GRPC_")} - {"PACKHOUND_GRPC_LOCAL"}
    (rule,) = objects["NetworkPolicy", "packhound-main-processor"]["spec"]["ingress"]
    assert [each["port"] for each in rule["ports"]] == [9101]


@pytest.mark.parametrize(("site", "ports"), [(Site(api_secret="api"), [7444]), (OPEN, [7444, 7445])])
def test_what_is_served_over_the_network_is_open_everywhere_it_must_be(site, ports):
    objects = made(site)
    service = objects["Service", "packhound-main-processor-api"]["spec"]
    assert [each["port"] for each in service["ports"]] == ports
    assert service["type"] == site.api_type
    headless = objects["Service", "packhound-main-processor"]["spec"]
    assert [each["port"] for each in headless["ports"]] == [9101, *ports]
    named = {each["name"]: each["containerPort"] for each in container(objects)["ports"]}
    for each in (*service["ports"], *headless["ports"]):
        assert named[each["targetPort"]] == each["port"]
    (rule,) = objects["NetworkPolicy", "packhound-main-processor"]["spec"]["ingress"]
    assert [each["port"] for each in rule["ports"]] == [9101, *ports]
    found = env(objects)
    assert found["PACKHOUND_GRPC_LISTEN"] == "[::]:7444"
    assert found.get("PACKHOUND_GRPC_API") == ("[::]:7445" if 7445 in ports else None)
    assert found["PACKHOUND_GRPC_LOCAL"] == "127.0.0.1:7443"


def test_tokens_without_a_certificate_open_nothing():
    assert made(Site(api_tokens="people")) == made(Site())


def test_tls_files_of_the_broker_are_where_both_roles_look():
    for shown in (False, True):
        objects = made(Site(nats_tls_secret="t", nats_tls_client=shown))
        for kind in ("DaemonSet", "StatefulSet"):
            found = env(objects, kind)
            assert found["PACKHOUND_NATS_CA"] == "/run/secrets/packhound/nats-tls/ca.crt"
            assert ("PACKHOUND_NATS_KEY" in found, "PACKHOUND_NATS_CERT" in found) == (shown, shown)
            assert "/run/secrets/packhound/nats-tls" in [each["mountPath"] for each in container(objects, kind)["volumeMounts"]]
    assert not any("TLS" in name or name == "PACKHOUND_NATS_CA" for name in env(made(Site())))


def test_who_makes_streams_is_told_their_sizes_and_copies():
    found = env(made(Site(streams={"packets": 64, "pods": 8}, stream_replicas=3)))
    assert (found["PACKHOUND_STREAMS_PACKETS_MIB"], found["PACKHOUND_STREAMS_PODS_MIB"], found["PACKHOUND_FLEET_REPLICAS"]) == ("64", "8", "3")
    assert not any("STREAMS" in name for name in env(made(Site(streams={"packets": 64})), "DaemonSet"))


@pytest.mark.parametrize(("said", "seconds"), [(None, "604800"), ("1h30m", "5400"), ("60s1ms", "61")])
def test_processors_are_told_how_long_to_keep_files(said, seconds):
    storage = {} if said is None else {"storage": {"retention": said}}
    fleet = HuntFleet.model_validate({"metadata": {"name": "main"}, "spec": storage})
    objects = {(each["kind"], each["metadata"]["name"]): each for each in objects_of(fleet, Site())}
    assert env(objects)["PACKHOUND_OUTPUT_RETENTION_SECONDS"] == seconds
    assert "PACKHOUND_OUTPUT_RETENTION_SECONDS" not in env(objects, "DaemonSet")
