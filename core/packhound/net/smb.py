"""SMB 1 (MS-CIFS), SMB 2 and 3 (MS-SMB2): commands, dialects, shares, files, and who logs on with NTLM (MS-NLMP).

Promise: of a message its head is enough; every offset in it is checked; at most `MAX_COMPOUND` commands of one packet;
never raises. What is encrypted says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.text import decode

MAX_COMPOUND = 64
MAX_DIALECTS = 64
MAX_TEXT = 1024  # octets of a path
MARKS = (b"\xffSMB", b"\xfeSMB", b"\xfdSMB", b"\xfcSMB")
NEGOTIATE_1, SESSION_1, TREE_1, CREATE_1 = 0x72, 0x73, 0x75, 0xA2
ACCOUNT_WORDS = 13  # of a session set-up that names its account itself (MS-CIFS section 2.2.4.53.1)
COMMANDS_1 = {
    0x00: "CREATE_DIRECTORY", 0x01: "DELETE_DIRECTORY", 0x02: "OPEN", 0x04: "CLOSE", 0x05: "FLUSH", 0x06: "DELETE",
    0x07: "RENAME", 0x08: "QUERY_INFORMATION", 0x0A: "READ", 0x0B: "WRITE", 0x10: "CHECK_DIRECTORY",
    0x24: "LOCKING_ANDX", 0x25: "TRANSACTION", 0x26: "TRANSACTION_SECONDARY", 0x2B: "ECHO", 0x2D: "OPEN_ANDX",
    0x2E: "READ_ANDX", 0x2F: "WRITE_ANDX", 0x32: "TRANSACTION2", 0x33: "TRANSACTION2_SECONDARY", 0x34: "FIND_CLOSE2",
    0x70: "TREE_CONNECT", 0x71: "TREE_DISCONNECT", NEGOTIATE_1: "NEGOTIATE", SESSION_1: "SESSION_SETUP_ANDX",
    0x74: "LOGOFF_ANDX", TREE_1: "TREE_CONNECT_ANDX", 0x80: "QUERY_INFORMATION_DISK", 0xA0: "NT_TRANSACT",
    0xA1: "NT_TRANSACT_SECONDARY", CREATE_1: "NT_CREATE_ANDX", 0xA4: "NT_CANCEL", 0xC0: "OPEN_PRINT_FILE",
}  # fmt: skip
COMMANDS_2 = (
    "NEGOTIATE", "SESSION_SETUP", "LOGOFF", "TREE_CONNECT", "TREE_DISCONNECT", "CREATE", "CLOSE", "FLUSH", "READ",
    "WRITE", "LOCK", "IOCTL", "CANCEL", "ECHO", "QUERY_DIRECTORY", "CHANGE_NOTIFY", "QUERY_INFO", "SET_INFO",
    "OPLOCK_BREAK",
)  # fmt: skip
DIALECTS = {0x0202: "2.0.2", 0x0210: "2.1", 0x02FF: "2.???", 0x0300: "3.0", 0x0302: "3.0.2", 0x0311: "3.1.1"}
FIELDS = frozenset({
    "smb.version", "smb.command", "smb.response", "smb.status", "smb.dialect", "smb.share", "smb.file", "smb.user",
    "smb.domain", "smb.host",
})  # fmt: skip
Fields = dict[str, Value]


def packet_start(data: bytes | bytearray) -> int:
    """Size of the packet at the start when an SMB message is in it (MS-SMB2 section 2.1): 0 when more bytes are needed,
    negative when none starts there."""
    if len(data) < 8:
        return -1 if data and data[0] else 0
    return 4 + int.from_bytes(data[1:4], "big") if not data[0] and data[4:8] in MARKS else -1


@dataclass(slots=True)
class Smb:
    """Reads the messages of one connection; remembers the dialects that an SMB 1 client offers, to name the one that
    the server chooses by its position."""

    offered: list[str] = field(default_factory=list)

    def read(self, message: bytes) -> list[Fact | Malformed]:
        """Read the messages of one packet, which may be cut behind their head."""
        if message[:4] == b"\xffSMB":
            return [self._version1(message)]
        if message[:4] == b"\xfeSMB":
            return list(self._version2(message))
        return [] if message[:4] in MARKS else [Malformed("no SMB message")]

    def _version1(self, data: bytes) -> Fact | Malformed:
        if len(data) < 33:
            return Malformed("SMB header is cut short", len(data))
        command, response = data[4], bool(data[9] & 0x80)
        fields: Fields = {
            "smb.version": 1, "smb.command": COMMANDS_1.get(command, f"0x{command:02x}"), "smb.response": response,
        }  # fmt: skip
        if response:
            fields["smb.status"] = _number(data, 5, 4)
        body = 33 + 2 * data[32]  # where the count of bytes stands
        unicode = bool(_number(data, 10, 2) & 0x8000)
        if command == NEGOTIATE_1:
            self._dialect(data, body + 2, fields)
        elif command == SESSION_1:
            _logon(data, fields)
            if data[32] == ACCOUNT_WORDS and not response:
                at = body + 2 + _number(data, 47, 2) + _number(data, 49, 2)
                at = _name(data, at, "smb.user", fields, unicode=unicode)
                _name(data, at, "smb.domain", fields, unicode=unicode)
        elif command == TREE_1 and not response and data[32] >= 4:
            at = body + 2 + _number(data, 39, 2)
            _put(fields, "smb.share", _string(data, at, unicode=unicode))
        elif command == CREATE_1 and not response:
            size = _number(data, 38, 2)
            at = body + 2
            _put(fields, "smb.file", _text(data, at + at % 2, size) if unicode else decode(data[at : at + size]))
        return Fact("smb", fields)

    def _dialect(self, data: bytes, at: int, fields: Fields) -> None:
        if not fields["smb.response"]:
            self.offered = [decode(each).lstrip("\2") for each in data[at:].split(b"\0", MAX_DIALECTS)[:-1]]
            fields["smb.dialect"] = tuple(self.offered)
        elif data[32] and (chosen := _number(data, 33, 2)) < len(self.offered):
            fields["smb.dialect"] = (self.offered[chosen],)

    def _version2(self, data: bytes) -> Iterator[Fact | Malformed]:
        for _ in range(MAX_COMPOUND):
            if len(data) < 64:
                yield Malformed("SMB header is cut short", len(data))
                return
            following = _number(data, 20, 4)
            yield _message2(data[:following] if following >= 64 else data)
            if not 64 <= following < len(data) or data[following : following + 4] != b"\xfeSMB":
                return
            data = data[following:]


def _message2(data: bytes) -> Fact:
    command, response = _number(data, 12, 2), bool(data[16] & 1)
    name = COMMANDS_2[command] if command < len(COMMANDS_2) else f"0x{command:04x}"
    fields: Fields = {"smb.version": 2, "smb.command": name, "smb.response": response}
    if response:
        fields["smb.status"] = _number(data, 8, 4)
    if name == "NEGOTIATE":
        count = 1 if response else min(_number(data, 66, 2), MAX_DIALECTS)
        start = 68 if response else 100
        numbers = (_number(data, start + 2 * each, 2) for each in range(count))
        fields["smb.dialect"] = tuple(DIALECTS.get(each, f"0x{each:04x}") for each in numbers if each)
    elif name == "SESSION_SETUP":
        _logon(data, fields)
    elif name == "TREE_CONNECT" and not response:
        _put(fields, "smb.share", _text(data, _number(data, 68, 2), _number(data, 70, 2)))
    elif name == "CREATE" and not response:
        _put(fields, "smb.file", _text(data, _number(data, 108, 2), _number(data, 110, 2)))
    return Fact("smb", fields)


def _number(data: bytes, at: int, size: int) -> int:
    """A little-endian number, 0 where the message has ended."""
    return int.from_bytes(data[at : at + size], "little")


def _text(data: bytes, at: int, size: int) -> str:
    """Text in UTF-16 behind the header; an offset into the header is a lie."""
    if at < 33:
        return ""
    return data[at : at + min(size, MAX_TEXT) & ~1].decode("utf-16-le", "replace")


def _string(data: bytes, at: int, *, unicode: bool) -> str:
    """A string that ends with NUL; in UTF-16 it starts on an even offset."""
    if not unicode:
        return decode(data[at : at + MAX_TEXT].partition(b"\0")[0])
    return _text(data, at + at % 2, MAX_TEXT).partition("\0")[0]


def _name(data: bytes, at: int, name: str, fields: Fields, *, unicode: bool) -> int:
    """Put a string that ends with NUL; the index behind it."""
    text = _string(data, at, unicode=unicode)
    _put(fields, name, text)
    if unicode:
        return at + at % 2 + len(text.encode("utf-16-le", "replace")) + 2
    return at + len(data[at : at + MAX_TEXT].partition(b"\0")[0]) + 1


def _put(fields: Fields, name: str, text: str) -> None:
    if text:
        fields[name] = text


def _logon(data: bytes, fields: Fields) -> None:
    """Domain, user and workstation of an NTLM AUTHENTICATE message (MS-NLMP section 2.2.1.3) in the message."""
    start = data.find(b"NTLMSSP\0\3\0\0\0")
    if start < 0:
        return
    token = data[start:]
    unicode = token[60:61] and token[60] & 1
    for name, at in (("smb.domain", 28), ("smb.user", 36), ("smb.host", 44)):
        size, offset = _number(token, at, 2), _number(token, at + 4, 4)
        if offset >= 52:
            value = token[offset : offset + min(size, MAX_TEXT)]
            _put(fields, name, value.decode("utf-16-le", "replace") if unicode else decode(value))
