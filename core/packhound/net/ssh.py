"""SSH identification strings (RFC 4253 section 4.2).

Promise: linear, never raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.text import decode

MAX_BANNER = 255  # octets of the line, CR LF included; longer ones are refused
MAX_PREAMBLE = 8192  # a server may send other lines first
_BANNER = re.compile(rb"^SSH-([0-9][0-9.]{0,7})-([^\r\n]{0,240})\r?\n", re.MULTILINE)
FIELDS = frozenset({"ssh.software", "ssh.version"})


@dataclass(frozen=True, slots=True)
class SshBanner:
    """`version` is the protocol version (`2.0`), `software` all behind it, comments included."""

    version: str
    software: str


def parse(data: bytes) -> SshBanner | Malformed:
    """Find the identification line, alone or behind a server's other lines."""
    found = _BANNER.search(data[: MAX_PREAMBLE + MAX_BANNER])
    if not found:
        return Malformed("no SSH identification line")
    return SshBanner(found[1].decode("ascii"), decode(found[2]).strip(" \0\t"))


def banner_end(data: bytes | bytearray) -> int:
    """Return the offset behind the identification line, 0 when there is none."""
    found = _BANNER.search(data[: MAX_PREAMBLE + MAX_BANNER])
    return found.end() if found else 0


def ssh_fact(banner: SshBanner) -> Fact:
    """Return the `ssh` fact of a banner."""
    fields: dict[str, Value] = {"ssh.version": banner.version}
    if banner.software:
        fields["ssh.software"] = banner.software
    return Fact("ssh", fields)
