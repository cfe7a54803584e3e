"""SDP: where media goes and how it is coded, whatever the sender's habits."""

from __future__ import annotations

from hypothesis import given

from packhound.net import sdp
from packhound.net.facts import Malformed
from packhound.net.sdp import Codec, SdpSession
from tests.support.mutations import damaged, is_linear

OFFER = (
    b"v=0\r\no=alice 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1/127\r\nt=0 0\r\na=sendonly\r\n"
    b"m=audio 49170/2 RTP/AVP 0 8 96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n"
    b"a=rtcp:53020 IN IP6 2001:db8::1\r\na=sendrecv\r\n"
    b"m=video 0 RTP/SAVPF 97\r\nc=IN IP6 2001:db8::2\r\na=rtpmap:97 VP8/90000\r\na=rtcp-mux\r\n"
    b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
)


def parsed(data: bytes) -> SdpSession:
    found = sdp.parse(data)
    assert isinstance(found, SdpSession)
    return found


def test_media_with_addresses_ports_codecs_and_directions() -> None:
    found = parsed(OFFER)
    audio, video, data = found.media
    assert found.connections == ("10.0.0.1", "2001:db8::2")
    assert found.origin == "alice 1 1 IN IP4 10.0.0.1"
    assert (audio.line, audio.address, audio.direction) == ("audio 49170 RTP/AVP", "10.0.0.1", "sendrecv")
    assert (audio.rtcp_port, audio.rtcp_address) == (53020, "2001:db8::1")
    assert audio.codecs == {
        0: Codec("PCMU", 8000), 8: Codec("PCMA", 8000), 96: Codec("opus", 48000, 2),
        101: Codec("telephone-event", 8000),
    }  # fmt: skip
    assert (video.address, video.port, video.rtcp_port, video.direction) == ("2001:db8::2", 0, 0, "sendonly")
    assert data.codecs == {}


def test_rtcp_port_follows_the_media_port_or_is_shared() -> None:
    plain = parsed(b"v=0\nc=IN IP4 1.2.3.4\nm=audio 4000 RTP/AVP 0\n").media[0]
    muxed = parsed(b"v=0\nc=IN IP4 1.2.3.4\nm=audio 4000 RTP/AVP 0\na=rtcp-mux\n").media[0]
    assert (plain.rtcp_port, muxed.rtcp_port) == (4001, 4000)


def test_what_is_no_sdp_is_malformed() -> None:
    assert isinstance(sdp.parse(b"<xml/>"), Malformed)
    assert isinstance(sdp.parse(b""), Malformed)


def test_media_sections_are_capped() -> None:
    assert len(parsed(b"v=0\n" + b"m=audio 1 RTP/AVP 0\n" * 5000).media) == sdp.MAX_MEDIA


@given(damaged([OFFER]))
def test_no_bytes_raise(data: bytes) -> None:
    sdp.parse(data)


def test_hostile_bodies_stay_linear() -> None:
    assert is_linear(sdp.parse, lambda n: b"v=0\n" + b"a=rtpmap:96 x/1\n" * n, size=3000)
    assert is_linear(sdp.parse, lambda n: b"v=0\nm=audio 1 RTP/AVP" + b" 96" * n, size=10_000)
