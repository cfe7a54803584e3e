"""Keys of QUIC Initial packets and their removal (RFC 9001 section 5, RFC 9369, IETF drafts 22-34).

Promise: Initial keys come from the wire itself (connection id and version), so nothing secret is read here. Pure;
`cryptography` is imported on first use. Never raises on packet bytes.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

V1, V2, V2_DRAFT = 0x00000001, 0x6B3343CF, 0x709A50C4
_SALT_22 = bytes.fromhex("7fbcdb0e7c66bbe9193a96cd21519ebd7a02644a")
_SALT_23 = bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502")
_SALT_29 = bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899")
_SALT_V1 = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
_SALT_V2 = bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9")
_SALT_V2_DRAFT = bytes.fromhex("a707c203a59b47184a1d62ca570406ea7ae3e5d3")
_SALTS = {
    V1: _SALT_V1,
    V2: _SALT_V2,
    V2_DRAFT: _SALT_V2_DRAFT,
    0xFACEB001: _SALT_22,  # mvfst
    0xFACEB002: _SALT_23,
    0xFACEB00E: _SALT_23,
    0xFACEB011: _SALT_23,
    0xFACEB013: _SALT_23,
    0x51303530: bytes.fromhex("504574efd066fe2f9d945cfcdbd3a7f0d3b56b45"),  # Q050
    0x54303530: bytes.fromhex("7ff579e5acd072915580304c43a2367c60488310"),  # T050
    0x54303531: bytes.fromhex("7a4edef4e7ccee5fa4506c19124fc8ccda6e033d"),  # T051
}


@dataclass(frozen=True, slots=True)
class InitialKeys:
    """Keys of one direction of a connection: AEAD key (16 bytes), nonce base (12) and header protection key (16)."""

    key: bytes
    iv: bytes
    hp: bytes


def salt_of(version: int) -> bytes | None:
    """Return the Initial salt of a version; None when the version has none that we know."""
    if 0xFF000016 <= version <= 0xFF000022:  # draft-22 .. draft-34
        draft = version & 0xFF
        if draft == 22:
            return _SALT_22
        if draft <= 28:
            return _SALT_23
        return _SALT_29 if draft <= 32 else _SALT_V1
    return _SALTS.get(version)


def is_v2(version: int) -> bool:
    """Tell whether packet types and key labels are those of QUIC version 2."""
    return version in (V2, V2_DRAFT)


def initial_keys(connection_id: bytes, version: int) -> tuple[InitialKeys, InitialKeys] | None:
    """Derive the client's and the server's Initial keys from the client's first Destination Connection ID.

    None for a version without a known salt.
    """
    salt = salt_of(version)
    if salt is None:
        return None
    prefix = "quicv2 " if is_v2(version) else "quic "
    initial = hmac.digest(salt, connection_id, hashlib.sha256)
    return _keys(_expand(initial, "client in", 32), prefix), _keys(_expand(initial, "server in", 32), prefix)


def unprotect(packet: bytes, number_at: int, keys: InitialKeys) -> bytes | None:
    """Remove header protection and decrypt one Initial packet (header to last byte); None when the keys do not fit.

    `number_at` is the offset of the packet number.
    """
    sample = packet[number_at + 4 : number_at + 20]
    if len(sample) < 16:
        return None
    mask = _mask(keys.hp, sample)
    first = packet[0] ^ mask[0] & 0x0F
    size = (first & 0x03) + 1
    number = bytes(a ^ b for a, b in zip(packet[number_at : number_at + size], mask[1:5], strict=False))
    header = bytes((first,)) + packet[1:number_at] + number
    # full packet number = truncated one: a client's first flight starts at 0 (RFC 9000 appendix A.3)
    nonce = (int.from_bytes(keys.iv, "big") ^ int.from_bytes(number, "big")).to_bytes(12, "big")
    return _open(keys.key, nonce, packet[number_at + size :], header)


def _keys(secret: bytes, prefix: str) -> InitialKeys:
    return InitialKeys(
        key=_expand(secret, prefix + "key", 16),
        iv=_expand(secret, prefix + "iv", 12),
        hp=_expand(secret, prefix + "hp", 16),
    )


def _expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label of TLS 1.3 with an empty context; one block is enough for `size` <= 32."""
    name = b"tls13 " + label.encode("ascii")
    info = size.to_bytes(2, "big") + bytes((len(name),)) + name + b"\0"
    return hmac.digest(secret, info + b"\x01", hashlib.sha256)[:size]


def _mask(key: bytes, sample: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(sample)  # noqa: S305  (RFC 9001 5.4.3)


def _open(key: bytes, nonce: bytes, sealed: bytes, header: bytes) -> bytes | None:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(sealed) < 16:
        return None
    opener: Callable[[bytes, bytes, bytes], bytes] = AESGCM(key).decrypt
    try:
        return opener(nonce, sealed, header)
    except InvalidTag:
        return None
