"""NTP and SNTP headers (RFC 5905 section 7.3), and the first octets of control and private messages (RFC 9327).

Promise: constant work, never raises. What follows the header (extensions, MAC, data) is not read.
"""

from __future__ import annotations

from dataclasses import dataclass

from packhound.net.dhcp import address_text
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.text import decode

HEADER = 48
CONTROL, PRIVATE = 6, 7
MODES = (
    "reserved", "symmetric-active", "symmetric-passive", "client", "server", "broadcast", "control", "private",
)  # fmt: skip
FIELDS = frozenset({
    "ntp.version", "ntp.mode", "ntp.response", "ntp.leap", "ntp.stratum", "ntp.poll", "ntp.ref_id", "ntp.operation",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class NtpMessage:
    """One message: `stratum`, `poll` (log2 s) and `reference` of a time message; `operation` (the opcode or request
    code) and `response` of a control or private one, None in the other kind."""

    version: int
    mode: int
    leap: int = 0
    stratum: int | None = None
    poll: int = 0
    reference: bytes = b""
    operation: int | None = None
    response: bool = False


def parse(data: bytes) -> NtpMessage | Malformed:
    """Read the header of a message."""
    if not data:
        return Malformed("NTP message is empty")
    version, mode = data[0] >> 3 & 7, data[0] & 7
    if mode == CONTROL and len(data) >= 12:
        return NtpMessage(version, mode, operation=data[1] & 0x1F, response=bool(data[1] & 0x80))
    if mode == PRIVATE and len(data) >= 8:
        return NtpMessage(version, mode, operation=data[3], response=bool(data[0] & 0x80))
    if mode in (CONTROL, PRIVATE) or len(data) < HEADER:
        return Malformed("NTP header is cut short", len(data))
    poll = int.from_bytes(data[2:3], "big", signed=True)
    return NtpMessage(version, mode, leap=data[0] >> 6, stratum=data[1], poll=poll, reference=data[12:16])


def ntp_fact(message: NtpMessage) -> Fact:
    """Return the fact of a message. The reference of stratum 0 and 1 is a code in ASCII, else it is written as an
    address (a hash of it over IPv6, RFC 5905 section 7.3)."""
    fields: dict[str, Value] = {"ntp.version": message.version, "ntp.mode": MODES[message.mode]}
    if message.stratum is None:
        fields["ntp.response"] = message.response
        fields["ntp.operation"] = message.operation or 0
        return Fact("ntp", fields)
    fields |= {"ntp.leap": message.leap, "ntp.stratum": message.stratum, "ntp.poll": message.poll}
    if any(message.reference):
        code = decode(message.reference.rstrip(b"\0"))
        readable = message.stratum < 2 and code.isascii() and code.isprintable()
        fields["ntp.ref_id"] = code if readable else address_text(message.reference)
    return Fact("ntp", fields)


def ntp_facts(data: bytes) -> list[Fact | Malformed]:
    """Read one datagram."""
    message = parse(data)
    return [message if isinstance(message, Malformed) else ntp_fact(message)]
