"""The TLS record layer as far as it is in the clear (RFC 8446 section 5), and hellos -> facts.

Promise: a pure reader per direction: bytes in, handshake messages out; what it holds is bounded by `max_bytes`;
never raises. Hellos over any number of segments and records are put together here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from packhound.net import encrypted_dns
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.ja3 import ja3, ja3s
from packhound.net.ja4 import ja4
from packhound.net.text import decode
from packhound.net.tls_messages import (
    CLIENT_HELLO,
    ENCRYPTED_HELLO,
    SERVER_HELLO,
    ClientHello,
    ServerHello,
    is_grease,
    parse_certificates,
    version_text,
)
from packhound.net.x509 import parse as parse_certificate

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
MAX_RECORD = (1 << 14) + 2048
CLIENT_HELLO_FIELDS = frozenset({
    "tls.sni", "tls.alpn", "tls.version", "tls.ja3", "tls.ja4", "tls.quic", "tls.offered.ciphers", "tls.offered.groups",
    "tls.offered.versions", "tls.ech", "quic.sni", "quic.version", "quic.http3", "dns.encrypted",
})  # fmt: skip
SERVER_HELLO_FIELDS = frozenset({"tls.version", "tls.cipher", "tls.ja3s", "tls.alpn", "tls.group"})
CERTIFICATE_FIELDS = frozenset({
    "tls.cert.subject", "tls.cert.issuer", "tls.cert.names", "tls.cert.serial", "tls.cert.not_before",
    "tls.cert.not_after", "tls.cert.sha256", "tls.cert.sha1", "tls.cert.chain", "tls.cert.self_issued",
})  # fmt: skip


class Handshake(NamedTuple):
    """One whole handshake message: its type and its body without the four header bytes."""

    type: int
    body: bytes


class RecordReader:
    """Reads handshake messages from one direction of a TLS connection.

    `closed` turns True when what follows cannot be read: encrypted, broken, a gap, or more than `max_bytes`.
    """

    __slots__ = ("_changed", "_max_bytes", "_messages", "_records", "closed", "reason", "seen")

    def __init__(self, *, max_bytes: int) -> None:
        self._records = bytearray()
        self._messages = bytearray()
        self._max_bytes = max_bytes
        self._changed = False  # ChangeCipherSpec seen: only a second hello of TLS 1.3 can still be in the clear
        self.closed = False
        self.reason = ""  # why it closed, when the bytes broke a rule
        self.seen = 0

    def push(self, data: bytes) -> list[Handshake]:
        """Take the next bytes in order and return the messages they complete."""
        if self.closed:
            return []
        self._records += data
        self.seen += len(data)
        found: list[Handshake] = []
        while not self.closed and len(self._records) >= 5:
            if self.seen == len(self._records) and _is_ssl2_hello(self._records):
                size = 2 + ((self._records[0] & 0x7F) << 8 | self._records[1])
                if len(self._records) < size:
                    break
                del self._records[:size]
                continue
            size = 5 + int.from_bytes(self._records[3:5], "big")
            if not self._is_record(size):
                break
            if len(self._records) < size:
                break
            self._record(self._records[0], bytes(self._records[5:size]), found)
            del self._records[:size]
        if len(self._records) + len(self._messages) > self._max_bytes:
            self.close("TLS handshake is larger than its cap")
        return found

    def close(self, reason: str = "") -> None:
        """Stop reading and drop what is held."""
        self.closed = True
        self.reason = self.reason or reason
        self._records.clear()
        self._messages.clear()

    def _is_record(self, size: int) -> bool:
        kind, major = self._records[0], self._records[1]
        if not 20 <= kind <= 24 or major != 3 or size > 5 + MAX_RECORD:
            self.close("" if self._changed else "not a TLS record")
            return False
        return True

    def _record(self, kind: int, payload: bytes, found: list[Handshake]) -> None:
        if kind == APPLICATION_DATA:
            self.close()
        elif kind == CHANGE_CIPHER_SPEC:
            self._changed = True
        elif kind == HANDSHAKE:
            self._messages += payload
            self._split(found)

    def _split(self, found: list[Handshake]) -> None:
        buffer = self._messages
        at = 0
        while len(buffer) - at >= 4:
            size = 4 + int.from_bytes(buffer[at + 1 : at + 4], "big")
            if self._changed and (buffer[at] not in (CLIENT_HELLO, SERVER_HELLO) or size > self._max_bytes):
                self.close()  # Finished, encrypted
                return
            if len(buffer) - at < size:
                break
            found.append(Handshake(buffer[at], bytes(buffer[at + 4 : at + size])))
            at += size
        del buffer[:at]


def client_hello_fact(hello: ClientHello, *, transport: str = "t", quic_version: str = "") -> Fact:
    """Return the `tls.client_hello` fact; `transport` as in JA4, `quic_version` as text for QUIC."""
    fields: dict[str, Value] = {
        "tls.version": version_text(hello.highest_version),
        "tls.ja3": ja3(hello),
        "tls.ja4": ja4(hello, transport=transport),
        "tls.quic": transport == "q",
        "tls.ech": any(each in ENCRYPTED_HELLO for each in hello.extensions),
    }
    _offered(fields, "ciphers", hello.ciphers)
    _offered(fields, "groups", hello.groups)
    _offered(fields, "versions", hello.versions, version_text)
    names = tuple(map(decode, hello.alpn))
    if hello.sni:
        fields["tls.sni"] = hello.sni
    if names:
        fields["tls.alpn"] = names
    encrypted = encrypted_dns.of_hello(names, hello.sni, transport=transport)
    if encrypted:
        fields["dns.encrypted"] = encrypted
    if transport == "q":
        fields["quic.version"] = quic_version
        fields["quic.http3"] = any(name == "h3" or name.startswith("h3-") for name in names)
        if hello.sni:
            fields["quic.sni"] = hello.sni
    return Fact("tls.client_hello", fields)


def server_hello_fact(hello: ServerHello) -> Fact:
    """Return the `tls.server_hello` fact; `tls.version` is the version chosen, supported_versions included."""
    fields: dict[str, Value] = {
        "tls.version": version_text(hello.selected or hello.version),
        "tls.cipher": hello.cipher,
        "tls.ja3s": ja3s(hello),
    }
    if hello.group:
        fields["tls.group"] = hello.group
    if hello.alpn:
        fields["tls.alpn"] = (decode(hello.alpn),)
    return Fact("tls.server_hello", fields)


def certificate_fact(message: Handshake) -> Fact | Malformed | None:
    """Return the `tls.certificate` fact of the sender's own certificate (TLS 1.2 and older: later ones are encrypted);
    `tls.cert.chain` are the SHA-256 fingerprints of those sent with it.

    None for an empty chain: what a client sends that has no certificate.
    """
    chain = parse_certificates(message.body)
    if isinstance(chain, Malformed):
        return chain
    if not chain:
        return None
    found = parse_certificate(chain[0])
    if isinstance(found, Malformed):
        return found
    fields: dict[str, Value] = {
        "tls.cert.subject": found.subject,
        "tls.cert.issuer": found.issuer,
        "tls.cert.names": found.names,
        "tls.cert.serial": found.serial,
        "tls.cert.sha256": hashlib.sha256(chain[0]).hexdigest(),
        "tls.cert.sha1": hashlib.sha1(chain[0], usedforsecurity=False).hexdigest(),
        "tls.cert.chain": tuple(hashlib.sha256(each).hexdigest() for each in chain[1:]),
        "tls.cert.self_issued": found.subject == found.issuer,
    }
    if found.not_before is not None:
        fields["tls.cert.not_before"] = found.not_before
    if found.not_after is not None:
        fields["tls.cert.not_after"] = found.not_after
    return Fact("tls.certificate", {name: value for name, value in fields.items() if value not in ("", ())})


def _offered(
    fields: dict[str, Value], what: str, values: tuple[int, ...], text: Callable[[int], str] | None = None
) -> None:
    """Add what a client offers, without GREASE, which is random."""
    kept = [value for value in values if not is_grease(value)]
    if kept:
        fields[f"tls.offered.{what}"] = tuple(map(text, kept)) if text else tuple(kept)


def _is_ssl2_hello(data: bytearray) -> bool:
    """Tell an SSL 2.0-compatible ClientHello (RFC 5246 appendix E.2), which may open a TLS connection."""
    return bool(data[0] & 0x80) and data[2] == CLIENT_HELLO and data[3] in (0, 2, 3)
