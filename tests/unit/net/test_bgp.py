"""BGP: what each message says, AS numbers of both widths, routes of every family, and finding the next marker."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import bgp, bgp_path, bgp_routes
from packhound.net.bgp import BgpMessage
from packhound.net.bgp_routes import Terms
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.routing import BgpStream
from tests.support.corpus import CORPUS, needs_corpus
from tests.support.dissected import dissect
from tests.support.mutations import chunks, damaged, is_linear
from tests.support.routing import MARKER, attribute, bgp_open, capability, message, path, update

NET = b"\x18\xc0\0\2"  # 192.0.2.0/24
AS4 = capability(65, (4200000000).to_bytes(4, "big"))
ADD_PATH = capability(69, b"\0\1\1\3")
BASE = (attribute(1, b"\0"), attribute(3, bytes((192, 0, 2, 254))))
UPDATE = update(
    *BASE, attribute(2, path(64496, 4200000000, width=4)), attribute(4, b"\0\0\0\7"), attribute(5, b"\0\0\0\x64"),
    attribute(8, b"\xfb\xf0\0\1\xff\xff\xff\1"), attribute(32, b"".join(i.to_bytes(4, "big") for i in (4200000000, 1, 2))),
    withdrawn=b"\x10\x0a\1\0", routes=NET + b"\0",
)  # fmt: skip
V6 = bytes.fromhex("0002 01 20") + bytes.fromhex("20010db8") + bytes(11) + b"\1\xfe\x80" + bytes(13) + b"\1\0"
REACH_6 = update(attribute(14, V6 + b"\x21\x20\x01\x0d\xb8\x80" + b"\0", flags=0x80))
VPN = bytes.fromhex("0001 80 0c") + bytes(8) + bytes((192, 0, 2, 1)) + b"\0" + bytes.fromhex(
    "70 000101 0000fde800000001 c00002" + "78 002331 0001c000020100ff c0000280"
)  # fmt: skip
LABELLED = bytes.fromhex("0001 04 04 c0000201 00") + bytes.fromhex("48 000100 000111 c00002")
NOTIFICATION = message(3, b"\6\2\x04bye!")
OPEN = bgp_open(64496, capability(1, b"\0\2\0\1"), AS4, ADD_PATH)
SAMPLES = [OPEN, UPDATE, REACH_6, update(attribute(14, VPN)), update(attribute(14, LABELLED)), NOTIFICATION, message(4)]


def said(data: bytes, terms: Terms | None = None) -> dict[str, Any]:
    found = bgp.parse(data, terms=terms or Terms())
    assert isinstance(found, BgpMessage)
    assert not found.broken
    return dict(bgp.bgp_fact(found).fields)


def feed(session: BgpStream, direction: int, data: bytes, sizes: list[int] | None = None) -> list[Fact | Malformed]:
    return [fact for piece in chunks(data, sizes or []) for fact in session.feed(direction, piece, now=0)]


def types(found: list[Fact | Malformed]) -> list[object]:
    return [each.fields["bgp.type"] if isinstance(each, Fact) else each.reason for each in found]


def test_an_open_offers_its_as_and_capabilities() -> None:
    assert said(OPEN) == {
        "bgp.type": "OPEN", "bgp.as": 4200000000, "bgp.hold_time": 180, "bgp.router_id": "192.0.2.1",
        "bgp.capabilities": (1, 65, 69), "bgp.family": ("2/1",),
    }  # fmt: skip


def test_an_open_with_extended_parameters() -> None:
    long = b"\2\0\6\x41\4" + (70000).to_bytes(4, "big")
    body = b"\4\x5b\xa0\0\xb4\xc0\0\2\1\xff\xff" + len(long).to_bytes(2, "big") + long
    assert said(message(1, body))["bgp.as"] == 70000


def test_an_update_tells_routes_and_attributes() -> None:
    assert said(UPDATE) == {
        "bgp.type": "UPDATE", "bgp.withdrawn": ("10.1.0.0/16", "0.0.0.0/0"), "bgp.prefix": ("192.0.2.0/24", "0.0.0.0/0"),
        "bgp.as_path": "64496 4200000000", "bgp.origin_as": 4200000000, "bgp.origin": 0, "bgp.med": 7,
        "bgp.next_hop": ("192.0.2.254",), "bgp.local_pref": 100,
        "bgp.community": ("64496:1", "65535:65281", "4200000000:1:2"),
    }  # fmt: skip


def test_routes_of_other_families() -> None:
    six = said(REACH_6)
    assert (six["bgp.prefix"], six["bgp.family"]) == (("2001:db8:8000::/33", "::/0"), ("2/1",))
    assert six["bgp.next_hop"] == ("2001:db8::1", "fe80::1")
    vpn = said(update(attribute(14, VPN)))
    assert vpn["bgp.prefix"] == ("192.0.2.0/24", "192.0.2.128/32")
    assert vpn["bgp.rd"] == ("65000:1", "192.0.2.1:255")
    assert vpn["bgp.next_hop"] == ("192.0.2.1",)
    assert said(update(attribute(14, LABELLED)))["bgp.prefix"] == ("192.0.2.0/24",)
    assert said(update(attribute(15, b"\0\2\1\x20\x20\1\x0d\xb8")))["bgp.withdrawn"] == ("2001:db8::/32",)
    other = said(update(attribute(14, b"\0\x19\x46\4" + bytes(4) + b"\0\2\x21whatever")))
    assert (other["bgp.family"], other.get("bgp.prefix")) == (("25/70",), None)


def test_bits_behind_a_prefix_are_not_part_of_it() -> None:
    assert said(update(routes=b"\x09\xc0\xff"))["bgp.prefix"] == ("192.128.0.0/9",)


@pytest.mark.parametrize(
    ("segments", "text", "origin"),
    [
        (path(1, 2, width=4) + path(3, 4, width=4, kind=1), "1 2 {3 4}", None),
        (path(7, width=4, kind=3) + path(8, width=4, kind=4) + path(9, width=4), "(7) [8] 9", 9),
        (path(64496, 64511, width=2), "64496 64511", 64511),
        (b"", None, None),
    ],
)  # fmt: skip
def test_paths_are_read_in_the_width_that_fits(segments: bytes, text: str | None, origin: int | None) -> None:
    found = said(update(attribute(2, segments)))
    assert (found.get("bgp.as_path"), found.get("bgp.origin_as")) == (text, origin)


def test_a_width_that_was_agreed_on_wins() -> None:
    # two segments of two octets each, or one of four octets twice as long
    data = path(0x0201, 0x0202, width=2)[:2] + b"\2\1\2\2" + b"\2\1\2\3"
    assert said(update(attribute(2, data)), Terms(as_width=4))["bgp.as_path"] == "33620482 33620483"
    assert said(update(attribute(2, data)), Terms(as_width=2))["bgp.as_path"] == "513 514 515"


def test_an_old_speaker_s_path_gets_its_long_numbers_back() -> None:
    old = attribute(2, path(64496, 23456, 23456, width=2))
    assert said(update(old, attribute(17, path(70000, 70001, width=4))))["bgp.as_path"] == "64496 70000 70001"
    too_long = attribute(17, path(1, 2, 3, 4, width=4))
    assert said(update(old, too_long))["bgp.as_path"] == "64496 23456 23456"
    behind_a_set = attribute(17, path(1, 2, width=4, kind=1))
    assert said(update(old, behind_a_set))["bgp.as_path"] == "64496 23456 {1 2}"


def test_a_bgpsec_path_is_a_path() -> None:
    secure = b"\0\x0e" + b"\2\0\0\0\xfb\xf0" + b"\0\0\0\1\x11\x70" + b"\0\3sig"
    assert said(update(attribute(33, secure)))["bgp.as_path"] == "64496 64496 70000"


def test_path_ids_are_recognised_when_the_opens_were_not_seen() -> None:
    routes = b"\0\0\0\1" + NET + b"\0\0\0\2" + NET
    assert said(update(routes=routes))["bgp.prefix"] == ("192.0.2.0/24",)
    agreed = Terms(4, frozenset({(1, 1)}))
    assert said(update(routes=b"\0\0\0\1\0"), agreed)["bgp.prefix"] == ("0.0.0.0/0",)
    assert said(update(routes=b"\0\x08\x0a"), Terms(4, frozenset()))["bgp.prefix"] == ("0.0.0.0/0", "10.0.0.0/8")


def test_a_notification_says_why() -> None:
    assert said(NOTIFICATION) == {
        "bgp.type": "NOTIFICATION", "bgp.error.code": 6, "bgp.error.subcode": 2, "bgp.error.text": "bye!",
    }  # fmt: skip
    assert "bgp.error.text" not in said(message(3, b"\2\2\xfb\xf0"))
    assert said(message(5, b"\0\2\0\1"))["bgp.family"] == ("2/1",)


@pytest.mark.parametrize("data", SAMPLES)
def test_a_body_cut_anywhere_never_raises_and_keeps_its_type(data: bytes) -> None:
    kind = said(data)["bgp.type"]
    for size in range(19, len(data)):
        cut = data[:16] + size.to_bytes(2, "big") + data[18:size]
        found = bgp.parse(cut)
        assert isinstance(found, BgpMessage)
        assert bgp.bgp_fact(found).fields["bgp.type"] == kind
        assert bgp.bgp_fact(found).fields.keys() <= bgp.FIELDS


def test_what_stands_before_a_broken_attribute_is_kept() -> None:
    (fact, why) = feed(BgpStream(), 0, update(*BASE, attribute(4, b"\0"), routes=NET))
    assert isinstance(fact, Fact)
    assert fact.fields["bgp.prefix"] == ("192.0.2.0/24",)
    assert why == Malformed("BGP path attribute is malformed")


@given(st.lists(st.integers(1, 90), max_size=6))
def test_any_cut_of_a_stream_gives_the_same_messages(sizes: list[int]) -> None:
    found = feed(BgpStream(), 0, b"".join(SAMPLES), sizes)
    assert types(found) == ["OPEN", "UPDATE", "UPDATE", "UPDATE", "UPDATE", "NOTIFICATION", "KEEPALIVE"]


def test_both_opens_decide_how_updates_are_read() -> None:
    session = BgpStream()
    feed(session, 0, OPEN)
    feed(session, 1, bgp_open(64511))
    (fact,) = feed(session, 1, update(attribute(2, path(1, 2, width=2)), routes=b"\0\0"))
    assert isinstance(fact, Fact)
    assert (fact.fields["bgp.as_path"], fact.fields["bgp.prefix"]) == ("1 2", ("0.0.0.0/0",))
    feed(session, 1, bgp_open(64511, AS4, ADD_PATH))
    (fact,) = feed(session, 0, update(routes=b"\0\0\0\1" + NET))
    assert isinstance(fact, Fact)
    assert fact.fields["bgp.prefix"] == ("192.0.2.0/24",)


def test_the_next_marker_is_found_behind_a_gap_or_junk() -> None:
    session = BgpStream()
    feed(session, 0, message(4) + UPDATE[:30])
    session.gap(0, 500)
    assert types(feed(session, 0, bytes(40) + b"\xff" * 5 + MARKER[:-3], [7])) == []
    assert types(feed(session, 0, message(4)[13:] + message(4))) == ["KEEPALIVE"] * 2
    assert types(feed(BgpStream(), 0, bytes(60) + message(4))) == ["BGP stream lost its framing", "KEEPALIVE"]


def test_another_marker_is_taken_where_the_framing_holds() -> None:
    secret = message(4, marker=bytes(range(16)))
    assert types(feed(BgpStream(), 0, message(4) + secret + message(4))) == ["KEEPALIVE"] * 3
    session = BgpStream()
    session.gap(0, 1)
    assert types(feed(session, 0, secret + message(4))) == ["KEEPALIVE"]


@given(damaged(SAMPLES))
def test_no_bytes_raise(data: bytes) -> None:
    for found in (*feed(BgpStream(), 0, data, [40]), *feed(BgpStream(), 1, message(2, data[:4000]))):
        assert isinstance(found, Malformed) or found.fields.keys() <= bgp.FIELDS


def test_lists_are_bounded() -> None:
    routes = update(routes=bytes(bgp_routes.MAX_ROUTES + 1))
    found = bgp.parse(routes, terms=Terms(4, frozenset()))
    assert isinstance(found, BgpMessage)
    assert found.broken == "BGP routes break"
    many = b"".join(path(*range(255), width=4) for _ in range(8))
    long = said(update(attribute(2, many)))["bgp.as_path"]
    assert len(long.split()) <= bgp_path.MAX_PATH


def test_hostile_streams_stay_linear() -> None:
    def work(data: bytes) -> None:
        feed(BgpStream(), 0, data, [1460])

    assert is_linear(work, lambda size: (b"\xff" * 15 + b"\0") * size, size=4000)
    assert is_linear(work, lambda size: b"\xff" * 16 * size, size=4000)
    assert is_linear(work, lambda size: message(4) * size, size=1000)


@needs_corpus
def test_a_real_session_between_two_routers() -> None:
    heard = dissect(str(CORPUS / "captures/tcpdump/bgp-lu-multiple-labels.pcap"))
    facts = [each.fact.fields for each in heard if isinstance(each.fact, Fact)]
    assert {f["bgp.router_id"] for f in facts if f["bgp.type"] == "OPEN"} == {"0.0.0.1", "0.0.1.1"}
    assert {f["bgp.prefix"] for f in facts if "bgp.prefix" in f} == {("30.1.1.1/32",)}
