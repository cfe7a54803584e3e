"""SDP session descriptions (RFC 8866): where the media of a call goes and how it is coded.

Promise: tolerant of line ends, order and unknown lines; linear; bounded by `MAX_MEDIA` and `MAX_CODECS`; never raises.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from packhound.net.facts import Malformed
from packhound.net.rtp import STATIC_CODECS
from packhound.net.text import decode, to_number

MAX_MEDIA = 64
MAX_FORMATS = 128
MAX_LINES = 4096
DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})


@dataclass(frozen=True, slots=True)
class Codec:
    """What a payload type means: encoding name as written, clock rate in Hz (0 unknown), channels."""

    name: str
    clock_rate: int
    channels: int = 1


@dataclass(frozen=True, slots=True)
class SdpMedia:
    """One m= section; `port` 0: refused. `rtcp_port` is what a=rtcp says, the same port under rtcp-mux, else port+1."""

    kind: str
    address: str
    port: int
    rtcp_port: int
    proto: str
    formats: tuple[str, ...]
    codecs: dict[int, Codec]
    direction: str
    rtcp_address: str
    rtcp_mux: bool = False

    @property
    def line(self) -> str:
        """The m= line without its formats: `audio 49170 RTP/AVP`."""
        return f"{self.kind} {self.port} {self.proto}"


@dataclass(frozen=True, slots=True)
class SdpSession:
    """A whole description: origin and session name as written, every address of a c= line once, and the media."""

    origin: str
    name: str
    connections: tuple[str, ...]
    media: tuple[SdpMedia, ...]


@dataclass(slots=True)
class _Section:
    """What was read of one m= section (or of the session, before the first)."""

    kind: str = ""
    port: int = 0
    proto: str = ""
    formats: tuple[str, ...] = ()
    address: str = ""
    rtcp_port: int = 0
    rtcp_address: str = ""
    rtcp_mux: bool = False
    direction: str = ""
    maps: dict[int, Codec] = field(default_factory=dict)


def parse(data: bytes) -> SdpSession | Malformed:
    """Read an SDP body; `Malformed` when it has no `v=` line at its start."""
    lines = decode(data).replace("\r", "\n").split("\n", MAX_LINES)[:MAX_LINES]
    lines = [line.strip() for line in lines if line.strip()]
    if not lines or not lines[0].startswith("v="):
        return Malformed("SDP does not start with v=")
    session = _Section()
    sections: list[_Section] = []
    connections: dict[str, None] = {}
    origin = name = ""
    current = session
    for line in lines:
        letter, value = line[:2], line[2:].strip()
        if letter == "m=":
            if len(sections) >= MAX_MEDIA:
                break
            current = _media_line(value)
            sections.append(current)
        elif letter == "c=":
            current.address = _address(value)
            if current.address:
                connections[current.address] = None
        elif letter == "a=":
            _attribute(current, value)
        elif letter == "o=" and not origin:
            origin = value
        elif letter == "s=" and not name:
            name = value
    return SdpSession(origin, name, tuple(connections), tuple(_media(each, session) for each in sections))


def _media_line(value: str) -> _Section:
    words = value.split()
    if len(words) < 3:
        return _Section(kind=words[0] if words else "")
    port = to_number(words[1].partition("/")[0], limit=65535) or 0
    return _Section(kind=words[0], port=port, proto=words[2], formats=tuple(words[3 : 3 + MAX_FORMATS]))


def _address(value: str) -> str:
    """Return the address of `IN IP4 224.2.1.1/127/3` or `IN IP6 ::1` without TTL and count."""
    words = value.split()
    return words[2].partition("/")[0].strip("[]") if len(words) >= 3 else ""


def _attribute(section: _Section, value: str) -> None:
    name, _, rest = value.partition(":")
    name = name.strip().lower()
    if name in DIRECTIONS:
        section.direction = name
    elif name == "rtcp-mux":
        section.rtcp_mux = True
    elif name == "rtcp":
        words = rest.split()
        section.rtcp_port = (to_number(words[0], limit=65535) or 0) if words else 0
        if len(words) >= 4:
            section.rtcp_address = words[3].strip("[]")
    elif name == "rtpmap" and len(section.maps) < MAX_FORMATS:
        _rtpmap(section, rest)


def _rtpmap(section: _Section, rest: str) -> None:
    kind, _, coding = rest.strip().partition(" ")
    number = to_number(kind, limit=127)
    parts = coding.strip().split("/")
    if number is not None and parts[0]:
        clock = to_number(parts[1], limit=1 << 31) if len(parts) > 1 else None
        channels = to_number(parts[2], limit=255) if len(parts) > 2 else None
        section.maps[number] = Codec(parts[0].strip(), clock or 0, channels or 1)


def _media(section: _Section, session: _Section) -> SdpMedia:
    address = section.address or session.address
    muxed = section.rtcp_mux or session.rtcp_mux
    implied = section.port if muxed else min(section.port + 1, 65535)
    return SdpMedia(
        kind=section.kind,
        address=address,
        port=section.port,
        rtcp_port=section.rtcp_port or (implied if section.port else 0),
        proto=section.proto,
        formats=section.formats,
        codecs=_codecs(section),
        direction=section.direction or session.direction or "sendrecv",
        rtcp_address=section.rtcp_address or address,
        rtcp_mux=muxed,
    )


def _codecs(section: _Section) -> dict[int, Codec]:
    """Return the codec of every RTP payload type of the section: its rtpmap, else the fixed meaning."""
    if "RTP" not in section.proto.upper():
        return {}
    found: dict[int, Codec] = {}
    for word in section.formats:
        number = to_number(word, limit=127)
        if number is None:
            continue
        if number in section.maps:
            found[number] = section.maps[number]
        elif number in STATIC_CODECS:
            found[number] = Codec(*STATIC_CODECS[number])
    for number, codec in section.maps.items():
        found.setdefault(number, codec)
    return found
