"""Decoding: every encapsulation leads to the innermost packet, and no bytes make it fail."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.net import linktypes
from packhound.net.facts import Malformed
from packhound.net.fragments import Reassembler, decode_datagram
from packhound.net.frame import VLAN_TENANT, DecodeConfig, Frame, Status, decode
from tests.support.corpus import CORPUS, captures, expected, needs_corpus
from tests.support.headers import CARRIED, INNER4, SAMPLES, eth, ip4, tcp, udp, vlan, vxlan
from tests.support.raw_packets import packets

CONFIG = DecodeConfig()


def sample(name: str, config: DecodeConfig = CONFIG) -> Frame:
    linktype, data = SAMPLES[name]
    return decode(data, linktype=linktype, config=config)


@pytest.mark.parametrize("name", sorted(CARRIED))
def test_every_encapsulation_leads_to_the_innermost_packet(name: str) -> None:
    frame = sample(name)
    assert frame.status is Status.OK
    assert (frame.ip_version, frame.proto, frame.sport, frame.dport) in ((4, 6, 1000, 2000), (6, 17, 5, 6))
    data = SAMPLES[name][1]
    assert bytes(data[frame.payload : frame.payload + frame.payload_len]) == b"data"
    assert data[frame.l3] >> 4 == frame.ip_version
    assert frame.payload_wire == 4


@pytest.mark.parametrize("name", ["vxlan of noise", "vxlan of arp", "dns on 4789", "gtpu echo", "ayiya heartbeat", "ayiya of noise"])
def test_what_is_no_tunnel_stays_an_ordinary_udp_packet(name: str) -> None:
    frame = sample(name)
    assert (frame.status, frame.proto, frame.depth, frame.tenant) == (Status.OK, 17, 0, 0)
    assert frame.payload == 42


@pytest.mark.parametrize(("name", "proto"), [("gre of arp", 47), ("ipip of noise", 4)])
def test_a_tunnel_without_ip_inside_is_reported_as_the_packet_that_carries_it(name: str, proto: int) -> None:
    frame = sample(name)
    assert (frame.status, frame.proto, frame.depth) == (Status.OK, proto, 0)


@pytest.mark.parametrize(
    ("name", "status", "fields"),
    [
        ("padding", Status.OK, {"payload_len": 0, "payload_wire": 0, "tcp_flags": 0x18, "seq": 11, "ack": 22}),
        ("options", Status.OK, {"l4": 42, "payload": 74, "window": 333, "ttl": 64}),
        ("offload", Status.OK, {"payload_len": 70, "payload_wire": 70}),
        ("arp", Status.NOT_IP, {"ethertype": 0x0806, "ip_version": 0}),
        ("stp", Status.NOT_IP, {"ethertype": 0}),
        ("ihl", Status.MALFORMED, {"ip_version": 0}),
        ("version", Status.MALFORMED, {"ip_version": 0}),
        ("total below header", Status.MALFORMED, {"ip_version": 0}),
        ("tcp beyond total", Status.MALFORMED, {"sport": 1000, "dport": 2000, "l4": 34, "payload": 0}),
        ("tcp offset", Status.MALFORMED, {"sport": 1000, "l4": 34, "tcp_flags": 0}),
        ("tcp options cut", Status.OK, {"payload_len": 0, "payload_wire": 4, "payload": 54}),
        ("udp shorter", Status.OK, {"payload_len": 4, "payload_wire": 4}),
        ("udp longer", Status.MALFORMED, {"sport": 1000, "payload": 0}),
        ("udp below 8", Status.MALFORMED, {"sport": 1000, "payload": 0}),
        ("udp zero", Status.OK, {"payload_len": 4}),
        ("udplite", Status.OK, {"sport": 1000, "payload_len": 4}),
        ("sctp", Status.OK, {"sport": 2904, "dport": 2905, "payload_len": 5}),
        ("icmp echo", Status.OK, {"sport": 8, "dport": 0, "icmp_type": 8, "payload_len": 4}),
        ("icmp unreachable", Status.OK, {"proto": 1, "sport": 3, "dport": 1, "icmp_code": 1}),
        ("icmpv6 solicit", Status.OK, {"proto": 58, "sport": 135, "dport": 136}),
        ("esp", Status.OK, {"proto": 50, "sport": 0, "payload_len": 24}),
        ("ah", Status.OK, {"proto": 6, "sport": 1000}),
        ("extension headers", Status.OK, {"proto": 6, "l4": 78}),
        ("extension chain", Status.UNSUPPORTED, {"ip_version": 6}),
        ("no next header", Status.OK, {"proto": 59, "payload_len": 0}),
        ("mobility", Status.OK, {"proto": 135}),
        ("atomic fragment", Status.OK, {"proto": 6, "sport": 1000}),
        ("fragment 4", Status.FRAGMENT, {"frag_id": 7, "frag_offset": 8, "frag_more": 1, "payload_wire": 16}),
        ("fragment 6", Status.FRAGMENT, {"frag_id": 9, "frag_offset": 8, "frag_more": 1, "proto": 17, "payload": 70}),
        ("fragment in gre", Status.FRAGMENT, {"depth": 1, "l3": 38, "payload": 58}),
        ("deep", Status.UNSUPPORTED, {"depth": 8, "proto": 4}),
        ("deep tags", Status.UNSUPPORTED, {"vlan": 1}),
        ("deep labels", Status.UNSUPPORTED, {}),
        ("empty", Status.TRUNCATED, {}),
        ("unknown link type", Status.UNSUPPORTED, {}),
        ("vlan", Status.OK, {"vlan": 5, "ethertype": 0x0800, "depth": 0}),
        ("vlan priority tag", Status.OK, {"vlan": 6}),
        ("qinq", Status.OK, {"vlan": 100, "ethertype": 0x86DD}),
        ("vxlan", Status.OK, {"tenant": 8, "depth": 1, "vlan": 3}),
        ("vxlan flannel", Status.OK, {"tenant": 1}),
        ("geneve", Status.OK, {"tenant": 10}),
        ("mpls", Status.OK, {"depth": 1}),
    ],
)
def test_fields(name: str, status: Status, fields: dict[str, int]) -> None:
    frame = sample(name)
    assert frame.status is status
    assert {field: getattr(frame, field) for field in fields} == fields


def test_addresses_are_sixteen_bytes() -> None:
    frame = sample("ethernet")
    assert frame.src == ip_address("10.0.0.1").packed + bytes(12)
    assert sample("ipv6").dst == ip_address("2001:db8::2").packed


def test_a_cut_packet_keeps_the_ports_it_still_shows() -> None:
    data = eth(0x0800, ip4(6, tcp()))[: 34 + 4]
    frame = decode(data, linktype=1, config=CONFIG)
    assert (frame.status, frame.sport, frame.dport, frame.l4) == (Status.TRUNCATED, 1000, 2000, 34)


def test_vlans_part_tenants_when_told_so() -> None:
    config = DecodeConfig(vlan_is_tenant=True)
    assert sample("vlan", config).tenant == VLAN_TENANT | 5
    assert sample("ethernet", config).tenant == 0
    assert sample("vxlan", config).tenant == 8


def test_tunnel_ports_are_settings() -> None:
    data = eth(0x0800, ip4(17, udp(vxlan(7, eth(0x0800, INNER4)), dport=9999)))
    assert decode(data, linktype=1, config=CONFIG).proto == 17
    assert decode(data, linktype=1, config=DecodeConfig(vxlan_ports=(9999,))).proto == 6


def test_a_tunnel_beyond_the_depth_is_said_to_be_unread() -> None:
    frame = sample("ipip", DecodeConfig(max_depth=0))
    assert (frame.status, frame.proto, frame.l4) == (Status.UNSUPPORTED, 4, 34)


def test_memoryviews_are_read_like_bytes() -> None:
    for linktype, data in SAMPLES.values():
        assert decode(memoryview(data), linktype=linktype) == decode(data, linktype=linktype)


def test_link_types_have_names() -> None:
    assert linktypes.name(1) == "ETHERNET"
    assert linktypes.name(40_000) == "LINKTYPE 40000"
    assert linktypes.supported(113)
    assert not linktypes.supported(147)
    assert all(linktypes.supported(linktype) for name, (linktype, _) in SAMPLES.items() if name in CARRIED)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(SAMPLES)), data=st.data())
def test_mutated_packets_never_raise_and_stay_within_bounds(name: str, data: st.DataObject) -> None:
    linktype, packet = SAMPLES[name]
    blob = bytearray(packet)
    for _ in range(data.draw(st.integers(0, 4)) if blob else 0):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    del blob[data.draw(st.integers(0, len(blob))) :]
    frame = decode(bytes(blob), linktype=linktype)
    assert frame.payload + frame.payload_len <= len(blob)
    assert max(frame.l3, frame.l4) <= len(blob)


def test_depth_of_vlan_tags_is_free_up_to_sixteen() -> None:
    inner = INNER4
    data = eth(0x8100, b"".join(vlan(n + 1, 0x8100, b"") for n in range(15)) + vlan(16, 0x0800, inner))
    assert decode(data, linktype=1).status is Status.OK


# --- tshark's flows of the corpus ----------------------------------------------------------------------------------

PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
COUNTS = ("packets", "bytes", "payload")
FOLDERS = sorted({name.split("/")[1] for name in captures()})

LENGTH_LIES = "tshark believes a false length (UDP, TCP or IP) when it counts payload"
CUT_FRAGMENT = "tshark reads a first fragment that the capture cut as if it were whole"
NO_SCTP_PAYLOAD = "these rows hold no SCTP payload"
DIFFERENCES = {
    "arkime/m3ua_synthetic.pcap": NO_SCTP_PAYLOAD,
    "ndpi/ajp.pcap": "a TCP option list is cut: tshark counts no payload",
    "ndpi/fuzz-2006-06-26-2594.pcap": LENGTH_LIES,
    "ndpi/fuzz-2020-02-16-11740.pcap": LENGTH_LIES,
    "ndpi/kerberos_fuzz.pcapng": LENGTH_LIES,
    "ndpi/sctp.cap": NO_SCTP_PAYLOAD,
    "suricata-verify/decode-sctp-01__input.pcap": NO_SCTP_PAYLOAD,
    "suricata-verify/ipv4-truncated__truncated.pcap": LENGTH_LIES,
    "suricata-verify/sctp-max-chunks__sctp-max-chunks.pcap": NO_SCTP_PAYLOAD,
    "suricata-verify/sctp-pkt-too-small__input.pcap": "an SCTP header too short: tshark shows no ports",
    "suricata-verify/tcp-session-decode-malformed-ipv4__input.pcap": "an IPv4 option is false: tshark stops there",
    "tcpdump/babel_update_oobr.pcap": LENGTH_LIES,
    "tcpdump/bgp-bgp_capabilities_print-oobr-2.pcap": CUT_FRAGMENT,
    "tcpdump/bgp_pmsi_tunnel-oobr.pcap": CUT_FRAGMENT,
    "tcpdump/bigtcp-ipv4-vxlan-ipv6.pcap": "tshark does not read a UDP tunnel of length 0 (BIG TCP)",
    "tcpdump/bigtcp-ipv6-vxlan-ipv4.pcap": "as above",
    "tcpdump/bigtcp-ipv6-vxlan-ipv6.pcap": "as above",
    "tcpdump/bootp_asan-2.pcap": CUT_FRAGMENT,
    "tcpdump/esp_truncated.pcap": CUT_FRAGMENT,
    "tcpdump/isakmp-3948-oobr-2.pcap": LENGTH_LIES,
    "tcpdump/isup.pcap": NO_SCTP_PAYLOAD,
    "tcpdump/nfs-attr-oobr.pcap": LENGTH_LIES,
    "tcpdump/olsr-oobr-2.pcap": LENGTH_LIES,
    "tcpdump/rsvp_uni-oobr-3.pcap": CUT_FRAGMENT,
    "tcpdump/tftp-heapoverflow.pcap": LENGTH_LIES,
    "tcpdump/vqp-oobr.pcap": CUT_FRAGMENT,
    "tcpdump/wb-oobr.pcap": LENGTH_LIES,
    "zeek/cisco-fabric-path.pcap": "an SCTP header too short: tshark counts one packet of two",
    "zeek/sctp.pcap": NO_SCTP_PAYLOAD,
}
"""Captures where tshark says otherwise, and why."""


def flows(name: str) -> dict[tuple[Any, ...], Counter[str]]:
    """Count every TCP, UDP and SCTP five-tuple of a capture; the key is as its first packet went."""
    reassembler, found = Reassembler(), dict[tuple[Any, ...], Counter[str]]()
    for packet in packets(CORPUS / name):
        data, frame = packet.data, decode(packet.data, linktype=packet.linktype, config=CONFIG)
        whole: bytes | Malformed | None = data
        while frame.status is Status.FRAGMENT:
            whole = reassembler.add(frame, data, now=packet.ts)
            if not isinstance(whole, bytes):
                break
            data, frame = whole, decode_datagram(whole, piece=frame, config=CONFIG)
        if frame.proto not in PROTOCOLS or not frame.l4:
            continue
        size = 4 if frame.ip_version == 4 else 16
        ends = [(str(ip_address(frame.src[:size])), frame.sport), (str(ip_address(frame.dst[:size])), frame.dport)]
        key, back = (PROTOCOLS[frame.proto], *ends), (PROTOCOLS[frame.proto], *ends[::-1])
        side = "rev" if key not in found and back in found else "fwd"
        payload = frame.payload_wire
        if data is packet.data:
            payload = min(payload, max(packet.wirelen - frame.payload, 0))
        flags = {"fin": frame.tcp_flags & 1, "syn": frame.tcp_flags >> 1 & 1, "rst": frame.tcp_flags >> 2 & 1}
        sizes = {f"{side}_packets": 1, f"{side}_bytes": packet.wirelen, f"{side}_payload": payload}
        found.setdefault(back if side == "rev" else key, Counter()).update({**flags, **sizes})
    return found


@needs_corpus
@pytest.mark.parametrize("folder", FOLDERS)
def test_flows_are_those_of_tshark(folder: str) -> None:
    names = [f"{side}_{count}" for side in ("fwd", "rev") for count in COUNTS] + ["syn", "fin", "rst"]
    differing = set()
    for row in expected("tshark_flows"):
        _, source, rest = row["capture"].split("/", 2)
        if source != folder:
            continue
        theirs = {
            (flow["proto"], (flow["src"], flow["sport"]), (flow["dst"], flow["dport"])): {x: flow[x] for x in names}
            for flow in row["expected"]
        }
        ours = {key: {x: counts[x] for x in names} for key, counts in flows(row["capture"]).items()}
        if ours != theirs:
            differing.add(f"{source}/{rest}")
    assert differing == {name for name in DIFFERENCES if name.startswith(folder + "/")}
