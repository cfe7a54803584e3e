"""TLS handshake messages: ClientHello, ServerHello, Certificate (RFC 5246, RFC 8446, RFC 9147 for DTLS).

Promise: linear, bounded by the message's own size (the caller bounds that), never raises.
"""

from __future__ import annotations

from dataclasses import dataclass

from packhound.net.facts import Malformed
from packhound.net.octets import Octets, Short, numbers
from packhound.net.text import decode

CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, SERVER_HELLO_DONE = 1, 2, 11, 14
EXT_SNI, EXT_GROUPS, EXT_POINT_FORMATS, EXT_SIGNATURES, EXT_ALPN, EXT_VERSIONS = 0, 10, 11, 13, 16, 43
EXT_KEY_SHARE = 51
ENCRYPTED_HELLO = (0xFE0D, 0xFFCE)  # ECH (RFC 9849), and ESNI, the draft before it
MAX_CERTIFICATES = 16
VERSION_TEXT = {
    0x0002: "SSL 2.0", 0x0300: "SSL 3.0", 0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: "1.3",
    0xFEFF: "DTLS 1.0", 0xFEFD: "DTLS 1.2", 0xFEFC: "DTLS 1.3",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client offers. `version` is the legacy field; lists are in wire order, GREASE (RFC 8701) included.

    `alpn` are raw octets. `sni` is empty where `has_sni` is set for an extension without a host name.
    """

    version: int
    ciphers: tuple[int, ...]
    extensions: tuple[int, ...]
    groups: tuple[int, ...]
    point_formats: tuple[int, ...]
    signatures: tuple[int, ...]
    versions: tuple[int, ...]
    alpn: tuple[bytes, ...]
    sni: str
    has_sni: bool

    @property
    def highest_version(self) -> int:
        """The highest version offered: from supported_versions without GREASE, else the legacy field."""
        offered = [each for each in self.versions if not is_grease(each)]
        if not offered:
            return self.version
        if any(each >> 8 == 0xFE for each in offered):  # DTLS counts downwards
            return min(each for each in offered if each >> 8 == 0xFE)
        return max(offered)


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What a server chose. `version` is the legacy field, `selected` that of supported_versions (0: absent), `group`
    that of key_share (0: absent, as in TLS 1.2)."""

    version: int
    cipher: int
    extensions: tuple[int, ...]
    alpn: bytes
    selected: int
    group: int = 0


def is_grease(value: int) -> bool:
    """Tell a GREASE value: both bytes equal and of the form 0x?A."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def version_text(number: int) -> str:
    """Write a protocol version as users write it: `1.3`, `SSL 3.0`, `DTLS 1.2`; unknown ones as hex."""
    return VERSION_TEXT.get(number, f"0x{number:04x}")


def parse_client_hello(body: bytes, *, dtls: bool = False) -> ClientHello | Malformed:
    """Read the body of a ClientHello (without the four bytes of type and length)."""
    cursor = Octets(body)
    try:
        version = cursor.number(2)
        cursor.skip(32)
        cursor.vector(1)
        if dtls:
            cursor.vector(1)  # cookie
        ciphers = numbers(cursor.vector(2), 2)
        cursor.vector(1)
        extensions = _extensions(cursor)
    except Short as short:
        return Malformed("ClientHello is cut short", short.offset)
    found: dict[int, bytes] = {}
    for number, content in extensions:
        found.setdefault(number, content)
    return ClientHello(
        version=version,
        ciphers=ciphers,
        extensions=tuple(number for number, _ in extensions),
        groups=_list(found.get(EXT_GROUPS, b""), prefix=2, width=2),
        point_formats=_list(found.get(EXT_POINT_FORMATS, b""), prefix=1, width=1),
        signatures=_list(found.get(EXT_SIGNATURES, b""), prefix=2, width=2),
        versions=_list(found.get(EXT_VERSIONS, b""), prefix=1, width=2),
        alpn=_alpn(found.get(EXT_ALPN, b"")),
        sni=_host_name(found.get(EXT_SNI, b"")),
        has_sni=EXT_SNI in found,
    )


def parse_server_hello(body: bytes) -> ServerHello | Malformed:
    """Read the body of a ServerHello or HelloRetryRequest (TLS and DTLS alike)."""
    cursor = Octets(body)
    try:
        version = cursor.number(2)
        cursor.skip(32)
        cursor.vector(1)
        cipher = cursor.number(2)
        cursor.skip(1)
        extensions = _extensions(cursor)
    except Short as short:
        return Malformed("ServerHello is cut short", short.offset)
    found = dict(extensions)
    alpn = _alpn(found.get(EXT_ALPN, b""))
    selected = found.get(EXT_VERSIONS, b"")
    return ServerHello(
        version=version,
        cipher=cipher,
        extensions=tuple(number for number, _ in extensions),
        alpn=alpn[0] if alpn else b"",
        selected=int.from_bytes(selected, "big") if len(selected) == 2 else 0,
        group=int.from_bytes(found.get(EXT_KEY_SHARE, b"")[:2], "big"),
    )


def parse_certificates(body: bytes) -> list[bytes] | Malformed:
    """Return the DER certificates of a TLS 1.2 (or older) Certificate message, the sender's own first."""
    cursor = Octets(body)
    found: list[bytes] = []
    try:
        chain = cursor.vector(3)
        while len(chain) and len(found) < MAX_CERTIFICATES:
            found.append(chain.vector(3).rest())
    except Short as short:
        return Malformed("Certificate is cut short", short.offset)
    return found


def _extensions(cursor: Octets) -> list[tuple[int, bytes]]:
    """Read the extensions in order; none when the message ends before them (allowed up to TLS 1.2)."""
    if len(cursor) < 2:
        return []
    block = cursor.vector(2)
    found = []
    while len(block) >= 4:
        number = block.number(2)
        found.append((number, block.vector(2).rest()))
    return found


def _list(content: bytes, *, prefix: int, width: int) -> tuple[int, ...]:
    try:
        return numbers(Octets(content).vector(prefix), width)
    except Short:
        return ()


def _alpn(content: bytes) -> tuple[bytes, ...]:
    found: list[bytes] = []
    try:
        names = Octets(content).vector(2)
        while len(names):
            found.append(names.vector(1).rest())
    except Short:
        pass
    return tuple(found)


def _host_name(content: bytes) -> str:
    """Return the host_name of server_name (RFC 6066 section 3), empty when there is none."""
    try:
        names = Octets(content).vector(2)
        while len(names) >= 3:
            kind, name = names.number(1), names.vector(2)
            if kind == 0:
                return decode(name.rest())
    except Short:
        pass
    return ""
