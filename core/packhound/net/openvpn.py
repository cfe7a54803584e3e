"""OpenVPN packets (draft-openvpn-wire-protocol): where the TLS of the control channel lies.

Promise: pure, constant work per packet, never raises. What is wrapped as a whole (tls-crypt) has no TLS to be seen.
"""

from __future__ import annotations

from typing import NamedTuple

CONTROL, ACK = 4, 5
OPCODES = range(1, 12)
AUTHENTICATED = (0, 28, 40, 72, 24)
"""Sizes of what tls-auth puts behind the session id: nothing, or a digest (SHA-1, SHA-256, SHA-512, MD5), a packet id
and a time."""
_HEAD = 9  # opcode with key id, session id
_MAX_ACKS = 8


class Control(NamedTuple):
    """A message of the control channel: its number, and the TLS bytes in it."""

    number: int
    data: bytes


def packet_size(data: bytes | bytearray) -> int:
    """Size of the packet with its length at the start of a TCP stream: 0 when more bytes are needed, negative when none
    starts there."""
    if len(data) < 3:
        return 0
    size = int.from_bytes(data[:2], "big")
    return 2 + size if size and data[2] >> 3 in OPCODES else -1


def control(packet: bytes, authenticated: int) -> Control | None:
    """Read a control message whose authentication takes `authenticated` bytes; None when it is none."""
    at = _HEAD + authenticated
    if len(packet) <= at or packet[0] >> 3 != CONTROL or packet[at] > _MAX_ACKS:
        return None
    acks = packet[at]
    at += 1 + (4 * acks + 8 if acks else 0)
    if at + 4 > len(packet):
        return None
    return Control(int.from_bytes(packet[at : at + 4], "big"), packet[at + 4 :])
