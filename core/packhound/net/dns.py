"""DNS messages (RFC 1035, with EDNS RFC 6891), as also used by mDNS (RFC 6762) and LLMNR (RFC 4795).

Promise: linear whatever the compression pointers say (each offset is decoded once, `MAX_LABELS` labels in all), bounded
by `MAX_RECORDS`, never raises. A message that breaks behind its header is returned with what was read before and says
why in `broken`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from packhound.net import dns_edns
from packhound.net.dns_edns import Edns
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

MAX_NAME = 255  # octets of a name, RFC 1035 section 2.3.4
MAX_LABELS = 16_384  # labels decoded per message
MAX_RECORDS = 4096
MAX_QUESTIONS = 256
A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, DNAME, OPT = 1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 41
SVCB, HTTPS = 64, 65  # RFC 9460
#: Type of a record -> offset of the name in its data.
_NAMES_IN_RDATA = {NS: 0, CNAME: 0, PTR: 0, DNAME: 0, SOA: 0, MX: 2, SRV: 6, SVCB: 2, HTTPS: 2}
FLAGS = {
    "dns.aa": 0x0400, "dns.tc": 0x0200, "dns.rd": 0x0100, "dns.ra": 0x0080, "dns.z": 0x0040, "dns.ad": 0x0020,
    "dns.cd": 0x0010,
}  # fmt: skip
FIELDS = frozenset({
    "dns.id", "dns.response", "dns.opcode", "dns.rcode", "dns.qname", "dns.qtype", "dns.qclass", "dns.answer",
    "dns.answers", "dns.a", "dns.aaaa", "dns.cname", "dns.ttl", *FLAGS, *dns_edns.FIELDS,
})  # fmt: skip
TIMED_FIELDS = FIELDS | {"dns.response_time"}


@dataclass(frozen=True, slots=True)
class Record:
    """A resource record: `section` 1 answer, 2 authority, 3 additional; `text` its data as a reader would write it;
    `ttl` s."""

    section: int
    type: int
    text: str
    ttl: int = 0


@dataclass(frozen=True, slots=True)
class DnsMessage:
    """One message. `flags` is the second word of its header; `rcode` includes the upper bits of EDNS; `answers` is the
    count in the header, not what was read; `classes` goes with `questions`."""

    id: int
    flags: int
    rcode: int
    questions: tuple[tuple[str, int], ...]
    classes: tuple[int, ...]
    answers: int
    records: tuple[Record, ...]
    edns: Edns | None = None
    broken: str = ""

    @property
    def response(self) -> bool:
        """True for a response, False for a query."""
        return bool(self.flags & 0x8000)


@dataclass(slots=True)
class _Names:
    """Decodes names of one message; remembers each offset so that pointers to it cost nothing."""

    data: bytes
    known: dict[int, tuple[str, ...]] = field(default_factory=dict)
    labels: int = 0

    def read(self, cursor: Octets) -> str:
        """Read a name at the cursor, which ends behind it; a name that breaks a rule raises Short."""
        labels, after = self._walk(cursor.at, cursor.end)
        cursor.at = after
        if sum(map(len, labels)) + len(labels) > 4 * MAX_NAME:  # escapes take up to four characters an octet
            raise Short(cursor.at)
        return ".".join(labels) or "."

    def _walk(self, at: int, end: int) -> tuple[tuple[str, ...], int]:
        """Follow labels and pointers from `at`; return the labels and the offset behind the name.

        Pointers must go backwards, so a loop cannot be made.
        """
        trail: list[tuple[int, str]] = []
        tail: tuple[str, ...] = ()
        after, lowest, size = -1, at, 0
        while length := self._length(at, end):
            if length >= 0xC0:
                target = self._target(at, end)
                after = at + 2 if after < 0 else after
                if target in self.known:
                    tail = self.known[target]
                    break
                if target >= lowest:
                    raise Short(at)
                at = lowest = target
                continue
            size += length + 1
            if size > MAX_NAME:
                raise Short(at)
            trail.append((at, self._label(at + 1, length, end)))
            at += 1 + length
        labels = (*(text for _, text in trail), *tail)
        if len(labels) > MAX_NAME // 2 + 1:
            raise Short(at)
        for index, (offset, _) in enumerate(trail):
            self.known[offset] = labels[index:]
        return labels, at + 1 if after < 0 else after

    def _length(self, at: int, end: int) -> int:
        if at >= end:
            raise Short(at)
        return self.data[at]

    def _target(self, at: int, end: int) -> int:
        if at + 2 > end:
            raise Short(at)
        return int.from_bytes(self.data[at : at + 2], "big") & 0x3FFF

    def _label(self, at: int, length: int, end: int) -> str:
        self.labels += 1
        if length > 63 or at + length > end or self.labels > MAX_LABELS:
            raise Short(at)
        return _label_text(self.data[at : at + length])


def parse(data: bytes) -> DnsMessage | Malformed:
    """Read a DNS message; `Malformed` when not even its header and first question hold."""
    if len(data) < 12:
        return Malformed("DNS header is cut short", len(data))
    cursor = Octets(data)
    ident, flags = cursor.number(2), cursor.number(2)
    counts = [cursor.number(2) for _ in range(4)]
    names = _Names(data)
    questions: list[tuple[str, int]] = []
    classes: list[int] = []
    found = _Found()
    broken = ""
    try:
        for _ in range(min(counts[0], MAX_QUESTIONS)):
            name = names.read(cursor)
            questions.append((name, cursor.number(2)))
            classes.append(cursor.number(2))
        if counts[0] > MAX_QUESTIONS:
            broken = "more questions than are read"
        else:
            _records(cursor, names, counts, found)
    except Short as short:
        if counts[0] and not questions:
            return Malformed("DNS question breaks its message", short.offset)
        broken = "DNS record breaks its message"
    return DnsMessage(
        id=ident,
        flags=flags,
        rcode=flags & 0x0F | (found.edns.extended_rcode << 4 if found.edns else 0),
        questions=tuple(questions),
        classes=tuple(classes),
        answers=counts[1],
        records=tuple(found.records),
        edns=found.edns,
        broken=broken or found.broken,
    )


def dns_fact(message: DnsMessage, *, kind: str = "dns", response_time: int = -1) -> Fact:
    """Return the fact of a message: `kind` is `dns`, `mdns` or `llmnr`; the field names are the same.

    `response_time` in ns from the query that the message answers, -1 where that was not seen. `dns.answer` holds the
    answer section; `dns.a`, `dns.aaaa` and `dns.cname` hold every section.
    """
    fields: dict[str, Value] = {
        "dns.id": message.id,
        "dns.response": message.response,
        "dns.opcode": message.flags >> 11 & 0x0F,
        "dns.answers": message.answers,
        **{name: bool(message.flags & bit) for name, bit in FLAGS.items()},
    }
    if message.response:
        fields["dns.rcode"] = message.rcode
    if message.questions:
        fields["dns.qname"] = tuple(name for name, _ in message.questions)
        fields["dns.qtype"] = tuple(number for _, number in message.questions)
    answers = [each for each in message.records if each.section == 1]
    _add(fields, "dns.qclass", message.classes)
    _add(fields, "dns.answer", [each.text for each in answers if each.text])
    _add(fields, "dns.ttl", [each.ttl for each in answers])
    for name, number in (("dns.a", A), ("dns.aaaa", AAAA), ("dns.cname", CNAME)):
        _add(fields, name, [each.text for each in message.records if each.type == number])
    if message.edns:
        fields |= dns_edns.edns_fields(message.edns)
    if response_time >= 0:
        fields["dns.response_time"] = response_time
    return Fact(kind, fields)


def _add(fields: dict[str, Value], name: str, values: Sequence[str | int]) -> None:
    if values:
        fields[name] = tuple(values)


@dataclass(slots=True)
class _Found:
    """What the records gave so far."""

    records: list[Record] = field(default_factory=list)
    edns: Edns | None = None
    broken: str = ""


def _records(cursor: Octets, names: _Names, counts: list[int], found: _Found) -> None:
    """Read the records of all sections."""
    for section in (1, 2, 3):
        for _ in range(counts[section]):
            if len(found.records) >= MAX_RECORDS:
                found.broken = "more records than are read"
                return
            _skip_name(cursor)
            number, kind = cursor.number(2), cursor.number(2)
            ttl = cursor.number(4)
            body = cursor.vector(2)
            if number == OPT:
                found.edns = dns_edns.parse(kind, ttl, body)
                if found.edns.broken:
                    found.broken = "EDNS option breaks its record"
                continue
            try:
                text = _text(number, body, names)
            except Short:
                text, found.broken = "", "DNS record holds a broken name"
            found.records.append(Record(section, number, text, ttl))


def _skip_name(cursor: Octets) -> None:
    """Step over a name without following its pointer."""
    while True:
        length = cursor.number(1)
        if length >= 0xC0:
            cursor.skip(1)
            return
        if length == 0:
            return
        if length > 63:
            raise Short(cursor.at)
        cursor.skip(length)


def _text(number: int, body: Octets, names: _Names) -> str:
    """Return a record's data as text: an address, a name, the strings of TXT; empty for other types."""
    if number == A and len(body) == 4:
        return ".".join(map(str, body.take(4)))
    if number == AAAA and len(body) == 16:
        return address6(body.take(16))
    if number in _NAMES_IN_RDATA:
        body.skip(_NAMES_IN_RDATA[number])
        # a pointer may leave the record, so the name is bounded by the message and its end by the record
        return names.read(Octets(names.data, body.at, body.end))
    if number == TXT:
        parts = []
        while len(body):
            parts.append(decode(body.vector(1).rest()))
        return "".join(parts)
    return ""


def address6(data: bytes) -> str:
    """Write 16 bytes as an IPv6 address (RFC 5952; v4-mapped ones with the dotted quad)."""
    if data[:12] == b"\0" * 10 + b"\xff\xff":
        return "::ffff:" + ".".join(map(str, data[12:]))
    return str(ipaddress.IPv6Address(data))


def _label_text(data: bytes) -> str:
    """Write a label as text; a dot or backslash in it is escaped (RFC 4343), other bytes stay as they are."""
    text = decode(data)
    if "." in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace(".", "\\.")
    return text
