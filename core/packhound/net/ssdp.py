"""SSDP, the discovery of UPnP (UPnP Device Architecture 2.0 section 1): HTTP/1 heads in datagrams.

Promise: as `packhound.net.http1`: linear, bounded by its caps, never raises.
"""

from __future__ import annotations

from packhound.net import http1
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.http1 import HttpResponse

MAX_MESSAGE = 16 * 1024  # of a datagram's head; what lies behind is not read
_HEADERS = ("host", "st", "nt", "nts", "usn", "man", "location", "server", "user_agent")
FIELDS = frozenset({"ssdp.method", "ssdp.uri", "ssdp.status", *(f"ssdp.{name}" for name in _HEADERS)})


def ssdp_facts(data: bytes) -> list[Fact | Malformed]:
    """Read one datagram: a search, a notification or an answer."""
    message = http1.parse(data[:MAX_MESSAGE])
    if isinstance(message, Malformed):
        return [Malformed("no SSDP start line", message.offset)]
    fields: dict[str, Value] = {}
    if isinstance(message, HttpResponse):
        fields["ssdp.status"] = message.status
    else:
        fields["ssdp.method"] = message.method
        fields["ssdp.uri"] = message.target
    for name in _HEADERS:
        if value := message.header(name.replace("_", "-")):
            fields[f"ssdp.{name}"] = value
    return [Fact("ssdp", fields)]
