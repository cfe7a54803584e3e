"""FTP commands and replies (RFC 959, 2228 and 4217 AUTH, 2428 EPRT and EPSV), one line at a time.

Promise: linear, bounded by `MAX_LINE`, never raises; passwords and tokens are never part of a fact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.text import decode

MAX_LINE = 4096
MAX_TEXT = 4096
SECRET = frozenset({"PASS", "ACCT", "ADAT", "MIC", "CONF", "ENC"})
_VERBS = frozenset({
    "USER", "CWD", "XCWD", "CDUP", "XCUP", "SMNT", "QUIT", "REIN", "PORT", "PASV", "TYPE", "STRU", "MODE", "RETR",
    "STOR", "STOU", "APPE", "ALLO", "REST", "RNFR", "RNTO", "ABOR", "DELE", "RMD", "XRMD", "MKD", "XMKD", "PWD", "XPWD",
    "LIST", "NLST", "SITE", "SYST", "STAT", "HELP", "NOOP", "FEAT", "OPTS", "AUTH", "PBSZ", "PROT", "CCC", "EPRT",
    "EPSV", "LPRT", "LPSV", "SIZE", "MDTM", "MLST", "MLSD", "MFMT", "MFCT", "MFF", "LANG", "CLNT", "HOST", "CSID",
    "HASH", "XCRC", "XMD5", "XSHA1", "XSHA256", "XSHA512", "RANG", "AVBL", "DSIZ", "COMB", "ESTA", "ESTP", "XDUP",
}) | SECRET  # fmt: skip
_VERB = re.compile(rb"([A-Za-z][A-Za-z0-9]{1,511})(?:[ \t]+|$)")
# RFC 959 section 4.1.3: Telnet's interrupt and synch stand before an ABOR
_TELNET = re.compile(rb"^(?:\xff[\xfb-\xfe].|\xff[\xf0-\xfa\xff])+", re.DOTALL)
_REPLY = re.compile(rb"([1-6]\d\d)(?:([ -])(.*)|$)", re.DOTALL)
_HOST_PORT = re.compile(r"(?<![\d,])(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})(?![\d,])")
_EXTENDED = re.compile(r"\(([!-~])\1\1(\d{1,5})\1\)")
_EPRT = re.compile(r"([!-~])[12]\1([0-9A-Fa-f:.]{2,45})\1(\d{1,5})\1")
COMMAND_FIELDS = frozenset({
    "ftp.command", "ftp.argument", "ftp.user", "ftp.auth", "ftp.data.address", "ftp.data.port",
})  # fmt: skip
REPLY_FIELDS = frozenset({"ftp.status", "ftp.text", "ftp.data.address", "ftp.data.port"})


@dataclass(frozen=True, slots=True)
class Command:
    """`verb` in upper case, `argument` as it came (with secrets, where it holds any)."""

    verb: str
    argument: str


@dataclass(frozen=True, slots=True)
class ReplyLine:
    """One line of a reply: `more` when it opens one of several lines."""

    status: int
    text: str
    more: bool


def parse_command(line: bytes) -> Command | Malformed:
    """Read a command line (without its line end)."""
    line = _TELNET.sub(b"", line)
    found = _VERB.match(line)
    if not found:
        return Malformed("FTP line that is no command")
    return Command(found[1].decode("ascii").upper(), decode(line[found.end() :]).rstrip())


def is_command(line: bytes) -> bool:
    """Tell whether a line is a command that is known."""
    command = parse_command(line)
    return isinstance(command, Command) and command.verb in _VERBS


def parse_reply(line: bytes) -> ReplyLine | Malformed:
    """Read one line of a reply (without its line end); a status may stand alone."""
    found = _REPLY.match(line)
    if not found:
        return Malformed("FTP line that is no reply")
    return ReplyLine(int(found[1]), decode(found[3] or b""), found[2] == b"-")


def command_fact(command: Command) -> Fact:
    """Return the `ftp.command` fact; of an unknown verb nothing but the verb."""
    fields: dict[str, Value] = {"ftp.command": command.verb}
    argument = command.argument
    if command.verb not in _VERBS or command.verb in SECRET or not argument:
        return Fact("ftp.command", fields)
    if command.verb == "SITE":
        argument = argument.partition(" ")[0] if "PAS" in argument.upper() or "PSW" in argument.upper() else argument
    fields["ftp.argument"] = argument[:MAX_TEXT]
    if command.verb == "USER":
        fields["ftp.user"] = argument[:MAX_TEXT]
    elif command.verb == "AUTH":
        fields["ftp.auth"] = argument.upper()[:32]
    elif command.verb in ("PORT", "EPRT"):
        _endpoint(fields, argument)
    return Fact("ftp.command", fields)


def reply_fact(status: int, text: str) -> Fact:
    """Return the `ftp.reply` fact, with the end that a passive reply opens; security data (RFC 2228) is left out."""
    fields: dict[str, Value] = {"ftp.status": status}
    if text.strip() and status not in (235, 334, 335, 631, 632, 633):
        fields["ftp.text"] = text.strip()[:MAX_TEXT]
    if status in (227, 229):
        _endpoint(fields, text)
    return Fact("ftp.reply", fields)


def _endpoint(fields: dict[str, Value], text: str) -> None:
    """Read the data connection's end: six numbers (PORT, 227), or RFC 2428 (EPRT, 229; the latter has no address)."""
    text = text[:512]
    six, eprt, extended = _HOST_PORT.search(text), _EPRT.search(text), _EXTENDED.search(text)
    if six and all(int(each) < 256 for each in six.groups()):
        *address, high, low = map(int, six.groups())
        fields["ftp.data.address"] = ".".join(map(str, address))
        fields["ftp.data.port"] = high << 8 | low
    elif eprt and int(eprt[3]) < 65536:
        try:
            fields["ftp.data.address"] = str(ip_address(eprt[2]))
        except ValueError:
            return
        fields["ftp.data.port"] = int(eprt[3])
    elif extended and int(extended[2]) < 65536:
        fields["ftp.data.port"] = int(extended[2])
