"""RIP: routes of its three versions, told apart by what they hold, and authentication."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from packhound.net import rip
from packhound.net.facts import Fact, Malformed
from tests.support.corpus import CORPUS, needs_corpus
from tests.support.dissected import dissect
from tests.support.mutations import damaged

NET, HOP = bytes((192, 0, 2, 0)), bytes((198, 51, 100, 1))
V6 = bytes.fromhex("20010db8000000010000000000000000")


def entry(address: bytes, *, metric: int, family: int = 2, mask: bytes = bytes(4), hop: bytes = bytes(4)) -> bytes:
    return family.to_bytes(2, "big") + bytes(2) + address + mask + hop + metric.to_bytes(4, "big")


def entry6(prefix: bytes, bits: int, metric: int) -> bytes:
    return prefix + b"\0\0" + bytes((bits, metric))


V1 = b"\2\1\0\0" + entry(NET, metric=3)
V2 = b"\2\2\0\0" + entry(NET, metric=16, mask=b"\xff\xff\xff\0", hop=HOP) + entry(bytes(4), metric=1)
NG = b"\2\1\0\0" + entry6(V6, 64, 2) + entry6(bytes.fromhex("fe80") + bytes(13) + b"\1", 0, 255) + entry6(bytes(16), 0, 1)
ALL = b"\1\1\0\0" + entry(bytes(4), family=0, metric=16)
PLAIN = b"\2\2\0\0\xff\xff\0\2" + b"secret".ljust(16, b"\0") + V2[4:]
DIGEST = b"\2\2\0\0\xff\xff\0\3" + bytes(16) + V2[4:] + b"\xff\xff\0\1" + bytes(16)


def fields(data: bytes) -> dict[str, Any]:
    (fact,) = rip.read(data)
    assert isinstance(fact, Fact)
    return {name.removeprefix("rip."): value for name, value in fact.fields.items()}


def test_each_version_has_its_own_routes() -> None:
    assert fields(V1) == {"command": "RESPONSE", "version": 1, "route": ("192.0.2.0",), "metric": (3,)}
    assert fields(V2) == {
        "command": "RESPONSE", "version": 2, "route": ("192.0.2.0/24", "0.0.0.0/0"), "metric": (16, 1),
        "next_hop": ("198.51.100.1", "0.0.0.0"),
    }  # fmt: skip
    assert fields(NG) == {
        "command": "RESPONSE", "version": 1, "ipv6": True, "route": ("2001:db8:0:1::/64", "::/0"), "metric": (2, 1),
        "next_hop": ("::", "fe80::1"),
    }  # fmt: skip


def test_a_request_for_all_is_alike_in_both_and_names_no_route() -> None:
    assert fields(ALL) == {"command": "REQUEST", "version": 1}


def test_authentication_is_told_and_a_password_shown() -> None:
    plain, digest = fields(PLAIN), fields(DIGEST)
    assert (plain["auth"], plain["password"], plain["route"]) == (2, "secret", ("192.0.2.0/24", "0.0.0.0/0"))
    assert (digest["auth"], digest.get("password"), digest["route"]) == (3, None, ("192.0.2.0/24", "0.0.0.0/0"))


@pytest.mark.parametrize("data", [V1, V2, NG])
def test_a_message_cut_anywhere_never_raises(data: bytes) -> None:
    for size in range(len(data)):
        found = rip.read(data[:size])
        assert (len(found) == 1) == (size < 4 or (size - 4) % 20 == 0)
    assert rip.read(NG[:-2] + b"\x81\1")[1] == Malformed("RIPng prefix is longer than an address")


@given(damaged([V1, V2, NG, ALL, PLAIN, DIGEST]))
def test_no_bytes_raise(data: bytes) -> None:
    for found in rip.read(data):
        assert isinstance(found, Malformed) or found.fields.keys() <= rip.FIELDS


def test_every_field_is_filled_and_lists_are_bounded() -> None:
    assert {f"rip.{name}" for each in (V2, NG, PLAIN) for name in fields(each)} == rip.FIELDS
    assert len(fields(b"\2\2\0\0" + entry(NET, metric=1) * (rip.MAX_ROUTES + 9))["route"]) == rip.MAX_ROUTES


@needs_corpus
def test_real_routers_speak_it() -> None:
    heard = [each.fact for each in dissect(str(CORPUS / "captures/tcpdump/ripv2_auth.pcap"))]
    facts = [fact.fields for fact in heard if isinstance(fact, Fact)]
    assert len(facts) == 12
    assert {fact["rip.password"] for fact in facts if "rip.password" in fact} == {"abcdefghijklmnop"}
