"""SIP message -> fact: the registry fields that a hunt for people, numbers, devices and media asks for.

Promise: linear, bounded, never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from packhound.net.facts import Fact, Value
from packhound.net.sip import SipMessage
from packhound.net.sip_uri import Address, read_addresses, read_uri

# Whose addresses name a party of the message, in the order their users are listed.
PARTIES = (
    "from", "to", "p-asserted-identity", "p-preferred-identity", "remote-party-id", "p-called-party-id", "diversion",
    "history-info", "contact",
)  # fmt: skip
FIELDS = frozenset({
    "sip.method", "sip.status", "sip.reason", "sip.call_id", "sip.from", "sip.to", "sip.user", "sip.uri",
    "phone.number", "sip.cseq", "sip.cseq.method", "sip.user_agent", "sip.via.branch", "sip.imsi", "sip.imei",
    "sdp.connection", "sdp.media", "rtp.codec",
})  # fmt: skip
MAX_VALUES = 64
# TS 23.003: IMPI/IMPU derived from the IMSI, also with the NAI's leading digit
_IMSI = re.compile(
    r"(?<![0-9])([0-9]{14,16})@[a-z.]{0,20}\.?mnc([0-9]{2,3})\.mcc([0-9]{3})\.3gppnetwork\.org", re.IGNORECASE
)
_IMEI = re.compile(r"urn:gsma:imei(?:sv)?:([0-9]{8}-?[0-9]{6}-?[0-9]{0,2})(?![0-9-])", re.IGNORECASE)
_BRANCH = re.compile(r";\s*branch\s*=\s*\"?([^\s;,\"]{1,256})", re.IGNORECASE)
_IDENTITY_HEADERS = (*PARTIES, "authorization", "proxy-authorization", "p-associated-uri", "p-access-network-info")


def sip_fact(message: SipMessage) -> Fact:
    """Return the `sip` fact of a message; fields that the message does not hold are left out."""
    addresses = _addresses(message)
    number, method = message.cseq
    fields: dict[str, Value] = {"sip.method": message.method}
    if not message.is_request:
        fields["sip.status"] = message.status
        _add(fields, "sip.reason", message.reason)
    _add(fields, "sip.call_id", message.call_id)
    _add(fields, "sip.from", message.header("from"))
    _add(fields, "sip.to", message.header("to"))
    _add(fields, "sip.user", _unique(each.user for each in addresses))
    _add(fields, "sip.uri", _unique(each.uri for each in addresses))
    _add(fields, "phone.number", _unique(each.number for each in addresses))
    if number >= 0:
        fields["sip.cseq"] = number
        _add(fields, "sip.cseq.method", method)
    _add(fields, "sip.user_agent", message.header("user-agent") or message.header("server"))
    branch = _BRANCH.search(message.header("via"))
    if branch:
        fields["sip.via.branch"] = branch[1]
    _add_subscriber(fields, message)
    _add_media(fields, message)
    return Fact("sip", fields)


def _addresses(message: SipMessage) -> list[Address]:
    found: list[Address] = []
    target = read_uri(message.uri) if message.is_request else None
    if target:
        found.append(target)
    for party in PARTIES:
        for value in message.values(party):
            found.extend(read_addresses(value))
            if len(found) >= MAX_VALUES:
                return found[:MAX_VALUES]
    return found


def _add_subscriber(fields: dict[str, Value], message: SipMessage) -> None:
    """Fill IMSI and IMEI from the identities of 3GPP TS 23.003 and RFC 7254."""
    imsis: list[str] = []
    imeis: list[str] = []
    for text in _identities(message):
        if "3gppnetwork" in text.lower():
            imsis.extend(_imsis(text))
        imeis.extend(found.replace("-", "") for found in _IMEI.findall(text))
    _add(fields, "sip.imsi", _unique(imsis))
    _add(fields, "sip.imei", _unique(imeis))


def _identities(message: SipMessage) -> Iterator[str]:
    if message.is_request:
        yield message.uri
    for name, value in message.headers:
        if name in _IDENTITY_HEADERS or "imei" in value.lower():
            yield value


def _imsis(text: str) -> Iterator[str]:
    """Yield digits that start with the network's own MCC and MNC: an IMSI, never another number."""
    for digits, mnc, mcc in _IMSI.findall(text):
        for candidate in (digits, digits[1:]):
            if 14 <= len(candidate) <= 15 and candidate.startswith((mcc + mnc, mcc + mnc.removeprefix("0"))):
                yield candidate
                break


def _add_media(fields: dict[str, Value], message: SipMessage) -> None:
    session = message.sdp
    if not session:
        return
    _add(fields, "sdp.connection", session.connections)
    _add(fields, "sdp.media", tuple(each.line for each in session.media))
    _add(fields, "rtp.codec", _unique(codec.name for each in session.media for codec in each.codecs.values()))


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))[:MAX_VALUES]


def _add(fields: dict[str, Value], name: str, value: Value) -> None:
    if value not in ("", ()):
        fields[name] = value
