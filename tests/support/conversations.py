"""Frames of made-up conversations, for tests of the flow table: no bytes, only what the table reads."""

from __future__ import annotations

from packhound.net.frame import Frame

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MS, SECOND = 1_000_000, 1_000_000_000
START = 1_700_000_000 * SECOND


def address(number: int, *, version: int = 4) -> bytes:
    """An address of 16 bytes as `Frame` has it."""
    if version == 4:
        return bytes((10, 0, number >> 8 & 0xFF, number & 0xFF)) + bytes(12)
    return b"\x20\x01\x0d\xb8" + bytes(8) + number.to_bytes(4, "big")


def frame(
    src: int, dst: int, *, proto: int = 17, sport: int = 1000, dport: int = 53, size: int = 0, version: int = 4,
    tenant: int = 0, vlan: int = 0, flags: int = 0, seq: int = 0, ack: int = 0, window: int = 65535,
) -> Frame:  # fmt: skip
    """One packet from host `src` to host `dst` with `size` bytes of payload."""
    return Frame(
        ip_version=version, proto=proto, src=address(src, version=version), dst=address(dst, version=version),
        sport=sport, dport=dport, tenant=tenant, vlan=vlan, tcp_flags=flags, seq=seq & 0xFFFFFFFF,
        ack=ack & 0xFFFFFFFF, window=window, payload_wire=size, payload_len=size, l3=14, l4=34, payload=54,
    )  # fmt: skip


def there(flags: int = ACK, seq: int = 0, ack: int = 0, *, size: int = 0, window: int = 65535) -> Frame:
    """A TCP segment of the client (host 1, port 40000)."""
    return frame(1, 2, proto=6, sport=40000, dport=80, flags=flags, seq=seq, ack=ack, size=size, window=window)


def back(flags: int = ACK, seq: int = 0, ack: int = 0, *, size: int = 0, window: int = 65535) -> Frame:
    """A TCP segment of the server (host 2, port 80)."""
    return frame(2, 1, proto=6, sport=80, dport=40000, flags=flags, seq=seq, ack=ack, size=size, window=window)
