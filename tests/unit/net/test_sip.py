"""SIP: what real senders send becomes one fact a message; streams are cut back into messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import sip
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.datagrams import SipDatagrams
from packhound.net.sessions.streams import SipStream
from packhound.net.sip import SipMessage
from packhound.net.sip_fields import FIELDS, sip_fact
from packhound.net.sip_uri import read_addresses, read_uri
from tests.support.mutations import chunks, damaged, is_linear

SDP = b"v=0\r\no=- 1 1 IN IP4 10.1.1.1\r\ns=-\r\nc=IN IP4 10.1.1.1\r\nm=audio 4000 RTP/AVP 8 101\r\n"
SDP += b"a=rtpmap:101 telephone-event/8000\r\n"
INVITE = (
    b"INVITE sip:+4670123@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.1.1:5060;branch=z9hG4bK77;rport\r\n"
    b'From: "Alice, A." <sip:alice@example.com>;tag=1\r\nTo: <tel:+46-70-123-45-67;phone-context=x>\r\n'
    b"Call-ID: abc@10.1.1.1\r\nCSeq: 4711 INVITE\r\nContact: <sip:al%69ce@[2001:db8::1]:5070;transport=tcp>\r\n"
    b"P-Asserted-Identity: <sip:boss@example.com>, <tel:+4680>\r\nUser-Agent: test/1\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: " + str(len(SDP)).encode() + b"\r\n\r\n" + SDP
)
COMPACT = (
    b"SIP/2.0 180 Ringing\r\nv: SIP/2.0/UDP h;branch=z9hG4bKaa\r\nf: sip:bob@h;tag=2\r\nt: <sip:carol@h>\r\n"
    b"i: compact\r\nCSeq: 1\r\n INVITE\r\nSubject: folded\r\n\tline\r\nl: 0\r\n\r\n"
)
SUBSCRIBER = b"310410123456789@ims.mnc410.mcc310.3gppnetwork.org"
MESSAGE = b"MESSAGE sip:x@h SIP/2.0\nCall-ID: bare\nCSeq: 2 MESSAGE\nl: 5\n\nhello"


def message(data: bytes) -> SipMessage:
    found = sip.parse(data)
    assert isinstance(found, SipMessage)
    return found


def fields(data: bytes) -> dict[str, object]:
    return dict(sip_fact(message(data)).fields)


def call_ids(facts: list[Fact | Malformed]) -> list[object]:
    return [fact.fields.get("sip.call_id") for fact in facts if isinstance(fact, Fact)]


def test_a_request_with_everything() -> None:
    found = fields(INVITE)
    assert found["sip.method"] == "INVITE"
    assert "sip.status" not in found
    assert found["sip.user"] == ("+4670123", "alice", "+46-70-123-45-67", "boss", "+4680")
    assert found["phone.number"] == ("+4670123", "+46-70-123-45-67", "+4680")
    assert found["sip.from"] == '"Alice, A." <sip:alice@example.com>;tag=1'
    assert (found["sip.cseq"], found["sip.cseq.method"], found["sip.via.branch"]) == (4711, "INVITE", "z9hG4bK77")
    assert (found["sdp.connection"], found["sdp.media"]) == (("10.1.1.1",), ("audio 4000 RTP/AVP",))
    assert found["rtp.codec"] == ("PCMA", "telephone-event")
    assert set(found) <= FIELDS


def test_compact_names_folded_lines_and_responses() -> None:
    found = fields(COMPACT)
    assert (found["sip.status"], found["sip.reason"], found["sip.method"]) == (180, "Ringing", "INVITE")
    assert found["sip.user"] == ("bob", "carol")
    assert found["sip.call_id"] == "compact"
    assert message(COMPACT).header("subject") == "folded line"


def test_sdp_is_found_in_a_multipart_body() -> None:
    body = (
        b"--b1\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b1\r\nContent-Type: application/sdp\r\n\r\n"
        + SDP
        + b"\r\n--b1--\r\n"
    )
    head = b'INVITE sip:a@b SIP/2.0\r\nContent-Type: multipart/mixed;boundary="b1"\r\nContent-Length: %d\r\n\r\n'
    found = message(head % len(body) + body)
    assert found.sdp
    assert found.sdp.media[0].port == 4000


@pytest.mark.parametrize(
    ("header", "imsi", "imei"),
    [
        (b"From: <sip:%s>" % SUBSCRIBER, ("310410123456789",), None),
        (b'Authorization: Digest username="0%s"' % SUBSCRIBER.replace(b"ims", b"nai.epc"), ("310410123456789",), None),
        (b"To: <sip:24001123456789@ims.mnc001.mcc240.3gppnetwork.org>", ("24001123456789",), None),
        (b"From: <sip:999999123456789@ims.mnc410.mcc310.3gppnetwork.org>", None, None),
        (b'Contact: <sip:a@b>;+sip.instance="<urn:gsma:imei:35824005-694476-0>"', None, ("358240056944760",)),
    ],
)  # fmt: skip
def test_subscriber_and_device_identities(header: bytes, imsi: object, imei: object) -> None:
    found = fields(b"REGISTER sip:h SIP/2.0\r\n" + header + b"\r\n\r\n")
    assert (found.get("sip.imsi"), found.get("sip.imei")) == (imsi, imei)


def test_addresses_in_every_form() -> None:
    assert [each.user for each in read_addresses('"a <b>, c" <sip:u1@h>, sip:u2@h;tag=1, <sips:u3:pw@h?x=y@z>')] == [
        "u1",
        "u2",
        "u3",
    ]
    address = read_uri("sip:+358-555-1234567;postd=pp22@[2001:db8::9]:5061;user=phone")
    assert address
    assert (address.user, address.host, address.number) == ("+358-555-1234567", "2001:db8::9", "+358-555-1234567")
    assert read_uri("mailto:a@b") is None
    assert [each.number for each in read_addresses("<sip:100@pbx>, <sip:alice@pbx>")] == ["100", ""]


def test_a_datagram_may_hold_several_messages_and_keep_alives_say_nothing() -> None:
    session = SipDatagrams()
    assert call_ids(session.feed(0, INVITE + COMPACT + MESSAGE, now=0)) == ["abc@10.1.1.1", "compact", "bare"]
    assert session.feed(0, b"\r\n\r\n", now=0) == session.feed(0, b"\0\0\0\0", now=0) == []
    assert isinstance(session.feed(0, b"garbage", now=0)[0], Malformed)


def test_a_message_that_the_snap_length_cut_still_says_who() -> None:
    found = message(INVITE[:250])
    assert not found.complete
    assert found.header("from").endswith("tag=1")


@given(st.lists(st.integers(1, 700), max_size=8))
def test_any_cut_of_a_stream_gives_the_same_messages(sizes: list[int]) -> None:
    session = SipStream(max_bytes=65536)
    stream = b"\r\n\r\n" + INVITE + b"\r\n" + COMPACT + MESSAGE + INVITE
    facts = [fact for piece in chunks(stream, sizes) for fact in session.feed(0, piece, now=0)]
    assert call_ids(facts) == ["abc@10.1.1.1", "compact", "bare", "abc@10.1.1.1"]
    assert not any(isinstance(fact, Malformed) for fact in facts)


def test_a_stream_finds_the_next_message_after_a_loss() -> None:
    session = SipStream(max_bytes=65536)
    session.feed(0, INVITE[:300], now=0)
    session.gap(0, 120)
    assert call_ids(session.feed(0, INVITE[420:] + COMPACT + MESSAGE, now=0)) == ["compact", "bare"]


def test_a_stream_holds_no_more_than_its_cap() -> None:
    session = SipStream(max_bytes=4096)
    head = b"INVITE sip:a@b SIP/2.0\r\nContent-Length: 1000000\r\n\r\n"
    assert isinstance(session.feed(0, head, now=0)[0], Malformed)
    for _ in range(100):
        session.feed(0, b"x" * 1000, now=0)
    assert call_ids(session.feed(0, b"\r\n" + COMPACT, now=0)) == ["compact"]


@given(damaged([INVITE, COMPACT, MESSAGE, INVITE + COMPACT]), st.lists(st.integers(1, 300), max_size=5))
def test_no_bytes_raise(data: bytes, sizes: list[int]) -> None:
    SipDatagrams().feed(0, data, now=0)
    session = SipStream(max_bytes=1024)
    for piece in chunks(data, sizes):
        session.feed(1, piece, now=0)
    session.gap(1, 9)
    session.feed(1, data, now=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: b"INVITE sip:a@b SIP/2.0\r\nFrom: " + b'"' * n,
        lambda n: b"INVITE sip:a@b SIP/2.0\r\nFrom: " + b"<sip:a@b>," * (n // 8),
        lambda n: b"INVITE sip:a@b SIP/2.0\r\nFrom: " + b"1" * n + b"@ims.mnc1",
        lambda n: b"INVITE sip:a@b SIP/2.0\r\nVia: x" + b";branch" * (n // 8),
        lambda n: b"INVITE sip:a@b SIP/2.0\r\nX: y\r\n" + b" f\r\n" * (n // 4),
        lambda n: (
            b"INVITE sip:a@b SIP/2.0\r\nc: multipart/x;boundary=" + b"boundary=" * (n // 9) + b"\r\n\r\n" + b"--" * n
        ),
        lambda n: b"SIP/2.0 200 " + b" " * n,
        lambda n: b"I" * n,
    ],
)
def test_hostile_messages_stay_linear(make: object) -> None:
    assert callable(make)
    assert is_linear(lambda data: SipDatagrams().feed(0, data, now=0), make, size=12_000)


def test_one_byte_segments_stay_cheap() -> None:
    def dribble(data: bytes) -> None:
        session = SipStream(max_bytes=65536)
        for at in range(len(data)):
            session.feed(0, data[at : at + 1], now=0)

    assert is_linear(
        dribble, lambda n: INVITE[:60] + b"X: y\r\n" * (n // 8) + b"l: 9999999\r\n\r\n" + b"b" * n, size=2500
    )
