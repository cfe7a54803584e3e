"""JA3 and JA3S fingerprints (Salesforce, 2017): decimal lists in wire order, GREASE left out, MD5.

Promise: pure functions of a hello; linear.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from packhound.net.tls_messages import ClientHello, ServerHello, is_grease


def ja3_full(hello: ClientHello) -> str:
    """Return the string that JA3 hashes: legacy version, ciphers, extensions, groups, point formats."""
    formats = "-".join(map(str, hello.point_formats))
    return f"{hello.version},{_join(hello.ciphers)},{_join(hello.extensions)},{_join(hello.groups)},{formats}"


def ja3(hello: ClientHello) -> str:
    """Return the JA3 hash of a ClientHello, 32 hex digits."""
    return _md5(ja3_full(hello))


def ja3s_full(hello: ServerHello) -> str:
    """Return the string that JA3S hashes: legacy version, cipher, extensions."""
    return f"{hello.version},{hello.cipher},{'-'.join(map(str, hello.extensions))}"


def ja3s(hello: ServerHello) -> str:
    """Return the JA3S hash of a ServerHello, 32 hex digits."""
    return _md5(ja3s_full(hello))


def _join(values: Iterable[int]) -> str:
    return "-".join(str(value) for value in values if not is_grease(value))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("ascii"), usedforsecurity=False).hexdigest()
