"""Signatures of line protocols whose greeting alone is not enough: SMTP, FTP, POP3, IMAP, IRC (RFC 5321, 959, 1939,
3501, 2812). What one side said is kept in `scratch[0]`; commands and replies look different, so direction is not
asked (the first packet seen may be the server's). On the port of its protocol a line that any session of it may hold is
enough: a capture may begin in the middle."""

from __future__ import annotations

from packhound.net.signatures.apps import App
from packhound.net.signatures.look import (
    SAID_220,
    SAID_NICK,
    SAID_OK,
    SAID_STAR,
    TWO_PACKETS,
    Found,
    Look,
    first_line,
)  # fmt: skip

_SMTP_COMMANDS = (b"EHLO ", b"HELO ", b"MAIL FROM:", b"RCPT TO:")
_FTP_COMMANDS = (b"USER ", b"AUTH ", b"FEAT\r", b"SYST\r", b"OPTS ", b"PASS ")
_FTP_REPLIES = (b"331 ", b"230 ", b"230-", b"234 ", b"211-", b"215 ", b"530 ")
_FTP_LINES = (
    *_FTP_COMMANDS, b"RETR ", b"STOR ", b"TYPE ", b"PORT ", b"EPRT ", b"SIZE ", b"MDTM ", b"PASV\r", b"EPSV\r", b"NLST",
    b"LIST", b"MLSD", b"CWD ", b"PWD\r", b"QUIT\r",
)  # fmt: skip
_SMTP_LINES = (b"DATA\r", b"RSET\r", b"QUIT\r", b"AUTH ", b"STARTTLS\r")
_POP3_COMMANDS = (b"USER ", b"CAPA\r", b"APOP ", b"AUTH ", b"STLS\r", b"AUTH\r", b"QUIT\r", b"STAT\r", b"LIST\r")
_IMAP_COMMANDS = (
    b"CAPABILITY", b"LOGIN ", b"AUTHENTICATE ", b"STARTTLS", b"NOOP", b"LOGOUT", b"ID (", b"ID NIL", b"SELECT ",
    b"LIST ",
)  # fmt: skip
_IMAP_STATUS = (b"OK ", b"NO ", b"BAD ")
_OPENING = 512  # bytes that NICK and USER of one packet lie in
_IMAP_ALONE = 3  # the first commands of the list say enough without a greeting


def smtp(look: Look) -> Found | None:
    """A greeting that names SMTP, or a command that only SMTP has."""
    p = look.p
    said = look.scratch[0] == SAID_220
    here = look.port(25) or look.port(587)
    if p.startswith((b"220 ", b"220-")):
        if b"SMTP" in first_line(p)[0].upper():
            return Found(App.SMTP, 90)
        return Found(App.SMTP, 80) if here else None
    if p[:10].upper().startswith(_SMTP_COMMANDS):
        return Found(App.SMTP, 95, TWO_PACKETS) if said else Found(App.SMTP, 90)
    if said and p.startswith((b"250-", b"250 ")):
        return Found(App.SMTP, 90, TWO_PACKETS)
    return Found(App.SMTP, 80) if here and (_is_reply(p) or p[:9].upper().startswith(_SMTP_LINES)) else None


def _is_reply(p: bytes) -> bool:
    """A reply line of SMTP or FTP: three digits, the first from 1 to 5, and a blank or hyphen."""
    return len(p) > 4 and 49 <= p[0] <= 53 and p[1:3].isdigit() and p[3] in b" -"


def ftp(look: Look) -> Found | None:
    """A greeting that names FTP, or a greeting and what follows it only in FTP."""
    p = look.p
    if p.startswith((b"220 ", b"220-")):
        if b"FTP" in first_line(p)[0].upper():
            return Found(App.FTP, 90)
        if look.port(21):
            return Found(App.FTP, 80)
        look.scratch[0] = SAID_220
        return None
    if look.scratch[0] == SAID_220 and (p[:5].upper().startswith(_FTP_COMMANDS) or p.startswith(_FTP_REPLIES)):
        return Found(App.FTP, 95, TWO_PACKETS)
    return Found(App.FTP, 80) if look.port(21) and (_is_reply(p) or p[:5].upper().startswith(_FTP_LINES)) else None


def pop3(look: Look) -> Found | None:
    """A greeting that names POP3, or `+OK` and a command."""
    p = look.p
    if p.startswith(b"+OK"):
        if b"POP" in first_line(p)[0].upper():
            return Found(App.POP3, 90)
        if look.port(110):
            return Found(App.POP3, 80)
        look.scratch[0] = SAID_OK
        return None
    if look.scratch[0] == SAID_OK and p[:5].upper().startswith(_POP3_COMMANDS):
        return Found(App.POP3, 95, TWO_PACKETS)
    found = look.port(110) and (p.startswith(b"-ERR") or p[:5].upper().startswith(_POP3_COMMANDS))
    return Found(App.POP3, 80) if found else None


def imap(look: Look) -> Found | None:
    """A greeting that names IMAP, or a tagged command (alone where only IMAP has it)."""
    p = look.p
    if p.startswith((b"* OK", b"* PREAUTH ")):
        upper = first_line(p)[0].upper()
        if b"IMAP" in upper or b"CAPABILITY" in upper:
            return Found(App.IMAP, 95)
        if look.port(143):
            return Found(App.IMAP, 80)
        look.scratch[0] = SAID_STAR
        return None
    if look.port(143) and p.startswith(b"* "):
        return Found(App.IMAP, 80)
    at = _after_tag(p)
    if not at:
        return None
    rest = p[at : at + 14].upper()
    if look.scratch[0] == SAID_STAR and rest.startswith(_IMAP_COMMANDS):
        return Found(App.IMAP, 95, TWO_PACKETS)
    enough = (*_IMAP_COMMANDS, *_IMAP_STATUS) if look.port(143) else _IMAP_COMMANDS[:_IMAP_ALONE]
    return Found(App.IMAP, 80) if rest.startswith(enough) else None


def _after_tag(p: bytes) -> int:
    """Index after the tag of a command and its space, 0 when there is none: letters and digits, a digit last."""
    at = 0
    while at < len(p) and at < 12 and (48 <= p[at] <= 57 or 65 <= p[at] <= 90 or 97 <= p[at] <= 122 or p[at] == 46):
        at += 1
    return at + 1 if 0 < at < len(p) and p[at] == 32 and 48 <= p[at - 1] <= 57 else 0


def irc(look: Look) -> Found | None:
    """`NICK` and `USER` together or one after the other, or the notices of a server."""
    p = look.p
    if p.startswith(b"NOTICE AUTH :"):
        return Found(App.IRC, 90)
    line, whole = first_line(p)
    if not whole:
        return None
    if look.scratch[0] == SAID_NICK and (p.startswith(b"USER ") or (p[0] == 58 and b" NOTICE " in line)):
        return Found(App.IRC, 95, TWO_PACKETS)
    if p[0] == 58 and (b" NOTICE " in line or b" 001 " in line) and b" :" in line:
        return Found(App.IRC, 85)
    if p.startswith((b"NICK ", b"CAP LS")):
        if b"\nUSER " in p[:_OPENING]:
            return Found(App.IRC, 95)
        look.scratch[0] = SAID_NICK
    return None
