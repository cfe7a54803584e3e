"""TLS hellos and QUIC Initial packets built byte by byte, for tests."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from packhound.net.quic_crypto import InitialKeys


def vector(width: int, content: bytes) -> bytes:
    """A length of `width` bytes, then the content."""
    return len(content).to_bytes(width, "big") + content


def u16(*values: int) -> bytes:
    """Numbers of two bytes."""
    return b"".join(value.to_bytes(2, "big") for value in values)


def extension(number: int, content: bytes) -> bytes:
    """One TLS extension."""
    return u16(number) + vector(2, content)


def sni(name: str) -> bytes:
    """The server_name extension."""
    return extension(0, vector(2, b"\0" + vector(2, name.encode())))


def alpn(*names: bytes) -> bytes:
    """The ALPN extension."""
    return extension(16, vector(2, b"".join(vector(1, name) for name in names)))


def client_hello(ciphers: tuple[int, ...], extensions: bytes, *, version: int = 0x0303, dtls: bool = False) -> bytes:
    """The body of a ClientHello."""
    cookie = vector(1, b"") if dtls else b""
    head = u16(version) + bytes(32) + vector(1, b"") + cookie
    return head + vector(2, u16(*ciphers)) + vector(1, b"\0") + vector(2, extensions)


def server_hello(cipher: int, extensions: bytes = b"", *, version: int = 0x0303) -> bytes:
    """The body of a ServerHello."""
    return u16(version) + bytes(32) + vector(1, b"") + u16(cipher) + b"\0" + vector(2, extensions)


def handshake(kind: int, body: bytes) -> bytes:
    """A handshake message."""
    return bytes((kind,)) + vector(3, body)


def record(kind: int, payload: bytes, *, version: int = 0x0301) -> bytes:
    """A TLS record."""
    return bytes((kind,)) + u16(version) + vector(2, payload)


def varint(value: int) -> bytes:
    """A QUIC variable-length integer of two bytes (or one below 64)."""
    return bytes((value,)) if value < 64 else (value | 0x4000).to_bytes(2, "big")


def crypto_frame(offset: int, data: bytes) -> bytes:
    """A QUIC CRYPTO frame."""
    return b"\x06" + varint(offset) + varint(len(data)) + data


def initial(
    keys: InitialKeys, frames: bytes, *, dcid: bytes, version: int = 1, number: int = 0, first: int = 0xC1
) -> bytes:
    """A protected Initial packet with a packet number of two bytes."""
    head = bytes((first,)) + version.to_bytes(4, "big") + vector(1, dcid) + vector(1, b"") + varint(0)
    head += (0x4000 | len(frames) + 2 + 16).to_bytes(2, "big") + u16(number)
    nonce = (int.from_bytes(keys.iv, "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(keys.key).encrypt(nonce, frames, head)
    mask = Cipher(algorithms.AES(keys.hp), modes.ECB()).encryptor().update(sealed[2:18])
    masked = bytes(a ^ b for a, b in zip(head[-2:], mask[1:3], strict=True))
    return bytes((head[0] ^ mask[0] & 0x0F,)) + head[1:-2] + masked + sealed
