"""JA4 TLS client fingerprint, after FoxIO's specification (JA4.md, BSD 3-Clause; no other JA4+ method).

Promise: pure functions of a ClientHello; linear but for one sort of each list.
"""

from __future__ import annotations

import hashlib

from packhound.net.tls_messages import EXT_ALPN, EXT_SNI, ClientHello, is_grease

NOTHING = "000000000000"
VERSIONS = {
    0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2",
    0xFEFF: "d1", 0xFEFD: "d2", 0xFEFC: "d3",
}  # fmt: skip


def ja4(hello: ClientHello, *, transport: str = "t") -> str:
    """Return the fingerprint; `transport` is `t` (TLS over TCP), `q` (QUIC) or `d` (DTLS)."""
    return f"{_first(hello, transport)}_{_hash(_ciphers(hello))}_{_hash(_extensions(hello))}"


def ja4_raw(hello: ClientHello, *, transport: str = "t") -> str:
    """Return JA4_r: the same with the lists that are hashed."""
    return f"{_first(hello, transport)}_{_ciphers(hello)}_{_extensions(hello)}"


def alpn_mark(name: bytes) -> str:
    """Return the two characters that stand for the first ALPN value.

    Its first and last character where both are ASCII letters or digits, else the first and last digit of its hex form;
    `00` for an empty one.
    """
    if not name:
        return "00"
    first, last = name[:1], name[-1:]
    if first.isalnum() and last.isalnum():
        return (first + last).decode("ascii")
    return name.hex()[0] + name.hex()[-1]


def _first(hello: ClientHello, transport: str) -> str:
    ciphers = sum(not is_grease(each) for each in hello.ciphers)
    extensions = sum(not is_grease(each) for each in hello.extensions)
    version = VERSIONS.get(hello.highest_version, "00")
    alpn = alpn_mark(hello.alpn[0]) if hello.alpn else "00"
    return f"{transport}{version}{'d' if hello.has_sni else 'i'}{min(ciphers, 99):02}{min(extensions, 99):02}{alpn}"


def _ciphers(hello: ClientHello) -> str:
    return ",".join(sorted(f"{each:04x}" for each in hello.ciphers if not is_grease(each)))


def _extensions(hello: ClientHello) -> str:
    kept = [each for each in hello.extensions if not is_grease(each) and each not in (EXT_SNI, EXT_ALPN)]
    listed = ",".join(sorted(f"{each:04x}" for each in kept))
    signatures = ",".join(f"{each:04x}" for each in hello.signatures if not is_grease(each))
    return f"{listed}_{signatures}" if signatures else listed


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:12] if text else NOTHING
