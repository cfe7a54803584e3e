"""SNMP versions 1, 2c and 3 (RFC 1157, 3416, 3412, 3414).

Promise: linear, at most `MAX_BINDINGS` variables of one message, nothing recurses, never raises. A message that breaks
behind its version is returned with what was read before and says why in `broken`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from packhound.net import ber
from packhound.net.dhcp import address_text
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

MAX_BINDINGS = 512
MAX_VALUE = 1024  # octets of a value that are shown
VERSIONS = {0: "1", 1: "2c", 2: "2u", 3: "3"}
PDUS = (
    "get-request", "get-next-request", "response", "set-request", "trap", "get-bulk-request", "inform-request",
    "snmpv2-trap", "report",
)  # fmt: skip
_ADDRESS, _COUNTER, _GAUGE, _TICKS, _OPAQUE, _COUNTER64 = 0x40, 0x41, 0x42, 0x43, 0x44, 0x46
FIELDS = frozenset({
    "snmp.version", "snmp.community", "snmp.pdu", "snmp.request_id", "snmp.error", "snmp.oid", "snmp.value",
    "snmp.enterprise", "snmp.agent", "snmp.user", "snmp.engine_id", "snmp.context", "snmp.encrypted",
})  # fmt: skip


@dataclass(slots=True)
class SnmpMessage:
    """One message; what it does not hold, or what lies behind where it broke, is None or empty. `bindings`: object
    identifiers with their values as text."""

    version: int
    community: bytes | None = None
    pdu: int | None = None
    request_id: int | None = None
    error: int = 0
    enterprise: str = ""
    agent: str = ""
    user: bytes = b""
    engine: bytes = b""
    context: bytes = b""
    encrypted: bool | None = None
    bindings: list[tuple[str, str]] = field(default_factory=list)
    broken: str = ""


def parse(data: bytes) -> SnmpMessage | Malformed:
    """Read a message; `Malformed` when it does not start as one."""
    try:
        body = ber.expect(Octets(data), ber.SEQUENCE)
        message = SnmpMessage(ber.number(body))
    except Short as short:
        return Malformed("no SNMP message", short.offset)
    if message.version not in VERSIONS:
        return Malformed("SNMP version is unknown")
    try:
        if message.version == 3:
            _version3(body, message)
        else:
            message.community = ber.octets(body)
            _pdu(body, message)
    except Short:
        message.broken = "SNMP message breaks its encoding"
    return message


def _version3(body: Octets, message: SnmpMessage) -> None:
    """Read the header, the user of the user-based security model, and the scoped PDU where it is not encrypted."""
    header = ber.expect(body, ber.SEQUENCE)
    ber.number(header)
    ber.number(header)
    flags = ber.octets(header)
    message.encrypted = bool(flags[:1] and flags[0] & 2)
    model = ber.number(header)
    security = ber.expect(body, ber.OCTETS)
    if model == 3 and len(security):
        tag, size = security.number(1), ber.length(security)
        lies = tag != ber.SEQUENCE or size > len(security)
        message.engine = ber.octets(security)  # bounded by the string, so that a lying sequence still names its user
        ber.number(security)
        ber.number(security)
        message.user = ber.octets(security)
        if lies:
            raise Short(security.at)
    if not message.encrypted:
        scoped = ber.expect(body, ber.SEQUENCE)
        message.engine = ber.octets(scoped) or message.engine
        message.context = ber.octets(scoped)
        _pdu(scoped, message)


def _pdu(body: Octets, message: SnmpMessage) -> None:
    tag, pdu = ber.element(body)
    if not 0xA0 <= tag < 0xA0 + len(PDUS):
        raise Short(pdu.at)
    message.pdu = tag - 0xA0
    if PDUS[message.pdu] == "trap":
        message.enterprise = ber.oid(ber.expect(pdu, ber.OID))
        message.agent = _value(*ber.element(pdu))
        for _ in range(2):
            ber.number(pdu)
        ber.expect(pdu, _TICKS)
    else:
        message.request_id = ber.number(pdu)
        first = ber.number(pdu)  # non-repeaters of a bulk request
        message.error = 0 if PDUS[message.pdu] == "get-bulk-request" else first
        ber.number(pdu)
    bindings = ber.expect(pdu, ber.SEQUENCE)
    while len(bindings):
        if len(message.bindings) >= MAX_BINDINGS:
            message.broken = "more SNMP variables than are read"
            return
        binding = ber.expect(bindings, ber.SEQUENCE)
        name = ber.oid(ber.expect(binding, ber.OID))
        message.bindings.append((name, _value(*ber.element(binding))))


def _value(tag: int, body: Octets) -> str:
    """A value as text: numbers, object identifiers and addresses as such, octets as text when they are text, else in
    hex; nothing for NULL and the exceptions of version 2."""
    if tag == ber.INTEGER:
        return str(ber.integer(body))
    if tag in (_COUNTER, _GAUGE, _TICKS, _COUNTER64):
        return str(ber.integer(body, signed=False))
    if tag == ber.OID:
        return ber.oid(body)
    if tag == _ADDRESS and len(body) == 4:
        return address_text(body.rest())
    data = body.take(min(len(body), MAX_VALUE))
    if tag != ber.OCTETS:
        return data.hex()
    text = decode(data)
    return text if all(each.isprintable() or each in "\r\n\t" for each in text) else data.hex()


def snmp_fact(message: SnmpMessage) -> Fact:
    """Return the fact of a message. `snmp.value` has an entry for each of `snmp.oid`, empty where it has no value."""
    fields: dict[str, Value] = {"snmp.version": VERSIONS[message.version]}
    if message.community is not None:
        fields["snmp.community"] = decode(message.community)
    if message.pdu is not None:
        fields["snmp.pdu"] = PDUS[message.pdu]
    if message.request_id is not None:
        fields["snmp.request_id"] = message.request_id
    if message.error:
        fields["snmp.error"] = message.error
    if message.encrypted is not None:
        fields["snmp.encrypted"] = message.encrypted
    if message.bindings:
        fields["snmp.oid"] = tuple(name for name, _ in message.bindings)
        if any(value for _, value in message.bindings):
            fields["snmp.value"] = tuple(value for _, value in message.bindings)
    for name, text in (
        ("snmp.enterprise", message.enterprise), ("snmp.agent", message.agent), ("snmp.user", decode(message.user)),
        ("snmp.engine_id", message.engine.hex()), ("snmp.context", decode(message.context)),
    ):  # fmt: skip
        if text:
            fields[name] = text
    return Fact("snmp", fields)


def snmp_facts(data: bytes) -> list[Fact | Malformed]:
    """Read one datagram into its fact, and the reason where it breaks."""
    message = parse(data)
    if isinstance(message, Malformed):
        return [message]
    found: list[Fact | Malformed] = [snmp_fact(message)]
    if message.broken:
        found.append(Malformed(message.broken))
    return found
