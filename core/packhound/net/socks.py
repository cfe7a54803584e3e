"""SOCKS 4, 4a and 5 (RFC 1928, RFC 1929): who asks a proxy for which end, and what it answers.

Promise: pure, bounded reads, never raises. Passwords are stepped over.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

COMMANDS = {1: "connect", 2: "bind", 3: "udp"}
MAX_TEXT = 256  # octets of a user or host of version 4
GRANTED_4 = 0x5A
FIELDS = frozenset({
    "socks.version", "socks.command", "socks.host", "socks.ip", "socks.port", "socks.user", "socks.status",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class SocksMessage:
    """A request (`command` by number, `status` -1) or a reply (`command` 0); `size` are its octets on the wire.

    `host` is a name (empty: none), `ip` an address (empty: none); of a reply both say nothing worth keeping.
    """

    version: int
    size: int
    command: int = 0
    host: str = ""
    ip: str = ""
    port: int = 0
    user: str = ""
    status: int = -1

    @property
    def granted(self) -> bool:
        """True for a reply that opens the way."""
        return self.status == (GRANTED_4 if self.version == 4 else 0)


def parse_request(data: bytes) -> SocksMessage | Malformed | None:
    """Read a request of either version from its start; None: more bytes must come."""
    cursor = Octets(data)
    try:
        version, command = cursor.number(1), cursor.number(1)
        if version == 4 and command in COMMANDS:
            return _request_4(cursor, command)
        if version != 5 or command not in COMMANDS or cursor.number(1):
            return Malformed("no SOCKS request")
        found = _address(cursor)
        if found is None:
            return Malformed("SOCKS address type is unknown", cursor.at)
        host, ip = found
        return SocksMessage(5, command=command, host=host, ip=ip, port=cursor.number(2), size=cursor.at)
    except Short:
        return None


def parse_reply(data: bytes, *, version: int) -> SocksMessage | Malformed | None:
    """Read the reply to a request from its start; None: more bytes must come."""
    cursor = Octets(data)
    try:
        first, status = cursor.number(1), cursor.number(1)
        if version == 4:
            cursor.skip(6)
            return SocksMessage(4, status=status, size=8) if first == 0 else Malformed("no SOCKS reply")
        cursor.skip(1)
        if first != 5 or _address(cursor) is None:
            return Malformed("no SOCKS reply")
        cursor.skip(2)
        return SocksMessage(5, status=status, size=cursor.at)
    except Short:
        return None


def parse_login(data: bytes) -> tuple[str, int] | None:
    """Return user and size of a login with a password (RFC 1929); None: more bytes must come."""
    cursor = Octets(data)
    try:
        cursor.skip(1)
        user = decode(cursor.vector(1).rest())
        cursor.vector(1)
        return user, cursor.at
    except Short:
        return None


def socks_fact(message: SocksMessage, *, user: str = "") -> Fact:
    """Return the `socks` fact; `user` who logged in before."""
    fields: dict[str, Value] = {"socks.version": message.version}
    if message.command:
        fields |= {"socks.command": COMMANDS[message.command], "socks.port": message.port}
        for name, value in (("host", message.host), ("ip", message.ip), ("user", message.user or user)):
            if value:
                fields[f"socks.{name}"] = value
    else:
        fields["socks.status"] = message.status
    return Fact("socks", fields)


def login_fact(user: str) -> Fact:
    """Return the `socks` fact of a login with a password, which only version 5 has."""
    return Fact("socks", {"socks.version": 5, "socks.user": user} if user else {"socks.version": 5})


def _request_4(cursor: Octets, command: int) -> SocksMessage | Malformed:
    port, address = cursor.number(2), cursor.take(4)
    user = _text(cursor)
    named = address[:3] == b"\0\0\0" and address[3] != 0  # version 4a: the proxy finds the address
    host = _text(cursor) if named else ""
    if user is None or host is None:
        return Malformed("SOCKS text is longer than its cap")
    ip = "" if named else str(ip_address(address))
    return SocksMessage(4, command=command, host=host, ip=ip, port=port, user=user, size=cursor.at)


def _text(cursor: Octets) -> str | None:
    end = cursor.data.find(b"\0", cursor.at, min(cursor.end, cursor.at + MAX_TEXT))
    if end < 0:
        if len(cursor) >= MAX_TEXT:
            return None
        raise Short(cursor.end)
    text = decode(cursor.take(end - cursor.at))
    cursor.skip(1)
    return text


def _address(cursor: Octets) -> tuple[str, str] | None:
    """Read an address of version 5: name and IP address, one of them empty; None for a type that is not known."""
    kind = cursor.number(1)
    if kind == 3:
        return decode(cursor.vector(1).rest()), ""
    size = {1: 4, 4: 16}.get(kind)
    return ("", str(ip_address(cursor.take(size)))) if size else None
