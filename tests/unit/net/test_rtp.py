"""RTP and RTCP headers, and one fact for each new stream of a media flow."""

from __future__ import annotations

from hypothesis import given

from packhound.net import rtp
from packhound.net.facts import Fact, Malformed
from packhound.net.rtp import RtpPacket
from packhound.net.sessions.datagrams import MediaDatagrams
from tests.support.mutations import damaged

PACKET = bytes((0x80, 0x80)) + (7).to_bytes(2, "big") + (160).to_bytes(4, "big") + (0xDEADBEEF).to_bytes(4, "big")
EXTENDED = bytes((0xB1, 0x08)) + PACKET[2:] + b"\0\0\0\1" + b"\xbe\xde\0\1" + b"abcd" + b"media" + b"\0\2"
REPORT = b"\x81\xc8\0\x06" + b"\0\0\0\1" + bytes(20) + b"\x81\xca\0\x01" + b"\0\0\0\2"


def test_a_plain_header() -> None:
    found = rtp.parse(PACKET + b"x" * 160)
    assert found == RtpPacket(0, True, 7, 160, 0xDEADBEEF, (), 12, 0)


def test_contributing_sources_extension_and_padding() -> None:
    found = rtp.parse(EXTENDED)
    assert isinstance(found, RtpPacket)
    assert (found.csrc, found.payload, found.padding) == ((1,), 24, 2)


def test_a_compound_is_read_packet_by_packet() -> None:
    found = rtp.parse_rtcp(REPORT)
    assert not isinstance(found, Malformed)
    assert [(each.type, each.ssrc) for each in found] == [(200, 1), (202, 2)]


def test_each_stream_is_reported_once_and_strangers_on_the_port_are_left_alone() -> None:
    session = MediaDatagrams()
    first = session.feed(0, PACKET, now=0)
    assert first == [
        Fact("rtp", {"rtp.ssrc": 0xDEADBEEF, "rtp.payload_type": 0, "rtp.seq": 7, "rtp.timestamp": 160,
                     "rtp.marker": True, "rtp.codec": "PCMU"})
    ]  # fmt: skip
    assert session.feed(0, PACKET, now=1) == []
    assert len(session.feed(1, PACKET, now=2)) == 1
    assert session.feed(0, b"\x00\x01\0\0stun", now=3) == []
    assert [fact.fields["rtcp.type"] for fact in session.feed(0, REPORT, now=4) if isinstance(fact, Fact)] == [200, 202]


def test_streams_of_one_flow_are_capped() -> None:
    session = MediaDatagrams()
    facts = [fact for n in range(100) for fact in session.feed(0, PACKET[:8] + n.to_bytes(4, "big"), now=n)]
    assert len(facts) == 16
    assert session.done


@given(damaged([PACKET, EXTENDED, REPORT]))
def test_no_bytes_raise(data: bytes) -> None:
    rtp.parse(data)
    rtp.parse_rtcp(data)
    MediaDatagrams().feed(0, data, now=0)
